"""Experiments that extend another one: `extends: PAPER/NAME`, and then only what differs from it.

Mappings merge key by key; everything else is replaced. What is about another part (a net of another `kind`, a task or
an optimiser of another `name`, a method of another `rule`) replaces the other file's as a whole, and a data set or
method that is null is taken away; of what is replaced or null, the other file's quick section says nothing any more.
Titles, figures and tables are each file's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from credit.config.files import read_yaml
from credit.config.schema import copied
from credit.dag.spelling import Spelling
from credit.errors import ConfigError, one_of

KEY = "extends"
OWN = ("title", "figures", "tables")
QUICK = "quick"
NAMES = {"net": "kind", "task": "name", "optimizer": "name"}  # what says which part it is
ENTRIES = ("datasets", "methods")


def read(path: Path, check: Callable[[Any, Path], Any], above: tuple[Path, ...] = ()) -> Any:
    """The content of an experiment's file, checked, with what it extends.

    check: of a whole content of a file, returns it. above: files that extend this one. Raises ConfigError for a file
    that does not exist, or that extends itself in the end.
    """
    own = read_yaml(path)
    if not isinstance(own, Mapping) or KEY not in own:
        return check(own, path)
    folder, chain = path.parent.parent, (*above, path)
    known = {_key(p): p for p in folder.glob("*/*.yaml") if p != path}
    name = own[KEY]
    if not isinstance(name, str) or name not in known:
        raise ConfigError(one_of(f"{path}: {KEY}", name, known))
    if known[name] in chain:
        way = " -> ".join(_key(p) for p in (*chain[chain.index(known[name]) :], known[name]))
        raise ConfigError(f"{path}: {KEY} = {name!r}; leads back to where it began: {way}")
    base = read(known[name], check, chain)
    return check(laid(_shared(base), own), path)


def _shared(content: Mapping[str, Any]) -> dict[str, Any]:
    """What of a file, and of its quick section, others take when they extend it."""
    found = {key: value for key, value in content.items() if key not in OWN}
    return found | {QUICK: _shared(found[QUICK])} if isinstance(found.get(QUICK), Mapping) else found


def _key(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def laid(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's content over that of another one, see above; hyperparameters of both are spelled alike."""
    layers = [layer for whole in (base, own) for layer in (whole, whole.get(QUICK)) if isinstance(layer, Mapping)]
    spelling = Spelling(*layers)
    base, own = (_spelled(spelling, whole) for whole in (base, own))
    if isinstance(base.get(QUICK), Mapping):
        base = {**base, QUICK: _still_meant(base[QUICK], base, own, "")}
    return _laid(base, own, "")


def _spelled(spelling: Spelling, content: Mapping[str, Any]) -> Mapping[str, Any]:
    quick = content.get(QUICK)
    return {**spelling.layer(content), **({QUICK: spelling.layer(quick)} if isinstance(quick, Mapping) else {})}


def _laid(base: Any, own: Any, key: str, rule: str = "") -> Any:
    """key: under which both stand. rule: name of a method, which is its rule where it says nothing."""
    if not (isinstance(base, Mapping) and isinstance(own, Mapping)) or _another(base, own, key, rule):
        return copied(own)
    found = {name: copied(value) for name, value in base.items() if name not in own}
    for name, value in own.items():
        if key in ENTRIES and value is None and name in base:
            continue
        found[name] = _laid(base.get(name), value, name if key not in ENTRIES else "", name if key == "methods" else "")
    return found


def _still_meant(quick: Any, base: Any, own: Any, key: str, rule: str = "") -> Any:
    """What of a quick section is about what `own` leaves of `base`, whose quick section it is; see `_laid`."""
    if not all(isinstance(one, Mapping) for one in (quick, base, own)):
        return quick
    if _another(base, own, key, rule):
        return {}
    found = {}
    for name, value in quick.items():
        if name in own and own[name] is None:
            continue
        below = name if key not in ENTRIES else "", name if key == "methods" else ""
        found[name] = _still_meant(value, base.get(name), own.get(name), *below)
    return found


def _another(base: Mapping[str, Any], own: Mapping[str, Any], key: str, rule: str) -> bool:
    """Whether the two are about different parts."""
    if rule:
        return own.get("rule", base.get("rule", rule)) != base.get("rule", rule)
    name = NAMES.get(key)
    return name in own and name in base and own[name] != base[name]
