"""How things are called and drawn, the same in every figure and table. Imports neither matplotlib nor torch.

Every learning rule has a colour, a marker and a line style of its own, for all papers at once, so that it
looks the same wherever it appears. Colours are from the palettes of Okabe & Ito and of Paul Tol, made for
colour-blind readers; with this many rules colours recur, hence the markers, one for each rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

SOLID, DASHED, DOTTED, DASHDOT = "-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2))

LINES = (SOLID, DASHED, DOTTED, DASHDOT)
BLACK, GREY, ORANGE, SKY, GREEN = "#000000", "#7f7f7f", "#e69f00", "#56b4e9", "#009e73"
BLUE, VERMILION, PINK = "#0072b2", "#d55e00", "#cc79a7"
INDIGO, WINE, OLIVE, TEAL, ROSE, PURPLE, BROWN = (
    "#332288",
    "#882255",
    "#999933",
    "#44aa99",
    "#cc6677",
    "#aa4499",
    "#7a4b1e",
)


class Style(NamedTuple):
    """Name as papers print it, and how curves and points of this method look."""

    label: str
    colour: str
    marker: str
    line: str | tuple


# in the order in which legends and tables list them
METHOD_STYLES = {
    "bp": Style("BP", BLACK, "o", SOLID),
    "shallow": Style("shallow", GREY, "s", DOTTED),
    "fa": Style("FA", ORANGE, "^", SOLID),
    "dfa": Style("DFA", VERMILION, "v", DASHED),
    "drtp": Style("DRTP", PINK, "D", DASHDOT),
    "dfc": Style("DFC", BLUE, "P", SOLID),
    "dfc_ss": Style("DFC-SS", GREEN, "X", DASHED),
    "dfc_ssa": Style("DFC-SSA", PURPLE, "d", DASHDOT),
    "mn": Style("MN", BROWN, ">", DASHED),
    "gn": Style("GN", BROWN, "<", DOTTED),
    "pbp": Style("PBP", OLIVE, "p", SOLID),
    "ndi": Style("NDI", TEAL, "h", DASHED),
    "di": Style("DI", TEAL, "H", SOLID),
    "sdi": Style("SDI", TEAL, "8", DOTTED),
    "di_bp": Style("BP (DI code)", BLACK, "$\\bullet$", DASHED),
    "di_fa": Style("FA (DI code)", ORANGE, "$\\triangle$", DASHED),
    "ldrl": Style("L-DRL", WINE, "*", SOLID),
    "pldrl": Style("L-DRL parallel", WINE, "$\\parallel$", DASHED),
    "dtp": Style("DTP", ROSE, "1", SOLID),
    "tp": Style("TP", ROSE, "2", DASHED),
    "drl_dtp": Style("DTP (DRL code)", ROSE, "3", DOTTED),
    "dtpdrl": Style("DTPDRL", INDIGO, "4", DASHED),
    "ddtp_linear": Style("DDTP-linear", INDIGO, "+", DASHDOT),
    "ddtp_rhl": Style("DDTP-RHL", INDIGO, "$\\dagger$", DOTTED),
    "ddtp_control": Style("DDTP-control", BROWN, "$\\ddagger$", DASHDOT),
    "pepita": Style("PEPITA", SKY, "$\\circ$", SOLID),
    "pepita_numpy": Style("PEPITA (numpy code)", SKY, "$\\oplus$", SOLID),
    "pepita_torch": Style("PEPITA (notebook)", SKY, "$\\otimes$", DASHED),
    "pepita_sign": Style("PEPITA, sign", SKY, "$\\pm$", DOTTED),
    "pepita_conv": Style("PEPITA (conv, as released)", SKY, "$\\ominus$", DASHDOT),
    "pepita_conv_corrected": Style("PEPITA (conv, corrected)", BLUE, "$\\odot$", DASHED),
    "pc": Style("PC", INDIGO, "x", SOLID),
}

# lines of variants that would get the one of another variant in the same experiment
VARIANT_LINES = {"dfc-fast": DOTTED, "dfc_ss-fixed_fast": SOLID, "pepita-conv_inferred": DASHED}

DATASETS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet32": "ImageNet 32×32",
    "digits": "digits 8×8",
    "normal": "small random weights",
    "orthogonal": "orthogonal weights",
    "digits_normal": "digits, small random weights",
    "digits_orthogonal": "digits, orthogonal weights",
    "mnist_train": "MNIST (training loss)",
    "mnist_autoencoder": "MNIST autoencoder",
    "digits_autoencoder": "digits 8×8 autoencoder",
    "student_teacher": "student–teacher",
    "teacher": "student–teacher",
}

METRICS = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "test_loss": "test loss",
    "train_error": "training error",
    "validation_error": "validation error",
    "test_error": "test error",
    "angle_bp": "angle to BP",
    "angle_mn": "angle to MN",
    "angle_gn": "angle to GN",
    "angle_projection": "angle to the projection",
    "weight_norm": "norm of the weights",
    "slowness": "slowness",
    "slowness_of_mean": "slowness of the mean curve",
    "angle_ssa": "angle to DFC-SSA",
    "angle_feedback_transpose": "angle of Q to Jᵀ",
    "condition1": "condition 1",
    "condition2": "condition 2",
    "null_space_ratio": "null-space ratio",
    "learning_rate": "learning rate",
    "test_mse": "test error, squared, mean over pixels",
    "log10_nse": "log₁₀ normalised squared error",
    "lambda_max": "largest Re λ",
    "angle_feedback": "∠(B, −Wᵀ)",
    "angle_ndi": "angle to NDI",
    "angle_pbp": "angle to PBP",
}


def method_style(name: str, rule: str | None = None) -> Style:
    """Style of a method, which may be a variant of a learning rule under a name of its own.

    A variant (`di-2`, or any name with `rule` given) keeps its learning rule's colour and marker, with another line. An
    unknown one gets a style that depends on its name alone, so that it too looks the same everywhere.
    """
    if name in METHOD_STYLES:
        return METHOD_STYLES[name]
    base = rule if rule in METHOD_STYLES else name.partition("-")[0]
    if base in METHOD_STYLES:
        style, (family, _, suffix) = METHOD_STYLES[base], name.partition("-")
        known = METHOD_STYLES.get(family, style if name.startswith(base) else None)
        suffix = suffix or name.removeprefix(base).strip("_")
        label = f"{known.label} ({suffix.replace('_', ' ')})" if known else name
        label = f"{(known or style).label}-{suffix}" if suffix.isdigit() else label
        others = [line for line in LINES if line != style.line]
        return style._replace(label=label, line=VARIANT_LINES.get(name, others[_hash(name) % len(others)]))
    h, colours, markers = _hash(name), (SKY, GREEN, BLUE, PINK, OLIVE, TEAL, ROSE, PURPLE), "osv^DPX<>"
    return Style(name, colours[h % 8], markers[h // 8 % 9], LINES[h // 72 % 4])


def method_styles(names: Iterable[str], rules: Mapping[str, str] | None = None) -> dict[str, Style]:
    """Styles of methods in the order in which they are always listed: that of METHOD_STYLES, each learning rule before
    its variants, unknown ones last.

    rules: {method: learning rule} of methods whose name does not say their rule.
    """
    rules, known = rules or {}, list(METHOD_STYLES)

    def place(name: str) -> tuple:
        candidates = (name, rules.get(name), name.partition("-")[0])
        rule = next((c for c in candidates if c in METHOD_STYLES), None)
        return (known.index(rule) if rule else len(known), name != rule, name)

    return {name: method_style(name, rules.get(name)) for name in sorted(set(names), key=place)}


def dataset_title(name: str) -> str:
    """Name of a data set as papers print it; an unknown one with its underscores as spaces."""
    return DATASETS.get(name, name.replace("_", " "))


def dataset_order(names) -> list[str]:
    """Data sets in the order of DATASETS, unknown ones last by name."""
    known = list(DATASETS)
    return sorted(set(names), key=lambda n: (known.index(n) if n in DATASETS else len(known), n))


def metric_label(name: str, unit: str = "") -> str:
    """Axis label of a metric, its unit in brackets."""
    return METRICS.get(name, name.replace("_", " ")) + (f" [{unit}]" if unit else "")


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")  # `hash` differs between processes
