"""Which code belongs to a learning rule, and which tests concern it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from credit.config.parts import METHODS

CONTRACT = "tests/unit/test_methods.py"  # one suite for all learning rules, by name
BASELINES = ("tests/unit/test_rules.py", "tests/golden/test_baselines.py", "tests/unit/test_blocks.py")
DFC = (
    "tests/golden/test_dfc.py",
    "tests/golden/test_dfc_feedback.py",
    "tests/unit/test_dfc.py",
    "tests/unit/test_dfc_linear.py",
    "tests/unit/test_dfc_engines.py",
)
DI = (
    "tests/golden/test_di.py",
    "tests/golden/test_di_runs.py",
    "tests/unit/test_di.py",
    "tests/unit/test_online.py",
)
PEPITA = (
    "tests/golden/test_pepita.py",
    "tests/golden/test_pepita_conv.py",
    "tests/unit/test_pepita.py",
    "tests/unit/test_pepita_fused.py",
)
RECONSTRUCTION = ("tests/golden/test_reconstruction.py", "tests/unit/test_reconstruction.py")
TARGETS = (
    "tests/golden/test_dtp.py",
    "tests/unit/test_target_propagation.py",
    "tests/unit/test_target_fused.py",
)
SETTLING = ("tests/golden/test_pc_rules.py", "tests/unit/test_settling.py")
SETTLED = ("pc_coded", "generec", "hopfield", "almeida_pineda", "any_energy")
ENERGY = ("tests/golden/test_pc.py", "tests/unit/test_pc.py")
FILES = {
    **dict.fromkeys(("bp", "fa"), (*BASELINES, "tests/unit/test_online.py", "tests/golden/test_pepita.py")),
    **dict.fromkeys(("dfa", "drtp", "shallow"), (*BASELINES, "tests/golden/test_dfc.py")),
    **dict.fromkeys(("mn", "gn"), (*BASELINES, "tests/golden/test_dfc.py", "tests/unit/test_dfc.py")),
    **dict.fromkeys(("dfc", "dfc_ss", "dfc_ssa"), DFC),
    **dict.fromkeys(("di", "ndi", "sdi", "pbp", "di_bp", "di_fa"), DI),
    **dict.fromkeys(("pepita", "pepita_numpy", "pepita_torch", "pepita_sign"), PEPITA),
    **dict.fromkeys(("ldrl", "pldrl", "dtp", "tp"), TARGETS),
    **dict.fromkeys(("ddtp_control", "ddtp_linear", "ddtp_rhl", "drl_dtp", "dtpdrl"), RECONSTRUCTION),
    **dict.fromkeys(("pepita_conv", "pepita_conv_corrected"), PEPITA),
    "pc": ENERGY,
    **dict.fromkeys((*SETTLED, "tp_pinv"), SETTLING),
}
NAMES_ONLY = ("dtp", "tp")  # their files name what their wing has, and hold nothing to be wrong
WINGS = {  # machinery that several rules share: its tests, and the rules whose contract is tested
    "backward": ((*BASELINES, "tests/unit/test_pepita.py"), ("bp", "fa", "dfa", "drtp")),
    "control": (DFC, ("dfc", "dfc_ss", "dfc_ssa")),
    "inversion": (DI, ("di", "ndi", "sdi", "pbp")),
    "modulation": (PEPITA, ("pepita", "pepita_conv_corrected")),
    "targets": (TARGETS, ("ldrl", "pldrl", "dtp", "tp")),
    "reconstruction": (RECONSTRUCTION, ("ddtp_control", "ddtp_linear", "ddtp_rhl", "drl_dtp", "dtpdrl")),
    "energy": (ENERGY, ("pc",)),
    "settling": (SETTLING, SETTLED),
    "online": (DI, ("bp", "ndi", "pbp")),
}


@dataclass(frozen=True)
class Concern:
    """A learning rule or a package of machinery: its code, test files, and rules whose contract is tested."""

    name: str
    code: str  # a pattern below src/credit/methods
    files: tuple[str, ...]
    rules: tuple[str, ...]


def concerns() -> list[Concern]:
    """Everything that has faults to be found, by name."""
    rules = [Concern(name, f"{name}.py", FILES.get(name, BASELINES), (name,)) for name in METHODS.names()]
    return rules + [Concern(f"{name}/", f"{name}/**/*.py", files, of) for name, (files, of) in WINGS.items()]


def contract_tests(collected: Iterable[str], rules: Iterable[str]) -> list[str]:
    """Those of the collected tests of the contract that are about one of the rules."""
    wanted = set(rules)
    return [test for test in collected if wanted & set(re.findall(r"[a-z_]+", test.partition("[")[2]))]
