"""`set`: a named run with settings of its own; what they are laid over, what is refused, what goes stale."""

from __future__ import annotations

import json
import re
import sys

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from credit.__main__ import main
from credit.analysis.summaries import as_published
from credit.config.place import CHECKOUT
from credit.dag.calling import entries, scoped, snakemake
from credit.dag.commands import Present, parse_config
from credit.dag.varied import read
from credit.errors import ConfigError
from credit.figures import style
from credit.provenance.spec import canonical_json
from tests.unit.small_checkout import FIT, Checkout, put, searching

PLACE = ("toy/fit", "near", "bp")
METHODS = {"methods": {"bp": {}, "fa": {}, "dfc_ssa": {"hyper": {"alpha": 0.5, "feedback": {"lr": 0.25}}}}}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path).change(**METHODS)


def spec(checkout, *settings, place=PLACE, **config):
    """The spec of a cell's first shard in a run with these settings."""
    return checkout.workflow(run="small", set=list(settings) or None, **config).train_spec(*place, 0)


def without(spec, *keys):
    return {key: value for key, value in spec.items() if key not in keys}


# ---- what is set


@pytest.mark.parametrize(
    ("given", "place", "at", "value"),
    [
        ("dfc_ssa:hyper.alpha=0.01", "dfc_ssa", ("rule", "alpha"), 0.01),
        ("dfc_ssa:hyper.alpha=1e-3", "dfc_ssa", ("rule", "alpha"), 0.001),
        ("dfc_ssa:hyper.feedback.lr=3", "dfc_ssa", ("rule", "feedback", "lr"), 3.0),
        ("dfc_ssa:hyper.feedback=zeros", "dfc_ssa", ("rule", "feedback", "init"), "zeros"),
        ("fa:train.epochs=9", "fa", ("train", "epochs"), 9),
        ("fa:train.epochs=9.0", "fa", ("train", "epochs"), 9),
        ("train.optimizer.lr=1", "bp", ("train", "optimizer", "lr"), 1.0),
        ("train.optimizer={name: adam, lr: 0.1}", "bp", ("train", "optimizer"), {"name": "adam", "lr": 0.1}),
        ("toy/fit:net.hidden=relu", "bp", ("net", "hidden"), "relu"),
        ("toy/fit/bp:net.hidden_sizes=[7, 8]", "bp", ("net", "hidden_sizes"), [7, 8]),
        ("toy/fit/near/bp:task.batch_size=5", "bp", ("task", "batch_size"), 5),
    ],
)
def test_a_setting_is_where_it_says_and_all_else_is_as_it_was(checkout, given, place, at, value):
    place = (*PLACE[:2], place)
    varied, plain = spec(checkout, given, place=place), spec(checkout, place=place)
    assert without(varied, at[0], "code") == without(plain, at[0], "code")
    found, was = varied, plain
    for key in at:
        found, was = found[key], was[key]
    assert json.loads(canonical_json(found)) == value
    assert found != was


def test_the_main_field_of_a_group_leaves_its_others_alone(checkout):
    varied = spec(checkout, "dfc_ssa:hyper.feedback=zeros", place=(*PLACE[:2], "dfc_ssa"))
    assert (varied["rule"]["feedback"]["init"], varied["rule"]["feedback"]["lr"]) == ("zeros", 0.25)


def test_only_what_is_varied_is_another_block(checkout):
    path = "results/small/runs/toy/fit/{}/{}/shard0.jsonl"
    plain = checkout.workflow(run="small")
    for dataset in ("near", "far"):
        for method in METHODS["methods"]:
            put(plain, path.format(dataset, method))
    varied = checkout.workflow(run="small", set="toy/fit/near/fa:hyper.feedback_scale=0.25")
    stale = [
        (d, m) for d in ("near", "far") for m in METHODS["methods"]
        if varied.present.stale(canonical_json(varied.train_spec("toy/fit", d, m, 0)), path.format(d, m))
    ]  # fmt: skip
    assert stale == [("near", "fa")]


def test_several_settings_may_be_given_and_of_one_cell_the_later_counts(checkout):
    varied = spec(checkout, "train.epochs=7", "bp:train.epochs=8", "net.hidden=relu")
    assert (varied["train"]["epochs"], varied["net"]["hidden"]) == (8, "relu")
    assert spec(checkout, "train.epochs=7", "bp:train.epochs=8", place=(*PLACE[:2], "fa"))["train"]["epochs"] == 7


