"""What updates cost, by the formulas of the learning rules: against hand computation, and outside every result."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import torch

from credit.config.parts import METHODS, NETS, REGISTRIES
from credit.config.registry import Registry
from credit.dag.cost import formula
from credit.nets.geometry import activities
from credit.nets.work import Run, Work
from credit.numerics.rand import Rand
from credit.provenance.sources import Sources
from tests.conftest import REPOSITORY

COSTS = Registry("credit.costs", "cost")
DENSE = {"kind": "dense", "hidden_sizes": (4,), "bias": True}
RUN = Run(DENSE, (3,), 2, {"name": "bp"}, samples=10, batch_size=5, epochs=7, members=2, itemsize=4)
DYNAMIC = {
    "form": "simulation", "controller": {"time_points": 50}, "train_feedback": True, "pretrain_epochs": 3,
    "extra_feedback_passes": 1, "feedback": {"rule": "controller", "time_points": 20, "form": "linearised"},
}  # fmt: skip


def test_backpropagation_is_counted_by_hand():
    multiply_adds, weights, numbers = 3 * 4 + 4 * 2, 3 * 4 + 4 + 4 * 2 + 2, 3 + 4 + 2
    work = RUN.backpropagation()
    assert work == Work(2 * 6 * multiply_adds * 5, 2 * 4 * (6 * weights + 5 * 5 * numbers), 1.0, 0.0)
    assert RUN.backpropagation(3.0) == Work(3 * work.operations, 3 * work.bytes, 3.0, 0.0)


@pytest.mark.parametrize("pool", [None, (2,), (3, 2, 1)])
def test_activities_are_those_that_a_forward_pass_makes(pool):
    settings = {"channels": (8, 16), "kernel": (5, 1, 2), "pool": pool, "hidden_sizes": (32,)}
    net = NETS.load("conv").part(**settings).build((3, 32, 32), 10)
    trace = net.forward(net.init(Rand(0)), torch.zeros(1, 3, 32, 32))
    made = sum(step.pre.numel() for step in trace.blocks) + 3 * 32 * 32
    pooled = sum(trace.blocks[i + 1].input.numel() for i in range(2))
    assert activities(settings, (3, 32, 32), 10) == made + pooled


@pytest.mark.parametrize(
    ("rule", "updates", "point"), [("dfc", 9.0, 1.2e-8), ("dfc_ss", 9.0, 6e-9), ("dfc_ssa", 3.0, 0.0)]
)
def test_simulations_take_their_time_for_every_unit_sample_and_time_point(rule, updates, point):
    run = replace(RUN, hyper=DYNAMIC)
    each = 2 * 10 * (4 + 2)  # nets, samples, units
    seconds = each * (7 * 50 * point + (3 + 7 * 2) * 20 * 8e-9)
    work = formula(rule)(run)
    assert work.seconds == pytest.approx(seconds, rel=1e-12)
    assert replace(work, seconds=0.0) == run.backpropagation(updates)
    still = replace(run, hyper={**DYNAMIC, "form": "linearised", "train_feedback": False})
    assert formula(rule)(still).seconds == 0.0


@pytest.mark.parametrize(
    ("rule", "like"), [("pepita_torch", "pepita"), ("pepita_conv_corrected", "pepita"), ("fa", None)]
)
def test_a_rule_without_a_formula_costs_what_its_base_class_does(rule, like):
    assert rule not in COSTS.names()
    assert formula(rule)(RUN) == (formula(like)(RUN) if like else RUN.backpropagation())


@pytest.mark.parametrize("name", METHODS.names())
def test_every_rule_has_a_cost(name):
    hyper = {**DYNAMIC, "name": name}
    work = formula(name)(replace(RUN, hyper=hyper))
    assert min(work.operations, work.bytes, work.calls) > 0
    assert work.seconds >= 0


def test_every_formula_belongs_to_a_rule():
    assert {*COSTS.names()} <= {*METHODS.names()}


def test_no_result_depends_on_a_formula():
    """So that an edit there reruns nothing."""
    sources = Sources()
    modules = [registry.module(name) for registry in REGISTRIES.values() for name in registry.names()]
    figures = [module for module in sources.modules if module.startswith("credit.figures.")]
    scripts = sorted(map(str, (REPOSITORY / "workflow" / "scripts").glob("*.py")))
    users = [root for root in (*modules, *figures, *scripts) if "credit.nets.work" in sources.closure(root)]
    assert scripts
    assert users == []
    for name in COSTS.names():
        assert "torch" not in {item.module for item in sources.source(sources.modules[COSTS.module(name)]).imports}
        assert importlib.import_module(COSTS.module(name)).cost
