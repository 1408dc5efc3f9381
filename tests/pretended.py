"""A device that is none: its tensors say that they lie on "cuda:0", and their numbers are in the CPU's memory.

For tests without a GPU. What a GPU would refuse is refused here too: tensors of two devices in one operation, and the
memory of a tensor as a numpy array. What would make the host wait for the device is noted, or refused.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

DEVICE = torch.device("cuda:0")
SOURCES = str(Path(__file__).resolve().parents[1] / "src")
# Operations after which the host knows something that the device has computed: sizes, numbers, whether it succeeded.
WAITS = {
    "_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique_dim", "_unique2",
    "bincount", "repeat_interleave", "_linalg_check_errors", "_linalg_eigh", "linalg_eig", "_linalg_eigvals",
    "linalg_eigvals", "_linalg_svd", "linalg_lstsq", "linalg_pinv",
}  # fmt: skip
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
COPIES = {"copy_", "_to_copy"}
FROM_DATA = {torch.tensor, torch.as_tensor}


class Elsewhere(Tensor):
    """A tensor of the device; `inner` holds its numbers."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        # To torch it lies on "meta", for which every build has what it needs.
        result = torch.Tensor._make_wrapper_subclass(cls, inner.size(), device="meta", **layout)
        result.inner = inner
        return result

    @property
    def device(self) -> torch.device:
        """Where it says that it lies."""
        return DEVICE

    def __repr__(self) -> str:
        return f"Elsewhere({self.inner})"

    def __reduce_ex__(self, protocol):
        return self.inner.__reduce_ex__(protocol)  # saved, it is any tensor

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        _check_devices(func, name, args, kwargs)
        wrappers = {id(t.inner): t for t in _tensors((args, kwargs)) if isinstance(t, Elsewhere)}
        home = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
        if _waits(name, args, kwargs, home):
            Pretended.note(str(func))
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        result = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
        if home:
            return tree_map(lambda t: t.clone() if isinstance(t, Tensor) else t, result)
        if name == "copy_" and not isinstance(args[0], Elsewhere):
            return result
        return tree_map(lambda t: wrappers.get(id(t), Elsewhere(t)) if isinstance(t, Tensor) else t, result)


class Pretended(TorchFunctionMode):
    """While it is on, tensors can be made on "cuda" and moved there.

    waits: (operation, line of the package) of what would have made the host wait. strict: this is an error.
    """

    active: Pretended | None = None

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[tuple[str, str]] = []
        self.strict = False
        self.made = _Made()

    def __enter__(self) -> Pretended:
        Pretended.active = self
        self.made.__enter__()
        return super().__enter__()

    def __exit__(self, *error) -> None:
        Pretended.active = None
        super().__exit__(*error)
        self.made.__exit__(*error)

    @classmethod
    def note(cls, operation: str) -> None:
        """An operation makes the host wait."""
        frames = [f for f in traceback.extract_stack() if f.filename.startswith(SOURCES)]
        place = f"{frames[-1].filename.removeprefix(SOURCES)}:{frames[-1].lineno}" if frames else ""
        if cls.active is not None:
            cls.active.waits.append((operation, place))
            if cls.active.strict:
                raise RuntimeError(f"{operation} makes the host wait for the device ({place})")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within, what makes the host wait is an error."""
        self.strict = True
        try:
            yield
        finally:
            self.strict = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.cuda:
            func, args, kwargs = torch.Tensor.to, (args[0], DEVICE), kwargs
        if func is torch.Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].cpu().tolist()
        if func is torch.Tensor.to:
            return _to(*args, **kwargs)
        device = kwargs.get("device")
        if device is None or torch.device(device).type != "cuda":
            return func(*args, **kwargs)
        del kwargs["device"]
        if isinstance(args[0] if args else None, Elsewhere):
            return func(*args, **kwargs)
        if func in FROM_DATA:
            Pretended.note(f"{func.__name__} of data")
        return Elsewhere(func(*args, device="cpu", **kwargs))


def _to(tensor: Tensor, *args, **kwargs) -> Tensor:
    """Tensor.to, which may name another tensor, a device or a type."""
    if args and isinstance(args[0], Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    device = kwargs.pop("device", None)
    rest = []
    for given in args:
        if isinstance(given, (str, torch.device)):
            device = torch.device(given)
        else:
            rest.append(given)
    if device is None or torch.device(device).type != "cuda" or isinstance(tensor, Elsewhere):
        here = device is None or (isinstance(tensor, Elsewhere) and torch.device(device).type == "cuda")
        return torch.Tensor.to(tensor, *([] if here else [device]), *rest, **kwargs)
    if not kwargs.pop("non_blocking", False):
        Pretended.note("a copy to the device")
    moved = torch.Tensor.to(tensor, *rest, **kwargs)
    return Elsewhere(moved.clone() if moved is tensor else moved)


class _Made(TorchDispatchMode):
    """Numbers that torch makes itself, as for the scalar of a `where`."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if device is None or torch.device(device).type != "meta" or _tensors((args, kwargs)):
            return func(*args, **kwargs)
        return Elsewhere(func(*args, **kwargs | {"device": torch.device("cpu")}))


def _tensors(tree) -> list[Tensor]:
    return [t for t in torch.utils._pytree.tree_leaves(tree) if isinstance(t, Tensor)]


def _inner(value):
    return value.inner if isinstance(value, Elsewhere) else value


def _check_devices(func, name: str, args, kwargs) -> None:
    """Raises RuntimeError for an operation on tensors of both devices; numbers (0 axes) may be the CPU's."""
    if name in COPIES:
        return
    here = [t for t in _tensors((args, kwargs)) if not isinstance(t, Elsewhere) and t.ndim]
    if here and (name not in INDEXED or not isinstance(args[0], Elsewhere)):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found two, cuda:0 and cpu")


def _waits(name: str, args, kwargs, home: bool) -> bool:
    if name in COPIES:
        blocking = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
        crosses = home or (name == "copy_" and isinstance(args[0], Elsewhere) != isinstance(args[1], Elsewhere))
        return crosses and (blocking or home or not isinstance(args[0], Elsewhere))
    if name in INDEXED:
        return any(i is not None and (i.dtype == torch.bool or not isinstance(i, Elsewhere)) for i in args[1])
    return name in WAITS
