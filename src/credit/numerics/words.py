"""What compiled loops do with the bits of 32-bit words: an integer operation for each, as the processor has it."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _called(builder, name: str, arguments):
    kind = arguments[0].type
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * len(arguments)), name)
    return builder.call(function, arguments)


@intrinsic
def added(typing_context, a, b):
    """a + b modulo 2^32; numba alone would widen the sum."""
    word = types.uint32
    return word(word, word), lambda context, builder, signature, pair: builder.add(*pair)


@intrinsic
def rotated(typing_context, word, count):
    """The bits of a word moved up by `count`, the highest to the bottom."""
    kind = types.uint32

    def generate(context, builder, signature, pair):
        return _called(builder, "llvm.fshl.i32", [pair[0], *pair])

    return kind(kind, kind), generate


@intrinsic
def bits_of(typing_context, number):
    """The 32 bits of a float32 as an int32."""
    return types.int32(types.float32), lambda context, builder, signature, one: builder.bitcast(one[0], ir.IntType(32))


@intrinsic
def number_of(typing_context, word):
    """The float32 of 32 bits in an int32."""
    return types.float32(types.int32), lambda context, builder, signature, one: builder.bitcast(one[0], ir.FloatType())


@intrinsic
def fused(typing_context, a, b, c):
    """a b + c of float32, as one instruction where the processor has it."""
    kind = types.float32
    return kind(kind, kind, kind), lambda context, builder, signature, three: _called(
        builder, "llvm.fmuladd.f32", three
    )
