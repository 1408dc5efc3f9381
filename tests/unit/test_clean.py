"""`credit clean`: what nothing needs any more goes, and nothing else; and what is kept is not planned again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_checkout import Checkout, put, put_choice, searching

from credit.__main__ import main
from credit.dag.clean import used_by_results
from credit.provenance import store as stores
from credit.provenance.store import Store
from credit.training.reuse import Block, keep_block

RUN = "results/runs/toy/fit/near/fa/shard0.jsonl"
STORE = Path("results/store")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


@pytest.fixture
def credit(checkout, capsys):
    """Runs a command; returns (exit code, lines printed)."""

    def run(*arguments: str) -> tuple[int, list[str]]:
        code = main(arguments, checkout.root)
        return code, capsys.readouterr().out.splitlines()

    return run


def made(workflow, path: str = RUN, inputs=(), chosen=None) -> Path:
    """A result that its job has made and kept."""
    put(workflow, path, chosen)
    keep_block(STORE, Block.of(workflow.run_spec(path), Path(path), list(map(Path, inputs))), {"seconds": 1.0})
    return Path(path)


def entries() -> list[Path]:
    return sorted(STORE.rglob(f"*{stores.ENTRY}"))


def test_without_a_store_there_is_nothing_to_free(credit):
    nothing = "results/store: would free 0 kB of 0 blocks that neither a result nor the present configuration needs; "
    assert credit("clean") == (0, [f"{nothing}0 stay"])


def test_what_the_present_configuration_asks_for_stays_at_both_scales_and_in_all_runs(checkout, credit):
    for config in ({}, {"scale": "quick"}, {"run": "second"}):
        workflow = checkout.workflow(**config)
        made(workflow, RUN.replace("results", workflow.results)).unlink()
    assert len(entries()) == 2, "the run has the same block"
    code, lines = credit("clean", "--yes")
    assert (code, lines[-1].endswith("; 2 stay"), len(entries())) == (0, True, 2)


def test_what_was_taken_back_goes_unless_it_is_a_result(checkout, credit):
    path = made(checkout.workflow())
    size = path.stat().st_size
    checkout.change(train={"epochs": 5})
    lines = credit("clean")[1]
    assert (len(lines), lines[0].endswith("; 1 stay")) == (1, True), "a stale result is one"
    path.unlink()
    lines = credit("clean")[1]
    kilobytes = f"{-(-size // 1000)} kB"
    assert lines == [
        f"toy/fit: 1 block, {kilobytes}",
        f"results/store: would free {kilobytes} of 1 block that neither a result nor the present configuration needs; "
        "0 stay; --yes deletes them",
    ]
    assert len(entries()) == 1, "dry by default"
    assert credit("clean", "--yes")[1][-1].startswith(f"results/store: freed {kilobytes} of 1 block")
    assert list(STORE.iterdir()) == []


def test_a_block_to_which_a_result_is_a_symbolic_link_stays(checkout, credit, monkeypatch, tmp_path):
    path = made(checkout.workflow())
    path.unlink()
    [entry] = [stores.read(p) for p in entries()]
    monkeypatch.setattr(stores, "LARGE", 0)
    disk = tmp_path / "disk"
    disk.mkdir()
    Path("results/third").symlink_to(disk)
    stores.place(entry.files[".jsonl"][0], Path("results/third/quick") / RUN.removeprefix("results/"))
    (disk / "loop").symlink_to(tmp_path / "results")
    checkout.change(train={"epochs": 5})
    assert credit("clean", "--yes")[1][-1].endswith("; 1 stay")
    assert used_by_results()(entry.files[".jsonl"][0])


def test_a_search_that_the_configuration_asks_for_stays(checkout, credit):
    checkout.write("toy/fit", searching(tables={"table1": {"options": {"metric": "test_loss"}}}))
    choice = "results/runs/toy/fit/near/bp/choice.json"
    workflow = checkout.workflow()
    put_choice(workflow, choice)
    keep_block(STORE, Block.of(workflow.run_spec(choice), Path(choice), []), {})
    Path(choice).unlink()
    assert credit("clean")[1][-1].endswith("; 1 stay")


def test_files_of_no_block_go(checkout, credit):
    path = made(checkout.workflow())
    [entry] = entries()
    (entry.parent / f"{'0' * 32}.jsonl").write_text("x" * 5000)
    lines = credit("clean")[1]
    assert lines[0] == "files that belong to no block: 1"
    assert "would free 5 kB of 0 blocks" in lines[1]
    credit("clean", "--yes")
    assert (len(list(entry.parent.iterdir())), path.exists()) == (2, True)
    entry.write_text("{")
    assert credit("clean")[1][0] == "files that belong to no block: 2", "the entry, and what only it named"
    credit("clean", "--yes")
    assert (list(Store(STORE)), path.exists()) == ([], True)


def test_what_is_kept_is_not_planned_as_work(checkout, credit):
    path = made(checkout.workflow())
    os.utime(path)
    before = credit("plan", RUN)[1][-2]
    assert before.endswith("nothing")
    path.unlink()
    assert credit("plan", RUN)[1][-2].endswith("nothing")
    [entry] = entries()
    entry.unlink()
    assert "1 of 1 jobs" in credit("plan", RUN)[1][-2]


def test_a_run_is_looked_for_with_the_choice_beside_it(checkout, credit):
    checkout.write("toy/fit", searching(tables={"table1": {"options": {"metric": "test_loss"}}}))
    run, choice = (f"results/runs/toy/fit/near/bp/{name}" for name in ("shard0.jsonl", "choice.json"))
    workflow = checkout.workflow()
    put_choice(workflow, choice)
    made(workflow, run, [choice], {"train.optimizer.lr": 0.1}).unlink()
    assert credit("plan", run)[1][-2].endswith("nothing")
    put_choice(workflow, choice, best=0.3)
    assert "1 of 2 jobs" in credit("plan", run)[1][-2]
