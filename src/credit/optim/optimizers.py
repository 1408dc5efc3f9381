"""The optimiser of a stack: hyperparameters spread over parameters and members, state, and the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit.errors import CheckpointError, ConfigError
from credit.numerics.devices import moved
from credit.numerics.products import Product
from credit.numerics.trees import Params
from credit.optim.base import Affine
from credit.optim.config import SWITCHES, Value, each, some
from credit.optim.formulas import decay, formula


class Optimizer:
    """Steps for nested dicts of parameters {layer: {name: (M, …) tensor}}, made by `credit.optim.optimizer`.

    On the CPU in float32 and float64 a step is one compiled pass over the memory, or over a few rows of a gradient
    that is still a product at a time. Anywhere else it is a few
    torch operations per parameter that never wait for the device; counts and rates are tensors there, so that
    a step can be captured in a CUDA graph and the learning rate still be changed by `set_epoch`.
    """

    def __init__(self, hyper: dict[str, Any]) -> None:
        self.hyper = hyper
        self.epoch = 0
        self.takes_products = False
        self._formula = formula(hyper)
        self._names: list[tuple[str, str]] = []
        self._kept: tuple[Any, Any] = (None, None)  # lr_scale of the last table, and the table

    def init(self, params: Params, members: int | None = None) -> Optimizer:
        """Bind to parameters and reset all state; returns itself.

        members: size M of the stack axis, 0 for a single network. By default it is told from the parameters:
        dense weights with 3 axes, convolutions with 5 and biases with 2 belong to a stack.
        Raises ConfigError when a hyperparameter names other layers or another number of members.
        """
        self._names = [(layer, name) for layer, block in params.items() for name in block]
        tensors = [params[layer][name] for layer, name in self._names]
        self._members = max(1, count_members(tensors) if members is None else members)
        self._shapes = [p.shape for p in tensors]
        self._device, self._dtype = tensors[0].device, tensors[0].dtype
        if any((p.device, p.dtype) != (self._device, self._dtype) for p in tensors):
            raise ValueError("parameters of one optimiser must have the same device and dtype")
        self._slots = {slot: [torch.zeros_like(p) for p in tensors] for slot in self._formula.slots}
        self._loop = self._compiled_loop(tensors)
        self._views: list[tuple[int, tuple[np.ndarray, ...]]] = [(-1, ())] * len(tensors)
        self._steps = self._array(np.zeros((len(tensors), 1)))
        self._masks: dict[tuple[int, ...], Any] = {}
        self._tables = {
            key: self._array(self._spread(key, value))
            for key, value in self.hyper.items()
            if key not in ("name", "lr", "clip", "schedule", "clip_norm", "units", *SWITCHES)
        }
        self._clips = self.hyper["clip_norm"] is not None
        self._decays = some(self.hyper["weight_decay"]) or some(self.hyper["decay_unscaled"])
        self.takes_products = self._loop is not None and not self._clips
        self._adds_products = self._formula.add_product if not self._decays else None
        if self._clips:
            limit = self._spread("clip_norm", self.hyper["clip_norm"])
            self._limit = moved(torch.from_numpy(limit), self._device)
            group_of = {"per_tensor": lambda n: n, "per_layer": lambda n: n[0], "global": lambda n: None}
            self._groups = [group_of[self.hyper["clip"]](name) for name in self._names]
        self._lr = self._array(self._spread("lr", self.hyper["lr"]))
        self.set_epoch(0)
        return self

    def lr_at(self, epoch: int) -> Value:
        """The learning rate in `epoch`, in the form in which it was configured."""
        schedule = self.hyper["schedule"]
        return each(self.hyper["lr"], lambda lr: schedule.at(lr, epoch))

    def set_epoch(self, epoch: int) -> None:
        """Use the learning rate of `epoch` from now on."""
        self.epoch = epoch
        self._kept = (None, None)
        lr = self._spread("lr", self.lr_at(epoch))
        if self._loop is None:
            self._lr.copy_(torch.from_numpy(lr), non_blocking=True)
        else:
            self._lr[:] = lr

    @torch.no_grad()
    def step(self, params: Params, gradients: Params, lr_scale: float = 1.0) -> None:
        """Update `params` in place against `gradients`, which have the same structure.

        Parameters without a gradient keep their value and state. lr_scale multiplies all learning rates. Where
        `takes_products`, gradients may be a `credit.numerics.products.Product`.
        Raises ValueError for a gradient of another shape or without a parameter.
        """
        active, grads = self._match(gradients)
        scale = self._clip_scale(active, grads) if self._clips else 1.0
        table = self._table(active, scale, lr_scale)
        for j, g in zip(active, grads):
            layer, name = self._names[j]
            if self._loop is None:
                self._update(j, params[layer][name], g, table)
            elif isinstance(g, Product):
                self._update_by_products(j, params[layer][name], g, table)
            else:
                g = g.detach().to(self._dtype).contiguous().numpy().reshape(self._members, -1)
                p, *state = self._view(j, params[layer][name])
                self._loop(p, g, *state, table, j)

    def affine(self, steps: int) -> Affine | None:
        """(keep, rate) of every parameter where a step is p <- keep p - rate g; None for all but plain SGD.

        For learning rules that take `steps` steps at once: they are counted.
        """
        if self._formula.slots or self._clips or self.hyper["name"] != "sgd":
            return None
        l2, shrink = decay(self._tables, self._lr, self.hyper["decoupled"])
        keep, rate = (
            moved(torch.as_tensor(v), self._device, self._dtype).expand(len(self._names), self._members)
            for v in (shrink - self._lr * l2, self._lr)
        )
        self._steps += steps
        result: Affine = {}
        for j, (layer, name) in enumerate(self._names):
            result.setdefault(layer, {})[name] = (keep[j], rate[j])
        return result

    def state_dict(self) -> dict[str, Any]:
        """Copies of the state: {"epoch", "steps": (P,), "slots": {slot: {layer: {name: tensor}}}}."""
        slots: dict[str, dict[str, dict[str, Tensor]]] = {}
        for slot, tensors in self._slots.items():
            nested = slots.setdefault(slot, {})
            for (layer, name), tensor in zip(self._names, tensors):
                nested.setdefault(layer, {})[name] = tensor.clone()
        return {"epoch": self.epoch, "steps": torch.as_tensor(self._steps).flatten().clone(), "slots": slots}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`, after `init`. Raises CheckpointError when it has other parameters."""
        try:
            pairs = [
                (tensor, state["slots"][slot][layer][name])
                for slot, tensors in self._slots.items()
                for (layer, name), tensor in zip(self._names, tensors)
            ]
        except KeyError as missing:
            raise CheckpointError(
                f"optimiser state holds no {missing}; it belongs to another optimiser or other parameters: "
                "delete the checkpoint to start again"
            ) from None
        steps = state["steps"].reshape(-1, 1)
        if len(steps) != len(self._names) or any(a.shape != b.shape for a, b in pairs):
            raise CheckpointError(
                "optimiser state has tensors of other shapes than the parameters; delete the checkpoint to start again"
            )
        for tensor, saved in pairs:
            tensor.copy_(saved)
        torch.as_tensor(self._steps).copy_(steps)
        self.set_epoch(state["epoch"])

    def __getstate__(self) -> dict[str, Any]:
        # A copy must not write to the memory of the original.
        return {**self.__dict__, "_views": [(-1, ())] * len(self._names)}

    def _compiled_loop(self, tensors: list[Tensor]):
        """The compiled update, or None where it cannot be used."""
        plain = all(p.is_contiguous() for p in tensors) and self._dtype in (torch.float32, torch.float64)
        if self._formula.compiled is None or self._device.type != "cpu" or not plain:
            return None
        from credit.optim import loops

        return getattr(loops, self._formula.compiled)

    def _array(self, values: np.ndarray) -> Any:
        return values if self._loop is not None else moved(torch.from_numpy(values), self._device)

    def _spread(self, key: str, value: Value) -> np.ndarray:
        """A hyperparameter as (P, M): a row per parameter, a column per member."""
        layers = dict.fromkeys(layer for layer, _ in self._names)
        if isinstance(value, Mapping) and value.keys() != layers.keys():
            raise ConfigError(f"optimizer.{key} names layers {list(value)}; must name all of {list(layers)}")
        out = np.empty((len(self._names), self._members))
        for row, (layer, _) in zip(out, self._names):
            numbers = value[layer] if isinstance(value, Mapping) else value
            if np.ndim(numbers) and len(numbers) != self._members:
                raise ConfigError(
                    f"optimizer.{key} holds {len(numbers)} numbers; must be one, or one for each of "
                    f"{self._members} members"
                )
            row[:] = numbers
        return out

    def _match(self, gradients: Params) -> tuple[tuple[int, ...], list[Tensor]]:
        """Rows of the parameters that have a gradient, and these gradients."""
        if not self._names:
            raise ValueError("the optimiser is not bound to parameters; call init(params) first")
        active, grads = [], []
        for j, (layer, name) in enumerate(self._names):
            g = gradients[layer].get(name) if layer in gradients else None
            if g is None:
                continue
            if g.shape != self._shapes[j]:
                raise ValueError(
                    f"gradient of {layer}.{name} has shape {tuple(g.shape)}; the parameter has {tuple(self._shapes[j])}"
                )
            active.append(j)
            grads.append(g)
        if len(grads) < sum(len(block) for block in gradients.values()):
            unknown = {(a, b) for a, block in gradients.items() for b in block} - set(self._names)
            if unknown:
                raise ValueError(f"gradients without a parameter: {sorted('.'.join(n) for n in unknown)}")
        return tuple(active), grads

    def _table(self, active: tuple[int, ...], scale: Any, lr_scale: float) -> Any:
        """Count the step and give all coefficients (K, P, M) in the dtype of the parameters."""
        self._steps += self._mask(active)
        kept = lr_scale if self._formula.steady and self._loop is not None and not self._clips else None
        if kept is not None and self._kept[0] == kept:
            return self._kept[1]
        t = self._steps + (self._steps == 0)  # parameters never updated: any value that divides by no zero
        lr = self._lr * lr_scale if lr_scale != 1.0 else self._lr
        rows = [
            scale,
            *decay(self._tables, lr, self.hyper["decoupled"]),
            *self._formula.coefficients(self._tables, t, lr),
        ]
        shape = (len(rows), len(self._names), self._members)
        if self._loop is None:
            table = torch.empty(shape, dtype=self._dtype, device=self._device)
        else:
            table = np.empty(shape, np.float64 if self._dtype == torch.float64 else np.float32)
        for k, row in enumerate(rows):
            table[k] = row
        if kept is not None:
            self._kept = kept, table
        return table

    def _mask(self, active: tuple[int, ...]) -> Any:
        """1 for parameters with a gradient, (P, 1)."""
        if active not in self._masks:
            mask = np.zeros((len(self._names), 1))
            mask[list(active)] = 1
            self._masks[active] = self._array(mask)
        return self._masks[active]

    def _update(self, j: int, p: Tensor, g: Tensor, table: Tensor) -> None:
        """One parameter by torch operations."""
        c = table[:, j].reshape(len(table), self._members, *[1] * (p.ndim - 1)).unbind(0)
        if self._clips:
            g = g * c[0]
        if self._decays:
            g = g + p * c[1]
            p.mul_(c[2])
        self._formula.update(p, g, [tensors[j] for tensors in self._slots.values()], c[3:])

    def _update_by_products(self, j: int, p: Tensor, g: Product, table: np.ndarray) -> None:
        """One parameter, a few rows of its gradient at a time."""
        arrays = self._view(j, p)
        if self._adds_products is not None:
            stacks = [t.view(self._members, *g.shape[-2:]) for t in (p, *(slot[j] for slot in self._slots.values()))]
            for m, tiles in enumerate(g.tiles(self._dtype)):
                members, coefficients = [t[m] for t in stacks], table[3:, j, m].tolist()
                for rows, a, b in tiles:
                    self._adds_products(*(t[rows] for t in members), a, b, coefficients)
            return
        width = g.shape[-1]
        for m, tiles in enumerate(g.tiles(self._dtype)):
            memory = None
            for rows, a, b in tiles:
                memory = a.new_empty(len(a), width) if memory is None else memory
                product = torch.mm(a, b, out=memory[: len(a)]).numpy().reshape(1, -1)
                span = slice(rows.start * width, rows.stop * width)
                self._loop(
                    arrays[0][m : m + 1, span], product, *(t[m : m + 1, span] for t in arrays[1:]),
                    table[:, :, m : m + 1], j,
                )  # fmt: skip

    def _view(self, j: int, p: Tensor) -> tuple[np.ndarray, ...]:
        """Parameter and its state as (M, size) arrays on the same memory."""
        address, arrays = self._views[j]
        if p.data_ptr() != address:
            if p.shape != self._shapes[j] or not p.is_contiguous() or p.dtype != self._dtype:
                raise ValueError(
                    f"parameter {'.'.join(self._names[j])} is no longer the contiguous {self._dtype} tensor of "
                    f"shape {tuple(self._shapes[j])} that the optimiser was bound to; call init again"
                )
            tensors = (p, *(slot[j] for slot in self._slots.values()))
            arrays = tuple(t.detach().numpy().reshape(self._members, -1) for t in tensors)
            self._views[j] = p.data_ptr(), arrays
        return arrays

    def _clip_scale(self, active: tuple[int, ...], grads: list[Tensor]) -> Any:
        """min(1, c / (norm + 1e-6)) of every parameter and member, (P, M)."""
        squares: dict[Any, Tensor] = {}
        for j, g in zip(active, grads):
            norm = torch.linalg.vector_norm(g.reshape(self._members, -1), dim=-1, dtype=torch.float64)
            group = self._groups[j]
            # Summed one by one: then a member's sum does not depend on how many share the stack.
            squares[group] = squares.get(group, 0) + norm.square()
        zero = torch.zeros(self._members, dtype=torch.float64, device=self._device)
        norm = torch.stack([squares.get(group, zero) for group in self._groups]).sqrt()
        scale = (self._limit / (norm + 1e-6)).clamp(max=1)
        return scale if self._loop is None else scale.numpy()


def count_members(tensors: list[Tensor]) -> int:
    """M of a stack's tensors (M, ...), 0 for those of a single net. Raises ValueError when they disagree."""
    axes = {p.ndim for p in tensors}
    if 1 in axes or not axes & {3, 5}:
        return 0
    sizes = {p.shape[0] for p in tensors}
    if len(sizes) > 1:
        raise ValueError(f"parameters of a stack must share their first axis; found sizes {sorted(sizes)}")
    return sizes.pop()
