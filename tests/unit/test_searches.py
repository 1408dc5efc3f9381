"""Searches over a space as experiments write them: what is refused before any job, what they cost, what they tell."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import pytest
import yaml
from small_checkout import REPOSITORY, Checkout, searching

from credit.config.parts import code_roots
from credit.config.space import OPTUNA
from credit.dag import cost
from credit.dag.audit import verify
from credit.dag.diff import compared
from credit.dag.resultfile import read
from credit.dag.searches import missing_package, sampled_cells, step_of
from credit.dag.show import lines
from credit.errors import ConfigError
from credit.provenance import snapshot as provenance
from credit.provenance.records import sealed

LR, SCALE = "train.optimizer.lr", "hyper.feedback_scale"
RATES = {"low": 0.001, "high": 1, "log": True}
SPACE = {"space": {LR: RATES}, "trials": 5, "seeds": [1000, 1001], "epochs": 2}
CHOICE = "results/runs/toy/fit/near/bp/choice.json"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


def drawing(method="bp", settings=None, **search):
    """`toy/fit` with a search over a space."""
    body = searching()
    body["search"], body["methods"] = {**SPACE, **search}, {method: settings or {}}
    of_it = {"options": {"where": {"method": method}}}
    body["figures"] = {"curves": {"module": "credit.figures.cross.fig2", **of_it}}
    return {**body, "tables": {"table1": {"options": {"metric": "test_loss", "where": {"method": method}}}}}


def spec_of(checkout, method="bp", **more):
    checkout.write("toy/fit", drawing(method, **more))
    return checkout.workflow().search_spec("toy/fit", "near", method)


# ---- what is asked for


def test_a_search_over_a_space_says_in_its_spec_what_is_drawn_and_by_whom(checkout):
    spec = spec_of(checkout)
    assert (spec["kind"], spec["vary"], spec["seeds"], spec["train"]["epochs"]) == ("search", {}, [1000, 1001], 2)
    assert spec["sampler"] == {
        "name": "tpe", "optuna": OPTUNA, "trials": 5, "seed": 0, "parallel": 1,
        "space": {LR: {"low": 0.001, "high": 1.0, "log": True, "whole": False}},
    }  # fmt: skip
    run = checkout.workflow().train_spec("toy/fit", "near", "bp", 0)
    assert (run["searched"], run["vary"], "lr" in run["train"]["optimizer"]) == ([LR], {}, False)


def test_a_grid_has_the_spec_the_script_and_the_environment_that_it_always_had(checkout):
    checkout.write("toy/fit", searching())
    workflow = checkout.workflow()
    spec = workflow.search_spec("toy/fit", "near", "bp")
    assert ("sampler" in spec, step_of(spec), sampled_cells(workflow)) == (False, ("train", "search"), [])
    train = workflow.train_spec("toy/fit", "near", "bp", 0)
    assert spec["env"] == train["env"] == provenance.env_digest(REPOSITORY / "envs" / "train.yaml")
    assert spec["code"] == provenance.code_digest(*code_roots(spec, workflow.script("search")))
    names = {n for s in ("train", "search") for n in provenance.closure(*code_roots(spec, workflow.script(s)))}
    assert not names & {"credit.config.space", "credit.training.trials", "credit.training.sampler"}


def test_what_draws_is_in_an_environment_and_a_script_of_its_own(checkout):
    spec, workflow = spec_of(checkout), checkout.workflow()
    assert step_of(spec) == ("search", "sample")
    assert spec["env"] == provenance.env_digest(REPOSITORY / "envs" / "search.yaml")
    assert f"optuna=={OPTUNA}" in (REPOSITORY / "envs" / "search.yaml").read_text()
    assert spec["code"] == provenance.code_digest(*code_roots(spec, workflow.script("sample")))
    assert "credit.training.sampler" in provenance.closure(workflow.script("sample"))
    assert sampled_cells(workflow) == ["toy/fit/near/bp"]
    assert workflow.train_spec("toy/fit", "near", "bp", 0)["env"] != spec["env"]


def test_a_name_of_a_run_or_an_experiment_is_no_part_of_what_is_drawn(checkout):
    ours, other = spec_of(checkout)["sampler"], checkout.workflow(run="mine")
    assert other.search_spec("toy/fit", "near", "bp")["sampler"] == ours


def test_numbers_get_the_types_of_their_settings(checkout):
    space = {LR: {"choices": [1, 0.5]}, "hyper.controller.time_points": {"low": 5, "high": 50}}
    space |= {"hyper.feedback": {"choices": ["nok", "xavier_normal"]}}
    found = spec_of(checkout, "dfc_ss", space=space)["sampler"]["space"]
    assert json.dumps(found[LR]) == '{"choices": [1.0, 0.5]}'
    whole = {"low": 5, "high": 50, "log": False, "whole": True}
    assert json.dumps(found["hyper.controller.time_points"]) == json.dumps(whole)
    assert found["hyper.feedback"] == {"choices": ["nok", "xavier_normal"]}


def test_a_method_may_have_a_grid_in_place_of_an_inherited_space_and_the_other_way_round(checkout):
    body = drawing()
    body["methods"] = {"bp": {}, "fa": {"search": {"space": None, "vary": {LR: [0.1, 0.3]}}}}
    checkout.write("toy/fit", body)
    workflow = checkout.workflow()
    specs = {method: workflow.search_spec("toy/fit", "near", method) for method in ("bp", "fa")}
    assert ("sampler" in specs["bp"], "sampler" in specs["fa"], specs["fa"]["vary"]) == (True, False, {LR: [0.1, 0.3]})
    body = searching(methods={"fa": {"search": {"vary": None, "space": {LR: RATES}, "trials": 3}}})
    checkout.write("toy/fit", body)
    workflow = checkout.workflow()
    assert workflow.search_spec("toy/fit", "near", "fa")["sampler"]["trials"] == 3
    assert sampled_cells(workflow) == ["toy/fit/near/fa"]


def test_the_quick_scale_may_draw_fewer(checkout):
    checkout.write("toy/fit", {**drawing(), "quick": {"search": {"trials": 2}}})
    numbers = [
        checkout.workflow(scale=s).search_spec("toy/fit", "near", "bp")["sampler"]["trials"] for s in ("paper", "quick")
    ]
    assert numbers == [5, 2]


# ---- what is refused, in one line


def of(entry, path=LR):
    return {"space": {LR: RATES, path: entry}}


WRONG = {
    "sampler": ({"sampler": "tpee"}, r"search\.sampler = 'tpee' \(did you mean 'tpe'\?\); must be one of: random, tpe"),
    "no trials": ({"trials": 0}, r"search\.trials: 0 is less than the minimum of 1"),
    "a seed that is none": ({"seed": -1}, r"search\.seed: -1 is less than the minimum of 0"),
    "parallel": ({"parallel": 9}, r"search\.parallel = 9; must be at most the 5 trials"),
    "low": (of({"low": 1, "high": 0.1}), r"lr = \{low: 1\.0, high: 0\.1\}; low must be below high"),
    "equal": (of({"low": 1, "high": 1}), r"low must be below high"),
    "log": (of({"low": 0, "high": 1, "log": True}), r"low must be above 0, since log is true"),
    "half": (of({"low": 1}), r"lr = \{low: 1\.0\}; must be \{low: NUMBER, high: NUMBER\}, .* \{choices: "),
    "both": (of({"low": 1, "high": 2, "choices": [1]}), r"must be low and high, or choices, not both"),
    "one choice": (of({"choices": [0.1]}), r"choices must be at least two; what has one value is a setting"),
    "twice": (of({"choices": [0.1, 0.1]}), r"a choice appears twice"),
    "list": (of({"choices": [[0.1], 0.1]}), r"choices must be numbers, texts, true, false or null"),
    "misspelt": (of({"hihg": 1}), r"space\['train.optimizer.lr'\]: unknown key 'hihg' \(did you mean 'high'"),
    "text": (of({"low": "1e-3", "high": 1}), r"search\.space\['train.optimizer.lr'\]\.low = '1e-3'"),
    "bounds": (of({"low": -1, "high": 1}), r"space: train\.optimizer\.lr = -1\.0; must be a finite number >= 0"),
    "unknown": (of(RATES, "hyper.feedbak_scale"), r"feedbak_scale.* no such .* \(did you mean 'feedback_scale'"),
    "no optimiser": (of(RATES, "train.optimizer.momentun"), r"momentun' \(did you mean 'momentum'"),
    "place": (of(RATES, "net.hidden"), r"search\.space: net\.hidden; must be hyper\.NAME or train\.optimizer\.NAME"),
    "no setting": (of({"choices": ["sgd", "adam"]}, "train.optimizer.name"), r"optimizer\.name; cannot be searched"),
    "of the rule": (of({"low": 0, "high": 1}, SCALE), r"hyper\.feedback_scale = 0\.0; must be a finite number > 0"),
    "a grid too": ({"vary": {SCALE: [1.0, 2.0]}}, r"search\.vary and search\.space; must be one of them, .* vary: nu"),
    "layer": (of(RATES, "train.optimizer.weight_decay.7"), r"names the layers 7; must name all of 0, 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_bad_space_is_refused_in_one_line_with_file_key_and_what_is_expected(checkout, name):
    search, said = WRONG[name]
    checkout.write("toy/fit", drawing("fa", **search))
    with pytest.raises(ConfigError) as error:
        checkout.workflow()
    assert re.search(said, str(error.value)), error.value
    assert str(error.value).startswith(f"{checkout.root}/config/experiments/toy/fit.yaml: ")
    assert len(str(error.value).splitlines()) == 1


def test_other_contradictions_are_refused_too(checkout):
    for change, said in (
        ({"vary": {LR: [0.1, 0.2]}}, r"exactly one of .*search\.space and vary; found search, vary"),
        (
            {"train": {"optimizer": {"name": "sgd", "lr": 0.1}}},
            r"exactly one of .*; found train\.optimizer\.lr, search",
        ),
    ):
        checkout.write("toy/fit", {**drawing(), **change})
        with pytest.raises(ConfigError, match=said):
            checkout.workflow()
    checkout.write("toy/fit", {**drawing("fa", **of(RATES, SCALE)), "vary": {SCALE: [1.0, 2.0]}})
    with pytest.raises(
        ConfigError, match=r"fa: vary and search\.space both name hyper\.feedback_scale; keep one of them"
    ):
        checkout.workflow()


def test_keys_of_a_space_without_one_and_a_space_without_trials_are_refused(checkout):
    body = searching()
    for search, said in (
        ({**body["search"], "trials": 5}, r"search\.trials = 5; belongs to a search\.space, and there is none$"),
        (
            {"space": {LR: RATES}},
            r"search\.trials is missing; must be how many trials are drawn of search\.space, at least 1$",
        ),
        ({"space": {}, "trials": 5}, r"search\.space = \{\}; names nothing to search"),
        ({"space": {LR: RATES}, "trials": 5, "seed": 2**32}, r"search\.seed = 4294967296; must be below 4294967296$"),
    ):
        checkout.write("toy/fit", {**body, "search": search})
        with pytest.raises(ConfigError, match=said):
            checkout.workflow()


def test_whole_numbers_and_texts_are_trained_one_after_another(checkout):
    more = {"space": {LR: RATES, "hyper.controller.time_points": {"low": 5, "high": 9}}, "parallel": 2}
    said = r"search\.parallel = 2; must be 1: hyper\.controller\.time_points cannot differ between networks"
    with pytest.raises(ConfigError, match=said):
        spec_of(checkout, "dfc_ss", **more)
    with pytest.raises(ConfigError, match=r"time_points = 5\.5; must be an integer"):
        spec_of(checkout, "dfc_ss", space={LR: RATES, "hyper.controller.time_points": {"low": 5.5, "high": 9}})


def test_values_that_exclude_each_other_are_refused_before_any_job(checkout):
    """Each is allowed by itself; some trial would have both."""
    space = {LR: RATES, "hyper.ssa_steps": {"low": 30, "high": 200}}
    spec_of(checkout, "di", space=space)
    with pytest.raises(ConfigError) as error:
        spec_of(checkout, "di", space={**space, "hyper.ssa_min_steps": {"low": 5, "high": 60}})
    said = "methods.di: search.space: hyper.ssa_min_steps = 60; must be at most ssa_steps = 30"
    assert str(error.value) == f"{checkout.root}/config/experiments/toy/fit.yaml: {said}"


# ---- what it needs and costs


def test_a_missing_package_is_named_in_one_line_and_only_where_trials_are_to_be_drawn(checkout, monkeypatch):
    specs = [spec_of(checkout), checkout.workflow().train_spec("toy/fit", "near", "bp", 0)]
    assert missing_package(specs) == ""

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    needs = f"needs the package optuna {OPTUNA}, it is not installed: pip install optuna=={OPTUNA}"
    assert missing_package(specs) == f"toy/fit/near/bp: search.sampler = 'tpe'; {needs}"
    assert missing_package(specs[1:]) == ""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.9.0")
    assert "this environment has 4.9.0: pip install" in missing_package(specs)


def test_a_plan_counts_every_trial(checkout):
    one, many, side = (
        cost.job_cost(spec_of(checkout, trials=n, parallel=p)) for n, p in ((1, 1), (40, 1), (40, 20))
    )  # fmt: skip
    assert (one.jobs, one.runs, many.runs, side.runs) == (1, 2, 80, 80)
    assert many.seconds - cost.START == pytest.approx(40 * (one.seconds - cost.START))
    assert one.seconds < side.seconds < many.seconds
    assert many.disk > one.disk
    assert cost.plan(checkout.workflow(), "all").whole.runs == 80 + 4


# ---- what is said of it


def put_trials(checkout, path=CHOICE, best=1, spec=None, **more):
    """Write what a search leaves that drew five trials; trial 3 diverged."""
    spec = spec or spec_of(checkout)
    modules = provenance.module_digests(*code_roots(spec, REPOSITORY / "workflow" / "scripts" / "sample.py"))
    scores = [
        {"trial": n, "at": {LR: (n + 1) / 10}, "score": None if n == 3 else abs(n - best) / 8, "n": 2}
        for n in range(spec["sampler"]["trials"])
    ]
    content = {
        "spec": spec, "choice": scores[best]["at"], "at_edge": {LR: True}, "scores": scores,
        "criterion": spec["criterion"], "provenance": {"modules": modules}, **more,
    }  # fmt: skip
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(sealed(content)))
    return path


def test_show_tells_what_drew_the_trials_and_which_were_best(checkout):
    said = lines(read(put_trials(checkout)))
    text = "\n".join(said)
    assert said[0] == f"{CHOICE}: a search of bp on near, toy/fit"
    for line in (
        f"0 at {LR} = 0.2", f"0.375 at {LR} = 0.5", "1 of 5 diverged",
        f"the best lies at the edge of the space of {LR}", f"envs/search.yaml {read(CHOICE).spec['env']}",
    ):  # fmt: skip
        assert line in text
    assert "sampler: tpe" in said
    for line in ("trials: 5", "seed: 0", f"optuna: {OPTUNA}", "low: 0.001"):
        assert line in [one.strip() for one in said]


def test_diff_tells_other_samplers_and_trials(checkout):
    one = put_trials(checkout)
    other = put_trials(checkout, "other/choice.json", 2, spec_of(checkout, seed=3))
    found = compared(read(one), read(other))
    assert "sampler.seed: 0 -> 3" in found["settings"]
    assert any("4 of 5 differ" in line for line in found["values"])


def test_verify_holds_every_trial_against_its_space(checkout):
    path = Path(put_trials(checkout))
    workflow = checkout.workflow()
    assert verify(workflow, path).kind == "good"
    whole = json.loads(path.read_text())
    for change, said in (
        ({"scores": whole["scores"][:4]}, "holds 4 trials; its spec has 5"),
        ({"scores": [{**s, "at": {LR: 7.0}} for s in whole["scores"]]}, f"trial 0: {LR} = 7.0 is not of the space"),
        ({"choice": {LR: 0.5}}, "is not the point with the lowest score"),
    ):
        put_trials(checkout, **change)
        found = verify(workflow, path)
        assert (found.kind, said in found.lines[0]) == ("damaged", True), found


def test_the_schema_describes_every_key_of_a_search_over_a_space():
    schema = yaml.safe_load((REPOSITORY / "workflow" / "schemas" / "experiment.schema.yaml").read_text())
    search, entry = schema["$defs"]["search"]["anyOf"][1], schema["$defs"]["space"]
    described = [search["properties"][key] for key in ("space", "sampler", "trials", "seed", "parallel", "vary")]
    assert all(one["description"] for one in [*described, *entry["additionalProperties"]["properties"].values()])
