"""The project's own experiments: the demo runs, all is planned at paper scale; the rules keep the house rules."""

from __future__ import annotations

import gc
import importlib.util
import json
import re
import textwrap
from collections import Counter
from pathlib import Path

import pytest
import yaml

from credit.config.files import overlay, read_yaml
from credit.dag.targets import Workflow
from tests.workflow.checkout import JOB, JUDGED, Checkout

QUICK = ("--configfile", "config/quick.yaml")
DEMO = ("--configfile", "config/demo.yaml")
DIRECTIVE = re.compile(r"^(\w+):", re.MULTILINE)


@pytest.fixture
def own(template: Checkout, tmp_path: Path) -> Checkout:
    """The project with its own experiments, not yet run."""
    return template.copy(tmp_path / "own")


def jobs(text: str) -> Counter[str]:
    """{rule: number of jobs} of a dry run."""
    return Counter(re.sub("^(plot|summarise|typeset)_.*", r"\1", name) for name, _ in JOB.findall(text))


def workflow(checkout: Checkout, **config: str) -> Workflow:
    """What the checkout's configuration asks for."""
    return Workflow(overlay(read_yaml(checkout.root / "config" / "config.yaml"), config), checkout.root)


def rules(checkout: Checkout) -> dict[str, str]:
    """{file, first line and number: text} of all rules that make something, also of those made in a loop."""
    found = {}
    for path in [checkout.root / "Snakefile", *sorted((checkout.root / "workflow" / "rules").glob("*.smk"))]:
        text = path.read_text(encoding="utf-8")
        for rule in re.finditer(r"^( *)(?:rule|checkpoint)[^\n]*:\n((?:\1    .*\n|\n)+)", text, flags=re.MULTILINE):
            body = textwrap.dedent(rule[2])
            if re.search(r"^output:", body, flags=re.MULTILINE):
                found[f"{path.name}: {rule[0].split(chr(10))[0].strip()} {len(found)}"] = body
    return found


# ---- quick scale


def test_the_demo_shows_every_learning_rule_that_an_experiment_trains(own: Checkout):
    demo = read_yaml(own.root / "config" / "demo.yaml")
    some, whole = (workflow(own, scale="quick", experiments=names) for names in (demo["experiments"], None))
    assert set(demo["experiments"]) <= set(whole.experiments)

    def trained(chosen: Workflow) -> set[str]:
        cells = [e.cell(d, m) for e in chosen.experiments.values() for d in e.datasets for m in e.methods]
        return {cell.run["rule"]["name"] for cell in cells}

    assert trained(some) == trained(whole)


@pytest.mark.slow
@pytest.mark.longest
def test_the_demo_runs_and_has_a_report(own: Checkout):
    """What it leaves out is trained and drawn without Snakemake in tests/unit/test_narrowing.py."""
    own.make(*DEMO, "--", "all")
    assert "Nothing to be done" in own.snakemake("--dry-run", *DEMO, "--", "all").text
    assert not (own.root / "results" / "figures").exists(), "quick scale must not write where paper scale does"

    page = own.root / "results" / "quick" / "report.html"
    own.make(*DEMO, "--report", str(page), "--", "all", cores=1)
    html = page.read_text(encoding="utf-8")
    chosen = read_yaml(own.root / "config" / "demo.yaml")
    asked = workflow(own, **chosen)
    shown = json.loads(re.search(r"var results = (\{.*\});", html)[1])
    names = [*(f"figures/{n}.html" for n in asked.figures), *(f"tables/{n}.html" for n in [*asked.tables, "fidelity"])]
    assert {f"results/quick/{name}" for name in names} == shown.keys()
    assert max(len(each["data_uri"]) for each in shown.values()) < 2**21, "Chromium shows no longer ones in a frame"
    assert all(each["mime_type"] == "text/html" for each in shown.values())
    nodes = json.loads(re.search(r"var rulegraph_spec = (.*);", html)[1])["data"][0]["values"]
    drawn = {node["rule"] for node in nodes}
    assert drawn == {"data: digits", *asked.experiments, *asked.papers, "fidelity", "all"}
    wanted = [
        "Learning curves: test error", "Error [%] of every method on every data set",
        "The student–teacher task of Figure 3",
        "Quick scale: not the published setting", "Mean, sample standard deviation", "Figures", "Tables", "Fidelity",
    ]  # fmt: skip
    plain = html.replace("\\n", " ").replace("\\u2013", "–")
    assert [text for text in wanted if text not in re.sub(r"\s+", " ", plain)] == []
    assert "Nothing to be done" in own.snakemake("--dry-run", *DEMO, "--", "all").text


