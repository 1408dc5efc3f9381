"""What is said of a number found here beside a reference, in three words, by a rule for each kind of reference.

`consistent`: the rule would be kept by another such set of runs in 95 of 100 cases, and it is kept; `inconsistent`:
it is broken; `inconclusive`: fewer than three runs, or nothing that could tell the reference from its rivals. The
kinds:

mean
    A mean of runs. It must lie in the prediction interval around the reference (`credit.analysis.intervals`): with the
    published standard deviation, pooled with ours from three runs on; where the reference has no spread, no number of
    runs, or is a single run, with our own spread over seeds. Its precision is added on both sides. Where the means of
    all rivals lie inside as well, the interval is too wide to say anything.
exact
    It is stated without any spread, since nothing about it is random or it follows from the equations: it must lie
    within its precision, from one run on.
order
    A difference of which the sign is the claim: our 95 % interval of the paired differences must lie on the same side
    of 0. On the other side it is inconsistent; about 0 it is inconclusive, as it is where the reference itself is no
    farther from 0 than its precision.
bound
    An upper bound: our 95 % interval must lie below it; above it is inconsistent.
point
    The best point of a grid: it must be among those that cannot be told from our best one, which the summary's limits
    hold. Where no point can be told from it, it is inconclusive.

No verdict is given on the survivors where runs diverged and do not count in the mean, unless all of at least three did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit.analysis.intervals import POOLED_FROM, SHIFT, Interval, of_own_spread, prediction, wrong_side
from credit.analysis.tables import CONFIDENCE

CONSISTENT, INCONSISTENT, INCONCLUSIVE = "consistent", "inconsistent", "inconclusive"
VERDICTS = (CONSISTENT, INCONSISTENT, INCONCLUSIVE)
LEAST = POOLED_FROM  # runs, for a verdict on what is random
NAN = float("nan")


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason, and what was asked for.

    low, high: what ours must lie within. false_failure: probability of `inconsistent` for runs of the same population;
    power: the same for a population that is two standard deviations away (the published one's, else ours), for an order
    that is as large the other way round. Both hold for the rule with these numbers of runs, even where there are too
    few for a verdict; NaN where they depend on more than the rule.
    """

    verdict: str
    reason: str
    low: float = NAN
    high: float = NAN
    false_failure: float = NAN
    power: float = NAN


def judge(reference: Mapping[str, Any], ours: Mapping[str, Any], rivals: Sequence[float] = ()) -> Judgement:
    """The verdict on a row of a summary by the rule of the reference's kind, see above.

    reference: kind, mean, std, n, precision (NaN: none). ours: mean, se, runs, lost, ci_low, ci_high. rivals:
    reference means of other methods for the same number that the reference tells from this one.
    """
    runs, lost = int(ours["runs"]), int(ours["lost"])
    if lost and not runs:
        verdict = INCONSISTENT if lost >= LEAST else INCONCLUSIVE
        return Judgement(verdict, f"all {lost} runs diverged")
    found = RULES[reference["kind"]](reference, ours, rivals)
    if lost:
        reason = f"{lost} of {runs + lost} runs diverged: no verdict from the others"
    elif reference["kind"] != "exact" and runs < LEAST:
        reason = f"{_runs(runs)}; {found.reason}"
    else:
        return found
    return Judgement(INCONCLUSIVE, reason, found.low, found.high, found.false_failure, found.power)


def _runs(n: int) -> str:
    return f"{n} run{'s' if n > 1 else ''}"


def _mean(reference: Mapping[str, Any], ours: Mapping[str, Any], rivals: Sequence[float]) -> Judgement:
    found = interval_of(reference, ours)
    if found is None:
        return Judgement(INCONCLUSIVE, "neither the reference nor our runs have a spread")
    interval, whose = found
    mean, half = reference["mean"], interval.half
    shift = SHIFT * (interval.sd if whose.startswith(OWN) else reference["std"])
    said = mean - half, mean + half, interval.failure(), interval.failure(shift)
    reason = f"{whose}, {interval.df:g} degree{'s' if interval.df > 1 else ''} of freedom"
    if abs(ours["mean"] - mean) > half:
        return Judgement(INCONSISTENT, f"outside: {reason}", *said)
    inside = [rival for rival in rivals if abs(rival - mean) <= half]
    if rivals and len(inside) == len(rivals):
        return Judgement(INCONCLUSIVE, f"too wide, all rivals lie inside: {reason}", *said)
    return Judgement(CONSISTENT, f"inside: {reason}", *said)


