"""Sums of products of many samples side by side, held in registers, for compiled loops.

A value of SIDE samples lies in one piece of memory: a number of a flat array is SIDE numbers of one precision here. Up
to TILE by TILE results are summed at a time, as many as the processor has registers for, so that 2 TILE loads serve
TILE² multiplications; the loop compiler, which keeps the sums of an inner loop in memory, would load for each of them.
Sums are formed in a fixed order, whatever the processor. Products are fused with their sum where it has that.
"""

from __future__ import annotations

import numba
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
PLACE, PARTS = types.UniTuple(types.intp, 3), types.UniTuple(types.intp, 4)  # where a sum goes, where factors lie
ALIGN = 64  # bytes, where a number of SIDE should begin


class Lanes:
    """Writes operations on SIDE numbers of one kind, `width` of them in a register, into the code of a loop."""

    def __init__(self, context, builder, kind, bytes_: int):
        self.builder, self.size = builder, kind.bitwidth // 8
        self.width = min(SIDE, bytes_ // self.size)
        self.vector = ir.VectorType(context.get_value_type(kind), self.width)
        name = f"llvm.fmuladd.v{self.width}f{8 * self.size}"
        self.fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(self.vector, [self.vector] * 3), name)

    def _place(self, data, index):
        return self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer())

    def load(self, data, index):
        return self.builder.load(self._place(data, index), align=self.size)

    def store(self, value, data, index) -> None:
        self.builder.store(value, self._place(data, index), align=self.size)

    def zeros(self):
        return ir.Constant(self.vector, [0.0] * self.width)

    def spread(self, scalar):
        """The same number in all lanes."""
        nothing, word = ir.Constant(self.vector, ir.Undefined), ir.IntType(32)
        first = self.builder.insert_element(nothing, scalar, word(0))
        return self.builder.shuffle_vector(
            first, nothing, ir.Constant(ir.VectorType(word, self.width), [0] * self.width)
        )

    def summed(self, registers: list):
        """One number: lanes are added to those half of all lanes further, until one is left."""
        while len(registers) > 1:
            middle = len(registers) // 2
            registers = [self.builder.fadd(*pair) for pair in zip(registers[:middle], registers[middle:], strict=True)]
        (value,), lanes, word = registers, self.width, ir.IntType(32)
        while lanes > 1:
            lanes //= 2
            nothing, kind = ir.Constant(value.type, ir.Undefined), ir.VectorType(word, lanes)
            low, high = (ir.Constant(kind, list(range(start, start + lanes))) for start in (0, lanes))
            value = self.builder.fadd(
                self.builder.shuffle_vector(value, nothing, low), self.builder.shuffle_vector(value, nothing, high)
            )
        return self.builder.extract_element(value, word(0))


