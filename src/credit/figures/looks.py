"""How methods are drawn, the same in every figure. Imports neither matplotlib nor torch.

Every learning rule has a colour, a marker and a line style of its own, for all papers at once, so that it
looks the same wherever it appears. Colours are from the palettes of Okabe & Ito and of Paul Tol, made for
colour-blind readers; with this many rules colours recur, hence the markers, one for each rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from credit.analysis.names import family, method_label, method_order

SOLID, DASHED, DOTTED, DASHDOT = "-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2))
LONG = (0, (10, 2))

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

# filled shapes that matplotlib has no letter for
BOWTIE = ((-1.0, -0.9), (-1.0, 0.9), (1.0, -0.9), (1.0, 0.9), (-1.0, -0.9))
HOURGLASS = ((-0.9, 1.0), (0.9, 1.0), (-0.9, -1.0), (0.9, -1.0), (-0.9, 1.0))
CHEVRON = ((-1.0, -0.9), (0.0, -0.1), (1.0, -0.9), (1.0, 0.2), (0.0, 1.0), (-1.0, 0.2), (-1.0, -0.9))
LOZENGE = ((-1.3, 0.0), (0.0, 0.7), (1.3, 0.0), (0.0, -0.7), (-1.3, 0.0))
BAR = ((-0.5, -1.1), (0.5, -1.1), (0.5, 1.1), (-0.5, 1.1), (-0.5, -1.1))
CORNER = ((-0.9, -0.9), (0.9, -0.9), (-0.9, 0.9), (-0.9, -0.9))
KITE = ((0.0, -1.2), (0.8, 0.3), (0.0, 1.0), (-0.8, 0.3), (0.0, -1.2))
TRAPEZE = ((-1.0, -0.8), (1.0, -0.8), (0.5, 0.8), (-0.5, 0.8), (-1.0, -0.8))
ARROW = ((-1.0, -0.4), (0.1, -0.4), (0.1, -1.0), (1.1, 0.0), (0.1, 1.0), (0.1, 0.4), (-1.0, 0.4), (-1.0, -0.4))
STEP = ((-1.0, -0.9), (1.0, -0.9), (1.0, 0.9), (0.1, 0.9), (0.1, 0.0), (-1.0, 0.0), (-1.0, -0.9))
WEDGE = ((-1.1, 0.0), (1.0, -0.9), (0.4, 0.0), (1.0, 0.9), (-1.1, 0.0))
STAR4, STAR6, STAR8 = (4, 1, 0), (6, 1, 0), (8, 1, 0)


class Look(NamedTuple):
    """How curves and points of a method look. marker: as matplotlib takes it, or the corners of a filled shape."""

    colour: str
    marker: str | tuple
    line: str | tuple


class Style(NamedTuple):
    """Name as papers print it, and how curves and points of this method look."""

    label: str
    colour: str
    marker: str | tuple
    line: str | tuple


LOOKS = {
    "bp": Look(BLACK, "o", SOLID),
    "shallow": Look(GREY, "s", DOTTED),
    "fa": Look(ORANGE, "^", SOLID),
    "dfa": Look(VERMILION, "v", DASHED),
    "drtp": Look(PINK, "D", DASHDOT),
    "dfc": Look(BLUE, "P", SOLID),
    "dfc_ss": Look(GREEN, "X", DASHED),
    "dfc_ssa": Look(PURPLE, "d", DASHDOT),
    "mn": Look(BROWN, ">", DASHED),
    "gn": Look(BROWN, "<", DOTTED),
    "pbp": Look(OLIVE, "p", SOLID),
    "ndi": Look(TEAL, "h", DASHED),
    "di": Look(TEAL, "H", SOLID),
    "sdi": Look(TEAL, "8", DOTTED),
    "di_bp": Look(BLACK, "$\\bullet$", DASHED),
    "di_fa": Look(ORANGE, "$\\triangle$", DASHED),
    "ldrl": Look(WINE, "*", SOLID),
    "pldrl": Look(WINE, "$\\parallel$", DASHED),
    "dtp": Look(ROSE, STAR6, SOLID),
    "tp": Look(ROSE, LOZENGE, DASHED),
    "drl_dtp": Look(ROSE, HOURGLASS, DOTTED),
    "dtpdrl": Look(ORANGE, CHEVRON, DASHDOT),
    "ddtp_linear": Look(INDIGO, BAR, DASHED),
    "ddtp_rhl": Look(SKY, CORNER, LONG),
    "ddtp_control": Look(BROWN, BOWTIE, DASHDOT),
    "pepita": Look(SKY, "$\\circ$", SOLID),
    "pepita_numpy": Look(SKY, "$\\oplus$", SOLID),
    "pepita_torch": Look(SKY, "$\\otimes$", DASHED),
    "pepita_sign": Look(SKY, "$\\pm$", DOTTED),
    "pepita_conv": Look(SKY, "$\\ominus$", DASHDOT),
    "pepita_conv_corrected": Look(BLUE, "$\\odot$", DASHED),
    "pc": Look(INDIGO, STAR8, SOLID),
    "pc_coded": Look(INDIGO, STAR4, DOTTED),
    "generec": Look(GREEN, KITE, SOLID),
    "hopfield": Look(GREEN, TRAPEZE, DOTTED),
    "almeida_pineda": Look(OLIVE, ARROW, DASHED),
    "any_energy": Look(PURPLE, STEP, SOLID),
    "tp_pinv": Look(ROSE, WEDGE, DASHDOT),
}

METHOD_STYLES = {name: Style(method_label(name), *look) for name, look in LOOKS.items()}

# lines of variants that would get the one of another variant in the same experiment
VARIANT_LINES = {
    "dfc-fast": DOTTED,
    "dfc_ss-fixed_fast": SOLID,
    "dfc_ssa-frozen_27": SOLID,
    "pepita-conv_inferred": DASHED,
    "ddtp_linear-s": SOLID,
    "ddtp_linear-p": DASHED,
    "ddtp_linear-s_held_out": SOLID,
    "ddtp_linear-p_held_out": DASHED,
    "ddtp_linear-cleared": DASHDOT,
    "ldrl-random": DOTTED,
    "ldrl-symmetric": DASHED,
    "ldrl-symmetric_add": DASHDOT,
    "ldrl-add": DASHDOT,
    "ldrl-half": DOTTED,
    "ldrl-double": DASHDOT,
    "bp-relu": DASHED,
    "pc-settled": DASHED,
}

# and markers of those for which there are not enough lines
VARIANT_MARKERS = {
    "ddtp_linear-s_held_out": "o",
    "ddtp_linear-p_held_out": "o",
    "ldrl-symmetric_add": "P",
    "ldrl-half": "v",
    "ldrl-double": "^",
    "bp-relu": "s",
    "pc-settled": "o",
}


def method_style(name: str, rule: str | None = None) -> Style:
    """Style of a method, which may be a variant of a learning rule under a name of its own.

    A variant (`di-2`, or any name with `rule` given) keeps its learning rule's colour and, mostly, marker, with another
    line. A learning rule without an entry gets a style that depends on its name alone, so that it too looks the same
    everywhere, and so do its variants.
    """
    if name in METHOD_STYLES:
        return METHOD_STYLES[name]
    label, base = method_label(name, rule), family(name, rule) or rule or name.partition("-")[0]
    style = METHOD_STYLES.get(base) or _drawn_by_lot(base)
    if name == base:
        return style
    others = [line for line in LINES if line != style.line]
    line = VARIANT_LINES.get(name, others[_hash(name) % len(others)])
    return style._replace(label=label, marker=VARIANT_MARKERS.get(name, style.marker), line=line)


def _drawn_by_lot(rule: str) -> Style:
    """Style of a learning rule without an entry."""
    h, colours, markers = _hash(rule), (SKY, GREEN, BLUE, PINK, OLIVE, TEAL, ROSE, PURPLE), "osv^DPX<>"
    return Style(method_label(rule), colours[h % 8], markers[h // 8 % 9], LINES[h // 72 % 4])


def method_styles(names: Iterable[str], rules: Mapping[str, str] | None = None) -> dict[str, Style]:
    """Styles of methods in the order in which they are always listed, see `credit.analysis.names.method_order`.

    rules: {method: learning rule} of methods whose name does not say their rule.
    """
    rules = rules or {}
    return {name: method_style(name, rules.get(name)) for name in method_order(names, rules)}


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")  # `hash` differs between processes
