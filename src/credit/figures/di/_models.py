"""How the models of dynamic inversion's figures look: the line says the rule, the colour its leak and feedback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from credit.figures.looks import BLUE, METHOD_STYLES, PURPLE, VERMILION, Style, method_styles

SETTINGS = {"2": VERMILION, "3": BLUE, "undamped": PURPLE}
INVERSIONS = ("ndi", "di", "sdi")


def model_styles(methods: Iterable[str], rules: Mapping[str, str]) -> dict[str, Style]:
    """Styles of methods, in the order of legends; variants of the inversions have a colour for each setting.

    The script's own forms of BP and FA, with its clipping, look like BP and FA. rules: {method: learning rule}.
    """
    plain = {name: rule for name, rule in rules.items() if name.partition("-")[0] not in METHOD_STYLES}
    return {name: _style(name, look) for name, look in method_styles(methods, plain).items()}


def _style(name: str, look: Style) -> Style:
    rule, _, setting = name.partition("-")
    if rule not in INVERSIONS or setting not in SETTINGS:
        return look
    return look._replace(colour=SETTINGS[setting], line=METHOD_STYLES[rule].line, marker=METHOD_STYLES[rule].marker)
