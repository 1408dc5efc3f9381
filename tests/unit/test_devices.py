"""Every learning rule on a device that only says that it is one: what a GPU refuses, and what waits for it."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass

import pytest
import torch

import credit
from credit.methods.base import Method
from credit.numerics import devices, rand
from credit.numerics.devices import moved, on
from credit.numerics.rand import LARGE
from credit.numerics.trees import clone
from credit.training.fast import ask
from credit.training.loop import Training
from tests.gpu import test_speed
from tests.gpu.checks import CLOSE, CPU, RUNS, WAITING, Case, agreement, every_case, resumed, updates_without_waiting
from tests.gpu.places import Place, apart
from tests.pretended import Elsewhere, Pretended

CASES = every_case()
ONLINE = ("di", "ndi", "pbp", "sdi", "di_bp", "di_fa")  # their fast form is made of torch's operations


@dataclass(frozen=True)
class Nowhere(Place):
    """The pretended device."""

    pretended: Pretended | None = None

    def watched(self):
        return self.pretended.watched()


@pytest.fixture
def place():
    with Pretended() as pretended:
        yield Nowhere("cuda", pretended)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_mixes_no_devices_and_computes_the_same(place, case):
    """Its numbers are the CPU's, but by the plain operations that a GPU has, without compiled loops."""
    assert agreement(case, place, torch.float64) <= CLOSE[torch.float64]


@pytest.mark.parametrize("case", [c for c in CASES if c.rule not in WAITING], ids=str)
def test_updates_never_wait_for_the_device(place, case):
    updates_without_waiting(case, place)


@pytest.mark.parametrize("name", WAITING)
def test_rules_that_are_said_to_wait_do(place, name):
    with pytest.raises(RuntimeError, match="makes the host wait for the device"):
        updates_without_waiting(Case(name, "dense"), place)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("to_device", [True, False])
def test_a_run_goes_on_on_the_other_device(place, tmp_path, run, to_device):
    path = (CPU, place) if to_device else (place, CPU)
    assert max(resumed(RUNS[run], *path, tmp_path)) <= 1e-11


@pytest.mark.parametrize("case", CASES[::8], ids=str)
def test_the_checks_pass_on_the_cpu(case):
    assert agreement(case, CPU, torch.float32) == 0


FAST = [
    Case("pepita", "dense", net={"keep": 0.7, "hidden": "relu", "bias": False}),
    Case("ldrl", "conv", net={"hidden": "elu"}),
    Case("bp", "conv", net={"hidden": "elu"}),
    Case("pc", "dense", net={"hidden": "tanh", "loss": "squared_error_sum"}),
    *(Case(name, "dense") for name in ONLINE),
]


def wide(case: Case, seeds: list[int], device: str):
    """A net that the rule has a fast form for on the CPU, with everything that `fast` takes."""
    if case.kind == "conv":
        net, size = credit.conv([2, 8, 8], [3, 4], [5], 4, kernel=(3, 1, 1), pool=2, **case.net), 6
    else:
        net, size = credit.dense([70, 7, 4], **({"hidden": "tanh"} | case.net)), 100
    size = 1 if case.rule in ONLINE else size
    rule, rand = credit.method(case.rule, **case.hyper), credit.Rand(seeds, device=device)
    params = net.init(rand, "xavier_normal")
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.05})
    batch = credit.Batch(rand.normal("x", (size, *net.shape_in)), rand.integers("y", (size,), 4))
    return rule, net, params, opt, state, batch, size, rand


@pytest.mark.parametrize("case", FAST, ids=str)
def test_fast_forms_that_need_the_cpu_are_not_used_elsewhere(place, case):
    """On the device a rule has none, or one that runs there: compiled loops would refuse its tensors."""
    seeds = [3] if case.kind == "conv" else [3, 8]
    trained = []
    for device in ("cpu", "cuda"):
        *where, batch, size, rand = wide(case, seeds, device)
        fast = ask(*where, batch, size)
        if device == "cpu":
            assert fast is not None
        elif case.rule in ("bp", "pc", "pepita"):
            assert fast is None
        if fast is not None and fast.at_once > 1 and not fast.alone:  # two samples at once
            parts = (torch.cat([t, t], 1) for t in (batch.x, batch.y))
            batch = credit.Batch(*parts)
        rule, net, params, opt, state = where
        if fast is None:
            params, _, state, _ = rule.update(net, params, opt, state, batch, rand)
        else:
            params, _, state, _ = fast(params, opt, state, batch, rand)
        trained.append(params)
    assert all(p.device.type == "cuda" for block in params.values() for p in block.values())
    assert apart(trained[1], trained[0]) <= CLOSE[torch.float32]


