"""From a YAML file to resolved runs: which layer wins, what is narrowed, which seeds form a shard, what is refused."""

from __future__ import annotations

import pytest
from small_checkout import FIT, OF_BP, SEARCH, Checkout, searching

from credit.config import hyperparameters
from credit.config.parts import TASKS, targets
from credit.dag.checks import grid_problems, task_problems
from credit.errors import ConfigError
from credit.provenance.spec import members


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def fit(checkout, **config):
    return checkout.workflow(**config).experiment("toy/fit")


def dfc(hyper=None, **own) -> dict:
    return {"methods": {"dfc": {"hyper": hyper or {}, **own}}}


# ---- resolution


def test_the_experiment_is_overridden_by_data_set_then_method_then_method_on_that_data_set(checkout):
    lr = [{"train": {"optimizer": {"lr": value}}} for value in (0.5, 0.6, 0.7)]
    checkout.change(
        datasets={"far": lr[0]},
        methods={"fa": lr[1], "dfa": {**lr[1], "datasets": {"far": lr[2]}}},
    )
    experiment = fit(checkout)
    found = {
        (dataset, method): experiment.cell(dataset, method).run["train"]["optimizer"]["lr"]
        for dataset in ("near", "far")
        for method in ("bp", "fa", "dfa")
    }
    assert found == {
        ("near", "bp"): 0.2, ("near", "fa"): 0.6, ("near", "dfa"): 0.6,
        ("far", "bp"): 0.5, ("far", "fa"): 0.6, ("far", "dfa"): 0.7,
    }  # fmt: skip


def test_layers_merge_key_by_key(checkout):
    checkout.change(methods={"bp": {"train": {"epochs": 9}, "net": {"hidden": "relu"}}})
    run = fit(checkout).cell("far", "bp").run
    assert run["train"]["epochs"] == 9
    assert run["train"]["optimizer"] == {"name": "sgd", "momentum": 0.5, "lr": 0.2}
    assert (run["net"]["hidden"], run["net"]["hidden_sizes"], run["task"]["n_in"]) == ("relu", (4,), 7)


def feedback(checkout, **config) -> dict:
    """(init, lr, time_points) of DFC-SSA's feedback on every data set that is run."""
    experiment = fit(checkout, **config)
    groups = {d: experiment.cell(d, "fast").run["rule"]["feedback"] for d in experiment.datasets}
    return {d: (group["init"], group["lr"], group["time_points"]) for d, group in groups.items()}


def test_layers_of_a_group_merge_key_by_key_also_where_one_of_them_is_bare(checkout):
    fast = {
        "rule": "dfc_ssa",
        "hyper": {"feedback": "zeros"},
        "datasets": {"far": {"hyper": {"feedback": {"lr": 0.5}}}},
    }
    quick = {"methods": {"fast": {"hyper": {"feedback": {"time_points": 5}}}}, "use_datasets": ["near", "far"]}
    checkout.change(methods={"fast": fast}, quick=quick)
    assert feedback(checkout) == {"near": ("zeros", 0.002, 50), "far": ("zeros", 0.5, 50)}
    assert feedback(checkout, scale="quick") == {"near": ("zeros", 0.002, 5), "far": ("zeros", 0.5, 5)}


def test_a_bare_value_over_a_group_changes_what_it_stands_for_and_no_more(checkout):
    far = {"hyper": {"feedback": "ones"}}
    fast = {"rule": "dfc_ssa", "hyper": {"feedback": {"init": "zeros", "lr": 0.5}}, "datasets": {"far": far}}
    quick = {"methods": {"fast": {"hyper": {"feedback": "orthogonal"}, "datasets": {"far": {"hyper": {}}}}}}
    checkout.change(methods={"fast": fast}, quick=quick)
    assert feedback(checkout) == {"near": ("zeros", 0.5, 50), "far": ("ones", 0.5, 50)}
    assert feedback(checkout, scale="quick") == {"near": ("orthogonal", 0.5, 50)}


def test_a_quick_section_may_be_the_one_that_names_the_rule(checkout):
    fast = {"hyper": {"feedback": "zeros"}}
    quick = {"methods": {"fast": {"rule": "dfc_ssa", "hyper": {"feedback": {"lr": 0.5}}}}}
    checkout.change(methods={"fast": {"rule": "fa", **fast}}, quick=quick)
    assert fit(checkout).cell("near", "fast").run["rule"]["feedback"] == "zeros"
    assert feedback(checkout, scale="quick") == {"near": ("zeros", 0.5, 50)}


@pytest.mark.parametrize("quick", [{"methods": {"fa": 3}}, {"methods": [1]}, {"methods": {"fa": {"hyper": 1}}}])
def test_a_quick_section_of_another_shape_is_an_error_of_the_schema(checkout, quick):
    checkout.change(quick=quick)
    with pytest.raises(ConfigError, match="with its quick section: methods"):
        checkout.workflow(scale="quick")


