"""Nothing is trained twice: an edit and back, another run, runs that take turns; and what the store would free."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.workflow.checkout import ALL_TEACHER, Checkout, images

IMAGES, TEACHER = "tables/cross/images.csv", "tables/cross/teacher.csv"
SECOND = ("--config", "run=second", "--")
STARTED = "runs/cross/teacher/teacher/after/shard0.jsonl"
WEIGHTS = "runs/cross/teacher/teacher/bp/shard0.safetensors"
SMALL = ("--max-checksum-file-size", "1000000")  # of which Snakemake keeps no checksum; profiles/default has more


def logs(project: Checkout, run: str = "") -> list[str]:
    """What the trainings and searches of a run said."""
    folder = project.path(run) / "logs"
    kinds = ("train", "search_settings")
    return [path.read_text() for kind in kinds for path in sorted((folder / kind).rglob("*.log"))]


def test_an_edit_and_back_trains_nothing(project: Checkout):
    """A search, its choice and the runs that were trained with it, on prepared data."""
    before, module = project.results(), "src/credit/methods/fa.py"
    source = (project.root / module).read_bytes()
    project.change_code(module)
    project.make(f"results/{IMAGES}")
    edited = project.results("runs")
    mine = images("fa")
    assert {name for name in edited if edited[name] != before[name] and "ckpt" not in name} == mine
    (project.root / module).write_bytes(source)
    assert project.planned(f"results/{IMAGES}") == mine | {IMAGES}
    project.make("all")
    assert project.results() == before
    taken = [log for log in logs(project) if log.startswith("taken from the store")]
    assert len(taken) == len(mine)
    assert project.planned() == set()


def test_two_runs_share_a_block_and_a_name_that_is_none_is_refused(project: Checkout):
    done = project.snakemake("-n", "--config", "run=2024_01", "--", "all")
    assert "run = 202401: must be text that begins with a letter" in done.text
    assert (done.status, "Traceback" in done.text) == (1, False)
    project.make(*SECOND, f"results/second/{TEACHER}")
    assert all("nothing is trained" in log for log in logs(project, "second"))
    for name in ALL_TEACHER:
        one, other = project.path(name), project.path(f"second/{name}")
        assert (one.stat().st_ino, len(logs(project, "second"))) == (other.stat().st_ino, 2)
    assert project.path(f"second/{TEACHER}").read_bytes() == project.path(TEACHER).read_bytes()
    assert {p.name for p in project.path("second").iterdir()} == {"runs", "tables", "records", "logs"}
    assert project.planned() == set()
    assert project.planned(*SECOND, f"results/second/{TEACHER}") == set()
    for question in (("why", f"results/second/{TEACHER}"), ("verify", "results")):
        done = project.credit(*question)
        assert done.status == 0, done.text


def test_runs_that_take_turns_on_a_large_file_do_not_make_each_others_consumers_again(project: Checkout):
    def keep_large_weights(content: dict) -> None:
        content["net"]["hidden_sizes"] = [350, 350]
        content["methods"] = {"bp": {"keep": ["weights"]}, "after": {"rule": "bp", "start": {"method": "bp"}}}
        content["figures"] = {}

    project.configure("teacher", keep_large_weights)
    experiment = project.experiment("teacher").read_text()
    first, second = (f"results/{STARTED}",), (*SECOND, f"results/second/{STARTED}")
    project.make(*first)
    project.make(*second)
    assert project.path(f"second/{WEIGHTS}").is_symlink()
    assert project.path(WEIGHTS).stat().st_size > 1_000_000
    before = project.results("runs")
    project.edit("config/experiments/cross/teacher.yaml", "epochs: 2", "epochs: 3")
    project.make(*first)
    assert project.planned(*SMALL, *first) == set()
    project.experiment("teacher").write_text(experiment)
    project.make(*first)
    after = project.results("runs")
    assert (after[WEIGHTS], after[STARTED]) == (before[WEIGHTS], before[STARTED])
    assert project.planned(*SMALL, *first) == set()
    assert project.planned(*SMALL, *second) == set()


def test_a_run_made_again_on_purpose_is_trained_and_what_is_not_needed_is_freed(project: Checkout):
    fa = "runs/cross/teacher/teacher/fa/shard0.jsonl"
    project.make("--force", f"results/{fa}")
    assert not any(log.startswith("taken") for log in logs(project))
    assert project.credit("clean").text.endswith("would free 0 kB of 0 blocks that neither a result nor the present "
                                                 "configuration needs; 11 stay\n")  # fmt: skip
    project.edit("config/experiments/cross/teacher.yaml", "epochs: 2", "epochs: 3")
    project.make(f"results/{fa}")
    done = project.credit("clean")  # the old run of bp is a result still, the old one of fa is none
    assert [line.partition(":")[0] for line in done.text.splitlines()] == ["cross/teacher", "results/store"]
    before = project.results("runs", "store")
    assert "of 1 block " in done.text
    done = project.credit("clean", "--yes")
    assert "freed" in done.text
    after = project.results("runs", "store")
    lost = {name for name in before if name not in after}
    assert all(name.startswith("store/") for name in lost)
    assert sorted(Path(name).suffix for name in lost if not name.startswith("store/series/")) == [".entry", ".jsonl"]
    [kept] = [name for name in after if name.endswith(".entry") and _is(after[name], "fa")]
    assert json.loads(after[kept])["about"]["experiment"] == "teacher"
    shutil.rmtree(project.path("store"))
    assert project.planned(f"results/{fa}") == set()


def _is(entry: bytes, method: str) -> bool:
    about = json.loads(entry)["about"]
    return (about["experiment"], about["method"]) == ("teacher", method)
