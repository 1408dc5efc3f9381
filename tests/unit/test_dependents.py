"""Who is trained or measured anew after an edit: the rules and probes that depend on each wing and on the numerics."""

from __future__ import annotations

from functools import cache

import pytest

from credit.config import hyperparameters
from credit.config.files import read_yaml
from credit.config.parts import METHODS, REGISTRIES, code_roots
from credit.dag.targets import Workflow
from credit.provenance.sources import Sources
from tests.conftest import REPOSITORY

SOURCES = Sources()

DFC = {"dfc", "dfc_ss", "dfc_ssa"}
INVERSION = {"di", "di_bp", "di_fa", "ndi", "pbp", "sdi"}
TARGETS = {"dtp", "ldrl", "pldrl", "tp"}
RECONSTRUCTION = {"ddtp_control", "ddtp_linear", "ddtp_rhl", "drl_dtp", "dtpdrl"}
PEPITA = {"pepita", "pepita_conv", "pepita_conv_corrected", "pepita_numpy", "pepita_sign", "pepita_torch"}

# {wing: (rules, probes)}; a new wing, rule or probe that uses one is written down here.
DEPENDENTS = {
    "backward": ({"bp", "dfa", "drtp", "fa"}, set()),
    "control": (DFC, {"controller_course", "ssa_angle"}),
    "control.loops": (DFC, {"controller_course"}),
    "inversion": (INVERSION, {"feedback_stability", "inversion_angles"}),
    "modulation": (PEPITA, set()),
    "targets": (TARGETS, {"feedback_weights", "jacobian_mismatch"}),
    "reconstruction": (RECONSTRUCTION, {"feedback_weights"}),
    "energy": ({"pc"}, {"inference_course"}),
    "settling": ({"pc_coded", "generec", "hopfield", "almeida_pineda", "any_energy"}, set()),
    "online": (INVERSION, {"inversion_angles"}),
}
NUMERICS = {  # of the numerics, those that not all rules need
    "blocks": (DFC, {"controller_course"}),
    "chunks": (DFC | {"mn"}, {"controller_course", "ssa_angle"}),
    "damped": (DFC | {"gn", "mn"}, {"controller_course", "ssa_angle"}),
    "finite": (
        DFC | INVERSION | {"gn", "mn", "pc", "tp_pinv"},
        {"controller_course", "controller_stability", "feedback_alignment", "feedback_stability", "inversion_angles"}
        | {"null_space", "ssa_angle"},
    ),
    "lanes": (DFC, {"controller_course"}),
    "linalg": (INVERSION, {"controller_stability", "feedback_stability", "inversion_angles"}),
    "normal_loops": (DFC, {"controller_course"}),
    "seen_noise": (DFC, {"controller_course"}),
    "elementwise": ({"pc"}, set()),
    "tiles": (DFC, {"controller_course"}),
    "threads": (DFC | {"di", "pc", "sdi"}, {"controller_course"}),
    "vectors": (INVERSION, {"inversion_angles"}),
    "views": (DFC | {"pc"}, {"controller_course"}),
    "winograd": ({"bp", "ldrl"}, set()),
    "winograd_loops": ({"bp", "ldrl"}, set()),
    "words": (DFC, {"controller_course"}),
}
FOR_ALL = {
    "compiled",
    "devices",
    "memory",
    "products",
    "rand",
    "rand_loops",
    "stack",
    "trees",
}  # mostly


@cache
def dependents(package: str) -> tuple[set[str], set[str]]:
    """Rules and probes in whose closure a module of `package` is, or `package` itself."""

    def within(module: str) -> bool:
        return module == package or module.startswith(f"{package}.")

    rules, probes = (
        {name for name in registry.names() if any(map(within, SOURCES.closure(registry.module(name))))}
        for registry in (METHODS, REGISTRIES["probes"])
    )
    return rules, probes


@pytest.mark.parametrize("wing", DEPENDENTS)
def test_an_edit_in_a_wing_concerns_those_who_work_in_it(wing):
    assert dependents(f"credit.methods.{wing}") == DEPENDENTS[wing]


@pytest.mark.parametrize("name", NUMERICS)
def test_an_edit_in_special_numerics_concerns_those_who_use_them(name):
    assert dependents(f"credit.numerics.{name}") == NUMERICS[name]


def test_every_wing_and_every_module_of_the_numerics_says_who_depends_on_it():
    packages = {m for m, path in SOURCES.modules.items() if path.name == "__init__.py"}
    assert {m.removeprefix("credit.methods.") for m in packages if m.startswith("credit.methods.")} == {*DEPENDENTS}
    numerics = {m.rpartition(".")[2] for m in SOURCES.modules if m.startswith("credit.numerics.")}
    assert numerics == {*NUMERICS, *FOR_ALL}


def test_nothing_else_of_a_run_depends_on_a_wing():
    """The loop, nets, tasks and figures: what all runs share."""
    shared = [m for m in SOURCES.modules if not m.startswith(("credit.methods.", "credit.probes.", "credit.bench."))]
    guilty = {m: w for m in shared for w in SOURCES.closure(m) if w.startswith("credit.methods.") and "." in w[15:]}
    assert not guilty


def test_rules_import_no_rule_that_they_are_not_a_variant_of():
    """Else an edit of one would train the other anew. A probe may: its reference is part of what it measures."""
    for name in METHODS.names():
        rules = {
            m for m in SOURCES.closure(METHODS.module(name)) if m.removeprefix("credit.methods.") in METHODS.names()
        }
        others = {m.removeprefix("credit.methods.") for m in rules} - {name}
        assert others <= ({"pepita"} if name in PEPITA else set()), name


@pytest.fixture(scope="module")
def cells() -> dict[tuple[str, str, str], tuple[dict, set[str]]]:
    """{(experiment, data set, method): (spec, modules of its training)} of what is run."""
    workflow = Workflow(read_yaml(REPOSITORY / "config" / "config.yaml"), REPOSITORY)
    script = REPOSITORY / "workflow" / "scripts" / "train.py"
    found = {}
    for key, experiment in workflow.experiments.items():
        for dataset, method in {(job.dataset, job.method) for job in experiment.jobs()}:
            spec = workflow.cell(key, dataset, method).train_spec((0,))
            found[key, dataset, method] = spec, set(SOURCES.closure(*code_roots(spec, script)))
    return found


def test_an_edit_in_the_steady_state_trains_dfc_anew_and_what_measures_with_it(cells):
    rules, probes = dependents("credit.methods.control.steady")
    expected = {
        key
        for key, (spec, _) in cells.items()
        if spec["rule"]["name"] in rules or probes & {probe["probe"] for probe in spec["probes"]}
    }
    again = {key for key, (_, modules) in cells.items() if "credit.methods.control.steady" in modules}
    assert again == expected
    assert {cells[key][0]["rule"]["name"] for key in again} == DFC  # nobody else is measured with it at present
    assert len(again) == 78  # of all cells; an experiment with DFC adds to both


@pytest.mark.parametrize("reference", ["bp", "mn", "gn"])
def test_what_a_reference_excludes_belongs_to_the_code_of_whatever_is_measured_with_it(cells, reference):
    name = hyperparameters.constants(METHODS.module(reference))["excludes"].rpartition(".")[0]
    measured = [
        modules
        for spec, modules in cells.values()
        if any(probe.get("reference") == reference for probe in spec["probes"])
    ]
    assert measured
    assert all(name in modules for modules in measured)
