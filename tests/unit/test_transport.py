"""`credit export | import`: what is packed, and what of it another checkout takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_checkout import FIT, Checkout, put, put_choice, result, searching

from credit.__main__ import main
from credit.dag import transport
from credit.provenance.records import write_result

RUN = "results/runs/toy/fit/near/fa/shard0.jsonl"
FILE = "kept.tar.xz"
LR = {"train.optimizer.lr": 0.1}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout with all its results, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    made = Checkout(tmp_path, {"toy/fit": {**FIT, "datasets": {"near": {}}}})
    fill(made)
    return made


def fill(checkout: Checkout, **config: object) -> None:
    """Write every result of `toy/fit`."""
    workflow = checkout.workflow(**config)
    for path in workflow.runs("toy/fit"):
        put(workflow, path)


@pytest.fixture
def credit(checkout, capsys):
    """Runs a command; returns (exit code, lines printed, what is said on stderr)."""

    def run(*arguments: str) -> tuple[int, list[str], str]:
        code = main(arguments, checkout.root)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


def files() -> dict[str, bytes]:
    """{path: content} of everything below results/."""
    return {p.as_posix(): p.read_bytes() for p in Path("results").rglob("*") if p.is_file()}


def summary(placed=0, stale=0, there=0, kept=0, refused=0) -> str:
    return (
        f"{FILE}: {placed} results put back as up to date, {stale} as stale, {there} were there, {kept} others stay, "
        f"{refused} refused"
    )


@pytest.mark.parametrize(
    "target",
    ["all", "toy", "toy/fit", "results/figures/toy/curves.pdf", "results/tables/toy/table1.csv", RUN],
)
def test_what_a_target_rests_on_comes_back_byte_for_byte(credit, target):
    before = {RUN: Path(RUN).read_bytes()} if target == RUN else files()
    assert credit("export", target, FILE)[0] == 0
    shutil.rmtree("results")
    assert credit("import", FILE)[:2] == (0, [summary(placed=len(before))])
    assert files() == before
    assert credit("import", FILE)[:2] == (0, [summary(there=len(before))])


def test_results_of_the_quick_scale_go_back_to_the_quick_scale(credit, checkout):
    shutil.rmtree("results")
    fill(checkout, scale="quick", seeds=1)
    before = files()
    assert credit("export", "results/quick/figures/toy/curves.pdf", FILE)[0] == 0
    shutil.rmtree("results")
    assert credit("import", FILE)[0] == 0
    assert files() == before and all(path.startswith("results/quick/runs/") for path in before)


def test_the_same_results_give_the_same_bytes(credit, checkout):
    credit("export", "all", "one.tar.xz")
    fill(checkout)
    credit("export", "all", "two.tar.xz")
    assert Path("one.tar.xz").read_bytes() == Path("two.tar.xz").read_bytes()


@pytest.fixture
def searched(checkout):
    """The same with a search and the runs that it chose for."""
    shutil.rmtree("results")
    checkout.write("toy/fit", searching())
    workflow = checkout.workflow()
    put_choice(workflow, "results/runs/toy/fit/near/bp/choice.json")
    for path in workflow.runs("toy/fit"):
        put(workflow, path, LR)
    return checkout


def test_searches_travel_with_their_runs(credit, searched):
    before = files()
    credit("export", "results/runs/toy/fit/near/bp/shard0.jsonl", "one.tar.xz")
    credit("export", "all", FILE)
    shutil.rmtree("results")
    assert credit("import", FILE)[0] == 0
    assert files() == before and len(before) == 3
    shutil.rmtree("results")
    assert credit("import", "one.tar.xz")[0] == 0
    assert len(files()) == 2


def test_a_run_is_held_against_the_choice_that_is_there(credit, searched):
    credit("export", "all", FILE)
    shutil.rmtree("results")
    choice = put_choice(searched.workflow(), "results/runs/toy/fit/near/bp/choice.json", best=0.3)
    code, lines, _ = credit("import", FILE)
    assert code == 1
    assert lines[0] == f"{choice}: another one is there, which stays (--overwrite replaces it)"
    assert all(": refused: stale: chosen: " in line for line in lines[1:3])
    assert lines[3].startswith(summary(kept=1, refused=2))
    assert credit("import", FILE, "--overwrite")[:2] == (0, [summary(placed=3)])


# ---- what is refused


def stale(checkout, path=RUN, **changes):
    """A result whose spec was another."""
    header, records = result(checkout.workflow(), path)
    header["spec"].update(changes)
    write_result(path, header, records)


def test_only_what_would_be_made_now_is_taken(credit, checkout):
    credit("export", "all", FILE)
    shutil.rmtree("results")
    checkout.write(
        "toy/fit", {**FIT, "datasets": {"near": {}}, "methods": {"bp": {}, "fa": {"hyper": {"feedback_scale": 2.0}}}}
    )
    code, lines, _ = credit("import", FILE)
    assert code == 1
    assert lines[0] == f"{RUN}: refused: stale: rule.feedback_scale: 1.0 -> 2.0"
    assert lines[-1] == f"{summary(placed=2, refused=2)} (--stale takes the stale ones)"
    assert sorted(files()) == [f"results/runs/toy/fit/near/bp/shard{i}.jsonl" for i in (0, 1)]
    assert credit("import", FILE, "--stale")[:2] == (0, [summary(stale=2, there=2)])
    assert credit("why", RUN)[:2] == (1, ["rule.feedback_scale: 1.0 -> 2.0"])


@pytest.mark.parametrize("change", [{"code": "0" * 16}, {"data": {"name": "mnist"}}, {"env": "0" * 16}])
def test_other_code_data_and_environments_are_refused(credit, checkout, change):
    stale(checkout, **change)
    if "code" in change:
        header, records = result(checkout.workflow(), RUN)
        header["provenance"]["modules"]["credit.methods.fa"] = "0" * 16
        code = transport.audit.combine(header["provenance"]["modules"])
        header["spec"]["code"] = header["provenance"]["code"] = code
        write_result(RUN, header, records)
    code, _, err = credit("export", "all", FILE)
    assert code == 2 and f"{RUN}: stale: " in err and "1 of the 4 results below all are stale" in err
    assert credit("export", "all", FILE, "--stale")[0] == 0
    shutil.rmtree("results")
    code, lines, _ = credit("import", FILE)
    assert code == 1 and lines[0].startswith(f"{RUN}: refused: stale: ")
    assert len(files()) == 3


def test_what_nothing_asks_for_is_refused(credit, checkout):
    credit("export", "all", FILE)
    shutil.rmtree("results")
    code, lines, _ = credit("import", FILE, "--config", "methods=bp")
    assert code == 1
    assert lines[0] == f"{RUN}: refused: unknown: nothing asks for this result"
    assert lines[-1] == summary(placed=2, refused=2)


def test_what_is_there_stays_unless_told(credit, checkout):
    credit("export", "all", FILE)
    packed = Path(RUN).read_bytes()
    other = packed.replace(b"0.5", b"0.25")
    Path(RUN).write_bytes(other)
    code, lines, _ = credit("import", FILE)
    assert (code, lines) == (1, [
        f"{RUN}: another one is there, which stays (--overwrite replaces it)", summary(there=3, kept=1),
    ])  # fmt: skip
    assert Path(RUN).read_bytes() == other
    assert credit("import", FILE, "--overwrite")[:2] == (0, [summary(placed=1, there=3)])
    assert Path(RUN).read_bytes() == packed


def test_a_result_that_another_process_makes_meanwhile_stays(credit, monkeypatch):
    credit("export", RUN, FILE)
    shutil.rmtree("results")
    verify = transport.audit.verify

    def verify_and_write(workflow, path):
        Path(RUN).parent.mkdir(parents=True)
        Path(RUN).write_text("mine")
        return verify(workflow, path)

    monkeypatch.setattr(transport.audit, "verify", verify_and_write)
    assert credit("import", FILE)[0] == 1
    assert files() == {RUN: b"mine"}


def test_a_hostile_archive_changes_nothing(credit, checkout):
    name = "runs/../../outside.jsonl"
    transport.pack(Path(FILE), {"target": "all", "scale": "paper"}, {name: (Path(RUN), {})})
    before = files()
    code, lines, err = credit("import", FILE)
    assert (code, lines, len(err.splitlines())) == (2, [], 1)
    assert f"{FILE}: holds '{name}', which is no name of a result" in err
    assert files() == before and not Path("outside.jsonl").exists()


def test_a_damaged_result_in_a_whole_archive_is_refused(credit, checkout):
    cut = Path("cut.jsonl")
    cut.write_bytes(Path(RUN).read_bytes()[:-30])
    name = RUN.removeprefix("results/")
    transport.pack(Path(FILE), {"target": "all", "scale": "paper"}, {name: (cut, {})})
    shutil.rmtree("results")
    code, lines, _ = credit("import", FILE, "--stale")
    assert code == 1 and lines[0].startswith(f"{RUN}: refused: damaged: ")
    assert files() == {}


def test_nothing_is_left_of_the_unpacking(credit, checkout):
    credit("export", "all", FILE)
    Path("results/.import/runs/toy/fit/near/fa").mkdir(parents=True)  # as a killed import leaves it
    shutil.copy(RUN, "results/.import/runs/toy/fit/near/fa/shard0.jsonl")
    assert credit("verify")[1][-1].startswith("4 results: 4 good")
    assert credit("import", FILE)[0] == 0
    assert [p.name for p in Path("results").iterdir()] == ["runs"]


def breaking(name: str):
    """Ways to ask in vain."""
    if name == "missing":
        Path(RUN).unlink()
    elif name == "damaged":
        Path(RUN).write_bytes(Path(RUN).read_bytes()[:-30])
    elif name == "exists":
        Path(FILE).touch()
    elif name == "folder":
        Path(FILE).mkdir()
    elif name == "scale":
        transport.pack(Path(FILE), {"target": "all", "scale": "large"}, {})


@pytest.mark.parametrize(
    ("case", "command", "message"),
    [
        ("target", ["export", "al", FILE], "target = 'al' (did you mean 'all'?)"),
        ("missing", ["export", "all", FILE], f"all: 1 of the 4 results that it rests on are missing, among them {RUN}"),
        ("damaged", ["export", "all", FILE], f"{RUN}: damaged: not a result file"),
        ("damaged", ["export", "all", FILE, "--stale"], f"{RUN}: damaged: not a result file"),
        ("exists", ["export", "all", FILE], f"{FILE}: exists; give another name, or --overwrite"),
        ("folder", ["export", "all", FILE, "--overwrite"], f"{FILE}: exists; give another name"),
        ("none", ["import", FILE], f"{FILE}: cannot be read: No such file"),
        ("exists", ["import", FILE], f"{FILE}: not an archive of `credit export`"),
        ("scale", ["import", FILE], f"{FILE}: scale = 'large'; must be one of paper, quick"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(credit, case, command, message):
    breaking(case)
    code, lines, err = credit(*command)
    assert (code, lines, len(err.splitlines())) == (2, [], 1)
    assert err.startswith(f"error: {message}")
    assert not list(Path().glob(f".{FILE}*"))
