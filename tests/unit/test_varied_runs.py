"""`set`: a named run with settings of its own; what they are laid over, what is refused, what goes stale."""

from __future__ import annotations

import json
import re

import pytest

from credit.dag.commands import parse_config
from credit.errors import ConfigError
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