def test_a_figure_of_the_dfc_paper_is_made_at_quick_scale(own: Checkout):
    """Nothing is trained for it: a probe measures the net as it was drawn."""
    own.make(*QUICK, "--", "results/quick/figures/dfc/fig2.pdf")
    assert (own.root / "results" / "quick" / "figures" / "dfc" / "fig2.png").stat().st_size > 10_000


# ---- paper scale


def test_everything_is_planned_at_paper_scale(own: Checkout):
    done = own.snakemake("--dry-run", "all")
    assert "InputFunctionException" not in done.text, "a table of one paper is taken for an experiment of another"
    assert done.status == 0, done.text
    whole = workflow(own)
    experiments = whole.experiments.values()
    cells = [e.cell(d, m) for e in experiments for d in e.datasets for m in e.methods]
    data = {cell.data for cell in cells if cell.data}
    planned = jobs(done.text)
    planned["train"] += planned.pop("train_keeping_weights", 0)
    assert planned == {
        "fetch_dataset": len(data), "prepare_dataset": len(data),
        "search_settings": sum(cell.search is not None for cell in cells),
        "train": sum(len(list(e.jobs())) for e in experiments), "collect_runs": len(experiments),
        "summarise": len(whole.tables), "typeset": len([*whole.tables, "fidelity"]), "plot": len(whole.figures),
        "judge_fidelity": 1, "all": 1,
    }  # fmt: skip


def test_the_comparison_across_papers_is_planned_seed_by_seed(own: Checkout):
    """Two data sets, five methods, five seeds, a job each; student and teacher: seven methods, all seeds in one job."""
    done = own.snakemake("--dry-run", "--config", "experiments=cross/images,cross/student_teacher", "--", "all")
    found = jobs(done.text)
    assert (found["search_settings"], found["train"], found["fetch_dataset"]) == (2 * 5 + 7, 2 * 5 * 5 + 7, 2)


def test_methods_data_sets_and_seeds_can_be_narrowed_from_the_command_line(own: Checkout):
    asked = ("--config", "experiments=cross/images", "methods=bp,dfa", "datasets=mnist", "seeds=2")
    planned = own.planned(*asked, "--", "all")
    runs = {f"{m}/{name}" for m in ("bp", "dfa") for name in ("choice.json", "shard0.jsonl", "shard1.jsonl")}
    assert {p for p in planned if p.startswith("runs/")} == {f"runs/cross/images/mnist/{run}" for run in runs}
    assert {p for p in planned if p.startswith("data/")} == {"data/raw/mnist.json", "data/mnist.npz"}
    assert {p for p in planned if p.startswith(("figures/", "tables/"))} == {
        "figures/fig1.pdf", "figures/fig2.pdf",
        "tables/cross/images.csv", "tables/cross/table1.csv", "tables/cross/table1.md", *JUDGED,
    }  # fmt: skip


def test_figure_3_needs_no_data_set(own: Checkout):
    planned = own.planned("results/figures/fig3.pdf")
    assert planned
    assert not [name for name in planned if name.startswith("data/")]


def test_the_target_of_a_paper_is_its_figures_and_tables(own: Checkout):
    papers = workflow(own).papers
    assert own.planned(*papers) == own.planned("all") - JUDGED
    runs = {name.split("/")[1] for name in own.planned("cross") if name.startswith("runs/")}
    assert runs == {"cross"}


