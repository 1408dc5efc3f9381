"""What excludes each other in difference reconstruction; free of torch, for the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from credit.nets import suited


def exclusive(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """Settings that do not fit the net."""
    yield from suited.no_dropout(net)
    yield from suited.hidden(net)
    learns = values["feedback"]
    if len(learns["betas"]) != 2:
        yield f"feedback.betas = {list(learns['betas'])}; needs two values"
    yield from suited.lists(values["feedback"], "feedback", ("iterations",), net)
