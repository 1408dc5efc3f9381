"""DFC's controller is simulated, and so is its feedback learning: loops over units, samples and time points."""

from credit.nets.work import Run, Work

# seconds that a simulation of feedback learning takes for a unit, a sample and a time point, noise included
FEEDBACK = {"simulation": 1.2e-8, "linearised": 8e-9, "projected": 4e-9}


def cost(run: Run) -> Work:
    return dynamics(run, 9.0, 1.2e-8)


def dynamics(run: Run, factor: float, point: float = 0.0) -> Work:
    """Updates of `factor` times backpropagation's cost; point: seconds for a unit, sample and simulated time point."""
    hyper, loops = run.hyper, 0.0
    if hyper.get("form", "simulation") == "simulation":
        loops = run.epochs * hyper.get("controller", {}).get("time_points", 0) * point
    feedback = hyper["feedback"] if hyper.get("train_feedback") else {}
    if feedback.get("rule") == "controller":
        until = hyper.get("freeze_feedback_after")
        learning = run.epochs if until is None else min(until, run.epochs)
        passes = hyper["pretrain_epochs"] + learning * (1 + hyper["extra_feedback_passes"])
        loops += passes * feedback["time_points"] * FEEDBACK[feedback["form"]]
    return run.backpropagation(factor, run.members * run.samples * run.units * loops)
