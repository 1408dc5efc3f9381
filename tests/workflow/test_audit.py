"""Code that a job runs but did not declare, or that is edited while it runs, fails the job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflow.checkout import (
    AFTER_IMAGES,
    AFTER_TEACHER,
    PATIENCE,
    Checkout,
    Done,
    checkpoints,
    images,
    snakemake,
    teacher,
    wait_for,
)

TABLE = "results/tables/cross/teacher.csv"


@pytest.mark.slow
def test_an_undeclared_import_fails_its_jobs_while_others_go_on(project: Checkout):
    (project.root / "src/credit/methods/_hidden.py").write_text("FACTOR = 1.0\n", encoding="utf-8")
    project.edit(
        "src/credit/methods/dfa.py",
        "        run = forward(net, params, batch, rand)\n",
        '        __import__("importlib").import_module("credit.methods._hidden")\n'
        "        run = forward(net, params, batch, rand)\n",
    )
    project.configure("teacher", lambda content: content.update(seeds=3, seeds_per_job=1))
    before = project.results("runs")
    done = project.snakemake("--cores", "2", "all")
    assert done.status != 0
    assert "error: undeclared code dependency: credit.methods._hidden was loaded" in done.text
    assert "Traceback" not in done.text
    after = project.results("runs")
    assert before.items() - after.items() <= {(k, v) for k, v in before.items() if "/dfa/" in k or "/teacher/" in k}
    assert project.planned() == images("dfa") | AFTER_IMAGES
    assert teacher("bp", "fa", shard=2) <= after.keys()
    assert all(project.root.joinpath("results", name).exists() for name in AFTER_TEACHER)


def test_an_edit_of_the_source_while_a_job_runs_fails_it_and_the_next_run_starts_anew(long: Checkout):
    result = long.path(min(teacher("fa")))
    before = result.read_bytes()
    process = long.start(*snakemake("--cores", "2", TABLE))
    wait_for(lambda: checkpoints(long), process)
    long.change_code("src/credit/methods/fa.py")
    text = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode != 0
    assert "error: source was edited while the job ran: credit.methods.fa;" in text
    assert "Traceback" not in text
    assert result.read_bytes() == before  # what was there stays until it is made anew
    assert long.path(min(teacher("bp"))).exists()
    long.make(TABLE)
    assert result.read_bytes() != before
    assert "resumed" not in long.path("logs/train/cross/teacher/teacher/fa/shard0.log").read_text(encoding="utf-8")
    assert long.planned(TABLE) == set()


def test_a_changed_value_in_any_file_of_the_results_shows(project: Checkout):
    assert project.credit("verify").status == 0
    files = [path for path in project.results("runs", "tables", "figures") if not path.endswith(".ckpt")]
    assert {Path(name).suffix for name in files} == {".jsonl", ".json", ".csv", ".md", ".html", ".pdf", ".png"}
    for path in map(project.path, files):
        content = path.read_bytes()
        place = max(content.rfind(digit, 0, len(content) - 90) for digit in (b"1", b"2", b"3"))
        path.write_bytes(content[:place] + b"7" + content[place + 1 :])
    done = project.credit("verify")
    assert done.status == 1
    for name in files:
        assert f"results/{name}: damaged: its content was changed after it was" in done.text, done.text


def test_why_tells_of_a_figures_own_code_and_of_what_is_below_it(project: Checkout):
    figure, table = "results/figures/fig1.pdf", "results/tables/cross/table1.md"
    assert project.credit("why", figure).text == "up to date\n"
    project.change_code("src/credit/figures/cross/fig1.py")
    assert project.credit("why", figure) == Done(1, "module credit.figures.cross.fig1: changed\n")
    assert project.credit("why", table).status == 0
    project.change_code("src/credit/analysis/names.py")
    assert project.credit("why", table) == Done(1, "module credit.analysis.names: changed\n")
    project.change_code("src/credit/methods/dfa.py")
    lines = project.credit("why", figure).text.splitlines()
    run = f"results/{min(images('dfa', search=False))}"
    assert f"{run}: module credit.methods.dfa: changed" in [line.partition(";")[0] for line in lines]
    said = project.snakemake("--dry-run", "all").text.splitlines()
    assert [line for line in said if line.startswith(f"{figure}: module credit.")], said[-5:]
    assert [line for line in said if line.startswith(f"{run}: module credit.methods.dfa: changed")]
    assert said[-1].startswith("made again because of what they rest on: "), said[-5:]
    project.make("all")
    assert project.credit("verify").status == 0
    assert project.credit("why", figure).text == "up to date\n"


def test_what_was_made_can_be_shown_listed_and_compared(project: Checkout):
    runs = sorted(images("bp", "fa", search=False))
    shown = [
        runs[0],
        "runs/cross/images/digits/bp/choice.json",
        "data/digits.npz",
        "figures/fig1.png",
        "tables/cross/table1.md",
    ]
    for name in shown:
        done = project.credit("show", f"results/{name}")
        assert done.status == 0, done.text
        assert "\ncontent  " in done.text and "whole and unchanged" in done.text, done.text
    assert project.credit("diff", f"results/{runs[0]}", f"results/{runs[0]}") == Done(0, "no difference\n")
    done = project.credit("diff", f"results/{runs[0]}", f"results/{runs[-1]}")
    assert done.status == 1
    assert "  method: bp -> fa\n" in done.text
    assert "  module credit.methods.fa: new dependency\n" in done.text
    assert project.credit("list", "fig1").text.split()[:3] == ["figures", "results/figures/fig1.pdf", "made"]
    project.change_code("src/credit/methods/fa.py")
    listed = [line.split() for line in project.credit("list").text.splitlines()]
    states = {words[0]: words[1:4] for words in listed if len(words) > 3}
    assert states["results/figures/fig1.pdf"][0] == "stale"
    assert states["digits"][0] == "made"
    assert states["cross/images"][1] == "of", states


def test_a_figure_whose_code_is_not_declared_is_not_made(project: Checkout):
    before = project.path("figures/fig1.pdf").read_bytes()
    (project.root / "src/credit/figures/_hidden.py").write_text("WIDTH = 1.0\n", encoding="utf-8")
    module = "src/credit/figures/cross/fig1.py"
    project.edit(
        module, "from __future__ import annotations\n", "from __future__ import annotations\n\nimport importlib"
    )
    path = project.root / module
    path.write_text(path.read_text(encoding="utf-8") + '\nimportlib.import_module("credit.figures._hidden")\n')
    done = project.snakemake("--cores", "1", "all")
    assert done.status != 0
    assert "error: undeclared code dependency: credit.figures._hidden was loaded" in done.text
    assert project.path("figures/fig1.pdf").read_bytes() == before
    assert "figures/fig1.pdf" in project.planned()


def test_a_missing_record_is_made_again_with_its_table(project: Checkout):
    project.path("records/tables/cross/teacher.csv.json").unlink()
    assert project.planned() == AFTER_TEACHER
