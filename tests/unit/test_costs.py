"""What updates cost, by the formulas of the learning rules: against hand computation, and outside every result."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import credit
from credit.config import hyperparameters
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


def test_simulated_feedback_learning_takes_its_time_for_every_product_too():
    simulation = {**DYNAMIC, "feedback": {**DYNAMIC["feedback"], "form": "simulation"}}
    seconds = [formula("dfc_ssa")(replace(RUN, hyper=simulation, itemsize=size)).seconds for size in (4, 8)]
    products = 4 * 2 + 2 * (4 + 2) * 2  # weights above the first layer, feedback weights there and back
    assert seconds[0] == pytest.approx(2 * 10 * (3 + 7 * 2) * 20 * ((4 + 2) * 1.5e-9 + products * 1.2e-11), rel=1e-12)
    assert seconds[1] == pytest.approx(2 * seconds[0], rel=1e-12)


@pytest.mark.parametrize(
    ("rule", "updates", "point"), [("dfc", 9.0, 1.2e-8), ("dfc_ss", 9.0, 6e-9), ("dfc_ssa", 3.0, 0.0)]
)
def test_simulations_take_their_time_for_every_unit_sample_and_time_point(rule, updates, point):
    run = replace(RUN, hyper=DYNAMIC)
    each = 2 * 10 * (4 + 2)  # nets, samples, units
    seconds = each * (7 * 50 * point + (3 + 7 * 2) * 20 * 4.5e-9)
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


NETS_OF_TARGETS = {
    "dense": ({"hidden_sizes": [32, 24, 16]}, (40,)),
    "conv": ({"channels": [4, 6], "kernel": [5, 1, 2], "pool": [3, 2, 1], "hidden_sizes": [12]}, (1, 12, 12)),
    "resnet": ({"channels": [4, 6], "blocks": [1, 2]}, (2, 8, 8)),
}


@pytest.mark.parametrize("kind", NETS_OF_TARGETS)
@pytest.mark.parametrize(
    "name", ["ldrl", "pldrl", "dtp", "tp", "ddtp_linear", "ddtp_rhl", "ddtp_control", "dtpdrl", "drl_dtp"]
)
def test_target_propagation_costs_what_is_counted(name, kind):
    """The operations of an update as torch counts them; of stages about, since what lies within them is lumped."""
    module, given = METHODS.module(name), {} if name == "pldrl" else {"feedback": {"iterations": 2}}
    if kind not in hyperparameters.constants(module)["nets"]:
        pytest.skip("not defined for it")
    if "pretrain_epochs" in hyperparameters.fields(module):
        given |= {"pretrain_epochs": 0, "extra_feedback_passes": 0}
    given |= {"units": 8} if name == "ddtp_rhl" else {}
    settings, shape = NETS_OF_TARGETS[kind]
    net = NETS.load(kind).part(**settings).build(shape, 10)
    rule, rand = credit.method(name, **given), Rand(0)
    params = net.init(rand, "torch_default")
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    batch = credit.Batch(torch.randn(5, *shape), torch.arange(5))
    with FlopCounterMode(display=False) as counter:
        rule.update(net, params, opt, state, batch, rand)
    full = {"kind": kind, **hyperparameters.check(NETS.module(kind), settings, "net")}
    hyper = {"name": name, **hyperparameters.check(module, given, name)}
    work = formula(name)(Run(full, shape, 10, hyper, 5, 5, 3, 1, 4))
    tolerance = 0.35 if kind == "resnet" else 1e-9
    assert work.operations == pytest.approx(counter.get_total_flops(), rel=tolerance)


def test_a_step_of_learned_feedback_on_lenet_takes_four_passes_through_its_block():
    """Counts for the LeNet of Ernoult et al. on 28 x 28 images: 1.97 billion multiply-adds of feedback for a sample."""
    lenet = {"kind": "conv", "channels": (32, 64), "kernel": (5, 1, 2), "pool": (3, 2, 1), "hidden_sizes": (512,)}
    hyper = {"name": "ldrl", "feedback": {"iterations": (41, 51, 24)}}
    run = Run(lenet, (1, 28, 28), 10, hyper, 256, 256, 1, 1, 4)
    still = replace(run, hyper={"name": "ldrl", "feedback": {"iterations": 0}})
    learned = (formula("ldrl")(run).operations - formula("ldrl")(still).operations) / (2 * 256)
    conv1, dense0, dense1 = 14 * 14 * 32 * 64 * 25, 3136 * 512, 512 * 10
    assert learned == pytest.approx(4 * (41 * conv1 + 51 * dense0 + 24 * dense1), rel=1e-9)
    assert learned == pytest.approx(1.97e9, rel=0.005)


def test_passes_of_the_feedback_alone_are_shared_out_among_the_updates():
    hyper = {**DYNAMIC, "name": "ddtp_linear", "pretrain_epochs": 0, "extra_feedback_passes": 0}
    once = formula("ddtp_linear")(replace(RUN, hyper=hyper)).operations
    more = formula("ddtp_linear")(replace(RUN, hyper={**hyper, "pretrain_epochs": 7})).operations
    extra = formula("ddtp_linear")(replace(RUN, hyper={**hyper, "extra_feedback_passes": 1})).operations
    assert more == pytest.approx(extra, rel=1e-12)  # 7 epochs before, or one after each of 7
    assert more > once


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
