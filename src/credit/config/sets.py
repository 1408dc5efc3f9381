"""Named sets of settings that experiments share: `from: FILE/NAME` takes the set NAME of config/sets/FILE.yaml.

hyper: {from: dfc/mnist_trained, tau: 0.2}                what follows lies over the set
optimizer: {from: [dfc/adam, dfc/mnist_trained_step]}     of several, later ones over earlier ones
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from credit.config.files import overlay, read_yaml
from credit.errors import ConfigError, one_of

PLACES = ("hyper", "optimizer")  # keys whose mapping may begin with a set
Place = tuple[str, ...]  # keys that lead to such a mapping
Spell = Callable[[Place, Mapping[str, Any]], Mapping[str, Any]]


class Sets:
    """The sets below `folder`; a file is read when the first set of it is named."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._files: dict[str, dict[str, Any]] = {}

    def _file(self, name: str) -> dict[str, Any]:
        if name not in self._files:
            path = self.folder / f"{name}.yaml"
            content = (read_yaml(path) or {}) if path.is_file() else {}
            for key, value in content.items() if isinstance(content, Mapping) else [("top level", content)]:
                if not isinstance(value, Mapping) or "from" in value:
                    raise ConfigError(f"{path}: {key}: a set must be a mapping of settings, without `from`")
            self._files[name] = {str(key): value for key, value in content.items()}  # YAML reads 1 as a number
        return self._files[name]

    def names(self) -> list[str]:
        """All sets, as FILE/NAME."""
        return [f"{path.stem}/{name}" for path in sorted(self.folder.glob("*.yaml")) for name in self._file(path.stem)]

    def named(self, name: Any, where: str) -> Mapping[str, Any]:
        """The set FILE/NAME. Raises ConfigError with the nearest name for one that does not exist."""
        file, _, short = str(name).partition("/")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", file) or short not in self._file(file):
            raise ConfigError(one_of(where, name, self.names()))
        return self._file(file)[short]

    def expand(
        self, content: Any, where: str, spell: Spell = lambda _, settings: settings, place: Place = ()
    ) -> tuple[Any, dict[Place, dict[str, str]]]:
        """`content` with every `from` replaced by its sets, and which set a setting is from, {place: {setting: set}}.

        where: file, for messages. spell: how settings at a place are spelled before they are merged. Raises ConfigError
        for a set that does not exist.
        """
        if not isinstance(content, Mapping):
            return content, {}
        found, origins = {}, {}
        for key, value in content.items():
            found[key], more = self.expand(value, where, spell, (*place, str(key)))
            origins |= more
        if place and place[-1] in PLACES and "from" in found:
            found, origins[place] = self._taken(found, f"{where}: {'.'.join(place)}.from", partial(spell, place))
        return found, origins

    def _taken(self, given: dict[str, Any], where: str, spell) -> tuple[dict[str, Any], dict[str, str]]:
        own = spell({key: value for key, value in given.items() if key != "from"})
        names = given["from"] if isinstance(given["from"], list) else [given["from"]]
        if not names:
            raise ConfigError(f"{where} = []; must name at least one set, FILE/NAME")
        sets = {name: spell(self.named(name, where)) for name in names}
        origins = {leaf: name for name, settings in sets.items() for leaf in leaves(settings)}
        return overlay(*sets.values(), own), {k: v for k, v in origins.items() if k not in set(leaves(own))}


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of the values in nested mappings."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def with_origin(problem: str, origins: Mapping[str, str]) -> str:
    """A problem with the set that the setting which it is about is from. origins: by hyper.SETTING, optimizer.SETTING.

    What is wrong with the values of a grid or a space over a setting is not from its set.
    """
    for setting, name in origins.items():
        place, _, leaf = setting.partition(".")
        unknown = rf"\b{place}\b.* = '{re.escape(leaf)}'"  # the name itself is wrong
        if re.search(rf"(?<!vary: )(?<!space: )\b{re.escape(setting)} = |{unknown}", problem):
            return f"{problem}; it is from the set {name}"
    return problem
