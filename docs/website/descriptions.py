"""What every setting of a part means: read from the docstrings of the class that declares it.

A docstring describes fields as `name: text` or `name, other: text`, at the beginning of a line or after the end of a
sentence; the text goes on to the next such name or to the end of the paragraph. Inherited fields may be described
where they are inherited from, fields of a group in the group's own class.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable


def of_class(part: type, names: Iterable[str]) -> dict[str, str]:
    """{field: its description} for those of `names` that the class or a base describes, the nearest first."""
    found: dict[str, str] = {}
    wanted = list(names)
    for owner in part.__mro__:
        text = inspect.cleandoc(owner.__dict__.get("__doc__") or "")
        found = of_text(text, wanted) | found
    return found


def of_text(text: str, names: Iterable[str]) -> dict[str, str]:
    """{name: what `name: text` says of it} in a docstring. names: those that may be described there."""
    name = rf"(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True))) or '(?!)'})"
    start = re.compile(rf"(?:^|(?<=[.;:)])\s)((?:{name},\s)*{name}):\s", re.MULTILINE)
    found: dict[str, str] = {}
    for paragraph in re.split(r"\n\s*\n", text):
        marks = list(start.finditer(paragraph))
        for mark, after in zip(marks, [*marks[1:], None]):
            said = " ".join(paragraph[mark.end() : after.start() if after else None].split()).rstrip(".;")
            for one in re.split(r",\s", mark[1]):
                found.setdefault(one, said)
    return found
