"""Sets of settings that experiments share by name: what is taken, what lies over it, what is refused."""

from __future__ import annotations

import re

import pytest
import yaml
from small_checkout import FIT, REPOSITORY, Checkout, searching

from credit.config.sets import Sets
from credit.dag.targets import Workflow
from credit.errors import ConfigError
from credit.provenance.spec import canonical_json

SHARED = {
    "trained": {"feedback_scale": 0.25},
    "heavy": {"momentum": 0.75, "lr": 0.5},
    "light": {"momentum": 0.25},
    "typo": {"feedback_scael": 1.0},
    "wrong": {"feedback_scale": -1.0},
    "odd": {"nesterof": True},
    "steep": {"momentum": 2.0},
}


def sharing(root, **changes) -> Checkout:
    """The small checkout with `SHARED` as config/sets/toy.yaml and changes laid over its experiment."""
    checkout = Checkout(root)
    (root / "config" / "sets").mkdir()
    (root / "config" / "sets" / "toy.yaml").write_text(yaml.safe_dump(SHARED))
    checkout.change(**changes)
    return checkout


def spec(workflow: Workflow, method: str = "fa", dataset: str = "near") -> dict:
    return workflow.train_spec("toy/fit", dataset, method, 0)


def test_a_set_is_taken_by_name_and_what_stands_beside_it_lies_over_it(tmp_path):
    workflow = sharing(
        tmp_path,
        train={"optimizer": {"from": "toy/heavy", "lr": 0.125}},
        methods={"fa": {"hyper": {"from": "toy/trained"}, "datasets": {"far": {"hyper": {"feedback_scale": 0.5}}}}},
    ).workflow()
    assert spec(workflow)["rule"]["feedback_scale"] == 0.25
    assert spec(workflow, dataset="far")["rule"]["feedback_scale"] == 0.5
    assert spec(workflow)["train"]["optimizer"] == {"name": "sgd", "momentum": 0.5, "lr": 0.125}  # 0.5 stands in FIT


def test_of_several_sets_the_later_one_counts(tmp_path):
    train = {"optimizer": {"from": ["toy/heavy", "toy/light"]}}
    workflow = sharing(tmp_path, datasets={"near": {"train": train}}).workflow()
    assert spec(workflow)["train"]["optimizer"] == {"name": "sgd", "momentum": 0.25, "lr": 0.5}
    assert spec(workflow, dataset="far")["train"]["optimizer"] == {"name": "sgd", "momentum": 0.5, "lr": 0.2}


def test_a_spec_does_not_say_whether_its_settings_were_shared(tmp_path):
    specs = []
    for name, hyper in (("set", {"from": "toy/trained"}), ("own", SHARED["trained"])):
        (tmp_path / name).mkdir()
        specs.append(canonical_json(spec(sharing(tmp_path / name, methods={"fa": {"hyper": hyper}}).workflow())))
    assert specs[0] == specs[1]
    assert "from" not in specs[0]


def test_the_quick_scale_lays_its_changes_over_a_set_or_takes_another(tmp_path):
    quick = {**FIT["quick"], "datasets": {"near": {"train": {"optimizer": {"from": "toy/light"}}}}}
    near = {"train": {"optimizer": {"from": "toy/heavy"}}}
    checkout = sharing(tmp_path, datasets={"near": near}, quick=quick)
    assert spec(checkout.workflow())["train"]["optimizer"]["momentum"] == 0.75
    assert spec(checkout.workflow(scale="quick"))["train"]["optimizer"] == {"name": "sgd", "momentum": 0.25, "lr": 0.2}


def test_nested_settings_of_a_set_merge_key_by_key(tmp_path):
    (tmp_path / "a.yaml").write_text("x: {feedback: {init: normal, k_p: 1.0}, alpha: 2.0}\n")
    found, origins = Sets(tmp_path).expand({"hyper": {"from": "a/x", "feedback": {"k_p": 3.0}}}, "f.yaml")
    assert found == {"hyper": {"feedback": {"init": "normal", "k_p": 3.0}, "alpha": 2.0}}
    assert origins == {("hyper",): {"feedback.init": "a/x", "alpha": "a/x"}}


def test_a_bare_value_of_a_group_merges_with_a_set_key_by_key(tmp_path):
    sets = [{"feedback": "zeros"}, {"feedback": {"lr": 0.5}}]
    for name, taken, own in (("a", sets[0], sets[1]), ("b", sets[1], sets[0])):
        (tmp_path / name).mkdir()
        checkout = sharing(tmp_path / name, methods={"slow": {"rule": "dfc_ssa", "hyper": {"from": "toy/own", **own}}})
        (tmp_path / name / "config" / "sets" / "toy.yaml").write_text(yaml.safe_dump({"own": taken}))
        group = spec(checkout.workflow(), "slow")["rule"]["feedback"]
        assert (group["init"], group["lr"]) == ("zeros", 0.5)


def hyper(value) -> dict:
    return {"methods": {"fa": {"hyper": value}}}


