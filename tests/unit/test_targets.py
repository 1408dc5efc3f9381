"""Files of the workflow and the spec of every job; also with the configuration that is shipped."""

from __future__ import annotations

import json

import pytest
from small_checkout import FIT, REPOSITORY, Checkout, searching

from credit.config.files import overlay, read_yaml
from credit.dag.checks import RECORDED
from credit.dag.targets import Workflow, as_param
from credit.errors import ConfigError
from credit.provenance.spec import canonical_json, read_spec


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture(params=["paper", "quick"])
def shipped(request):
    """The workflow of this repository."""
    return Workflow(overlay(read_yaml(REPOSITORY / "config" / "config.yaml"), {"scale": request.param}), REPOSITORY)


# ---- files


def test_paths_say_what_a_run_is(checkout):
    assert checkout.workflow(datasets="far", methods="fa").runs("toy/fit") == [
        "results/runs/toy/fit/far/fa/shard0.jsonl",
        "results/runs/toy/fit/far/fa/shard1.jsonl",
    ]
    assert checkout.workflow(scale="quick", methods="fa").runs("toy/fit") == [
        "results/quick/runs/toy/fit/near/fa/shard0.jsonl"
    ]


def test_targets_of_a_paper_are_its_figures_tables_and_tidy_tables(checkout):
    found = [
        *(f"results/figures/toy/curves.{end}" for end in ("pdf", "png", "csv", "html")),
        *(f"results/tables/toy/table1.{end}" for end in ("csv", "md", "html")),
    ]
    found.append("results/tables/toy/fit.csv")
    assert checkout.workflow().artefact_paths("toy") == found == checkout.workflow().artefact_paths()
    assert checkout.workflow().artefact_paths("dfc") == []


def test_figures_across_papers_have_no_folder(tmp_path):
    workflow = Checkout(tmp_path, {"cross/fit": FIT}).workflow()
    assert list(workflow.figures) == ["curves"]
    assert list(workflow.tables) == ["cross/table1"]


def test_data_is_shared_by_both_scales(checkout):
    assert {checkout.workflow(scale=s).data_path("mnist") for s in ("paper", "quick")} == {"results/data/mnist.npz"}


def two(**other):
    plain = {k: v for k, v in FIT.items() if k not in ("figures", "tables")}
    return {"toy/fit": FIT, "toy/other": {**plain, **other}}


def test_two_artefacts_of_one_name_are_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"other.yaml: figures.curves: another figure has this name, in .*toy/fit.yaml"
    ):
        Checkout(tmp_path, two(figures={"curves": {}})).workflow()


def test_a_table_may_not_be_called_like_an_experiment(tmp_path):
    with pytest.raises(
        ConfigError, match=r"other.yaml: tables.fit: another table has this name, that of the records of toy/fit"
    ):
        Checkout(tmp_path, two(tables={"fit": {}})).workflow()


def test_an_artefact_of_an_experiment_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"figures.both.experiments = 'toy/fitt' \(did you mean 'toy/fit'\?\)"):
        Checkout(tmp_path, two(figures={"both": {"experiments": ["toy/fitt"]}})).workflow()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"module": "credit.figures.cross.fig99"}, r"curves: credit.figures.cross.fig99: no such module"),
        ({"module": None}, r"curves.module"),
        (
            {"caption": "fig99.rst"},
            r"curves.caption = 'fig99.rst' \(did you mean '.*'\?\); must be one of: .*fidelity.rst",
        ),
        ({"options": {"window": float("nan")}}, r"curves: a spec must hold finite numbers only"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused_with_file_and_key(checkout, entry, message):
    with pytest.raises(ConfigError, match=r"toy/fit.yaml: figures." + message):
        checkout.change(figures={"curves": entry}).workflow()


def test_published_curves_are_inputs_of_a_figure_and_part_of_its_spec(checkout):
    curves = checkout.root / "config" / "published" / "curves"
    curves.mkdir(parents=True)
    head = ",".join(RECORDED)
    (curves / "official.csv").write_text(f"{head}\n")
    changed = checkout.change(figures={"curves": {"references": ["official.csv"]}})
    artefact = changed.workflow().figures["toy/curves"]
    assert artefact.references == ["config/published/curves/official.csv"]
    before = changed.workflow().artefact_spec("figure", "toy/curves")["references"]
    assert list(before) == artefact.references
    (curves / "official.csv").write_text(f"{head}\n\n")
    assert changed.workflow().artefact_spec("figure", "toy/curves")["references"] != before


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("figures", "curves", r"figures.curves.references = 'offical.csv' \(did you mean 'official.csv'\?\)"),
        ("tables", "table1", r"tables.table1.references: of figures, and of tables with a fit"),
    ],
)
def test_published_curves_that_are_not_there_are_refused(checkout, kind, name, message):
    (checkout.root / "config" / "published" / "curves").mkdir(parents=True)
    (checkout.root / "config" / "published" / "curves" / "official.csv").touch()
    with pytest.raises(ConfigError, match=message):
        checkout.change(**{kind: {name: {"references": ["offical.csv"]}}}).workflow()


