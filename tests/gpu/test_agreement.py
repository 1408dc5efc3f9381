"""Every learning rule computes on a GPU what it computes on the CPU, without waiting for it, and runs change place."""

from __future__ import annotations

import pytest
import torch

import credit
from tests.gpu.checks import CLOSE, CPU, RUNS, WAITING, agreement, every_case, resumed, updates_without_waiting

CASES = every_case()


def noise_there(place):
    """Streams of two members, one of them further on than its beginning."""
    rand = credit.Rand([3, 8], device=place.name).drawn_there()
    rand.normal("noise", (2,))
    return rand


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_computes_the_same_on_the_gpu(place, note, case, dtype):
    found = agreement(case, place, dtype)
    name = str(dtype).removeprefix("torch.")
    note(f"{case}, {name}: largest relative deviation", f"{found:.1e}", f"{CLOSE[dtype]:g}")
    assert found <= CLOSE[dtype]


@pytest.mark.parametrize("case", [c for c in CASES if c.rule not in WAITING], ids=str)
def test_updates_never_wait_for_the_gpu(place, case):
    updates_without_waiting(case, place, warm=True)


def test_noise_that_the_gpu_draws_is_normal_and_goes_on_after_a_checkpoint(place):
    rand = noise_there(place)
    before = rand.state_dict()
    first, second = (rand.normal("noise", (2**18,)) for _ in range(2))
    assert first.device.type == "cuda" and not torch.equal(first, second)
    assert float((first * second).mean().abs()) < 0.01
    for draws in (first, second):
        assert float(draws.mean().abs()) < 0.01 and abs(float(draws.std()) - 1) < 0.01
    rand.load_state_dict(before)
    assert torch.equal(rand.normal("noise", (2**18,)), first)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("to_gpu", [True, False], ids=["to the GPU", "to the CPU"])
def test_a_run_goes_on_on_the_other_device(place, note, tmp_path, run, to_gpu):
    path = (CPU, place) if to_gpu else (place, CPU)
    apart = max(resumed(RUNS[run], *path, tmp_path))
    where = "on the GPU" if to_gpu else "on the CPU"
    note(f"{run}, resumed {where}: parameters and losses against the CPU's", f"{apart:.1e}", "1e-09")
    assert apart <= 1e-9
