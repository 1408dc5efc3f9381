"""Put faults into the learning rules, one at a time, and see which tests notice: python -m tests.mutation [RULE ...]

Works in a temporary copy; the checkout stays as it is. For every rule, and for the packages of machinery that rules
share (backward/, control/, …), it takes a few faults, the same for the same --seed: a sign flipped, a term dropped,
operands swapped, a constant changed, one too many or too few, a transpose left out, a condition negated; and all that
`named` lists. A fault that no test notices survives: a test is missing, or the fault changes nothing that could be
tested (a threshold of speed).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.concern import CONTRACT, Concern, concerns, contract_tests
from tests.mutation.faults import KINDS, Fault, choose, faults
from tests.mutation.named import named

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("src", "tests", "config", "workflow", "envs", "pyproject.toml")
SRC, METHODS = Path("src/credit"), Path("src/credit/methods")
HEADING = "## Result"


@dataclass(frozen=True)
class Outcome:
    """What became of a fault. tests: that noticed, at most so many as asked for. how: noticed, survived, timeout."""

    concern: str
    fault: Fault
    how: str
    tests: tuple[str, ...] = ()


def copy(source: Path, target: Path) -> Path:
    """What tests need, with dates: compiled loops stay valid."""
    for name in PARTS:
        part = source / name
        if part.is_dir():
            shutil.copytree(part, target / name, ignore=shutil.ignore_patterns("*.egg-info", ".hypothesis"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(part, target / name)
    return target


def pytest(folder: Path, arguments: list[str], seconds: float | None = None) -> tuple[int | None, str]:
    """(exit status, output) of pytest on the code in `folder`; status None when it took too long."""
    own = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}  # its output is read
    environment = {**own, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--no-header", "--tb=no", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout + done.stderr


def at(folder: Path, name: str, tests: list[str]) -> list[str]:
    """Tests as an argument for pytest, in their order: the contract comes first, it is quick and notices much."""
    listing = folder / f"tests_{name.strip('/')}.txt"
    listing.write_text("\n".join(tests) + "\n")
    return [f"@{listing}"]


def faults_of(folder: Path, concern: Concern, number: int, seed: int) -> list[Fault]:
    """The chosen faults of a rule, or of a package: twice as many, since more rules rest on it."""
    paths = sorted((folder / METHODS).glob(concern.code))
    found = [f for path in paths for f in faults(path.relative_to(folder), path.read_bytes())]
    return choose(found, number * (2 if concern.name.endswith("/") else 1), f"{seed} {concern.name}")


def try_fault(base: Path, concern: str, fault: Fault, arguments: list[str], limit: float, shown: int) -> Outcome:
    """Run the tests of a rule with a fault in its code."""
    with tempfile.TemporaryDirectory(dir=base.parent) as folder:
        work = copy(base, Path(folder) / "copy")
        path = work / fault.path
        path.write_bytes(fault.apply(path.read_bytes()))
        status, output = pytest(work, [f"--maxfail={shown}", *arguments], limit)
    if status is None:
        return Outcome(concern, fault, "timeout")
    if status == 0:
        return Outcome(concern, fault, "survived")
    named = re.findall(r"^(?:FAILED|ERROR) (?:\S+/)?(\w+\.py)(?:::(\w+))?", output, flags=re.MULTILINE)
    return Outcome(concern, fault, "noticed", tuple(dict.fromkeys(n or f for f, n in named)) or ("import",))


def run(
    wanted: list[Concern], number: int, seed: int, jobs: int, shown: int, limit: float, only: str = ""
) -> list[Outcome]:
    """Outcomes of the faults of rules and packages; only "named" or only "drawn" ones. Exits where sound code fails."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        base = copy(ROOT, Path(folder) / "base")
        collected = [line for line in pytest(base, ["--collect-only", CONTRACT])[1].splitlines() if "::" in line]
        tests = {c.name: [*contract_tests(collected, c.rules), *c.files] for c in wanted}
        status, output = pytest(
            base, at(base, "all", list(dict.fromkeys(t for found in tests.values() for t in found)))
        )
        if status:
            sys.exit(f"tests fail without any fault\n{output}")
        waiting = [
            pool.submit(try_fault, base, c.name, fault, at(base, c.name, tests[c.name]), limit, shown)
            for c in wanted
            for fault in (
                *([] if only == "named" else faults_of(base, c, number, seed)),
                *([] if only == "drawn" else named(base, c.name)),
            )
        ]
        print(f"tests pass; {len(waiting)} faults", file=sys.stderr, flush=True)
        outcomes = []
        for future in waiting:
            outcomes.append(future.result())
            print(row(outcomes[-1]), file=sys.stderr, flush=True)
    return outcomes