def test_an_artefact_is_made_of_the_experiments_that_are_left(tmp_path):
    options = {"metric": "test_loss"}
    both = {"module": "credit.figures.cross.fig1", "experiments": ["toy/fit", "toy/other"], "options": options}
    files = two(figures={"both": both})
    files["toy/other"]["methods"] = {"shallow": {}}
    checkout = Checkout(tmp_path, files)
    assert set(checkout.workflow().figures) == {"toy/curves", "toy/both"}
    assert checkout.workflow(experiments="toy/other").figures["toy/both"].experiments == ("toy/other",)
    assert checkout.workflow(experiments="toy/fit").figures["toy/both"].experiments == ("toy/fit",)
    assert set(checkout.workflow(experiments="toy/other").figures) == {"toy/both"}


# ---- specs


def test_a_spec_survives_its_way_through_the_command_line(checkout):
    spec = checkout.workflow().train_spec("toy/fit", "near", "fa", 1)
    text = as_param(spec)
    assert canonical_json(read_spec(text)) == text
    assert (spec["kind"], spec["seeds"], spec["method"], spec["dataset"]) == ("train", [2, 3], "fa", "near")
    assert {len(spec[k]) for k in ("code", "env")} == {16}


def test_neither_scale_nor_place_nor_device_enters_a_training_spec(checkout, tmp_path_factory):
    other = Checkout(tmp_path_factory.mktemp("elsewhere")).workflow(device="cpu", data={"mirror": "/m", "folder": "/d"})
    assert other.train_spec("toy/fit", "near", "bp", 0) == checkout.workflow().train_spec("toy/fit", "near", "bp", 0)


def test_one_method_changes_and_the_others_do_not(checkout):
    before = checkout.workflow()
    after = checkout.change(methods={"fa": {"hyper": {"feedback_scale": 2.0}}}).workflow()
    old, new = ({m: w.train_spec("toy/fit", "near", m, 0) for m in ("bp", "fa")} for w in (before, after))
    assert old["bp"] == new["bp"]
    assert old["fa"] != new["fa"]


def test_a_rule_has_its_own_code_digest(checkout):
    workflow = checkout.workflow()
    assert len({workflow.train_spec("toy/fit", "near", m, 0)["code"] for m in ("bp", "fa")}) == 2


def test_the_reference_rule_of_a_probe_is_part_of_the_code(checkout):
    codes = []
    for reference in ("bp", "mn"):
        checkout.change(probes=[{"probe": "angles", "reference": reference}])
        codes.append(checkout.workflow().train_spec("toy/fit", "near", "bp", 0)["code"])
    assert codes[0] != codes[1]


def test_the_preparation_of_data_is_part_of_the_code_where_data_is_read(tmp_path):
    task = {"name": "images", "validation": 200}
    body = {**FIT, "task": task, "datasets": {"read": {"data": "digits"}, "none": {}}}
    del body["quick"]
    workflow = Checkout(tmp_path, {"toy/fit": body}).workflow()
    assert len({workflow.train_spec("toy/fit", d, "bp", 0)["code"] for d in ("read", "none")}) == 2


