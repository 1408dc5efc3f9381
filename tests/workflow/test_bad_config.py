"""Mistakes in the configuration: one message that names file and key, before any job, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.workflow.checkout import Checkout

EXPERIMENT = "config/experiments/cross/images.yaml"
SETTINGS = "config/config.yaml"


def put(path: str, value: object) -> Callable[[dict], None]:
    """A change of an experiment: the value at a dotted path."""

    def change(content: dict) -> None:
        *above, last = path.split("/")
        for key in above:
            content = content.setdefault(key, {})
        content[last] = value

    return change


def conv(content: dict) -> None:
    """The minimum-norm update needs the Jacobian of a dense net."""
    content["net"] = {"kind": "conv", "channels": [2], "hidden_sizes": [], "kernel": 3}
    content["methods"] = {"mn": {}}


EXPERIMENTS = {
    "unknown key": (put("epoch", 3), ["top level: unknown key 'epoch'"]),
    "unknown key deep inside": (put("train/epoch", 3), ["train: unknown key 'epoch' (did you mean 'epochs'?)"]),
    "wrong type": (put("seeds", "three"), ["seeds = 'three'", "integer"]),
    "unknown learning rule": (put("methods/bp/rule", "backprop"), ["methods.bp: ", "'backprop'", ", bp, ", ", dfa, "]),
    "unknown method": (put("methods/dfaa", {}), ["methods.dfaa: ", "'dfaa' (did you mean 'dfa'?)"]),
    "a method in use that is not defined": (put("use_methods", ["bp", "fb"]), ["use_methods", "'fb'", "bp, dfa, fa"]),
    "unknown hyperparameter": (
        put("methods/fa/hyper", {"feedback_scal": 1.0}),
        ["methods.fa.hyper.feedback_scal = 1.0: no such hyperparameter (did you mean 'feedback_scale'?)"],
    ),
    "hyperparameter out of bounds": (
        put("methods/fa/hyper", {"feedback_scale": -1}), ["methods.fa.hyper.feedback_scale = -1; must be", "> 0"]
    ),
    "learning rate given twice": (
        put("train/optimizer/lr", 0.1), ["methods.bp", "exactly one of", "found train.optimizer.lr, search"]
    ),
    "no learning rate": (put("search", None), ["methods.bp", "exactly one of", "found none"]),
    "unknown data set": (put("datasets/digits/data", "digit"), ["'digit' (did you mean 'digits'?)"]),
    "unknown probe": (put("probes", [{"probe": "angels"}]), ["probes[0]: ", "'angels' (did you mean 'angles'?)"]),
    "unknown reference of a probe": (
        put("probes", [{"probe": "angles", "reference": "pb"}]), ["probes[0].reference", "'pb'"]
    ),
    "unknown optimiser": (put("train/optimizer/name", "adm"), ["train.optimizer.name", "'adm' (did you mean 'adam'?)"]),
    "unknown key of the optimiser": (
        put("train/optimizer/momentun", 0.9), ["train.optimizer", "'momentun'", "weight_decay"]
    ),
    "optimiser out of bounds": (put("train/optimizer/weight_decay", -1), ["train.optimizer.weight_decay = -1"]),
    "unknown kind of net": (put("net/kind", "dens"), ["net: ", "'dens' (did you mean 'dense'?)"]),
    "unknown task": (put("task/name", "image"), ["task: ", "'image' (did you mean 'images'?)"]),
    "not defined for a conv net": (conv, ["methods.mn: mn is not defined for a conv net; it takes: dense"]),
}  # fmt: skip


def assert_refused(project: Checkout, wanted: list[str], *arguments: str, traceless: bool = True) -> None:
    """Snakemake stops with a message that holds all of `wanted`; no job ran, every result is as it was."""
    before = project.results()
    done = project.snakemake("--cores", "2", *arguments, *(["--"] if arguments else []), "all")
    assert done.status != 0, done.text
    assert [part for part in wanted if part not in done.text] == [], done.text
    assert "Traceback" not in done.text
    assert "Finished jobid" not in done.text
    assert project.results() == before
    message = [line for line in done.text.splitlines() if wanted[0] in line]
    assert len(message) == len(set(message)), "said more than once"


@pytest.mark.parametrize("mistake", EXPERIMENTS)
def test_a_mistake_in_an_experiment_is_named_before_any_job(project: Checkout, mistake: str):
    change, wanted = EXPERIMENTS[mistake]
    project.configure("images", change)
    assert_refused(project, [f"{EXPERIMENT}: ", *wanted])


def test_all_mistakes_are_told_at_once(project: Checkout):
    project.configure("images", put("methods/fa/hyper", {"feedback_scale": -1}))
    project.configure("images", put("methods/dfa/hyper", {"feedback": "xavier_norml"}))
    project.configure("images", put("methods/bp/rule", "backprop"))
    done = project.snakemake("--dry-run", "all")
    assert all(name in done.text for name in ("methods.fa.hyper.feedback_scale", "'backprop'")), done.text


def test_a_mistake_of_syntax_is_named_with_its_line(project: Checkout):
    path = project.experiment("images")
    path.write_text(path.read_text(encoding="utf-8") + "seeds: [1, 2\nfigures: }\n", encoding="utf-8")
    assert_refused(project, [f"{EXPERIMENT}: cannot be read", "line "])


LINES = {
    "config/config.yaml: unknown key": ("scales: paper\n", ["config/config.yaml", "unknown key 'scales'"]),
    "config/config.yaml: unknown key inside data": (
        "data: {folder: results/data, miror: null}\n",
        ["config/config.yaml", "data: unknown key 'miror' (did you mean 'mirror'?)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
def test_a_wrong_key_in_the_settings_is_named(project: Checkout, case: str):
    line, wanted = LINES[case]
    path = project.root / SETTINGS
    text = path.read_text(encoding="utf-8")
    if line.startswith("data:"):
        text = text.partition("\ndata:")[0] + "\n"
    path.write_text(text + line, encoding="utf-8")
    assert_refused(project, wanted)


OVERRIDES = {
    "methods=nope": ["methods = 'nope'", "bp, dfa, fa"],
    "datasets=digit": ["datasets = 'digit' (did you mean 'digits'?)"],
    "experiments=image": ["experiments = 'image' (did you mean 'images'?)"],
    "seeds=0": ["seeds: 0 is less than the minimum of 1"],
    "seeds=many": ["seeds = 'many'", "integer"],
    "seeds_per_job=0": ["seeds_per_job: 0 is less than the minimum of 1"],
    "scale=quik": ["scale: 'quik' is not one of ['paper', 'quick']"],
    "device=gpu": ["device: 'gpu' is not one of ['cpu', 'cuda', 'auto']"],
    "method=bp": ["unknown key 'method' (did you mean 'methods'?)"],
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_wrong_override_is_named(project: Checkout, override: str):
    assert_refused(project, OVERRIDES[override], "--config", override)


def test_methods_and_data_sets_that_leave_nothing_to_run_are_refused(project: Checkout):
    assert_refused(project, ["leave nothing to run"], "--config", "methods=dfa", "datasets=teacher")


def test_a_mistake_in_the_catalogue_of_data_sets_is_named(project: Checkout):
    path = project.root / "config" / "datasets.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("  classes: 10\n", "  clases: 10\n", 1), encoding="utf-8")
    assert_refused(project, ["config/datasets.yaml", "unknown key 'clases' (did you mean 'classes'?)"])


def test_a_target_that_does_not_exist_is_refused(project: Checkout):
    done = project.snakemake("--cores", "1", "results/figures/fig33.pdf")
    assert done.status != 0
    assert "results/figures/fig33.pdf" in done.text
    assert "Traceback" not in done.text
