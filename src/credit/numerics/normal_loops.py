"""Standard normal numbers in vector instructions: LANES generators side by side, each with its own 128 bits of state.

xoshiro128++ (Blackman & Vigna 2021) gives two words for a pair of numbers, and the transform of Box & Muller turns them
into r sin(pi h) and ± r cos(pi h), r = sqrt(-2 ln p), with p uniform on the multiples of 2^-24 up to 1, and h on
[-1/2, 1/2). A generator begins with splitmix64 (Steele, Lea & Flood 2014) of its key, at a place that depends on block
and lane, so that blocks of numbers can be drawn in any order and by any thread.
"""

from __future__ import annotations

import math

import numpy as np

from credit.numerics.compiled import compiled
from credit.numerics.views import part
from credit.numerics.words import added, bits_of, fused, number_of, rotated

LANES = 64
ROUND = 2 * LANES  # numbers that come at once
STATE = 4 * LANES  # words of a block's generators
NARROW = 0x3F2AAAAB  # the bits of 2/3, where a mantissa begins that ends at 4/3

F32, I32, U32, U64 = np.float32, np.int32, np.uint32, np.uint64
GOLDEN, FIRST, SECOND = U64(0x9E3779B97F4A7C15), U64(0xBF58476D1CE4E5B9), U64(0x94D049BB133111EB)
LN2, STEP24, STEP31 = F32(math.log(2)), F32(2.0**-24), F32(2.0**-31)


# Fitted at Chebyshev points, to 4e-8: sin(pi h) / h and cos(pi h) of h² up to 1/4, ln(1 + f) / f for |f| <= 1/3.
S0, S1, S2, S3, S4 = (F32(c) for c in (3.1415927, -5.1677103, 2.5500774, -0.5982904, 0.07765591))
C0, C1, C2, C3, C4, C5 = (F32(c) for c in (1.0, -4.934802, 4.058709, -1.335212, 0.23493707, -0.024395932))
L0, L1, L2, L3, L4, L5, L6, L7, L8 = (
    F32(c)
    for c in (1.0, -0.49999934, 0.33333272, -0.2500793, 0.20007233, -0.1641452, 0.14055812, -0.15394272, 0.13748309)
)


@compiled
def begin(key, block: int, state):
    """The state (STATE,) uint32 of the generators of a block, from a key of 63 bits."""
    for j in range(LANES):
        for half in range(2):
            z = U64(key) + GOLDEN * U64((block * LANES + j) * 2 + half + 1)
            z = (z ^ (z >> U64(30))) * FIRST
            z = (z ^ (z >> U64(27))) * SECOND
            z ^= z >> U64(31)
            state[2 * half * LANES + j] = U32(z & U64(0xFFFFFFFF))
            state[(2 * half + 1) * LANES + j] = U32(z >> U64(32))


@compiled
def proceed(state, out):
    """The next numbers of a block into out (n,), float32 or float64; n a multiple of ROUND but for the last ones."""
    whole = out.shape[0] - out.shape[0] % ROUND
    for at in range(0, whole, ROUND):
        _round(state, out, at)
    if whole < out.shape[0]:
        rest = np.empty(ROUND, np.float32)
        _round(state, rest, 0)
        for j in range(out.shape[0] - whole):
            out[whole + j] = rest[j]


@compiled
def _round(state, out, at):
    """ROUND numbers into `out` from `at` on."""
    as_, bs, cs, ds = (
        part(state, 0, LANES), part(state, LANES, LANES), part(state, 2 * LANES, LANES), part(state, 3 * LANES, LANES),
    )  # fmt: skip
    sines, cosines = part(out, at, LANES), part(out, at + LANES, LANES)
    for j in range(LANES):
        a, b, c, d = as_[j], bs[j], cs[j], ds[j]
        first = added(rotated(added(a, d), U32(7)), a)
        shifted = U32(b << U32(9))
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = rotated(d, U32(11))
        second = added(rotated(added(a, d), U32(7)), a)
        shifted = U32(b << U32(9))
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = rotated(d, U32(11))
        as_[j], bs[j], cs[j], ds[j] = a, b, c, d
        p = F32(I32(first >> U32(8)) + I32(1)) * STEP24
        word = bits_of(p)
        exponent = I32(word - I32(NARROW)) >> I32(23)
        f = number_of(I32(word - I32(exponent << I32(23)))) - F32(1)
        q = fused(fused(fused(fused(L8, f, L7), f, L6), f, L5), f, L4)
        q = fused(fused(fused(fused(q, f, L3), f, L2), f, L1), f, L0)
        r = np.sqrt(F32(-2) * fused(q, f, F32(exponent) * LN2))
        angle = I32(second)
        h = F32(angle >> I32(1)) * STEP31
        z = h * h
        sine = fused(fused(fused(fused(S4, z, S3), z, S2), z, S1), z, S0)
        cosine = fused(fused(fused(fused(fused(C5, z, C4), z, C3), z, C2), z, C1), z, C0)
        sign = I32((angle & I32(1)) << I32(31))
        sines[j] = r * (sine * h)
        cosines[j] = r * number_of(I32(bits_of(cosine) ^ sign))


@compiled
def fill(first, last, keys, out):
    """Blocks first to last - 1 of out (M, blocks, n), counted through all members; keys (M,)."""
    state = np.empty(STATE, np.uint32)
    for index in range(first, last):
        m, block = divmod(index, out.shape[1])
        begin(keys[m], block, state)
        proceed(state, out[m, block])


@compiled
def fill_block(key, block: int, out):
    """One block into out (n,)."""
    state = np.empty(STATE, np.uint32)
    begin(key, block, state)
    proceed(state, out)