def row(outcome: Outcome) -> str:
    """A line of the table."""
    fault = outcome.fault
    start = METHODS if fault.path.is_relative_to(METHODS) else SRC
    place = f"{fault.path.relative_to(start)}:{fault.line}"
    found = {"noticed": ", ".join(outcome.tests), "timeout": "did not end in time", "survived": "**nothing**"}[
        outcome.how
    ]
    return f"| {outcome.concern} | {place} | {fault.kind} | {code(fault.before)} → {code(fault.after)} | {found} |"


def code(text: str, longest: int = 60) -> str:
    """Source for a cell of a table: one line, not too long."""
    text = " ".join(text.split()).replace("|", "\\|")
    return f"`{text if len(text) <= longest else text[: longest - 1] + '…'}`"


def table(outcomes: list[Outcome], kept: Sequence[str] = ()) -> str:
    """All outcomes, survivors counted by rule. kept: rows of an older table that stay."""
    rows = sorted([*kept, *map(row, outcomes)], key=_order)
    lost = sum(line.endswith("| **nothing** |") for line in rows)
    lines = [f"{len(rows)} faults, {len(rows) - lost} noticed, {lost} not.", ""]
    lines += ["| rule | place | fault | before → after | noticed by |", "|---|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _order(line: str) -> tuple:
    """Rules before wings, by name; what was drawn before what is named."""
    concern, kind = _cell(line, 1), _cell(line, 3)
    return concern.endswith("/"), concern, kind not in KINDS


def _cell(line: str, number: int) -> str:
    return line.split("|")[number].strip()


def unchanged(page: str, wanted: Sequence[str], only: str) -> list[str]:
    """Rows of a page's table that a run of these rules does not replace."""
    rows = [line for line in page.partition(HEADING)[2].splitlines() if line.startswith("| ") and "`" in line]
    return [
        line
        for line in rows
        if _cell(line, 1) not in wanted or only == ("drawn" if _cell(line, 3) not in KINDS else "named")
    ]


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="RULE", help="learning rules or packages (control/); default: all")
    parser.add_argument("--number", type=int, default=4, help="faults in a rule; in a package twice as many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="copies at work at the same time")
    parser.add_argument("--shown", type=int, default=1, help="stop after so many tests that notice a fault")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds after which a fault counts as noticed")
    parser.add_argument("--only", choices=("named", "drawn"), default="", help="faults that are listed, or drawn ones")
    parser.add_argument(
        "--write", type=Path, help=f"page whose rows below '{HEADING}' are replaced by those of this run"
    )
    args = parser.parse_args()
    wanted = [c for c in concerns() if not args.names or c.name in args.names]
    if unknown := set(args.names) - {c.name for c in wanted}:
        sys.exit(f"{', '.join(sorted(unknown))}: must be of {', '.join(c.name for c in concerns())}")
    outcomes = run(wanted, args.number, args.seed, args.jobs, args.shown, args.limit, args.only)
    if args.write:
        page = args.write.read_text(encoding="utf-8")
        text = table(outcomes, unchanged(page, [c.name for c in wanted], args.only))
        args.write.write_text(f"{page.partition(HEADING)[0]}{HEADING}\n\n{text}", encoding="utf-8")
    else:
        print(table(outcomes), end="")


if __name__ == "__main__":
    main()
