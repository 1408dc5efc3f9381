"""Images of a prepared data set as tasks have them: read, held against the spec, and as numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from credit.data.load import Dataset, load
from credit.errors import DataError
from credit.tasks.base import Context

Level = float | tuple[float, ...]  # for all channels, or one for each


def read(context: Context) -> Dataset:
    """The data set of a run. Raises DataError where there is none, or another one than the spec was made for."""
    if context.data is None:
        raise DataError("this run needs a prepared data set (.npz) among its inputs, and none was given")
    data, declared = load(context.data), context.declared or {}
    for key in ("name", "verified", "declared"):
        found = getattr(data, key)
        if declared.get(key, found) != found:
            raise DataError(f"{context.data}: {key} = {found!r}; the spec was made for {declared[key]!r}")
    return data


def pixels(x: np.ndarray, scale: float, mean: Level, std: Level, context: Context) -> Tensor:
    """Values x (..., C, H, W), grey levels from 0 to `scale` as a rule, as (x / scale - mean) / std."""
    images = torch.from_numpy(np.ascontiguousarray(x)).to(context.device, context.dtype, copy=True).div_(scale)
    return images.sub_(_channels(mean, images)).div_(_channels(std, images))


def _channels(value: Level, images: Tensor) -> Tensor:
    value = torch.as_tensor(value, dtype=images.dtype, device=images.device)
    return value.reshape(-1, 1, 1) if value.ndim else value