def test_hyperparameters_of_a_rule_are_filled_in_and_differ_by_data_set(checkout):
    checkout.change(
        methods={"fa": {"hyper": {"feedback_scale": 2}, "datasets": {"far": {"hyper": {"feedback_scale": 3}}}}}
    )
    experiment = fit(checkout)
    rules = [experiment.cell(d, "fa").run["rule"] for d in ("near", "far")]
    assert [r["feedback_scale"] for r in rules] == [2.0, 3.0]
    assert rules[0]["name"] == "fa"
    assert "feedback" in rules[0]


def test_a_method_may_be_another_name_for_a_rule(checkout):
    checkout.change(methods={"fa-strong": {"rule": "fa", "hyper": {"feedback_scale": 5.0}}})
    run = fit(checkout).cell("near", "fa-strong").run
    assert (run["method"], run["rule"]["name"], run["rule"]["feedback_scale"]) == ("fa-strong", "fa", 5.0)


def test_what_an_experiment_leaves_out_has_defaults(checkout):
    body = {k: v for k, v in FIT.items() if k not in ("train", "seeds_per_job")}
    checkout.write("toy/fit", {**body, "train": {"optimizer": {"lr": 0.1}}})
    experiment = fit(checkout)
    run = experiment.cell("near", "bp").run
    assert run["train"] == {
        "epochs": 1, "dtype": "float32", "threads": 1, "optimizer": {"name": "sgd", "lr": 0.1},
        "evaluate": {"every": 1, "splits": ["validation", "test"]},
    }  # fmt: skip
    assert (run["probes"], run["vary"], run["data"], experiment.seeds_per_job) == ([], {}, None, 1)


def test_data_enters_with_its_declared_hash(tmp_path):
    images = {"name": "images", "validation": 200}
    body = {
        **FIT,
        "task": images,
        "net": {"kind": "dense", "hidden_sizes": [4]},
        "datasets": {"small": {"data": "digits"}},
    }
    del body["quick"]
    run = fit(Checkout(tmp_path, {"toy/fit": body})).cell("small", "bp").run
    assert (run["data"]["name"], len(run["data"]["sha256"]), run["data"]["verified"]) == ("digits", 64, True)


def test_an_accepted_copy_enters_with_its_own_hash_and_as_unverified(tmp_path):
    body = {**FIT, "task": {"name": "images"}, "datasets": {"small": {"data": "cifar10"}}}
    del body["quick"]
    workflow = Checkout(tmp_path, {"toy/fit": body}).workflow(data={"allow_unverified": {"cifar10": "ab" * 32}})
    data = workflow.cell("toy/fit", "small", "bp").run["data"]
    assert data.pop("declared")
    assert data == {"name": "cifar10", "sha256": "ab" * 32, "verified": False, "format": "cifar"}


# ---- scale and narrowing


def test_quick_is_laid_over_the_rest(checkout):
    paper, quick = fit(checkout), fit(checkout, scale="quick")
    assert (paper.seeds, paper.datasets, paper.cell("near", "bp").run["train"]["epochs"]) == (4, ("near", "far"), 4)
    assert (quick.seeds, quick.datasets, quick.cell("near", "bp").run["train"]["epochs"]) == (1, ("near",), 1)


def test_quick_may_add_a_data_set_and_a_method(checkout):
    checkout.change(
        quick={"datasets": {"tiny": {"task": {"n_in": 2}}}, "use_datasets": ["tiny"], "methods": {"dfa": {}}}
    )
    assert (fit(checkout).datasets, fit(checkout).methods) == (("near", "far"), ("bp", "fa"))
    quick = fit(checkout, scale="quick")
    assert (quick.datasets, quick.methods) == (("tiny",), ("bp", "fa", "dfa"))


def test_settings_narrow_methods_and_data_sets_in_the_order_of_the_file(checkout):
    checkout.change(methods={"dfa": {}})
    experiment = fit(checkout, methods="dfa,bp", datasets=["far"])
    assert (experiment.methods, experiment.datasets) == (("bp", "dfa"), ("far",))
    assert {(j.dataset, j.method) for j in experiment.jobs()} == {("far", "bp"), ("far", "dfa")}


def test_a_method_that_is_not_used_runs_where_it_is_named(checkout):
    checkout.change(methods={"dfa": {}}, use_methods=["bp"])
    assert fit(checkout).methods == ("bp",)
    assert fit(checkout, methods="dfa").methods == ("dfa",)


def test_an_experiment_without_anything_left_is_left_out(tmp_path):
    other = {**FIT, "datasets": {"other": {}}, "figures": {}, "tables": {}, "quick": {}}
    checkout = Checkout(tmp_path, {"toy/fit": FIT, "toy/other": other})
    assert set(checkout.workflow(datasets="other").experiments) == {"toy/other"}
    with pytest.raises(ConfigError, match="leave nothing to run"):
        checkout.workflow(datasets="other", experiments="toy/fit")


