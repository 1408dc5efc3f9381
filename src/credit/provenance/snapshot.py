"""Which code made a result: digests of what a job imports, and the check that nothing else ran.

Snakemake does not see changes in imported modules. Therefore every job's spec carries a digest of its
*closure*: its script and parts with all modules of this package that they import, found without running them.
Comments, docstrings and formatting do not count. After its work a job compares the closure with the modules
that Python really loaded, which makes the static search sound (`Snapshot.check`). Standard library only.

A root is a dotted module name (`credit.methods.dfa`) or the path of a script. Digests are the first 16 hex
digits of a sha256; they depend neither on where files lie nor on the version of Python.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit.errors import ConfigError, DataError, ProvenanceError
from credit.provenance.records import read_metadata
from credit.provenance.sources import (
    PACKAGE,
    Sources,
    canonical,
    combine,
    digest,
    is_onlooker,
    planning_sources,
)  # fmt: skip

__all__ = [
    "ProvenanceError", "Snapshot", "canonical", "closure", "code_digest", "env_digest", "git_state",
    "module_digests", "read_header", "record", "remember", "snapshot", "versions", "why",
]  # fmt: skip

PIN_SUFFIX = ".linux-64.pin.txt"
RECORDED_PACKAGES = ("torch", "numpy", "numba")
OUTSIDE_RESULTS = ("--", ":(top)", ":(top,exclude)results")  # for git


# ---- digests


_sources = functools.cache(planning_sources)


def closure(*roots: str | Path, package_root: Path | str = PACKAGE) -> dict[str, Path]:
    """{name: path} of the roots and everything in the package that they import, at any depth.

    Imports inside functions count, those under `if TYPE_CHECKING:` do not. Files are read once a process (see
    `Sources`). Raises ConfigError naming file and line of a syntax error or of an import that leads nowhere.
    """
    return _sources(package_root).closure(*roots)


def module_digests(*roots: str | Path, package_root: Path | str = PACKAGE) -> dict[str, str]:
    """{name: digest} of the closure; raises as `closure`."""
    return _sources(package_root).digests(*roots)


def code_digest(*roots: str | Path, package_root: Path | str = PACKAGE) -> str:
    """The digest that stands in a spec as `code`; raises as `closure`."""
    return _sources(package_root).code(*roots)


def remember(package_root: Path | str = PACKAGE) -> None:
    """Keep for the next process what was found in source files (see `credit.provenance.remembered`)."""
    _sources(package_root).remembered.save()


def env_digest(path: Path | str) -> str:
    """Digest of an environment file `envs/STEP.yaml`, and of `STEP.linux-64.pin.txt` beside it if it exists.

    Comments, blank lines, trailing space and the folder do not count. Raises ConfigError for a missing file.
    """
    path = Path(path)
    pins = path.with_name(path.stem + PIN_SUFFIX)
    try:
        texts = [p.read_text(encoding="utf-8") for p in (path, pins) if p == path or p.exists()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: environment file cannot be read: {error}") from error
    lines = [[s for line in text.splitlines() if (s := _without_comment(line).rstrip())] for text in texts]
    return digest(json.dumps(lines))


def _without_comment(line: str) -> str:
    """A `#` begins a comment at the start and after a space, not within quotes and not within a URL."""
    quote = ""
    for i, (before, char) in enumerate(zip(" " + line, line)):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and before in " \t[{,":
            quote = char
        elif char == "#" and before.isspace():
            return line[:i]
    return line


# ---- inside a job


class Seen:
    """What this process has found in source files, by their content: a file whose content is the same is not parsed
    again."""

    def __init__(self) -> None:
        self._entries: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        """The entry of a content, None if there is none."""
        return self._entries.get(key)

    def __setitem__(self, key: str, entry: Any) -> None:
        self._entries[key] = entry


@dataclass(frozen=True)
class Snapshot:
    """Per-module digests of a job's code at the moment when it was taken."""

    roots: tuple[str | Path, ...]
    modules: dict[str, str]
    package_root: Path
    seen: Seen

    @property
    def code(self) -> str:
        """Digest of the whole closure."""
        return combine(self.modules)

    def check(self, expected_code: str | None = None, loaded: bool = False) -> None:
        """Raise ProvenanceError if a result written now would not belong to the code that its spec names.

        expected_code: the digest in the spec, None if it names none. loaded: also compare with the modules
        that this process has imported, which is worth while once the work is done.
        """
        changed = self._edited()
        if changed:
            raise ProvenanceError(
                f"source was edited while the job ran: {', '.join(changed)}; "
                "its result is not kept, run the same command again"
            )
        if expected_code not in (None, self.code):
            raise ProvenanceError(
                f"the source is not what this job was planned with: code digest {self.code}, spec.code = "
                f"{expected_code}; it was edited in between, or the spec is old: run the same command again"
            )
        undeclared = self._undeclared() if loaded else []
        if undeclared:
            raise ProvenanceError(
                f"undeclared code dependency: {', '.join(undeclared)} was loaded, but no import leads there "
                f"from {', '.join(str(r) for r in self.roots)}; write one, or add it to the job's roots"
            )

    def _edited(self) -> list[str]:
        try:
            now = Sources(self.package_root, self.seen).digests(*self.roots)
        except ConfigError as error:
            return [str(error)]
        return sorted(n for n in {*now, *self.modules} if now.get(n) != self.modules.get(n))

    def _undeclared(self) -> list[str]:
        package = self.package_root.name
        names = {n for n, m in sys.modules.items() if m is not None and n.partition(".")[0] == package}
        return sorted(n for n in names - set(self.modules) if not is_onlooker(n))


