"""What the shell completes of a `credit` command (by argcomplete): targets, results, names, settings.

Each key press starts Python: nothing is read but file names and, for figures and tables, the YAML of the paper that is
meant. Loads neither torch nor the workflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from credit.config.place import config_folder
from credit.dag.endings import FILES
from credit.errors import ConfigError

SHELLS = ("bash", "zsh", "tcsh", "fish")
RESULTS = ("jsonl", "json", "safetensors", "csv", "md", "html", "pdf", "png", "npz", "xz")  # endings of result files
OURS = "cross"  # our own figures lie directly in figures/
_ROOT = re.compile(r"(?:\./)?results/(?:(?!figures/|tables/)[^/]+/){0,2}")  # of a scale, of a named run


def script(shell: str) -> str:
    """What the shell must read once, see `credit --print-completion`."""
    import argcomplete

    return argcomplete.shellcode(["credit"], shell=shell)


def targets(prefix: str, **_: object) -> list[str]:
    """Targets that begin so, up to their next slash: all, papers, experiments, figures and tables; runs, as files."""
    found = [name for name in _targets(prefix) if name.startswith(prefix) and name != prefix]
    return sorted({*_stepwise(found, prefix), *(results(prefix) if _ROOT.match(prefix) else ())})


def results(prefix: str, **_: object) -> list[str]:
    """Files of results, and folders."""
    from argcomplete.completers import FilesCompleter

    return list(FilesCompleter(RESULTS)(prefix))


def archives(prefix: str, **_: object) -> list[str]:
    """Files of `credit export`, and folders."""
    from argcomplete.completers import FilesCompleter

    return list(FilesCompleter(("xz",))(prefix))


def configfiles(prefix: str, **_: object) -> list[str]:
    """Configuration files, and folders."""
    from argcomplete.completers import FilesCompleter

    return list(FilesCompleter(("yaml", "yml"))(prefix))


def patterns(prefix: str, **_: object) -> list[str]:
    """What `credit list` may be asked for."""
    sections = ("experiments", "figures", "tables", "data", "methods")
    return [name for name in (*sections, *_experiments()) if name.startswith(prefix)]


def settings(prefix: str, **_: object) -> list[str]:
    """Keys of the configuration, as in `--config seeds=2`."""
    keys = _yaml(_folder() / "config.yaml")
    return [f"{key}=" for key in keys if key.startswith(prefix)]


def _targets(prefix: str) -> Iterator[str]:
    keys = _experiments()
    papers = tuple(dict.fromkeys(key.partition("/")[0] for key in keys))
    yield from ("all", *papers, *keys)
    root = _ROOT.match(prefix)
    if not root:
        yield "results/"
        return
    kind, slash, name = prefix.removeprefix(root[0]).partition("/")
    if not slash:
        yield from (f"{root[0]}{folder}/" for folder in FILES)
    elif kind in FILES:
        yield from (f"{root[0]}{kind}/{paper}/" for paper in papers if kind == "tables" or paper != OURS)
        within, deeper, _ = name.partition("/")
        paper = within if deeper else OURS if kind == "figures" else None
        yield from (
            f"{root[0]}{kind}/{name}" for key in keys if key.startswith(f"{paper}/") for name in _made(kind, key)
        )


def _made(kind: str, key: str) -> Iterator[str]:
    """Files of the figures or tables that an experiment defines, below their folder."""
    paper = key.partition("/")[0]
    entries = _yaml(_folder() / "experiments" / f"{key}.yaml").get(kind) or {}
    names = [name if (kind, paper) == ("figures", OURS) else f"{paper}/{name}" for name in entries]
    yield from (f"{name}.{end}" for name in names for end in FILES[kind])
    if kind == "tables":
        yield f"{key}.csv"


def _stepwise(names: Iterable[str], prefix: str) -> Iterator[str]:
    """As a shell does with folders: each name up to the next slash after what was typed."""
    for name in names:
        head, slash, _ = name[len(prefix) :].partition("/")
        yield f"{prefix}{head}{slash}"


def _experiments() -> list[str]:
    return sorted(f"{path.parent.name}/{path.stem}" for path in (_folder() / "experiments").glob("*/*.yaml"))


def _folder() -> Path:
    try:
        return config_folder()
    except ConfigError:
        return Path("config")


def _yaml(path: Path) -> dict:
    from credit.config.files import read_yaml

    try:
        content = read_yaml(path)
    except ConfigError:  # who runs the command is told
        return {}
    return content if isinstance(content, dict) else {}
