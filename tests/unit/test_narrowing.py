"""Every method and every data set alone: figures and tables of the project's own experiments are made of what is left.

Trained for real at quick scale, on few samples and for one epoch.
"""

from __future__ import annotations

import copy
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from credit.analysis.fidelity import PUBLISHED, compare, read_published, read_summaries
from credit.analysis.readable import matrix
from credit.analysis.summaries import SUMMARY, summarised
from credit.analysis.tables import collect, read_tables, where, write_table
from credit.config.files import overlay, read_yaml
from credit.dag.targets import Workflow
from credit.data import catalog
from credit.data.fetch import fetch
from credit.data.prepare import prepare
from credit.errors import NothingLeft
from credit.figures import style
from credit.provenance import records
from credit.provenance.spec import VERSION
from credit.training.job import apply_choice
from credit.training.loop import Training
from tests.conftest import REPOSITORY
from tests.unit.test_figures import images, texts

SHORT = {"scale": "quick", "seeds": 1, "seeds_per_job": 1, "epochs": 1}
SAMPLES = 64


@cache
def workflow(**config) -> Workflow:
    return Workflow(overlay(read_yaml(REPOSITORY / "config" / "config.yaml"), config), REPOSITORY)


def narrowings(scale: str) -> Iterator[dict[str, str]]:
    """Each method alone, also those that are run only where they are named, and each data set alone."""
    experiments = workflow(scale=scale).experiments.values()
    yield from ({"methods": name} for name in sorted({m for e in experiments for m in e.body["methods"]}))
    yield from ({"datasets": name} for name in sorted({d for e in experiments for d in e.datasets}))


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A function of (experiment, data set, method): its result file, trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("quick")
    digits = catalog.load()["digits"]
    prepare(digits, folder / "digits", fetch(digits, folder / "digits"), folder / "digits.npz")

    @cache
    def trained(key: str, dataset: str, method: str) -> Path:
        cell = workflow(**SHORT).cell(key, dataset, method)
        spec = copy.deepcopy(cell.train_spec((0,)))
        for size in {"samples", "train"} & spec["task"].keys():
            spec["task"][size] = min(spec["task"][size] or SAMPLES, SAMPLES)
        if spec["task"]["name"] == "reversal":  # an event takes two trials, and a punishment
            spec["task"]["per_epoch"] = SAMPLES
        if spec["task"]["name"] == "pairs":  # an epoch is one update, and figures name updates
            planned = workflow(scale="quick").cell(key, dataset, method).train_spec((0,))
            spec["train"]["epochs"] = planned["train"]["epochs"]
        if spec.get("start"):  # the weights of another run; its own do for a drawing
            spec["start"] = None
        grid = cell.search["vary"] if cell.search else {}
        chosen = apply_choice(spec, {path: values[len(values) // 2] for path, values in grid.items()})
        training = Training(chosen, folder / "digits.npz" if spec["data"] else None, log=io.StringIO())
        training.run(None, 0.0)
        path = folder / key / dataset / method / "shard0.jsonl"
        records.write_result(path, {"spec": spec}, training.records)
        return path

    return trained


@pytest.fixture(scope="module")
def tidy(result):
    """A function of what is left of some experiments: the table that a job reads."""

    @cache
    def joined(parts: tuple) -> pd.DataFrame:
        tables = [collect([result(key, d, m) for d in datasets for m in methods]) for key, datasets, methods in parts]
        return pd.concat(tables, ignore_index=True).fillna({"layer": ""})

    return joined


def options_of(spec: dict) -> dict:
    """Options of an artefact, where events count from the only epoch on."""
    events = spec["options"].get("events")
    return spec["options"] | ({"events": {**events, "after": 0}} if events else {})


def left(narrowed: Workflow, artefact) -> tuple:
    """What is left of an artefact's experiments: (experiment, data sets, methods) of each."""
    return tuple(
        (key, narrowed.experiments[key].datasets, narrowed.experiments[key].methods) for key in artefact.experiments
    )


def drawn(narrowed: Workflow, name: str, table: pd.DataFrame, capsys) -> str:
    """The text of a figure; "" where there is only a sentence in its place, which was printed too."""
    spec = narrowed.artefact_spec("figure", name)
    paths = [REPOSITORY / path for path in narrowed.figures[name].references]
    given = {"rules": spec["rules"], "references": read_tables(paths) if paths else None, **options_of(spec)}
    capsys.readouterr()
    figure = style.drawn(importlib.import_module(spec["module"]).draw, table, given)
    said = capsys.readouterr().err
    assert bool(figure.axes) == (not said), f"{name}: {said}"
    if figure.axes:
        return " ".join(text.get_text() for axes in figure.axes for text in axes.texts) or name
    assert said.split() == figure.texts[0].get_text().split()
    return ""


def shown(options: dict, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the data sets that the panels of a figure name, all where they name none."""
    panels = options.get("panels") or []
    names = {p["dataset"] for p in panels if "dataset" in p} | {name for p in panels for name in p.get("at", ())}
    return rows[rows["dataset"].isin(names)] if names else rows


@pytest.mark.slow
def test_every_method_and_data_set_alone_is_drawn_and_tabulated(tidy, tmp_path, capsys):
    published = read_published(sorted((REPOSITORY / "config" / "published").glob("*.csv")))
    blank: dict[str, set[str]] = {}
    nothing: dict[str, set[str]] = {}  # where nothing is left of the data sets that a figure's panels show
    said: dict[tuple, str] = {}
    summaries: dict[tuple, Path] = {}
    for narrowing in narrowings("quick"):
        narrowed = workflow(scale="quick", **narrowing)
        (only,) = narrowing.values()
        for name, artefact in narrowed.figures.items():
            table = tidy(left(narrowed, artefact))
            spec = narrowed.artefact_spec("figure", name)
            options = spec["options"]
            try:
                rows = where(table, options.get("where"))
            except NothingLeft:  # a column that only the data sets left out have, such as a rate
                rows = table.iloc[:0]
            # methods that record the same are drawn by the same lines
            measured = rows.groupby("dataset", sort=False)["metric"].agg(frozenset)
            rest = json.dumps({k: v for k, v in options.items() if k != "where"})
            same = (spec["module"], rest, *measured, *(rows["method"].unique() if "groups" in options else ()))
            if same not in said or rows.empty:
                said[same] = drawn(narrowed, name, table, capsys)
            if not said[same]:
                blank.setdefault(name, set()).add(only)
            if shown(options, rows).empty:
                nothing.setdefault(name, set()).add(only)
        for name, artefact in narrowed.tables.items():
            place = (name, left(narrowed, artefact))
            if place not in summaries:
                spec = narrowed.artefact_spec("table", name)
                measured = [REPOSITORY / path for path in spec.get("references", ())]
                references = read_tables(measured) if measured else None
                summary = summarised(tidy(place[1]), name, options_of(spec), references)
                assert matrix(summary, name, options_of(spec), {})
                summaries[place] = tmp_path / f"{len(summaries)}.csv"
                write_table(summaries[place], summary)
        made = [summaries[name, left(narrowed, artefact)] for name, artefact in narrowed.tables.items()]
        verdicts = compare(published, read_summaries(made), "quick")
        assert set(verdicts["verdict"]) <= {"not run", "not counted"}
    whole = workflow(scale="quick")
    for name in ("pc/fear", "pc/fear_init_std", "pc/fear_rules"):  # a fit needs all groups, each a data set
        keys = whole.figures[name].experiments
        assert blank.pop(name) == {d for key in keys for d in whole.experiments[key].datasets}
    of_pc = {name: blank.pop(name) for name in sorted(blank) if name.startswith("pc/")}
    assert {name: found - nothing.get(name, set()) for name, found in of_pc.items()} == {name: set() for name in of_pc}
    assert blank.pop("pepita/alignment") == {"bp", "bp-default", "dfa", "drtp", "fa"}
    assert blank.pop("pepita/curves") == {"pepita-conv_corrected", "pepita-conv_inferred"}
    assert blank.pop("pepita/conv") == {"bp-conv", "dfa-conv", "drtp-conv", "fa-conv"}
    assert {name for name, methods in blank.items() if methods == {"dfa"}} == {
        f"dfc/s1_{name}" for name in ("angles", "conditions", "norms", "stability")
    }
    fixed = {f"dfc/alignment_{name}{end}" for name in ("mnist", "fashion_mnist", "mnist_autoencoder")
             for end in ("", "_fixed")}  # fmt: skip
    assert {name for name, methods in blank.items() if methods != {"dfa"}} == fixed


@pytest.mark.parametrize("scale", ["paper", "quick"])
def test_only_what_nothing_is_left_of_is_left_out(scale):
    whole = workflow(scale=scale)
    for narrowing in [*narrowings(scale), {"methods": "bp,dfa", "datasets": "mnist" if scale == "paper" else "digits"}]:
        narrowed = workflow(scale=scale, **narrowing)
        for kind in ("figures", "tables"):
            needed = {name: artefact.experiments for name, artefact in getattr(whole, kind).items()}
            left = {name: tuple(k for k in keys if k in narrowed.experiments) for name, keys in needed.items()}
            found = {name: artefact.experiments for name, artefact in getattr(narrowed, kind).items()}
            assert found == {name: keys for name, keys in left.items() if keys}, narrowing
        assert all(any(e.jobs()) for e in narrowed.experiments.values()), narrowing
        assert set(narrowed.papers) <= set(whole.papers)


# ---- one by one


def test_a_figure_without_anything_to_draw_says_why(tmp_path):
    """The job succeeds, with a figure that holds the sentence, and the sentence in its log."""
    write_table(tmp_path / "t.csv", images(("mnist",)))
    spec = {"version": VERSION, "module": "credit.figures.pepita.alignment", "options": {}}
    script = REPOSITORY / "workflow" / "scripts" / "plot.py"
    files = [tmp_path / name for name in ("a.pdf", "a.png", "t.csv")]
    done = subprocess.run([sys.executable, script, json.dumps(spec), *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "alignment: neither angle_projection nor weight_norm was recorded; nothing to draw\n"
    assert all(path.stat().st_size > 1000 for path in files)


def test_braces_dollars_and_long_lists_are_shown_as_they_are(tmp_path):
    def draw(table, options):
        raise NothingLeft("nothing: options.where = {'$a_': [" + "1, " * 300 + "]} leaves none")

    figure = style.drawn(draw, images(), {})
    style.save(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    assert "{'$a_': [1, 1," in figure.texts[0].get_text()


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("cross.fig1", {"metric": "angle_bp"}),
        ("cross.fig1", {"select": "best_validation"}),
        ("cross.fig2", {"metrics": ["angle_bp"]}),
        ("cross.fig2", {"where": {"method": "dfc"}}),
        ("cross.fig2", {"where": {"k_p": 0.1}}),
        ("cross.fig3", {"loss": "test_mse", "angles": [], "where": {"dataset": "mnist"}}),
        ("dfc.fig1d", {}),
        ("dfc.fig2", {}),
        ("dfc.panels", {"panels": [{"metric": "condition2"}]}),
        ("dfc.panels", {"panels": [{"metric": "test_error"}], "groups": [["dfc"]]}),
        ("dfc.feedback_learning", {}),
        ("dfc.feedback_learning", {"by": "feedback_k_p", "damping": 5}),
        ("dfc.feedback_learning", {"where": {"dataset": "tanh"}}),
        ("di.fig3a", {}),
        ("di.fig3g", {}),
        ("di.fig4a", {"where": {"dataset": "mnist_2"}}),
        ("pepita.alignment", {}),
        ("pepita.curves", {"where": {"method": "pepita"}}),
    ],
)
def test_every_figure_knows_when_nothing_is_left(module, options):
    with pytest.raises(NothingLeft):
        importlib.import_module(f"credit.figures.{module}").draw(images(), options)


def test_panels_without_a_curve_say_so():
    table = images(("mnist", "fashion_mnist"))
    rows = table[(table["dataset"] == "mnist") | (table["metric"] == "train_loss")]
    figure = importlib.import_module("credit.figures.di.fig4a").draw(rows, {})
    assert [[t.get_text() for t in axes.texts] for axes in figure.axes] == [[], ["not recorded"]]
    assert figure.axes[0].get_yticks().size > 1, "the other panel keeps its axis"


def test_a_part_of_a_regression_figure_that_was_not_run_says_so():
    rows = [("normalized", "bp", 0, e, "log10_nse", "", -0.1 * e) for e in range(4)]
    columns = ["dataset", "method", "seed", "step", "metric", "layer", "value"]
    fixed = {"paper": "di", "experiment": "fig3a", "epoch": 1, "data_verified": True}
    table = pd.DataFrame(rows, columns=columns).assign(**fixed)
    figure = importlib.import_module("credit.figures.di.fig3a").draw(table, {})
    assert texts(figure).count("plain updates: not run") == 4


def test_a_table_keeps_the_values_that_are_left_and_names_the_others(capsys):
    options = {"values": [{"metric": "test_error"}, {"metric": "condition2"}]}
    assert set(summarised(images(("mnist",)), "dfc/t", options)["metric"]) == {"test_error"}
    assert "dfc/t: metric = 'condition2'; must be one of" in capsys.readouterr().err


def test_a_table_of_which_nothing_was_run_is_empty_and_says_so(capsys, tmp_path):
    options = {"metric": "test_error", "where": {"method": "dfc"}}
    empty = summarised(images(("mnist",)), "dfc/t", options)
    assert capsys.readouterr().err.strip() == "dfc/t: no rows are left by options.where = {'method': 'dfc'}"
    assert (list(empty), len(empty)) == (SUMMARY, 0)
    write_table(tmp_path / "t.csv", empty)
    read = read_summaries([tmp_path / "t.csv"])
    assert "No run has these values" in matrix(read, "T", options, {})
    row = dict.fromkeys(PUBLISHED) | {"artefact": "dfc/t", "dataset": "mnist", "method": "dfc", "metric": "test_error"}
    write_table(
        tmp_path / "p.csv", pd.DataFrame([{**row, "mean": 1.0, "kind": "mean", "anchor": "printed", "source": "there"}])
    )
    assert list(compare(read_published([tmp_path / "p.csv"]), read)["verdict"]) == ["not run"]


def test_the_mean_curve_of_runs_that_all_diverged_is_no_number():
    table = images(("mnist",), ("bp",), seeds=1)
    lost = table.iloc[:1].assign(metric="diverged", value=3.0)
    summary = summarised(pd.concat([table, lost]), "t", {"metric": "test_error", "average": True})
    assert summary["mean"].isna().all()
