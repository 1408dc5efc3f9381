"""Parts of flat arrays for compiled loops, at the price of an addition.

A slice counts references, with instructions that lock memory, and `reshape` calls a function: in loops over small
layers both take as long as the arithmetic. These views own nothing: the array that they look into must outlive them, as
arguments of the function do.
"""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array


def _view(context, builder, signature, arguments, shape):
    whole = context.make_array(signature.args[0])(context, builder, arguments[0])
    found = context.make_array(signature.return_type)(context, builder)
    strides = [whole.itemsize]
    for n in shape[:0:-1]:
        strides.insert(0, builder.mul(strides[0], n))
    populate_array(
        found, data=builder.gep(whole.data, [arguments[1]]), shape=shape, strides=strides, itemsize=whole.itemsize,
        meminfo=None,
    )  # fmt: skip
    return found._getvalue()


def _flat(array) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"


@intrinsic
def part(typing_context, array, start, count):
    """array[start : start + count] of a contiguous array (n,), unchecked."""
    if not _flat(array):
        return None

    def generate(context, builder, signature, arguments):
        return _view(context, builder, signature, arguments, [arguments[2]])

    return array(array, types.intp, types.intp), generate


@intrinsic
def matrix(typing_context, array, start, rows, columns):
    """array[start : start + rows * columns].reshape(rows, columns) of a contiguous array (n,), unchecked."""
    if not _flat(array):
        return None

    def generate(context, builder, signature, arguments):
        return _view(context, builder, signature, arguments, list(arguments[2:]))

    return array.copy(ndim=2)(array, *[types.intp] * 3), generate