def test_a_setting_without_a_place_is_of_what_is_run(checkout):
    checkout.write("toy/other", FIT | {"figures": {}, "tables": {}, "use_methods": ["fa"]})
    workflow = checkout.workflow(run="small", set="train.epochs=7", experiments="other", datasets="near")
    epochs = {
        (key, d, m): workflow.defined[key].cell(d, m).run["train"]["epochs"]
        for key in workflow.defined for d in ("near", "far") for m in ("bp", "fa")
    }  # fmt: skip
    assert [place for place, number in epochs.items() if number == 7] == [("toy/other", "near", "fa")]


def test_a_search_gives_way_to_a_value(checkout):
    checkout.write("toy/fit", searching(tables={"table1": {"options": {"metric": "test_loss"}}}))
    varied = spec(checkout, "bp:search=null", "bp:train.optimizer.lr=0.1")
    assert ("searched" in varied, varied["train"]["optimizer"]["lr"]) == (False, 0.1)
    given = ["bp:search.vary.train.optimizer.lr=[1, 2]", "bp:search.epochs=1"]
    workflow = checkout.workflow(run="small", set=given)
    search = workflow.search_spec(*PLACE)
    assert (search["vary"], search["train"]["epochs"]) == ({"train.optimizer.lr": [1.0, 2.0]}, 1)
    assert canonical_json(search["vary"]) == '{"train.optimizer.lr":[1.0,2.0]}'


def test_a_space_of_a_search_is_set_as_its_grid_is(checkout):
    checkout.write("toy/fit", searching(tables={"table1": {"options": {"metric": "test_loss"}}}))
    space = "bp:search={space: {train.optimizer.lr: {low: 0.01, high: 1.0, log: true}}, trials: 3}"
    workflow = checkout.workflow(run="small", set=[space, "bp:search.space.train.optimizer.lr={low: 0.02, high: 1.0}"])
    assert workflow.cell(*PLACE).search["space"]["train.optimizer.lr"]["low"] == 0.02


# ---- what is refused


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("dfc_ssa:hyper.alpa=1", "dfc_ssa: no hyperparameter 'alpa' (did you mean 'alpha'?); "),
        ("hyper.alpha=1", "bp, fa have no hyperparameter 'alpha'; name the method: dfc_ssa:hyper.alpha=1"),
        ("bp:hyper.alpha=1", "bp: no hyperparameter 'alpha'; must be one of: masks, steps"),
        ("dfc_ssa:hyper.alpha=big", "methods.dfc_ssa.hyper.alpha = 'big'; must be "),
        ("dfc_ssa:hyper.alpha=-1", "methods.dfc_ssa.hyper.alpha = -1; must be "),
        ("dfc_ssa:hyper.feedback.rl=1", "hyper.feedback.rl = 1: no such hyperparameter"),
        ("bp:train.epochs=many", "train.epochs = 'many': 'many' is not of type 'integer'"),
        ("bp:train.epoch=3", "train: unknown key 'epoch' (did you mean 'epochs'?)"),
        ("bp:trian.epochs=3", "PATH = 'trian' (did you mean 'train'?); must be one of: hyper, net, "),
        ("net.hiden=relu", "net.hiden = 'relu': no such hyperparameter (did you mean 'hidden'?)"),
        ("net.hidden=rellu", "net.hidden = 'rellu' (did you mean 'relu'?)"),
        ("train.optimizer.momentom=0.1", "train.optimizer: key of sgd = 'momentom' (did you mean 'momentum'?)"),
        ("pb:train.epochs=3", "METHOD = 'pb'; must be one of: bp, dfc_ssa, fa, or an experiment"),
        ("toy/fid:train.epochs=3", "experiment = 'toy/fid' (did you mean 'toy/fit'?)"),
        ("toy/fit/pb:train.epochs=3", "methods of toy/fit = 'pb'; must be one of: bp"),
        ("toy/fit/nearer/bp:train.epochs=3", "datasets of toy/fit = 'nearer' (did you mean 'near'?)"),
        ("toy/fit/near/bp/x:train.epochs=3", "WHERE must be METHOD or PAPER/NAME[[/DATASET]/METHOD]"),
        ("train.epochs", "must be [WHERE:]PATH=VALUE"),
        ("train=3", "names no setting of train"),
        ("net.hidden_sizes=[3", "[3 is no value; lists and mappings are written"),
    ],
)  # fmt: skip
def test_what_fits_nothing_is_refused_in_one_line_that_names_it(checkout, given, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as error:
        checkout.workflow(run="small", set=given)
    assert len(str(error.value).splitlines()) == 1
    assert given in str(error.value)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("train.optimizer={name: sgd, lr: 1e-2}", {"name": "sgd", "lr": 0.01}),
        ("train.optimizer.lr=[1e-2, -5E+3, 2.5e0]", [0.01, -5000.0, 2.5]),
        ("search.space={hyper.alpha: {low: 1e-4, high: 1e1}}", {"hyper.alpha": {"low": 0.0001, "high": 10.0}}),
        ("task.name='1e-3'", "1e-3"),
        ("train.optimizer.name=e1", "e1"),
    ],
)
def test_powers_of_ten_are_numbers_within_lists_and_mappings_too(given, value):
    (one,) = read(given, CHECKOUT / "workflow" / "schemas" / "experiment.schema.yaml", "config")
    assert one.value == value


