"""Sigmoid and tanh for compiled loops, in a form that the compiler turns into vector instructions.

numba calls a scalar exponential for every number. In single precision these reduce it to a polynomial and a power of
two, and are within 3 units in the last place of the true value on the whole line, denormal results included; infinities
have their limits and NaN stays NaN. In double precision they are numpy's functions.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from credit.numerics.compiled import compiled

ONE, TWO = np.float32(1), np.float32(2)
LOG2E = np.float32(np.log2(np.e))
LN2_HIGH = np.float32(0.693359375)  # few digits: its product with the exponents below is exact
LN2_LOW = np.float32(np.log(2) - 0.693359375)
ROUNDER = np.float32(1.5 * 2**23)  # added to a smaller number it leaves the nearest integer in the last bits
SMALLEST = np.float32(104)  # exp(-104) rounds to 0
SATURATED = np.float32(20)  # 1 - exp(-20) rounds to 1
SHIFT = 64  # exponents are taken this much higher, so that the power of two of a denormal result is none itself
UNSHIFTED = np.float32(2.0**-SHIFT)

# (exp(r) - 1 - r) / r² for |r| <= ln(2) / 2, fitted to the smallest greatest relative error of exp, 3e-9.
C0, C1, C2, C3, C4 = (np.float32(c) for c in (0.49999994, 0.166665211, 0.041668389, 0.00836874545, 0.00138145406))


@intrinsic
def _power(typing_context, rounded, shift):
    """2^(n + shift) for n + ROUNDER, where n + shift is the exponent of a normal number."""

    def generate(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], ir.IntType(32))  # n in the lowest ones; the others are shifted out
        bias = builder.trunc(builder.add(arguments[1], arguments[1].type(127)), ir.IntType(32))
        return builder.bitcast(builder.shl(builder.add(bits, bias), ir.IntType(32)(23)), ir.FloatType())

    return types.float32(types.float32, types.int64), generate


@intrinsic
def _fused(typing_context, a, b, c):
    """a b + c, as one instruction where the processor has it."""

    def generate(context, builder, signature, arguments):
        number = ir.FloatType()
        function = ir.FunctionType(number, [number] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.fmuladd.f32"), arguments)

    return types.float32(*[types.float32] * 3), generate


@compiled
def _reduced(x):
    """n + ROUNDER and exp(r) - 1 for x = n ln 2 + r, |r| <= ln(2) / 2."""
    rounded = _fused(x, LOG2E, ROUNDER)
    n = rounded - ROUNDER
    r = _fused(n, -LN2_LOW, _fused(n, -LN2_HIGH, x))
    q = _fused(_fused(_fused(_fused(C4, r, C3), r, C2), r, C1), r, C0)
    return rounded, _fused(r * r, q, r)


@compiled
def _sigmoid(x):
    """From exp(-|x|), which does not overflow: 1 / (1 + exp(-x)) loses the denormal results."""
    size = abs(x)
    size = SMALLEST if size > SMALLEST else size
    rounded, more = _reduced(-size)
    e = (ONE + more) * _power(rounded, SHIFT) * UNSHIFTED
    return (e if x < 0 else ONE) / (ONE + e)


@compiled
def _tanh(x):
    """From exp(-2 |x|) - 1, formed without cancellation."""
    size = abs(x)
    size = SATURATED if size > SATURATED else size
    rounded, more = _reduced(-TWO * size)
    scale = _power(rounded, 0)
    e = _fused(scale, more, scale - ONE)
    return np.copysign(e / (TWO + e), x)


def sigmoid_of(x):
    """1 / (1 + exp(-x)) of one float32 or float64 number; only inside compiled functions."""
    raise NotImplementedError


def tanh_of(x):
    """tanh of one float32 or float64 number; only inside compiled functions."""
    raise NotImplementedError


@overload(sigmoid_of, inline="always")
def _(x):
    if x == types.float32:
        return lambda x: _sigmoid(x)
    return lambda x: 1 / (1 + np.exp(-x))


@overload(tanh_of, inline="always")
def _(x):
    if x == types.float32:
        return lambda x: _tanh(x)
    return lambda x: np.tanh(x)


@compiled
def sigmoid(x, out):
    """out = 1 / (1 + exp(-x)), flat arrays (n,) of one precision; where they share memory, number by number."""
    for i in range(x.size):
        out[i] = sigmoid_of(x[i])


@compiled
def tanh(x, out):
    """out = tanh(x), flat arrays (n,) of one precision; where they share memory, number by number."""
    for i in range(x.size):
        out[i] = tanh_of(x[i])
