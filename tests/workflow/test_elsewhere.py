"""Results outside of the checkout, a configuration of one's own beside them, and the workflow as another one's module.

Everything of `config/` comes from one folder: that of the work folder, where it has one, else that of the checkout.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.workflow.checkout import Checkout

QUICK = ("--configfile", "config/quick.yaml", "--config", "experiments=dfc/geometry", "--")
MODULE = """
configfile: "config/config.yaml"
module credit:
    snakefile: "{snakefile}"
    config: config
use rule * from credit
"""


@pytest.fixture
def work(template: Checkout, tmp_path: Path) -> Checkout:
    """A work folder beside a checkout, empty."""
    template.copy(tmp_path / "checkout")
    (tmp_path / "work").mkdir()
    return Checkout(tmp_path / "work")


def checkout(work: Checkout) -> Checkout:
    return Checkout(work.root.parent / "checkout")


def snakefile(work: Checkout) -> tuple[str, str]:
    return "--snakefile", str(checkout(work).root / "Snakefile")


def copy_config(work: Checkout) -> None:
    shutil.copytree(checkout(work).root / "config", work.root / "config")


def trained(planned: set[str]) -> set[str]:
    return {name.removeprefix("quick/runs/") for name in planned if "/runs/" in f"/{name}"}


def test_results_may_lie_outside_of_the_checkout(work: Checkout):
    """Made from the checkout's folder with --directory, and found again by a call in the work folder."""
    made = checkout(work).snakemake("--cores", "2", "--directory", str(work.root), *QUICK, "all")
    assert made.status == 0, made.text
    assert sorted(path.name for path in work.root.iterdir() if path.name[0] != ".") == ["results"]
    assert not (checkout(work).root / "results" / "quick").exists()
    quick = ("--configfile", str(checkout(work).root / "config" / "quick.yaml"), *QUICK[2:])
    assert "Nothing to be done" in work.snakemake("--dry-run", *snakefile(work), *quick, "all").text
    record = json.loads((work.root / "results/quick/records/tables/fidelity.csv.json").read_text())
    assert {len(value) for value in record["inputs"].values()} == {64}


def test_the_copy_of_the_configuration_counts_for_everything(work: Checkout):
    copy_config(work)
    copied = Checkout(work.root)
    experiment = work.root / "config" / "experiments" / "di" / "fig3a.yaml"
    text = experiment.read_text(encoding="utf-8")
    assert "seeds_per_job: all" in text
    experiment.write_text(text.replace("seeds_per_job: all", "seeds_per_job: 1"), encoding="utf-8")
    planned = copied.planned(*snakefile(work), "--config", "experiments=di/fig3a", "methods=bp", "seeds=3", "--", "all")
    runs = {f"runs/di/fig3a/{dataset}/bp/shard{seed}.jsonl" for dataset in ("plain", "normalized") for seed in range(3)}
    assert {name for name in planned if name.startswith("runs/")} == runs

    sets = work.root / "config" / "sets" / "dfc.yaml"
    sets.write_text("{}\n", encoding="utf-8")
    done = copied.snakemake("--dry-run", *snakefile(work), "all")
    assert done.status == 1
    assert "from = 'dfc/" in done.text

    shutil.copy2(checkout(work).root / "config" / "sets" / "dfc.yaml", sets)
    catalogue = work.root / "config" / "datasets.yaml"
    text = catalogue.read_text(encoding="utf-8").replace("format: digits", "format: didgits")
    catalogue.write_text(text, encoding="utf-8")
    done = copied.snakemake("--dry-run", *snakefile(work), "all")
    assert done.status == 1
    assert f"{work.root}/config/datasets.yaml" in done.text
    assert "did you mean 'digits'?" in done.text


def test_a_half_copy_of_the_configuration_is_refused_in_a_sentence(work: Checkout):
    (work.root / "config").mkdir()
    shutil.copy2(checkout(work).root / "config" / "config.yaml", work.root / "config")
    done = work.snakemake("--dry-run", *snakefile(work), "all")
    assert done.status == 1
    assert f"{work.root}/config: lacks datasets.yaml, experiments, sets, published" in done.text
    assert "Traceback" not in done.text


def test_another_workflow_may_use_this_one_as_a_module(work: Checkout):
    """As snakedeploy lays it out: a copy of the configuration, and a Snakefile that names the checkout's."""
    copy_config(work)
    (work.root / "workflow").mkdir()
    outer = work.root / "workflow" / "Snakefile"
    outer.write_text(MODULE.format(snakefile=snakefile(work)[1]), encoding="utf-8")
    work.make(*QUICK, "all")
    assert (work.root / "results" / "quick" / "figures" / "dfc" / "fig2.png").stat().st_size > 10_000
    assert "Nothing to be done" in work.snakemake("--dry-run", *QUICK, "all").text


def test_a_module_takes_what_it_is_not_handed_from_the_checkout(work: Checkout):
    (work.root / "config").mkdir()
    (work.root / "config" / "config.yaml").write_text("credit: {scale: quick, experiments: dfc/geometry}\nmine: 1\n")
    text = MODULE.format(snakefile=snakefile(work)[1]).replace("config: config", 'config: config["credit"]')
    (work.root / "Snakefile").write_text(text, encoding="utf-8")
    assert trained(work.planned("all")) == {"dfc/geometry/teacher/mn/shard0.jsonl"}


def test_a_prefix_of_a_module_is_refused_in_a_sentence(work: Checkout):
    copy_config(work)
    text = MODULE.format(snakefile=snakefile(work)[1]).replace("config: config", 'config: config\n    prefix: "x"')
    (work.root / "Snakefile").write_text(text, encoding="utf-8")
    done = work.snakemake("--dry-run", "all")
    assert done.status == 1
    assert "prefix: results of credit are always below results/" in done.text
    assert "Traceback" not in done.text


def test_the_command_reads_the_same_configuration(work: Checkout):
    copy_config(work)
    (work.root / "config" / "config.yaml").write_text(
        "{scale: quick, device: cpu, data: {folder: results/data}, experiments: dfc/nothing}"
    )
    done = work.script_of(checkout(work), "-m", "credit", "plan")
    assert (done.status, "experiments = 'dfc/nothing'" in done.text) == (2, True), done.text
