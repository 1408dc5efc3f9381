"""Arithmetic of vectors and of systems of tens of equations, for compiled loops: flat arrays of one precision.

Sums are added in a fixed order, so that results do not depend on the CPU's vector width.
"""

from __future__ import annotations

from credit.numerics.compiled import compiled


@compiled
def dot(a, b):
    """a . b in eight lanes."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = a[0] * 0
    whole = a.shape[0] - a.shape[0] % 8
    for j in range(0, whole, 8):
        s0 += a[j] * b[j]
        s1 += a[j + 1] * b[j + 1]
        s2 += a[j + 2] * b[j + 2]
        s3 += a[j + 3] * b[j + 3]
        s4 += a[j + 4] * b[j + 4]
        s5 += a[j + 5] * b[j + 5]
        s6 += a[j + 6] * b[j + 6]
        s7 += a[j + 7] * b[j + 7]
    for j in range(whole, a.shape[0]):
        s0 += a[j] * b[j]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@compiled
def add_rows(out, factors, rows, count):
    """out += sum of factors[l] rows[l], l < count; four rows at a time."""
    whole = count - count % 4
    for k in range(0, whole, 4):
        a, b, c, d = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        w, x, y, z = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        for j in range(out.shape[0]):
            out[j] += (a * w[j] + b * x[j]) + (c * y[j] + d * z[j])
    for k in range(whole, count):
        a, w = factors[k], rows[k]
        for j in range(out.shape[0]):
            out[j] += a * w[j]


@compiled
def factorise(matrix, order, eps):
    """LU with row exchanges in place; whether no pivot is rounding."""
    n = matrix.shape[0]
    smallest, largest = abs(matrix[0, 0]), abs(matrix[0, 0]) * 0
    for k in range(n):
        best = k
        for r in range(k + 1, n):
            if abs(matrix[r, k]) > abs(matrix[best, k]):
                best = r
        order[k] = best
        for c in range(n):
            matrix[k, c], matrix[best, c] = matrix[best, c], matrix[k, c]
        pivot = matrix[k, k]
        smallest = abs(pivot) if k == 0 else min(smallest, abs(pivot))
        largest = max(largest, abs(pivot))
        for r in range(k + 1, n):
            matrix[r, k] /= pivot
            for c in range(k + 1, n):
                matrix[r, c] -= matrix[r, k] * matrix[k, c]
    return smallest > eps * largest


@compiled
def substitute(matrix, order, x):
    """x = matrix^-1 x from `factorise`."""
    n = matrix.shape[0]
    for k in range(n):
        x[k], x[order[k]] = x[order[k]], x[k]
    for k in range(n):
        for c in range(k):
            x[k] -= matrix[k, c] * x[c]
    for k in range(n - 1, -1, -1):
        for c in range(k + 1, n):
            x[k] -= matrix[k, c] * x[c]
        x[k] /= matrix[k, k]