def test_a_run_without_a_name_is_refused(checkout):
    with pytest.raises(ConfigError, match=r"set = 'train.epochs=3': needs a name for the run, run=NAME; it would put"):
        checkout.workflow(set="train.epochs=3")


def test_a_setting_of_what_is_left_out_and_one_that_is_given_twice_are_refused(checkout):
    checkout.write("toy/other", FIT | {"figures": {}, "tables": {}})
    with pytest.raises(ConfigError, match=r"varies nothing that is run; methods, datasets and experiments leave it"):
        checkout.workflow(run="small", set="toy/fit:train.epochs=3", experiments="other")
    with pytest.raises(ConfigError, match=r"'train\.epochs=4': train.epochs is set twice"):
        checkout.workflow(run="small", set=["train.epochs=3", "train.epochs=4"])


# ---- on the command line


def test_the_command_line_of_snakemake_can_say_it(checkout):
    text = "set=dfc_ssa:hyper.alpha=0.01"
    assert parse_config([text]) == {"set": "dfc_ssa:hyper.alpha=0.01"}
    assert parse_config(['set=["a:net.hidden_sizes=[1, 2]", b:train.epochs=3]'])["set"] == [
        "a:net.hidden_sizes=[1, 2]", "b:train.epochs=3",
    ]  # fmt: skip


@pytest.fixture
def credit(checkout, capsys):
    """Runs a command; returns (exit code, lines printed, lines of complaint)."""

    def run(*arguments: str) -> tuple[int, list[str], list[str]]:
        code = main(arguments, checkout.root)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


SMALL = ("--run", "small", "--set", "fa:hyper.feedback_scale=0.25")


def test_commands_are_asked_of_a_run_with_its_settings(checkout, credit):
    path = "results/small/runs/toy/fit/near/fa/shard0.jsonl"
    put(checkout.workflow(run="small", set="fa:hyper.feedback_scale=0.25"), path)
    assert credit("why", path, *SMALL)[:2] == (0, ["up to date"])
    assert credit("why", path, "--set", "fa:hyper.feedback_scale=0.25")[:2] == (0, ["up to date"]), "the path names it"
    assert credit("why", path)[:2] == (1, ["rule.feedback_scale: 0.25 -> 1.0"])
    assert "1 good" in credit("verify", path, *SMALL)[1][-1]
    for asked in (path, path.replace("/small", "")):
        assert credit("plan", asked, *SMALL)[1][-2].endswith("nothing")
    assert credit("plan", path, *SMALL[2:])[1][-2].endswith("nothing")
    assert credit("list", "toy/fit", *SMALL)[1][1].split()[1:4] == ["1", "of", "12"]
    code, out, err = credit("plan", "all", *SMALL[2:])
    assert (code, out, len(err)) == (2, [], 1)
    assert "needs a name for the run" in err[0]


@pytest.mark.parametrize(
    ("entry", "option"), [("run=large", "--run"), ("set=bp:train.epochs=7", "--set"), ("set=[train.epochs=7]", "--set")]
)
def test_what_is_said_twice_is_refused_since_one_would_be_passed_over(credit, entry, option):
    code, out, (line,) = credit("plan", "toy/fit", *SMALL, "--config", "seeds=2", entry)
    assert (code, out) == (2, [])
    assert line == f"error: {option} and --config {entry}: say the same key, {option[2:]}; keep one of them"


