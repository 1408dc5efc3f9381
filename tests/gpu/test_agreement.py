"""Every learning rule computes on a GPU what it computes on the CPU, without waiting for it, and runs change place."""

from __future__ import annotations

import pytest

from tests.gpu.checks import CLOSE, CPU, RUNS, WAITING, agreement, every_case, resumed, updates_without_waiting

CASES = every_case()


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


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("to_gpu", [True, False], ids=["to the GPU", "to the CPU"])
def test_a_run_goes_on_on_the_other_device(place, note, tmp_path, run, to_gpu):
    path = (CPU, place) if to_gpu else (place, CPU)
    apart = max(resumed(RUNS[run], *path, tmp_path))
    where = "on the GPU" if to_gpu else "on the CPU"
    note(f"{run}, resumed {where}: parameters and losses against the CPU's", f"{apart:.1e}", "1e-09")
    assert apart <= 1e-9