def test_experiments_are_chosen_by_full_or_short_name(tmp_path):
    plain = {**FIT, "figures": {}, "tables": {}}
    checkout = Checkout(tmp_path, {"one/fit": plain, "two/fit": plain, "two/other": plain})
    assert set(checkout.workflow(experiments="two/fit").experiments) == {"two/fit"}
    assert set(checkout.workflow(experiments="fit").experiments) == {"one/fit", "two/fit"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"methods": "bp,dfaa"}, r"config: methods = 'dfaa'.*must be one of: bp, fa"),
        ({"datasets": "naer"}, r"datasets = 'naer' \(did you mean 'near'\?\)"),
        ({"experiments": "toy/fitt"}, r"experiments = 'toy/fitt' \(did you mean 'toy/fit'\?\)"),
    ],
)
def test_narrowing_to_what_does_not_exist_is_an_error(checkout, setting, message):
    with pytest.raises(ConfigError, match=message):
        checkout.workflow(**setting)


# ---- shards: ranges of seeds


def shards(checkout, **config):
    jobs = fit(checkout, methods="bp", datasets="near", **config).jobs()
    return {job.shard: job.seeds for job in jobs}


def test_shards_are_fixed_ranges_of_consecutive_seeds(checkout):
    assert shards(checkout) == {0: (0, 1), 1: (2, 3)}
    assert shards(checkout, seeds_per_job=3) == {0: (0, 1, 2), 1: (3,)}
    assert shards(checkout, seeds=1) == {0: (0,)}


@pytest.mark.parametrize("seeds", [5, 6, 40])
def test_more_seeds_add_shards_and_leave_complete_ones_alone(checkout, seeds):
    few, many = shards(checkout), shards(checkout, seeds=seeds)
    assert few.items() <= many.items()
    assert [s for shard in many.values() for s in shard] == list(range(seeds))


def test_all_seeds_may_be_one_shard(checkout):
    assert shards(checkout, seeds=7, seeds_per_job="all") == {0: tuple(range(7))}  # as on the command line
    checkout.change(seeds_per_job="all")
    assert shards(checkout, seeds=7) == {0: tuple(range(7))}


@pytest.mark.parametrize("runtime", [0.5, "119s"])
def test_a_runtime_that_is_not_whole_minutes_is_refused(checkout, runtime):
    """Slurm's plugin would set no limit, or another one."""
    checkout.change(resources={"runtime": runtime})
    with pytest.raises(ConfigError, match=r"fit\.yaml: resources\.runtime = "):
        checkout.workflow()


def test_the_size_of_blocks_is_no_part_of_a_spec(checkout):
    one, two = (checkout.workflow(seeds_per_job=n, seeds=4).train_spec("toy/fit", "near", "bp", 0) for n in (1, 2))
    assert {k: v for k, v in one.items() if k != "seeds"} == {k: v for k, v in two.items() if k != "seeds"}


# ---- searches


def test_a_search_trains_the_grid_for_its_own_length_without_probes(checkout):
    checkout.write("toy/fit", searching(probes=[{"probe": "angles", "reference": "bp"}]))
    spec = fit(checkout).cell("near", "bp").search_spec()
    assert (spec["kind"], spec["vary"], spec["seeds"]) == ("search", SEARCH["vary"], SEARCH["seeds"])
    assert (spec["train"]["epochs"], spec["probes"]) == (2, [])
    assert spec["criterion"] == {"metric": "validation_loss", "select": "last"}


def test_the_run_names_what_the_search_finds_and_keeps_its_length(checkout):
    checkout.write("toy/fit", searching())
    spec = fit(checkout).cell("near", "bp").train_spec((0, 1))
    assert (spec["searched"], spec["train"]["epochs"], spec["vary"]) == (["train.optimizer.lr"], 4, {})
    assert "lr" not in spec["train"]["optimizer"]


def test_a_method_may_switch_the_search_off_and_name_the_value(checkout):
    checkout.write("toy/fit", searching(methods={"fa": {"search": None, "train": {"optimizer": {"lr": 0.3}}}}))
    cell = fit(checkout).cell("near", "fa")
    assert "searched" not in cell.train_spec((0,))
    with pytest.raises(ConfigError, match="fa has no search"):
        cell.search_spec()