def test_letters_of_all_languages_reach_a_setting():
    (entry,) = entries([], None, ["fa:hyper.name=🙂 ñ"])
    assert parse_config([entry]) == {"set": ["fa:hyper.name=🙂 ñ"]}


@pytest.mark.parametrize("asked", ["toy/fit", "results/tables/toy/fit.csv", "results/small/tables/toy/fit.csv"])
def test_a_run_is_made_by_the_names_of_its_targets(checkout, asked):
    present = Present([], entries([], *SMALL[1:2], SMALL[3:]), checkout.root)
    command = snakemake(present, [asked], cores="2", dry=True)
    assert command[:5] == [sys.executable, "-m", "snakemake", "--cores", "2"]
    assert command[command.index("-n") :] == [
        "-n", "--config", "run=small", 'set=["fa:hyper.feedback_scale=0.25"]', "--", "results/small/tables/toy/fit.csv",
    ]  # fmt: skip
    assert parse_config(command[command.index("--config") + 1 : -2]) == {"run": "small", "set": [SMALL[3]]}


def test_a_quick_target_is_made_at_the_quick_scale_and_settings_hold_there_too(checkout):
    present = Present([], entries(["seeds=2"], "small", ["train.epochs=3"]), checkout.root)
    command = snakemake(present, ["results/quick/figures/toy/curves.pdf", "results/small/quick/tables/toy/table1.csv"])
    assert command[command.index("--configfile") + 1] == str(checkout.root / "config" / "quick.yaml")
    assert command[-2:] == ["results/small/quick/figures/toy/curves.pdf", "results/small/quick/tables/toy/table1.csv"]
    workflow = present.at("quick", "small")
    assert workflow.train_spec(*PLACE, 0)["train"]["epochs"] == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["toy/fid", *SMALL], "target = 'toy/fid' (did you mean 'toy/fit'?)"),
        (["toy/fit", "--run", "small", "--set", "fa:hyper.feedback_scael=1"], "(did you mean 'feedback_scale'?)"),
        (["toy/fit", "--set", "train.epochs=3"], "needs a name for the run"),
        (["results/other/tables/toy/fit.csv", *SMALL], "is of the run other; the configuration names the run small"),
        (["toy/fit", "results/quick/tables/toy/fit.csv"], "are of results/ and results/quick/; make them one by one"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_line_before_snakemake_is_called(credit, monkeypatch, arguments, words):
    monkeypatch.setattr("os.execv", lambda *command: pytest.fail("called"))
    code, out, err = credit("run", *arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert words in err[0]


def test_the_call_is_said_and_takes_the_place_of_the_command(credit, monkeypatch):
    called = []
    monkeypatch.setattr("os.execv", lambda program, command: called.append(command))
    with pytest.raises(AssertionError):  # what no process lives to see
        credit("run", "toy/fit", "--run", "small", "-n", "--profile", "slurm")
    assert called[0][3:] == [
        "--cores", "all", "--snakefile", str(CHECKOUT / "Snakefile"), "--profile", "slurm", "-n",
        "--config", "run=small", "--", "results/small/tables/toy/fit.csv",
    ]  # fmt: skip


OTHER = FIT | {"figures": {"others": FIT["figures"]["curves"]}, "tables": {}, "methods": {"bp": {}}}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["train.epochs=3"], ["toy/fit:train.epochs=3"]),
        (["fa : hyper.feedback_scale = 0.25"], ["toy/fit/fa: hyper.feedback_scale = 0.25"]),
        (["train.epochs=3", "toy/fit:train.epochs=4"], ["toy/fit:train.epochs=4"]),
        (["toy/fit:train.epochs=4", "train.epochs=3"], ["toy/fit:train.epochs=3"]),
        (["toy/fit:train.epochs=4", "toy/fit:train.epochs=3"], ["toy/fit:train.epochs=4", "toy/fit:train.epochs=3"]),
        (["toy/other:train.epochs=4", "af:train.epochs=1"], ["toy/other:train.epochs=4", "af:train.epochs=1"]),
    ],
)
def test_beside_targets_a_setting_is_of_the_experiments_that_they_need(checkout, given, meant):
    checkout.write("toy/other", OTHER)
    present = Present([], ["run=small"], checkout.root)
    for target in ("toy/fit", "results/figures/toy/curves.pdf", "elsewhere/results/small/figures/toy/curves.pdf",
                   "results/small/runs/toy/fit/near/fa/shard0.jsonl"):  # fmt: skip
        assert scoped(present, [target], given) == meant
    assert scoped(present, ["all"], given) == given
    assert scoped(present, ["toy/fit", "toy/other"], ["bp:train.epochs=1"]) == ["bp:train.epochs=1"]