PUBLISHED, POOLED, OWN = "published spread", "published spread pooled with ours", "our spread over seeds"


def interval_of(reference: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[Interval, str] | None:
    """Prediction interval of a mean, and whose spread it has; None where there is none."""
    n, m, sd = int(ours["runs"]), reference["n"], reference["std"]
    own = ours["se"] * np.sqrt(n)
    precision = _number(reference["precision"])
    if np.isfinite(sd) and m >= 2:
        pooled = n >= POOLED_FROM and np.isfinite(own)
        return prediction(sd, m, own, n, precision), POOLED if pooled else PUBLISHED
    if not np.isfinite(own) or n < 2:
        return None
    many = np.isfinite(m) and m > 1
    whose = OWN if many else f"{OWN}, beside one run" if m == 1 else f"{OWN}, beside what is taken for one run"
    return of_own_spread(own, n, m if many else 1.0, precision), whose


def _exact(reference: Mapping[str, Any], ours: Mapping[str, Any], _: Sequence[float]) -> Judgement:
    mean, precision = reference["mean"], _number(reference["precision"])
    inside = abs(ours["mean"] - mean) <= precision
    reason = f"{'within' if inside else 'outside'} its precision"
    verdict = CONSISTENT if inside else INCONSISTENT
    return Judgement(verdict, reason, mean - precision, mean + precision, 0.0, 1.0)


def _order(reference: Mapping[str, Any], ours: Mapping[str, Any], _: Sequence[float]) -> Judgement:
    mean, precision = reference["mean"], _number(reference["precision"])
    sign = np.sign(mean)
    limits = (-np.inf, 0.0) if mean < 0 else (0.0, np.inf)
    if abs(mean) <= precision:
        return Judgement(INCONCLUSIVE, "the reference does not tell its sign", *limits)
    low, high = ours["ci_low"], ours["ci_high"]
    if not np.isfinite(low + high):
        return Judgement(INCONCLUSIVE, "no interval of the differences", *limits)
    rates = [wrong_side(ours["se"], ours["runs"], side * abs(mean)) for side in (-1, 1)]
    reason = f"our 95 % interval goes from {low:.3g} to {high:.3g}"
    nearer, farther = sorted((sign * low, sign * high))
    verdict = CONSISTENT if nearer > 0 else INCONSISTENT if farther < 0 else INCONCLUSIVE
    return Judgement(verdict, reason, *limits, *rates)


def _bound(reference: Mapping[str, Any], ours: Mapping[str, Any], _: Sequence[float]) -> Judgement:
    bound, low, high = reference["mean"], ours["ci_low"], ours["ci_high"]
    if not np.isfinite(low + high):
        return Judgement(INCONCLUSIVE, "no interval of the mean", -np.inf, bound)
    rates = (wrong_side(ours["se"], ours["runs"], SHIFT * ours["se"] * np.sqrt(ours["runs"]) * k) for k in (0, 1))
    reason = f"our 95 % interval goes from {low:.3g} to {high:.3g}"
    verdict = CONSISTENT if high <= bound else INCONSISTENT if low > bound else INCONCLUSIVE
    return Judgement(verdict, reason, -np.inf, bound, *rates)


def _point(reference: Mapping[str, Any], ours: Mapping[str, Any], _: Sequence[float]) -> Judgement:
    low, high = ours["ci_low"], ours["ci_high"]
    if not np.isfinite(low + high):
        return Judgement(INCONCLUSIVE, "no point of the grid can be told from our best one")
    inside = low <= reference["mean"] <= high
    reason = f"points from {low:g} to {high:g} cannot be told from our best one"
    return Judgement(CONSISTENT if inside else INCONSISTENT, reason, low, high, 1 - CONFIDENCE)


RULES: dict[str, Callable[..., Judgement]] = {
    "mean": _mean, "exact": _exact, "order": _order, "bound": _bound, "point": _point,
}  # fmt: skip


def _number(value: float) -> float:
    return float(value) if np.isfinite(value) else 0.0