def test_a_search_may_hold_out_a_validation_split_that_the_runs_train_on(checkout):
    trial = {**SEARCH, "task": {"validation": 7}, "splits": ["validation"]}
    checkout.write("toy/fit", searching(search=trial, train={"epochs": 4, "evaluate": {"splits": ["test"]}}))
    cell = fit(checkout).cell("near", "bp")
    search, run = cell.search_spec(), cell.train_spec((0,))
    assert (search["task"]["validation"], search["train"]["evaluate"]["splits"]) == (7, ["validation"])
    assert (run["task"]["validation"], run["train"]["evaluate"]["splits"]) == (FIT["task"]["validation"], ["test"])
    checkout.write("toy/fit", searching(search={**trial, "task": {"validatoin": 7}}))
    with pytest.raises(ConfigError, match=r"search\.task\.validatoin"):
        fit(checkout)


def test_a_search_must_not_select_by_the_test_split(checkout):
    checkout.write("toy/fit", searching(search={**SEARCH, "criterion": {"metric": "test_loss", "select": "last"}}))
    said = r"methods\.bp: search\.criterion\.metric = 'test_loss'; a search must not select by the test split$"
    with pytest.raises(ConfigError, match=said):
        fit(checkout)


@pytest.mark.parametrize(("kind", "name"), [("methods", "runs"), ("datasets", "tables")])
def test_methods_and_data_sets_are_not_called_as_a_folder_of_results(checkout, kind, name):
    checkout.write("toy/fit", {**FIT, kind: {**FIT[kind], name: {"rule": "bp"} if kind == "methods" else {}}})
    with pytest.raises(ConfigError, match=rf"toy/fit\.yaml: {kind}\.{name}: {name} is a folder of results"):
        checkout.workflow()