def test_the_workflow_runs_from_another_folder(own: Checkout, tmp_path: Path):
    elsewhere = Checkout(tmp_path / "elsewhere")
    elsewhere.root.mkdir()
    done = elsewhere.snakemake(
        "--snakefile", str(own.root / "Snakefile"), "--dry-run", "--directory", str(own.root), "all"
    )
    assert done.status == 0, done.text


def test_only_jobs_of_experiments_that_ask_for_a_gpu_get_one(own: Checkout):
    """No experiment does, so that it is one number for all; here one of two asks."""

    def gpus(*arguments: str) -> dict[str, set[str]]:
        targets = ["results/tables/cross/images.csv", "results/tables/cross/student_teacher.csv"]
        text = own.snakemake("--dry-run", *arguments, "--", *targets).text
        lines = re.findall(r"output: results/runs/cross/(\w+)/.*?\n +resources: (.*?)\n", text, re.DOTALL)
        return {name: {gpu for n, r in lines if n == name for gpu in re.findall(r"gpu=\d", r)} for name, _ in lines}

    assert gpus() == {"images": {"gpu=0"}, "student_teacher": {"gpu=0"}}
    assert gpus("--config", "device=cuda") == {"images": {"gpu=1"}, "student_teacher": {"gpu=1"}}
    own.configure("student_teacher", lambda content: content.update(resources={"gpu": 1}))
    assert gpus() == {"images": {"gpu=0"}, "student_teacher": {"gpu=1"}}


def test_garbage_is_collected_again_once_jobs_start(own: Checkout):
    snakefile = own.root / "Snakefile"
    said = {moment: f'print("{moment}", gc.isenabled(), gc.get_threshold()[0])' for moment in ("planning", "done")}
    added = f"{said['planning']}\n\n\nonsuccess:\n    {said['done']}\n"
    snakefile.write_text(f"{snakefile.read_text(encoding='utf-8')}\n{added}", encoding="utf-8")
    lines = own.make("results/data/raw/digits.json").splitlines()
    assert {"planning True 10000000", f"done True {gc.get_threshold()[0]}"} <= {*lines}


# ---- house rules


def test_snakemake_finds_nothing_to_complain_about(own: Checkout):
    assert "Congratulations, your workflow is in a good condition!" in own.snakemake("--lint").text


def test_every_rule_has_log_benchmark_environment_and_resources(template: Checkout):
    needed = {"output", "log", "benchmark", "conda", "threads", "resources", "shell"}
    found = rules(template)
    assert len(found) >= 9
    missing = {name: needed - set(DIRECTIVE.findall(text)) for name, text in found.items()}
    assert {name: keys for name, keys in missing.items() if keys} == {}
    stated = {
        name: [key for key in ("mem_mb", "runtime", "gpu") if f"    {key}=" not in t] for name, t in found.items()
    }
    assert {name: keys for name, keys in stated.items() if keys} == {}


def test_rules_hand_over_one_spec_and_run_scripts_by_shell(template: Checkout):
    """No `run:` and `script:`, no lambda, and no param but `spec`: Snakemake compares params without names."""
    for name, text in rules(template).items():
        assert not set(DIRECTIVE.findall(text)) & {"run", "script", "notebook", "wrapper"}, name
        assert "lambda" not in text, name
        params = re.search(r"^params:\n((?:    .*\n)+)", text, flags=re.MULTILINE)
        assert params is None or re.findall(r"^    (\w+)=", params[1], flags=re.MULTILINE) == ["spec"], name


def test_profiles_share_no_key(template: Checkout):
    keys = [
        set(yaml.safe_load((template.root / "profiles" / name / "config.yaml").read_text(encoding="utf-8")))
        for name in ("default", "slurm")
    ]
    assert keys[0] & keys[1] == set()
    assert (template.root / "slurm" / "config.yaml").is_file()


@pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
    reason="snakemake-executor-plugin-slurm is not installed; make slurm-test has it",
)
def test_the_slurm_profile_plans_everything(own: Checkout):
    done = own.snakemake("--profile", "slurm", "all", "--dry-run")
    assert done.status == 0, done.text