def tile(rows: int, columns: int, sign: int = 1, spread: bool = False, folded: bool = False, bytes_: int = BYTES):
    """An operation on flat arrays: out[io + r so + c to] += sign sum_k a[ia + r ta + k sa] b[ib + c tb + k sb], of
    out, (io, so, to), a, (ia, ta, sa, pa), b, (ib, tb, sb, pb) and the number of k.

    Indices count numbers, each of SIDE samples; but `b` has one for all samples where it is `spread`, and `out` takes
    the sum over the samples where it is `folded`. Folded sums go through two parts of a and b, `pa` and `pb` numbers
    apart. bytes_: of a register.
    """
    cells = [(r, c) for r in range(rows) for c in range(columns)]

    def generate(context, builder, signature, arguments):
        *_, count = arguments
        lanes = Lanes(context, builder, signature.args[0].dtype, bytes_)
        out, a, b = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 2, 4))
        (io, so, to), (ia, ta, sa, pa), (ib, tb, sb, pb) = (
            cgutils.unpack_tuple(builder, arguments[i]) for i in (1, 3, 5)
        )
        number, multiply, add = io.type, builder.mul, builder.add

        def at(start, *steps):
            for step, times in steps:
                start = add(start, multiply(step, times if isinstance(times, ir.Value) else number(times)))
            return start

        def lane(index, half):
            return add(multiply(index, number(SIDE)), number(half * lanes.width))

        def left(r, k, half, second):
            x = lanes.load(a, lane(at(ia, (pa, second), (ta, r), (sa, k)), half))
            return builder.fneg(x) if sign < 0 else x

        def right(c, k, half, second):
            index = at(ib, (pb, second), (tb, c), (sb, k))
            return lanes.spread(builder.load(builder.gep(b, [index]))) if spread else lanes.load(b, lane(index, half))

        places = {(r, c): at(io, (so, r), (to, c)) for r, c in cells}
        parts: dict[tuple[int, int], list] = {cell: [] for cell in cells}
        for half in range(SIDE // lanes.width):
            total = {cell: cgutils.alloca_once(builder, lanes.vector) for cell in cells}
            for cell in cells:
                builder.store(lanes.zeros() if folded else lanes.load(out, lane(places[cell], half)), total[cell])
            for second in range(2 if folded else 1):
                with cgutils.for_range(builder, count) as loop:
                    xs = [left(r, loop.index, half, second) for r in range(rows)]
                    ys = [right(c, loop.index, half, second) for c in range(columns)]
                    for r, c in cells:
                        now = builder.load(total[r, c])
                        builder.store(builder.call(lanes.fma, [xs[r], ys[c], now]), total[r, c])
            for cell in cells:
                parts[cell].append(builder.load(total[cell]))
                if not folded:
                    lanes.store(parts[cell][-1], out, lane(places[cell], half))
        for cell in cells if folded else ():
            place = builder.gep(out, [places[cell]])
            builder.store(builder.fadd(builder.load(place), lanes.summed(parts[cell])), place)
        return context.get_dummy_value()

    @intrinsic
    def operation(typing_context, out, at_out, a, at_a, b, at_b, count):
        return types.void(out, PLACE, a, PARTS, b, PARTS, types.intp), generate

    return operation


def walk(**kind):
    """A compiled function that goes over all results in tiles as large as fit; see `tile` for the kinds."""
    whole, high_one, flat, one = (tile(*shape, **kind) for shape in SHAPES)

    @numba.njit(error_model="numpy", nogil=True, inline="always")  # into the loops that are kept on disk
    def function(shape, out, at_out, a, at_a, b, at_b):
        rows, columns, count = shape
        (io, so, to), (ia, ta, sa, pa), (ib, tb, sb, pb) = at_out, at_a, at_b
        r = 0
        while r < rows:
            high = rows - r >= TILE
            c, width = 0, TILE if high else FLAT
            while c < columns:
                wide = columns - c >= width
                o, x, y = (io + r * so + c * to, so, to), (ia + r * ta, ta, sa, pa), (ib + c * tb, tb, sb, pb)
                if high and wide:
                    whole(out, o, a, x, b, y, count)
                elif high:
                    high_one(out, o, a, x, b, y, count)
                elif wide:
                    flat(out, o, a, x, b, y, count)
                else:
                    one(out, o, a, x, b, y, count)
                c += width if wide else 1
            r += TILE if high else 1

    return function


SHAPES = ((TILE, TILE), (TILE, 1), (1, FLAT), (1, 1))
_added, _subtracted, _shared, _summed = walk(), walk(sign=-1), walk(spread=True), walk(folded=True)


@compiled
def add_products(shape, out, at_out, a, at_a, b, at_b):
    """out[io + r so + c to] += sum_k a[ia + r ta + k sa] b[ib + c tb + k sb], SIDE numbers at each place.

    shape: how many r, c and k. at_out: (io, so, to), at_a: (ia, ta, sa), at_b: (ib, tb, sb).
    """
    (ia, ta, sa), (ib, tb, sb) = at_a, at_b
    _added(shape, out, at_out, a, (ia, ta, sa, 0), b, (ib, tb, sb, 0))


@compiled
def subtract_products(shape, out, at_out, a, at_a, b, at_b):
    """As `add_products`, subtracted."""
    (ia, ta, sa), (ib, tb, sb) = at_a, at_b
    _subtracted(shape, out, at_out, a, (ia, ta, sa, 0), b, (ib, tb, sb, 0))


@compiled
def add_shared(shape, out, at_out, a, at_a, b, at_b):
    """As `add_products`, with one number of b for all samples."""
    (ia, ta, sa), (ib, tb, sb) = at_a, at_b
    _shared(shape, out, at_out, a, (ia, ta, sa, 0), b, (ib, tb, sb, 0))


@compiled
def add_summed(shape, out, at_out, a, at_a, b, at_b):
    """As `add_products`, summed over samples into single numbers of out, of two parts of a and b: (ia, ta, sa, pa) and
    (ib, tb, sb, pb) end with how far apart they are."""
    _summed(shape, out, at_out, a, at_a, b, at_b)


@compiled
def aligned(memory):
    """Where a flat array can be cut into numbers of SIDE that begin with a line of the cache."""
    return (-memory.ctypes.data // memory.itemsize) % (ALIGN // memory.itemsize)


@compiled
def next_part(memory, at, count):
    """`count` numbers of SIDE of a flat array from its element `at` on, and where they end."""
    return part(memory, at, count * SIDE), at + count * SIDE