def test_a_shard_without_seeds_has_no_spec(checkout):
    with pytest.raises(ConfigError, match="toy/fit: shard 2 holds no seed; there are 4 seeds"):
        checkout.workflow().train_spec("toy/fit", "near", "bp", 2)


def test_the_spec_of_a_file_is_found_from_its_path(checkout, tmp_path):
    checkout.write("toy/fit", searching())
    workflow = checkout.workflow()
    run, search = "runs/toy/fit/near/bp/shard1.jsonl", "runs/toy/fit/near/bp/choice.json"
    for root in ("results/", "", str(tmp_path / "copied") + "/"):
        assert workflow.run_spec(root + run) == workflow.train_spec("toy/fit", "near", "bp", 1)
        assert workflow.run_spec(root + search) == workflow.search_spec("toy/fit", "near", "bp")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("results/tables/toy/fit.csv", "not the path of a run"),
        ("results/runs/toy/fit/near/bp/shard0.json", "not the path of a run"),
        ("results/runs/toy/fitt/near/bp/shard0.jsonl", r"experiment = 'toy/fitt' \(did you mean 'toy/fit'\?\)"),
        ("results/runs/toy/fit/neer/bp/shard0.jsonl", r"data set = 'neer' \(did you mean 'near'\?\)"),
        ("results/runs/toy/fit/near/bq/shard0.jsonl", r"method = 'bq'"),
        ("results/runs/toy/fit/near/bp/choice.json", "has no search"),
    ],
)
def test_other_paths_have_no_spec(checkout, path, message):
    with pytest.raises(ConfigError, match=message):
        checkout.workflow().run_spec(path)


OPTIONS = {"metrics": ["test_loss"]}


def test_the_spec_of_a_figure_names_its_module_methods_and_rules(checkout):
    checkout.change(methods={"fa-2": {"rule": "fa"}}, figures={"curves": {"options": OPTIONS, "title": "T"}})
    spec = checkout.workflow(methods="bp,fa-2").artefact_spec("figure", "toy/curves")
    assert (spec["title"], spec["options"], spec["methods"]) == ("T", OPTIONS, ["bp", "fa-2"])
    assert spec["rules"] == {"bp": "bp", "fa": "fa", "fa-2": "fa"}
    assert spec["experiments"] == ["toy/fit"]


def test_fetching_and_preparing_depend_on_the_catalogue_not_on_the_mirror(checkout):
    one, other = checkout.workflow(), checkout.workflow(data={"mirror": "/m"})
    assert one.fetch_spec("mnist") == other.fetch_spec("mnist")
    assert one.prepare_spec("mnist") == other.prepare_spec("mnist")


# ---- what is shipped


def test_every_shipped_job_has_a_spec_that_is_json(shipped):
    for key, experiment in shipped.experiments.items():
        for job in experiment.jobs():
            text = as_param(shipped.train_spec(key, job.dataset, job.method, job.shard))
            assert canonical_json(json.loads(text)) == text
        assert as_param(shipped.collect_spec(key))


def test_every_shipped_artefact_has_a_spec_and_a_caption(shipped):
    for kind, artefacts in (("figure", shipped.figures), ("table", shipped.tables)):
        for name, artefact in artefacts.items():
            assert as_param(shipped.artefact_spec(kind, name))
            assert (REPOSITORY / "workflow" / "report" / artefact.caption).is_file()


def test_the_figures_across_papers_are_shipped_at_both_scales(shipped):
    assert {"fig1", "fig2", "fig3"} <= set(shipped.figures)


def test_five_rules_are_compared_on_the_shipped_data_sets(shipped):
    images = shipped.experiment("cross/images")
    assert images.methods == ("bp", "shallow", "fa", "dfa", "drtp")
    assert images.datasets == (("mnist", "fashion_mnist") if shipped.settings.scale == "paper" else ("digits",))
