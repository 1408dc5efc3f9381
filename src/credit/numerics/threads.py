"""Compiled loops over samples that do not depend on each other: shared among threads, on arrays without copies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor


def share(loop: Callable[..., None], samples: int, *arguments) -> None:
    """Run `loop(first, last, *arguments)` over all samples, on as many threads as torch uses."""
    threads = min(torch.get_num_threads(), samples)
    if threads == 1:
        loop(0, samples, *arguments)
        return
    cuts = [samples * i // threads for i in range(threads + 1)]
    jobs = [_pool(threads).submit(loop, a, b, *arguments) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
    for job in jobs:
        job.result()


def as_array(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor of any shape, or a contiguous copy."""
    return tensor.detach().contiguous().numpy()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