FOLDER = "is a folder of results, by which their paths are understood; choose another name"
NAMES = {
    "figures/fit.yaml": f"config/experiments/figures: figures {FOLDER}",
    "toy/runs.yaml": f"config/experiments/toy/runs.yaml: runs {FOLDER}",
    "all/fit.yaml": "config/experiments/all: a paper is a target, and `all` is another one; choose another name",
    "bench/fit.yaml": "config/experiments/bench: a paper is a target, and `bench` is another one; choose another name",
    "my_lab/fit.yaml": "config/experiments/my_lab: a paper is a target, its folder is named by small",
    "toy/My-Exp.yaml": "config/experiments/toy/My-Exp.yaml: the name of an experiment's file must be",
    "toy/more.yml": "config/experiments/toy/more.yml: the name of an experiment's file must be",
    "alone.yaml": "config/experiments/alone.yaml: must be {folder}/PAPER/alone.yaml",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_the_workflow_cannot_use_is_refused_in_one_line(checkout, name):
    path = checkout.root / "config" / "experiments" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("title: Mine\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        checkout.workflow()
    said = NAMES[name].replace("{folder}", f"{checkout.root}/config/experiments")
    assert str(error.value).startswith(f"{checkout.root}/{said}")
    assert len(str(error.value).splitlines()) == 1


def test_the_settings_shorten_runs_but_not_searches(checkout):
    checkout.write("toy/fit", searching(search={**SEARCH, "epochs": 3}))
    cell = fit(checkout, epochs=2).cell("near", "bp")
    assert (cell.run["train"]["epochs"], cell.search_spec()["train"]["epochs"]) == (2, 3)
    assert fit(checkout, epochs=900).cell("near", "bp").run["train"]["epochs"] == 4


def test_settings_of_groups_can_be_varied_and_searched(checkout):
    grid = {"hyper.feedback.lr": [0.1, 0.2], "hyper.feedback.k_p": [0.0]}
    checkout.change(methods={"dfc_ss": {"vary": grid}}, **OF_BP)
    spec = fit(checkout).cell("near", "dfc_ss").train_spec((0, 1))
    assert (spec["vary"], spec["train"]["optimizer"]["lr"]) == (grid, 0.2)
    assert [m["hyper.feedback.lr"] for m in members(spec)] == [0.1, 0.1, 0.2, 0.2]
    grid = {"train.optimizer.lr": [0.1, 0.3], "hyper.controller.k_p": [0.5, 1.0]}
    checkout.write("toy/fit", searching(methods={"dfc_ss": {"search": {"vary": grid}}}))
    assert fit(checkout).cell("near", "dfc_ss").train_spec((0,))["searched"] == sorted(grid)


def test_a_method_may_search_more(checkout):
    checkout.write("toy/fit", searching(methods={"fa": {"search": {"vary": {"hyper.feedback_scale": [0.5, 1.0]}}}}))
    spec = fit(checkout).cell("near", "fa").search_spec()
    assert set(spec["vary"]) == {"train.optimizer.lr", "hyper.feedback_scale"}


# ---- what is refused, before any job


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": {"bpp": {}}}, r"methods.bpp: method = 'bpp' \(did you mean 'bp'\?\)"),
        ({"methods": {"x": {"rule": "faa"}}}, r"methods.x: method = 'faa' \(did you mean 'fa'\?\)"),
        ({"methods": {"fa": {"hyper": {"feedback_scael": 1}}}}, r"fa.hyper.feedback_scael = 1: .*'feedback_scale'"),
        ({"methods": {"fa": {"hyper": {"feedback_scale": -1}}}}, r"fa.hyper.feedback_scale = -1; must be .*> 0"),
        ({"methods": {"bp": {"datasets": {"naer": {}}}}}, r"methods.bp.datasets = 'naer' \(did you mean 'near'\?\)"),
        ({"net": {"kind": "dence"}}, r"net = 'dence' \(did you mean 'dense'\?\)"),
        ({"net": {"loss": "cross_entropy"}}, r"net.loss = 'cross_entropy' \(did you mean 'softmax_cross_entropy'\?\)"),
        ({"net": {"hiden": "tanh"}}, r"net.hiden = 'tanh': no such hyperparameter \(did you mean 'hidden'\?\)"),
        ({"task": {"n_in": 0}}, r"task.n_in = 0; must be an integer > 0"),
        ({"task": {"name": "techer"}}, r"task = 'techer' \(did you mean 'teacher'\?\)"),
        ({"datasets": {"near": {"data": "mnst"}}}, r"datasets.near.data = 'mnst' \(did you mean 'mnist'\?\)"),
        ({"probes": [{"probe": "angle"}]}, r"probes\[0\]: probe = 'angle' \(did you mean 'angles'\?\)"),
        ({"probes": [{"probe": "angles", "reference": "bq"}]}, r"probes\[0\].reference: method = 'bq'"),
        ({"train": {"optimizer": {"momentum": 2}}}, r"train.optimizer.momentum = 2; must be a number in \[0, 1\)"),
        ({"train": {"optimizer": {"nam": "adam"}}}, r"key of sgd = 'nam'"),
        ({"use_methods": ["nope"]}, r"use_methods = 'nope'; must be one of: bp, fa"),
        ({"search": SEARCH}, r"exactly one of .* search.vary, search.space and vary; found train.optimizer.lr, search"),
        ({"vary": {"train.optimizer.lr": [1]}}, r"found train.optimizer.lr, vary"),
        ({"vary": {"hyper.feedback_scael": [1]}}, r"methods.fa: vary: hyper.feedback_scael = \[1.0\]: no such hyper"),
        ({"vary": {"train.optimizer.momentum": [0.5, 1.5]}}, r"vary: train.optimizer.momentum = 1.5; must be"),
        ({"vary": {"train.optimizer.momentum": [0.5, 0.5]}}, r"momentum = \[0.5, 0.5\]: a value appears twice"),
        ({"vary": {"train.optimizer.momentum": [0.1]}, "search": {"vary": {"train.optimizer.momentum": [0.1]}}},
         r"vary and search.vary both name train.optimizer.momentum"),
        ({"methods": {"fa": {"hyper": {"feedback_scale": [1.0, 2.0]}}}}, r"feedback_scale = \[1.0, 2.0\]; must be a"),
        ({"methods": {"fa": {"hyper": {"feedback": "xavier_norml"}}}}, r"fa.hyper.feedback = 'xavier_norml'"),
        (dfc({"feedback": "xavier_norml"}), r"dfc.hyper.feedback.init = 'xavier_norml' \(did you mean 'xavier_normal'"),
        (dfc({"feedback": {"init": {"name": "weight_product", "nois": 0.1}}}),
         r"dfc.hyper.feedback.init.nois = 0.1 \(did you mean 'noise'\?\)"),
        (dfc({"feedback": {"init": {"name": "xavier_normal", "gian": 2}}}), r"init.gian = 2 \(did you mean 'gain'\?\)"),
        (dfc({"feedback": {"lr": 0}}), r"methods.dfc.hyper.feedback.lr = 0; must be a finite number > 0"),
        (dfc({"feedback": {"k_pp": 0}}), r"dfc.hyper.feedback.k_pp = 0: no such .* \(did you mean 'k_p'\?\)"),
        (dfc({"k_p": 1.0}), r"dfc.hyper.k_p = 1.0: no such hyperparameter"),
        (dfc(vary={"hyper.feedback.lr": [0.1, -1]}), r"vary: hyper.feedback.lr = \[0.1, -1.0\]; must be a finite"),
        (dfc(vary={"hyper.feedback.lrr": [0.1]}), r"vary: hyper.feedback.lrr = .* \(did you mean 'lr'\?\)"),
        (dfc(vary={"hyper.feedbck.lr": [0.1]}), r"vary: hyper.feedbck = .* \(did you mean 'feedback'\?\)"),
        (dfc(vary={"hyper.alpha.lr": [0.1]}), r"vary: hyper.alpha = 0.0015; holds no settings"),
        (dfc(vary={"hyper.feedback.lr": [0.1, 0.1]}), r"feedback.lr = \[0.1, 0.1\]: a value appears twice"),
        (dfc(vary={"train.optimizer.momentum.lr": [0.1]}), r"does not match"),
        ({"methods": {"fa": {"hyper": {"feedback": {"name": "normal", "std": 1.0}},
                             "vary": {"hyper.feedback.std": [0.1, 0.2]}}}}, r"feedback.std = .*; must be a finite"),
        ({"net": {"output": "liner"}}, r"net.output = 'liner' \(did you mean 'linear'\?\)"),
        ({"net": {"init": {"name": "zeros", "bais": 1}}}, r"net.init.bais = 1 \(did you mean 'bias'\?\)"),
        ({"net": {"init": [{"name": "zeros"}, {"name": "one"}]}}, r"net.init.name = 'one' \(did you mean 'ones'\?\)"),
        ({"methods": {"drtp": {"hyper": {"feedback": {"name": "normal"}}}}}, r"drtp.hyper.feedback.std is missing"),
        ({"task": {"hidden": "reluu"}}, r"task.hidden = 'reluu' \(did you mean 'relu'\?\)"),
        ({"task": {"init": "techer"}}, r"task.init = 'techer' \(did you mean 'teacher'\?\)"),
        ({"probes": [{"probe": "angles", "reference": "mn", "hyper": {"dampin": 1}}]},
         r"probes\[0\].hyper.dampin = 1: no such hyperparameter \(did you mean 'damping'\?\)"),
        ({"probes": [{"probe": "angles", "reference": "fa"}]}, r"probes\[0\].reference = 'fa'; .* one of: bp, gn, mn"),
        ({"probes": [{"probe": "angles", "on": "updat"}]}, r"probes\[0\].on = 'updat' .*must be one of: evaluate, upd"),
        ({"probes": [{"probe": "angles", "on": "init"}]}, r"probes\[0\].on = 'init'"),
        ({"train": {"optimizer": {"weight_decay": {"0": 0.1, "2": 0.1}}}}, r"layers 0, 2; must name all of 0, 1"),
        ({"train": {"optimizer": {"momentum": [0.1, 0.2]}}}, r"momentum = \[0.1, 0.2\]; must be one value"),
        ({"net": {"hidden": ["tanh", "relu"]}}, r"net.hidden = .*; must be one value, or one for each of 1 hidden"),
        ({"net": {"bias": [True]}}, r"net.bias = \[True\]; must be one value, or one for each of 2 layers"),
        ({"net": {"init": [{"name": "zeros"}] * 3}}, r"net.init = .*one for each of 2 layers"),
        ({"net": {"hidden_sizes": [4, 0]}}, r"net.hidden_sizes = \[4, 0\]; must be a list of integers > 0"),
        ({"net": {"loss": "softmax_cross_entropy"}}, r"net.loss = 'softmax_cross_entropy'; needs classes"),
        ({"tables": {"t": {"options": {"epoc": 3}}}}, r"tables.t.options: unknown key 'epoc' .*'epoch'"),
        ({"tables": {"t": {"options": {"values": [{"epoch": [1, -1]}]}}}}, r"tables.t.options.values\[0\].epoch"),
        ({"quick": {"seeds": 0}}, r"with its quick section: seeds: 0 is less than the minimum"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_file_and_key(checkout, changes, message):
    checkout.change(**changes)
    with pytest.raises(ConfigError, match=r"config/experiments/toy/fit.yaml: .*" + message):
        checkout.workflow(scale="quick" if "quick" in changes else "paper")


def test_a_learning_rate_must_come_from_somewhere(checkout):
    body = searching()
    del body["search"]
    checkout.write("toy/fit", body)
    with pytest.raises(ConfigError, match="found none"):
        checkout.workflow()


def test_a_rule_that_is_not_defined_for_the_net_is_refused(tmp_path):
    conv = {"kind": "conv", "channels": [2], "kernel": 3}
    body = {
        **FIT,
        "net": conv,
        "task": {"name": "images"},
        "datasets": {"small": {"data": "digits"}},
        "methods": {"mn": {}},
    }
    del body["quick"]
    with pytest.raises(ConfigError, match=r"methods.mn: mn is not defined for a conv net; it takes: dense"):
        Checkout(tmp_path, {"toy/fit": body}).workflow()


def images(tmp_path, net=None, task=None, **changes):
    body = {
        **{k: v for k, v in FIT.items() if k != "quick"},
        "net": {"kind": "conv", "channels": [2], "kernel": 3, **(net or {})},
        "task": {"name": "images", "validation": 200, **(task or {})},
        "datasets": {"small": {"data": "digits"}},
        **changes,
    }
    return Checkout(tmp_path, {"toy/fit": body}).workflow()


DENSE = {"kind": "dense", "hidden_sizes": [4, 3]}
ALONE = {"kind": "dense", "hidden_sizes": []}


@pytest.mark.parametrize(
    ("net", "method", "hyper", "message"),
    [
        (DENSE, "dfc", {"form": "linearised", "efficient": True}, r"methods.m.hyper.form = 'linearised'; needs eff"),
        (DENSE, "dfc_ss", {"form": "newton", "noise": 0.1}, r"methods.m.hyper.form = 'newton'; needs noise 0"),
        ({**DENSE, "output": "tanh"}, "dfc_ssa", {"solver": "woodbury"}, r"methods.m.hyper.solver = 'woodbury'; needs"),
        ({**DENSE, "keep": 0.5}, "dfc_ssa", {}, r"methods.m: net.keep = 0.5; needs 1, the rule"),
        ({**DENSE, "keep": 0.5}, "dtpdrl", {}, r"methods.m: net.keep = 0.5; needs 1, the rule"),
        (ALONE, "ldrl", {}, r"methods.m: net.hidden_sizes = \[\]; needs hidden layers"),
        (ALONE, "sdi", {}, r"methods.m: net.hidden_sizes = \[\]; needs hidden layers"),
        ({**DENSE, "hidden": "relu"}, "sdi", {"dynamics": "linearized"}, r"dynamics = 'linearized'; divides .* relu"),
        (DENSE, "ldrl", {"feedback": {"sigma": [0.1]}}, r"feedback.sigma = \[0.1\]; needs .* each of 2 layers"),
        (DENSE, "ddtp_linear", {"feedback": {"iterations": [1]}}, r"feedback.iterations = \[1\]; needs .* of 2 layers"),
        (DENSE, "pldrl", {"feedback": {"iterations": 2}}, r"methods.m.hyper.feedback.iterations = 2; must be 1"),
        (DENSE, "ndi", {"feedback": {"name": "optimized", "leak": [0.1]}}, r"feedback.leak = \[0.1\]; must hold one"),
    ],
)  # fmt: skip
def test_settings_that_exclude_each_other_or_the_net_are_refused_before_any_job(checkout, net, method, hyper, message):
    body = {**FIT, "net": net, "methods": {"m": {"rule": method, "hyper": hyper}}}
    checkout.write("toy/fit", body)
    with pytest.raises(ConfigError, match=r"config/experiments/toy/fit.yaml: .*" + message) as caught:
        checkout.workflow()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net": {"kernel": 9}}, r"net.kernel = 9, .*; conv block 0 does not fit images of 8 x 8 pixels"),
        ({"task": {"validation": 1437}}, r"task.validation = 1437; the data set has 1437 training samples"),
        (
            {"task": {"train": 1238}},
            r"task.train = 1238; only 1237 of 1437 training samples are left by",
        ),
        (
            {"task": {"batch_size": 100000, "drop_last": True}},
            r"task.batch_size = 100000; with drop_last 1237 training samples give no mini-batch",
        ),
        (
            {"task": {"batch_size": 9, "train": 8, "partial": "carry"}},
            r"batch_size = 9; must be at most the 8",
        ),
        ({"task": {"drop_last": True, "partial": "carry"}}, r"task.partial = 'carry'; contradicts drop_last = true"),
        (
            {"task": {"target": "input", "ties": "wrong"}, "net": {"loss": "mse"}},
            r"task.ties = 'wrong'; needs classes, the targets of this task are inputs",
        ),
        (
            {"task": {"target": "input", "flip": 0.5}, "net": {"loss": "mse"}},
            r"task.target = 'input'; needs flip 0 and crop 0",
        ),
        ({"net": {"channels": [2, 2, 2]}}, r"conv block 1 does not fit images of 8 x 8 pixels, 3 x 3 before"),
        ({"net": {"kernel": []}}, r"net.kernel = \[\]; must be one integer > 0 or \[size, stride, padding\]"),
        ({"net": {"kernel": [3, 0]}}, r"net.kernel = \[3, 0\]; must be one integer"),
        ({"net": {"kernel": [9, 1, 0]}}, r"net.kernel = .*; conv block 0 does not fit images of 8 x 8 pixels"),
        ({"net": {"pool": []}}, r"net.pool = \[\]; must be null or \[size, stride, padding\]"),
        ({"net": {"pool": [2, 2, 0, 1]}}, r"net.pool = \[2, 2, 0, 1\]; must be null or"),
        ({"net": {"pool": [2, 0]}}, r"net.pool = \[2, 0\]; must be null or"),
        ({"task": {"target": "input"}}, r"net.loss = 'softmax_cross_entropy'; needs classes"),
        ({"task": {"validation": 0}}, r"train.evaluate.splits names validation; with task.validation = 0"),
        ({"task": {"train": 0}}, r"task.train = 0; must be an integer > 0 or null"),
        ({"task": {"std": 0}}, r"task.std = 0; must be a finite number > 0"),
        ({"task": {"std": [1.0, 0.0]}}, r"task.std = \[1.0, 0.0\]; must be"),
        ({"task": {"mean": [0.1, 0.2, 0.3]}}, r"task.mean = .*; must be one number, or one for each of 1 channels"),
        ({"probes": [{"probe": "angles", "reference": "mn"}]}, r"probes\[0\].reference = 'mn'; not defined for a conv"),
    ],
)
def test_what_does_not_fit_the_images_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=r"toy/fit.yaml: .*" + message):
        images(tmp_path, **changes)