def snapshot(*roots: str | Path, package_root: Path | str = PACKAGE) -> Snapshot:
    """Look at the code of a job now; raises as `closure`."""
    absolute = tuple(Path(r).resolve() if str(r).endswith(".py") else r for r in roots)
    sources = Sources(package_root, seen := Seen())
    return Snapshot(absolute, sources.digests(*absolute), sources.root, seen)


def record(taken: Snapshot, **more: Any) -> dict[str, Any]:
    """What a result says of its making: code, versions, machine, git state, and `more` (device, threads)."""
    return {
        "code": taken.code,
        "modules": taken.modules,
        **versions(),
        "platform": platform.platform(),
        "cpu": processor(),
        "git": git_state(taken.package_root),
        **more,
    }


def versions(packages: Sequence[str] = RECORDED_PACKAGES) -> dict[str, Any]:
    """Versions of Python and of the packages that compute."""
    return {
        "python": platform.python_version(),
        "packages": {name: v for name in packages if (v := _version(name))},
    }


def _version(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Name of the processor of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def git_state(folder: Path) -> dict[str, Any] | None:
    """{"commit": ..., "dirty": bool} of the repository that tracks `folder`; None when there is none.

    `results` is no part of it: a link in its place leaves its README.md missing.
    """
    import subprocess  # here and below: planning does without

    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # jobs side by side must not fight for the index

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # a repository may merely surround an installed copy
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", *OUTSIDE_RESULTS))}
    except (OSError, subprocess.SubprocessError):
        return None


# ---- afterwards


def read_header(path: Path | str) -> dict[str, Any]:
    """{"spec": ..., "provenance": ...} of a run (`.jsonl`, first line), of its weights, or of a `choice.json`.

    Raises DataError for a file that does not exist or embeds no spec.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return read_metadata(path)
    try:
        with path.open(encoding="utf-8") as file:
            content = json.loads(file.readline() if path.suffix == ".jsonl" else file.read())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError:
        content = None
    parts = [content.get(k) for k in ("spec", "provenance")] if isinstance(content, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        raise DataError(
            f"{path}: embeds no spec and provenance; runs (.jsonl) and choices (choice.json) do. "
            "If this is one, it was cut off: delete it and run the same command again"
        )
    return content


def why(path: Path | str, current_spec: Mapping[str, Any], current_modules: Mapping[str, str]) -> list[str]:
    """What differs between a result and the present, a line each; nothing when it is up to date.

    current_spec: the spec that the result would have now. current_modules: digests of its code now.
    """
    header = read_header(path)
    modules = _differences(header["provenance"].get("modules", {}), current_modules)
    settings = _differences(_flat(header["spec"]), _flat(json.loads(json.dumps(current_spec))))
    lines = changed_modules(header["provenance"].get("modules", {}), current_modules)
    for key, (old, new) in settings.items():
        if not (key == "code" and modules):  # the modules say it better than two digests
            lines.append(f"{key}: {old or '(absent)'} -> {new or '(absent)'}")
    return lines


def changed_modules(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Lines that say which modules differ between two sets of digests."""
    lines = []
    for name, (before, now) in _differences(old, new).items():
        change = "new dependency" if before is None else "no longer used" if now is None else "changed"
        lines.append(f"module {name}: {change}")
    return lines


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """{key: (old, new)} where they differ, sorted; None stands for a missing entry."""
    pairs = {key: (old.get(key), new.get(key)) for key in sorted({*old, *new})}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _flat(value: Any, path: tuple[str, ...] = ()) -> dict[str, str]:
    """{dotted path: JSON text} of the leaves; lists and empty mappings are leaves."""
    if not (isinstance(value, dict) and (value or not path)):
        return {".".join(path): json.dumps(value, sort_keys=True)}
    leaves: dict[str, str] = {}
    for key, item in value.items():
        leaves |= _flat(item, (*path, key))
    return leaves