def test_a_setting_of_what_the_targets_do_not_need_is_refused(checkout, credit):
    checkout.write("toy/other", OTHER)
    code, out, err = credit("plan", "toy/other", *SMALL)
    assert (code, out) == (2, [])
    assert err == ["error: --set fa:hyper.feedback_scale=0.25: varies nothing that toy/other needs"]


def test_what_one_experiment_cannot_have_is_set_for_the_target_alone(checkout, credit):
    checkout.write("toy/other", OTHER | {"net": {**FIT["net"], "hidden_sizes": [3, 3], "hidden": ["tanh", "relu"]}})
    setting = ("--run", "small", "--set", "net.hidden_sizes=[4]")
    assert credit("plan", "toy/fit", *setting)[0] == 0
    code, out, err = credit("plan", "all", *setting)
    assert (code, out, len(err)) == (2, [], 1)
    assert "toy/other" in err[0]


# ---- what is said of it


def test_figures_and_tables_say_what_is_varied_in_them(checkout):
    other = FIT | {"figures": {"others": FIT["figures"]["curves"]}, "tables": {"table2": FIT["tables"]["table1"]}}
    checkout.write("toy/other", other)
    workflow = checkout.workflow(run="small", set=["fa:hyper.feedback_scale=0.25", "toy/other:train.epochs=3"])
    plain = checkout.workflow(run="small")
    spec = workflow.artefact_spec("figure", "toy/curves")
    assert spec["varied"] == ["fa:hyper.feedback_scale=0.25"]
    assert spec["title"] == "toy/curves (varied: fa:hyper.feedback_scale=0.25)"
    assert workflow.readable_spec("toy/table2")["title"].endswith(
        "(varied: train.epochs=3, fa:hyper.feedback_scale=0.25)"
    )
    assert workflow.artefact_spec("table", "toy/table1")["varied"] == ["fa:hyper.feedback_scale=0.25"]
    narrowed = checkout.workflow(run="small", set="fa:hyper.feedback_scale=0.25", methods="bp")
    assert "varied" not in narrowed.artefact_spec("figure", "toy/curves")
    scoped = checkout.workflow(run="small", set="toy/fit/fa:hyper.feedback_scale=0.25")
    assert scoped.artefact_spec("figure", "toy/curves") == spec, "said otherwise, it is the same"
    assert plain.artefact_spec("figure", "toy/curves")["title"] == "toy/curves"


def test_what_is_varied_is_held_against_nothing_published(checkout):
    workflow = checkout.workflow(run="small", set="toy/fit/near/fa:train.epochs=3")
    assert workflow.fidelity_spec()["varied"] == [["toy/table1", "near", "fa"]]
    assert "varied" not in checkout.workflow(run="small").fidelity_spec()
    table = pd.DataFrame({"artefact": "toy/table1", "dataset": ["near", "far", "near"], "method": ["fa", "fa", "bp"]})
    assert as_published(table, [["toy/table1", "near", "fa"]])["dataset"].to_list() == ["far", "near"]
    assert len(as_published(table, [])) == 3
    assert len(as_published(table[:0], [["toy/table1", "near", "fa"]])) == 0


def test_a_note_stands_above_a_figure_and_leaves_it_as_it_is(tmp_path):
    def heights(note: str) -> list[int]:
        figure = Figure(figsize=(2, 1), layout="constrained")
        figure.add_subplot().plot([1, 2])
        style.save(figure, tmp_path / "a.pdf", tmp_path / "a.png", note)
        with Image.open(tmp_path / "a.png") as image:
            return [image.height, len((tmp_path / "a.pdf").read_bytes())]

    plain, noted = heights(""), heights("varied: " + "fa:hyper.feedback_scale=0.25, " * 5)
    assert plain[0] == 200
    assert noted[0] > plain[0]
    assert noted[1] > plain[1]