@pytest.mark.parametrize("pool", [None, [2], [3, 2], [3, 2, 1]])
@pytest.mark.parametrize("kernel", [3, (3,), (3, 2), (5, 1, 2)])
def test_a_net_that_fits_its_images_is_accepted(tmp_path, kernel, pool):
    net = {"pool": pool, "kernel": list(kernel) if isinstance(kernel, tuple) else kernel}
    assert images(tmp_path, net=net).experiment("toy/fit").cell("small", "bp").run["net"]["kernel"] == kernel


@pytest.mark.parametrize("on", ["feedback_pass", "pretrain", "update"])
def test_a_probe_may_watch_any_pass_of_its_rule(checkout, on):
    probe = {"probe": "feedback_alignment", "on": on}
    checkout.change(methods={"dfc": {"probes": [probe]}})
    assert fit(checkout).cell("near", "dfc").run["probes"][0]["on"] == on


@pytest.mark.parametrize("path", ["hyper.step", "hyper.lr"])
def test_two_columns_of_one_name_are_refused(path):
    found = list(grid_problems({"train.optimizer.lr": [1.0], path: [1.0]}, {}))
    assert found
    assert path in found[-1]


def test_all_mistakes_are_reported_at_once_and_once(checkout):
    checkout.change(net={"hiden": 1}, methods={"bpp": {}, "faa": {}})
    with pytest.raises(ConfigError) as caught:
        checkout.workflow()
    lines = str(caught.value).splitlines()
    assert len(lines) == len(set(lines)) == 3