def test_every_rule_with_a_fast_form_is_among_these():
    with_fast = {c.rule for c in CASES if type(credit.method(c.rule)).fast is not Method.fast}
    asked = {type(credit.method(c.rule)).fast for c in FAST}
    assert {type(credit.method(name)).fast for name in with_fast} <= asked


def test_large_noise_is_drawn_on_the_device_where_that_is_asked_for(place, monkeypatch):
    monkeypatch.setattr(devices, "generator", lambda device, seed: torch.Generator().manual_seed(seed))
    asked, here = credit.Rand([3, 8, 3], device="cuda"), credit.Rand([3, 8, 3])
    there = asked.drawn_there()
    small, large = (4,), (LARGE // 4, 4)
    assert apart({"": there.normal("noise", small)}, {"": here.normal("noise", small)}) == 0
    before = there.state_dict()
    with place.watched():
        drawn = there.normal("noise", large)
    assert isinstance(drawn, Elsewhere) and drawn.shape == (3, *large)
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])
    assert abs(float(drawn.mean())) < 0.03 and abs(float(drawn.std()) - 1) < 0.03
    assert not torch.equal(there.normal("noise", large), drawn)
    asked.load_state_dict(before)  # the streams are one
    assert torch.equal(there.normal("noise", large), drawn)
    given = torch.ones(3, *large)
    assert torch.equal(there.with_replay({"noise": given}).normal("noise", large).cpu(), given)


def test_on_the_cpu_noise_is_the_same_whoever_is_asked_to_draw_it():
    plain, asked = credit.Rand([3]), credit.Rand([3]).drawn_there()
    assert torch.equal(asked.normal("noise", (LARGE,)), plain.normal("noise", (LARGE,)))


def test_the_learner_of_a_run_draws_on_the_device_after_the_weights_were_drawn(place, monkeypatch):
    monkeypatch.setattr(devices, "generator", lambda device, seed: torch.Generator().manual_seed(seed))
    monkeypatch.setattr(rand, "LARGE", 1)
    found = {}
    for noise in ("cpu", "device"):
        settings = copy.deepcopy(RUNS["ldrl"])
        settings["train"]["noise"] = noise
        training = Training(settings, device="cuda", log=io.StringIO())
        begun = clone(training.learner.params)
        training.run()
        found[noise] = begun, training.learner.state["feedback"]
    assert apart(found["device"][0], found["cpu"][0]) == 0
    assert apart(found["device"][1], found["cpu"][1]) > 1e-6


def test_numbers_are_moved_without_waiting_and_without_loss(place):
    like = torch.zeros(2, dtype=torch.float64, device="cuda")
    with place.watched():
        found = on([0.1, 0.2], like)
        also = moved(torch.tensor([0.3], dtype=torch.float64), like.device, torch.float32)
    assert isinstance(found, Elsewhere) and found.tolist() == [0.1, 0.2]
    assert also.dtype == torch.float32 and also.device.type == "cuda"


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(), lambda x: float(x[0]), lambda x: bool((x > 0).all()), lambda x: x.cpu(),
        lambda x: x.tolist(), lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: torch.equal(x, x),
        lambda x: torch.ones(3).to(x), lambda x: torch.tensor([1.0], device=x.device), lambda x: x[torch.tensor([0])],
        lambda x: x.copy_(torch.ones(3)), lambda x: torch.linalg.eigvals(torch.outer(x, x)),
        lambda x: torch.linalg.solve(torch.outer(x, x) + torch.eye(3, device=x.device), x),
    ],
)  # fmt: skip
def test_the_pretended_device_knows_what_waits(place, wait):
    x = torch.arange(3.0, device="cuda")
    with place.watched(), pytest.raises(RuntimeError, match="makes the host wait"):
        wait(x)


def test_the_pretended_device_refuses_what_a_device_refuses(place):
    x = torch.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        x + torch.ones(3)
    with pytest.raises((TypeError, RuntimeError)):
        x.numpy()
    with place.watched():
        assert isinstance(torch.where(x > 0, x * 2.0, 0.0).relu().mul_(torch.tensor(2.0)), Elsewhere)


def test_the_timings_of_the_gpu_tests_run_on_the_cpu(monkeypatch):
    monkeypatch.setitem(test_speed.NETS["LeNet"][1], "iterations", [2, 1, 1])
    assert test_speed.dense_ratio("bp", CPU, [20, 8, 4], warm=1, repeats=3) > 0
    assert all(seconds > 0 for seconds in test_speed.conv_times("ldrl", "LeNet", CPU, size=2))
