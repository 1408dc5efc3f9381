"""Nested dicts of tensors: copied, moved, filled."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

Params = dict[str, dict[str, Tensor]]  # {block: {name: (M, ...)}}, without M for a single network


def clone(tree: Any) -> Any:
    """Copy of a nested dict of tensors."""
    if isinstance(tree, dict):
        return {k: clone(v) for k, v in tree.items()}
    return tree.clone() if isinstance(tree, Tensor) else copy.copy(tree)


def assign(params: Params, values: Params) -> None:
    """Copy `values` into `params`, whose tensors may be views of one buffer."""
    for block, tensors in values.items():
        for name, value in tensors.items():
            params[block][name].copy_(value)


def to_device(tree: Any, device: torch.device) -> Any:
    """A nested dict of tensors on `device`."""
    if isinstance(tree, dict):
        return {k: to_device(v, device) for k, v in tree.items()}
    return tree.to(device) if isinstance(tree, Tensor) else tree
