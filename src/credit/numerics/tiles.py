"""Sums of products of many samples side by side, held in registers, for compiled loops.

A value of SIDE samples lies in one piece of memory: a number of a flat array is SIDE numbers of one precision here. Up
to TILE by TILE results are summed at a time, as many as the processor has registers for, so that 2 TILE loads serve
TILE² multiplications; the loop compiler, which keeps the sums of an inner loop in memory, would load for each of them.
Sums are formed in a fixed order, whatever the processor. Products are fused with their sum where it has that.
"""

from __future__ import annotations

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from credit.numerics.compiled import compiled
from credit.numerics.views import part

SIDE = 16
WIDE = bool(binding.get_host_cpu_features().get("avx512f"))
BYTES = 64 if WIDE else 32  # of a register
TILE = 5 if WIDE else 3
FLAT = 8  # results of a tile with one row
ALIGN = 64  # bytes, where a number of SIDE should begin


def tile(rows: int, columns: int, sign: int = 1, spread: bool = False, folded: bool = False, bytes_: int = BYTES):
    """An operation on flat arrays: out[io + r so + c to] += sign sum_k a[ia + r ta + k sa] b[ib + c tb + k sb].

    Indices count numbers, each of SIDE samples; but `b` has one for all samples where it is `spread`, and `out` takes
    the sum over the samples where it is `folded`. Folded sums go through two parts of a and b, `pa` and `pb` numbers
    apart. bytes_: of a register.
    """

    @intrinsic
    def operation(typing_context, out, io, so, to, a, ia, ta, sa, pa, b, ib, tb, sb, pb, count):
        n = types.intp
        signature = types.void(out, n, n, n, a, n, n, n, n, b, n, n, n, n, n)

        def generate(context, builder, signature, arguments):
            _, io, so, to, _, ia, ta, sa, pa, _, ib, tb, sb, pb, count = arguments
            kind = signature.args[0].dtype
            real, size = context.get_value_type(kind), kind.bitwidth // 8
            width = min(SIDE, bytes_ // size)
            vector = ir.VectorType(real, width)
            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{width}f{8 * size}"
            )
            data = [context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 4, 9)]
            number = io.type

            def times(x, k):
                return builder.mul(x, number(k))

            def load(array, index):
                place = builder.bitcast(builder.gep(array, [index]), vector.as_pointer())
                return builder.load(place, align=size)

            def store(value, array, index):
                place = builder.bitcast(builder.gep(array, [index]), vector.as_pointer())
                builder.store(value, place, align=size)

            def all_lanes(scalar):
                first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.IntType(32)(0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
                return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)

            def summed(value, lanes):
                while lanes > 1:
                    lanes //= 2
                    order = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(lanes)))
                    other = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(lanes, 2 * lanes)))
                    nothing = ir.Constant(value.type, ir.Undefined)
                    value = builder.fadd(
                        builder.shuffle_vector(value, nothing, order), builder.shuffle_vector(value, nothing, other)
                    )
                return builder.extract_element(value, ir.IntType(32)(0))

            cells = [(r, c) for r in range(rows) for c in range(columns)]
            places = {(r, c): builder.add(io, builder.add(times(so, r), times(to, c))) for r, c in cells}
            parts: dict[tuple[int, int], list] = {cell: [] for cell in cells if folded}
            for half in range(SIDE // width):
                total = {cell: cgutils.alloca_once(builder, vector) for cell in cells}
                for cell in cells:
                    begin = ir.Constant(vector, [0.0] * width)
                    if not folded:
                        begin = load(data[0], builder.add(times(places[cell], SIDE), number(half * width)))
                    builder.store(begin, total[cell])
                for half_sum in range(2 if folded else 1):
                    with cgutils.for_range(builder, count) as loop:
                        k = loop.index
                        left, right = [], []
                        for r in range(rows):
                            at = builder.add(builder.add(ia, times(pa, half_sum)), times(ta, r))
                            at = builder.add(at, builder.mul(k, sa))
                            x = load(data[1], builder.add(times(at, SIDE), number(half * width)))
                            left.append(builder.fneg(x) if sign < 0 else x)
                        for c in range(columns):
                            at = builder.add(builder.add(ib, times(pb, half_sum)), times(tb, c))
                            at = builder.add(at, builder.mul(k, sb))
                            if spread:
                                right.append(all_lanes(builder.load(builder.gep(data[2], [at]))))
                            else:
                                right.append(load(data[2], builder.add(times(at, SIDE), number(half * width))))
                        for r, c in cells:
                            now = builder.load(total[r, c])
                            builder.store(builder.call(fma, [left[r], right[c], now]), total[r, c])
                for cell in cells:
                    found = builder.load(total[cell])
                    if not folded:
                        store(found, data[0], builder.add(times(places[cell], SIDE), number(half * width)))
                    else:
                        parts[cell].append(found)
            for cell, found in parts.items():
                while len(found) > 1:  # as lanes are added below: each to that half of all lanes further
                    middle = len(found) // 2
                    found = [builder.fadd(*pair) for pair in zip(found[:middle], found[middle:], strict=True)]
                place = builder.gep(data[0], [places[cell]])
                builder.store(builder.fadd(builder.load(place), summed(found[0], width)), place)
            return context.get_dummy_value()

        return signature, generate

    return operation


SHAPES = ((TILE, TILE), (TILE, 1), (1, FLAT), (1, 1))
_add, _add_high, _add_flat, _add_one = (tile(*shape) for shape in SHAPES)
_less, _less_high, _less_flat, _less_one = (tile(*shape, sign=-1) for shape in SHAPES)
_spread, _spread_high, _spread_flat, _spread_one = (tile(*shape, spread=True) for shape in SHAPES)
_fold, _fold_high, _fold_flat, _fold_one = (tile(*shape, folded=True) for shape in SHAPES)


@compiled
def add_products(rows, columns, out, io, so, to, a, ia, ta, sa, b, ib, tb, sb, count):
    """out[io + r so + c to] += sum_k a[ia + r ta + k sa] b[ib + c tb + k sb], SIDE numbers at each place."""
    r = 0
    while r < rows:
        high = rows - r >= TILE
        c, width = 0, TILE if high else FLAT
        while c < columns:
            wide = columns - c >= width
            o, x, y = io + r * so + c * to, ia + r * ta, ib + c * tb
            if high and wide:
                _add(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            elif high:
                _add_high(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            elif wide:
                _add_flat(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            else:
                _add_one(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            c += width if wide else 1
        r += TILE if high else 1


@compiled
def subtract_products(rows, columns, out, io, so, to, a, ia, ta, sa, b, ib, tb, sb, count):
    """As `add_products`, subtracted."""
    r = 0
    while r < rows:
        high = rows - r >= TILE
        c, width = 0, TILE if high else FLAT
        while c < columns:
            wide = columns - c >= width
            o, x, y = io + r * so + c * to, ia + r * ta, ib + c * tb
            if high and wide:
                _less(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            elif high:
                _less_high(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            elif wide:
                _less_flat(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            else:
                _less_one(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            c += width if wide else 1
        r += TILE if high else 1


@compiled
def add_shared(rows, columns, out, io, so, to, a, ia, ta, sa, b, ib, tb, sb, count):
    """As `add_products`, with one number of b for all samples."""
    r = 0
    while r < rows:
        high = rows - r >= TILE
        c, width = 0, TILE if high else FLAT
        while c < columns:
            wide = columns - c >= width
            o, x, y = io + r * so + c * to, ia + r * ta, ib + c * tb
            if high and wide:
                _spread(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            elif high:
                _spread_high(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            elif wide:
                _spread_flat(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            else:
                _spread_one(out, o, so, to, a, x, ta, sa, 0, b, y, tb, sb, 0, count)
            c += width if wide else 1
        r += TILE if high else 1


@compiled
def add_summed(rows, columns, out, io, so, to, a, ia, ta, sa, pa, b, ib, tb, sb, pb, count):
    """As `add_products`, summed over samples into single numbers of out, of two parts of a and b, pa and pb apart."""
    r = 0
    while r < rows:
        high = rows - r >= TILE
        c, width = 0, TILE if high else FLAT
        while c < columns:
            wide = columns - c >= width
            o, x, y = io + r * so + c * to, ia + r * ta, ib + c * tb
            if high and wide:
                _fold(out, o, so, to, a, x, ta, sa, pa, b, y, tb, sb, pb, count)
            elif high:
                _fold_high(out, o, so, to, a, x, ta, sa, pa, b, y, tb, sb, pb, count)
            elif wide:
                _fold_flat(out, o, so, to, a, x, ta, sa, pa, b, y, tb, sb, pb, count)
            else:
                _fold_one(out, o, so, to, a, x, ta, sa, pa, b, y, tb, sb, pb, count)
            c += width if wide else 1
        r += TILE if high else 1


@compiled
def aligned(memory):
    """Where a flat array can be cut into numbers of SIDE that begin with a line of the cache."""
    return (-memory.ctypes.data // memory.itemsize) % (ALIGN // memory.itemsize)


@compiled
def next_part(memory, at, count):
    """`count` numbers of SIDE of a flat array from its element `at` on, and where they end."""
    return part(memory, at, count * SIDE), at + count * SIDE