def test_what_the_settings_leave_out_is_checked_too(checkout):
    checkout.change(methods={"bpp": {}})
    with pytest.raises(ConfigError, match="bpp"):
        checkout.workflow(methods="bp")


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"name": "images", "target": "class"}, "classes"),
        ({"name": "images", "target": "input"}, "inputs"),
        ({"name": "teacher"}, "values"),
        ({"name": "regression"}, "values"),
        ({"name": "pairs"}, "values"),
        ({"name": "labelled_teacher"}, "values"),
        ({"name": "motor"}, "values"),
        ({"name": "conditioning"}, "values"),
        ({"name": "control", "environment": "CartPole-v1"}, "values"),
        ({"name": "classes"}, "classes"),
        ({"name": "two_tasks"}, "classes"),
        ({"name": "drift"}, "classes"),
        ({"name": "reversal"}, "values"),
    ],
)
def test_a_task_declares_what_its_targets_are(task, expected):
    assert targets(task) == expected
    problems = list(
        task_problems(
            {"net": {"loss": "softmax_cross_entropy"}, "task": task, "train": {"evaluate": {"splits": []}}}, None
        )
    )
    assert bool(problems) == (expected != "classes")


@pytest.mark.parametrize("name", TASKS.names())
def test_every_task_declares_its_targets_for_every_value_of_its_target(name):
    field = hyperparameters.fields(TASKS.module(name)).get("target")
    for value in field.types[0].choices if field else [None]:
        assert targets({"name": name, "target": value}) in ("classes", "inputs", "values")