def optimizer(value) -> dict:
    return {"methods": {"fa": {"datasets": {"near": {"train": {"optimizer": value}}}}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (hyper({"from": "toy/traned"}), r"methods.fa.hyper.from = 'toy/traned' \(did you mean 'toy/trained'\?\)"),
        (hyper({"from": "toi/trained"}), r"methods.fa.hyper.from = 'toi/trained' \(did you mean 'toy/trained'\?\)"),
        (hyper({"from": "trained"}), r"methods.fa.hyper.from = 'trained'"),
        (hyper({"from": 3}), r"methods.fa.hyper.from = 3; must be one of: toy/heavy, .*toy/wrong"),
        (hyper({"from": "../sets/toy/trained"}), r"methods.fa.hyper.from = '../sets/toy/trained'"),
        (optimizer({"from": "toy/hevy"}), r"methods.fa.datasets.near.train.optimizer.from = 'toy/hevy'"),
        (hyper({"from": "toy/typo"}),
         r"methods.fa.hyper.feedback_scael = 1.0: .*'feedback_scale'.*; it is from the set toy/typo$"),
        (hyper({"from": "toy/wrong"}), r"fa.hyper.feedback_scale = -1.0; must be .*; it is from the set toy/wrong$"),
        (hyper({"from": "toy/wrong", "feedback_scale": -2.0}), r"feedback_scale = -2.0; must be a finite number > 0$"),
        (optimizer({"from": "toy/odd"}), r"methods.fa: .*'nesterof' .*'nesterov'.*; it is from the set toy/odd$"),
        (optimizer({"from": "toy/steep"}), r"optimizer.momentum = 2.0; must be .*; it is from the set toy/steep$"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_at_the_file_that_uses_the_set(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=r"config/experiments/toy/fit.yaml: .*" + message):
        sharing(tmp_path, **changes).workflow()


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"hyper": {"feedback": {"lr": -1.0}}}, r"hyper\.feedback\.lr = -1\.0; must be [^;]*$"),
        ({"hyper": {"from": "toy/back"}}, r"hyper\.feedback\.lr = -2\.0; must be .*; it is from the set toy/back$"),
        ({"hyper": {"from": "toy/forth"}, "vary": {"hyper.feedback.lr": [-3.0]}}, r"vary: .*lr = [^;]*; [^;]*$"),
    ],
)  # fmt: skip
def test_a_setting_of_the_same_name_elsewhere_is_not_what_is_wrong(tmp_path, own, said):
    steps = {"name": "sgd", "lr": 0.2}
    checkout = sharing(tmp_path, methods={"ldrl": {**own, "train": {"optimizer": {"from": "toy/step"}}}})
    sets = {"step": steps, "back": {"feedback": {"lr": -2.0}}, "forth": {"feedback": {"lr": 0.1}}}
    (tmp_path / "config" / "sets" / "toy.yaml").write_text(yaml.safe_dump(sets))
    with pytest.raises(ConfigError, match=said):
        checkout.workflow()


def test_no_set_is_no_list_of_sets(tmp_path):
    with pytest.raises(ConfigError, match=r"toy/fit\.yaml: .*\.from = \[\]; must name at least one set, FILE/NAME$"):
        sharing(tmp_path, methods={"fa": {"hyper": {"from": []}}}).workflow()


def test_a_set_may_be_called_by_a_number(tmp_path):
    checkout = sharing(tmp_path, **hyper({"from": "toy/1"}))
    (tmp_path / "config" / "sets" / "toy.yaml").write_text("1: {feedback_scale: 0.25}\n")
    assert spec(checkout.workflow(), "fa")["rule"]["feedback_scale"] == 0.25


@pytest.mark.parametrize("content", ["trained: 3\n", "- a\n", "trained: {from: toy/heavy}\n"])
def test_a_file_of_sets_holds_mappings_alone(tmp_path, content):
    checkout = sharing(tmp_path, **hyper({"from": "toy/trained"}))
    (tmp_path / "config" / "sets" / "toy.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"config/sets/toy.yaml: .*a set must be a mapping of settings"):
        checkout.workflow()


def test_a_searched_rate_may_lie_beside_a_set(tmp_path):
    checkout = sharing(tmp_path)
    checkout.write("toy/fit", searching(train={"optimizer": {"from": "toy/light", "momentum": 0.125}}))
    assert spec(checkout.workflow(), "bp")["train"]["optimizer"] == {"name": "sgd", "momentum": 0.125}


def test_no_measured_constant_stands_in_two_places_of_the_configuration():
    places: dict[str, list[str]] = {}
    for path in sorted((REPOSITORY / "config").glob("*/**/*.yaml")):
        # data sets are standardised where they are named
        text = re.sub(r"task: \{.*|^ +(?:mean|std): \[.*", "", path.read_text(encoding="utf-8"), flags=re.M)
        for number in re.findall(r"\b\d\.\d{6,}(?:e-?\d+)?", text):
            places.setdefault(number, []).append(path.name)
    assert len(places) > 50
    assert {number: found for number, found in places.items() if len(found) > 1} == {}
