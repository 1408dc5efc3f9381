"""DFC's controller is simulated, and so is its feedback learning: loops over units, samples and time points."""

from __future__ import annotations

from itertools import pairwise

from credit.nets.work import Run, Work

# seconds of feedback learning in float32 for a unit, a sample and a time point, noise included, twice that in float64
FEEDBACK = {"simulation": 1.5e-9, "linearised": 4.5e-9, "projected": 1.2e-9}
PRODUCT = 1.2e-11  # and of a multiplication by a weight or a feedback weight in the simulation


def cost(run: Run) -> Work:
    return dynamics(run, 9.0, 1.2e-8)


def dynamics(run: Run, factor: float, point: float = 0.0) -> Work:
    """Updates of `factor` times backpropagation's cost; point: seconds for a unit, sample and simulated time point."""
    hyper, loops, learned = run.hyper, 0.0, 0.0
    if hyper.get("form", "simulation") == "simulation":
        loops = run.epochs * hyper.get("controller", {}).get("time_points", 0) * point
    feedback = hyper["feedback"] if hyper.get("train_feedback") else {}
    if feedback.get("rule") == "controller":
        until = hyper.get("freeze_feedback_after")
        learning = run.epochs if until is None else min(until, run.epochs)
        passes = hyper["pretrain_epochs"] + learning * (1 + hyper["extra_feedback_passes"])
        point = FEEDBACK[feedback["form"]] * run.units
        if feedback["form"] == "simulation":
            sizes = (*run.net.get("hidden_sizes", ()), run.n_out)
            above = sum(a * b for a, b in pairwise(sizes))
            point += PRODUCT * (above + 2 * run.units * run.n_out)
        learned = passes * feedback["time_points"] * point * run.itemsize / 4
    return run.backpropagation(factor, run.members * run.samples * (run.units * loops + learned))
