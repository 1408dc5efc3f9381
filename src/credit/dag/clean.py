"""What the store of finished blocks holds that nothing needs any more: `credit clean`. Loads no torch.

A block is needed while a result shares its bytes, and while the present configuration, at any scale, asks for one that
is a function of the same. Results are never touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from credit.dag.cost import size
from credit.dag.runs import RESULTS, SCALES, STORE
from credit.dag.targets import Workflow
from credit.provenance.store import ENTRY, Entry, Store, read, unlisted
from credit.training.reuse import function_of

if TYPE_CHECKING:
    from credit.dag.commands import Present

SHARED = (Path(STORE), Path(RESULTS, "data"))  # folders of no results of runs


@dataclass
class Found:
    """What the store holds. unneeded: blocks; left: folders of keys with files of no block, and these files."""

    kept: int = 0
    unneeded: list[Entry] = field(default_factory=list)
    left: dict[Path, list[Path]] = field(default_factory=dict)

    @property
    def freed(self) -> int:
        """Bytes that would be free on the disk."""
        return sum(_bytes(file for entry in self.unneeded for file, _, _ in entry.files.values())) + sum(
            _bytes(file for files in self.left.values() for file in files)
        )


def _bytes(files: Iterable[Path]) -> Iterator[int]:
    for file in files:
        try:
            found = file.stat()
        except OSError:
            continue
        yield found.st_size if found.st_nlink == 1 else 0


def look(store: Store, functions: set[str]) -> Found:
    """What the store holds. functions: digests of what the present configuration asks for, see `function_of`."""
    found, used = Found(), used_by_results()
    for folder in store:
        if files := unlisted(folder):
            found.left[folder] = files
        for entry in filter(None, map(read, sorted(folder.glob(f"*{ENTRY}")))):
            files = [file for file, _, _ in entry.files.values()]
            if entry.about.get("function") in functions or any(map(used, files)):
                found.kept += 1
            else:
                found.unneeded.append(entry)
    return found


def used_by_results(results: Path = Path(RESULTS)) -> Callable[[Path], bool]:
    """Says whether a file of the store is a result too: by a hard link, or by a symbolic one below `results`."""
    targets: set[Path] = set()
    seen: set[Path] = set()
    for folder, below, names in os.walk(results, followlinks=True):
        seen.add(Path(folder).resolve())
        below[:] = [n for n in below if (results / n).parent != Path(folder) or results / n not in SHARED]
        below[:] = [n for n in below if not (Path(folder, n).is_symlink() and Path(folder, n).resolve() in seen)]
        links = (path for name in names if (path := Path(folder, name)).is_symlink())
        targets.update(path.resolve() for path in links)

    def used(file: Path) -> bool:
        try:
            return file.stat().st_nlink > 1 or file.resolve() in targets
        except OSError:
            return False

    return used


def functions(workflows: Iterable[Workflow]) -> set[str]:
    """Digests of all that configurations ask for."""
    found = set()
    for workflow in workflows:
        for key in dict.fromkeys((*workflow.experiments, *(place[0] for place in workflow.started_from().values()))):
            experiment = workflow.experiment(key)
            for job in experiment.jobs():
                found.add(function_of(workflow.own_spec((key, job.dataset, job.method), job.shard)))
            for dataset in experiment.datasets:
                for method in experiment.methods:
                    if workflow.cell(key, dataset, method).search:
                        found.add(function_of(workflow.search_spec(key, dataset, method)))
    return found


def show_clean(present: Present, really: bool) -> int:
    """Print what the store holds that nothing needs, by experiment; remove it if `really`. Returns the exit code."""
    store = Store(STORE)
    found = look(store, functions(present.at(scale) for scale in SCALES if any(store)))
    for name, entries in _by_experiment(found.unneeded).items():
        freed = sum(_bytes(file for entry in entries for file, _, _ in entry.files.values()))
        print(f"{name}: {len(entries)} {_blocks(len(entries))}, {size(freed)}")
    if found.left:
        count = sum(map(len, found.left.values()))
        print(f"files that belong to no block: {count}")
    did, freed = "freed" if really else "would free", found.freed
    if really:
        for entry in found.unneeded:
            store.remove(entry.path.parent, [entry])
        for folder in found.left:
            store.remove(folder)
    print(
        f"{STORE}: {did} {size(freed) if freed else '0 kB'} of {len(found.unneeded)} {_blocks(len(found.unneeded))} "
        f"that neither a result nor the present configuration needs; {found.kept} stay"
        + ("" if really or not (found.unneeded or found.left) else "; --yes deletes them")
    )
    return 0


def _blocks(count: int) -> str:
    return "block" if count == 1 else "blocks"


def _by_experiment(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(f"{entry.about.get('paper')}/{entry.about.get('experiment')}", []).append(entry)
    return dict(sorted(found.items()))