def test_splits_that_a_task_does_not_have_are_refused():
    run = {
        "net": {"loss": "mse"},
        "task": {"name": "regression", "n_out": 2},
        "train": {"evaluate": {"splits": ["train", "test"]}},
    }
    assert list(task_problems(run, None)) == ["train.evaluate.splits = 'test'; must be one of: train"]


def test_data_that_the_user_must_supply_counts_where_it_is_or_is_named(tmp_path):
    net = {"kind": "conv", "channels": [2], "pool": None}
    body = {
        **FIT, "net": net, "task": {"name": "images", "top": [5]}, "train": {"epochs": 1, "optimizer": {"lr": 0.1}},
        "datasets": {"here": {"data": "digits", "task": {"validation": 200}}, "theirs": {"data": "imagenet32"}},
        "figures": {}, "tables": {"table1": {"options": {"metric": "test_top5_error"}}}, "quick": {},
    }  # fmt: skip
    checkout = Checkout(tmp_path, {"toy/fit": body})
    assert checkout.workflow().experiments["toy/fit"].datasets == ("here",)
    assert checkout.workflow(data={"user_files": "/there"}).experiments["toy/fit"].datasets == ("here", "theirs")
    assert checkout.workflow(datasets="theirs").experiments["toy/fit"].datasets == ("theirs",)
    assert "test_top5_error" in checkout.workflow().experiments["toy/fit"].cell("theirs", "bp").metrics
