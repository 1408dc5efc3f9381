"""Experiments on credit assignment, asked about and kept: credit COMMAND …

  plan [TARGET ...]  before a run: jobs, networks, CPU time and disk of targets, and what is still to run
  run TARGET ...     makes targets: snakemake, with settings of your own (--set) in a run of its own (--run)
  watch [TARGET]     the running jobs of a target: how far they are, and their curves
  list [PATTERN]     experiments, figures, tables, data sets and methods: made, stale or missing
  show FILE          what made a result, readable: settings, data, code, versions, machine
  diff A B           what differs between two results: settings, code, data, environment, measured values
  why RESULT         what differs between a result and the present code and configuration
  verify [PATH ...]  every result file is whole and plausible, and what would be made now
  export TARGET FILE pack the runs that a figure, a table, an experiment, a paper or everything rests on
  import FILE        put them back as results, those that the present code and configuration would make
  clean              what the store of finished blocks would free, and --yes frees it
  cite [TARGET]      BibTeX of the papers, learning rules, data sets and software behind a target

Run it in the root of the repository, with the --configfile and --config that snakemake gets:

  credit plan results/figures/fig1.pdf
  credit plan dfc --config methods=bp,dfa seeds=2
  credit why results/quick/figures/fig3.pdf
  credit run dfc/student_teacher --run small --set dfc_ssa:hyper.alpha=0.01
  credit COMMAND --help
  eval "$(credit --print-completion bash)"       # the shell completes commands, targets and results

exit code: 0 all is well, 1 something is stale, damaged or different, 2 the question cannot be answered
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit.config.place import CHECKOUT, config_folder
from credit.dag import completion
from credit.dag.exits import ERROR, GOOD
from credit.errors import ConfigError, one_line

if TYPE_CHECKING:
    from credit.dag.commands import Present

NAME = "credit"
PLAN = """What targets will cost together: jobs, networks trained, CPU time, disk; by experiment, in total, and what is
still to run. Results on disk count as done when they belong to the present code and configuration.
TARGET is all, a paper (dfc), a figure, a table or a run, as for snakemake, or an experiment, PAPER/NAME. Prepared data
sets (results/data/…) and `bench` train nothing and have no plan; what a target downloads is part of its own."""
RUN = """Makes targets: calls snakemake, in whose place it then stands, and says how. TARGET is as for `plan`; an
experiment, PAPER/NAME, stands for the table of its records, and with --run a path below results/ for the file of that
run. Settings, names and targets are checked before; what is not varied comes out of the store."""
LIST = """What there is, how it is called, and its state: made, stale (made of other settings, code or data than now) or
missing; of an experiment, how many of its runs and searches are made. Specifications are compared, contents are not
read: `verify` does that. PATTERN: experiments, figures, tables, data, methods; part of a name or title; or a glob."""
SHOW = """What made a result, readable: whether its content is still what was written, networks, what was chosen,
inputs, data, code, versions, machine and time; then every setting. FILE is a run (.jsonl), a search (choice.json), kept
weights, a table, a figure, a prepared data set or an archive of `export`; the present configuration is not asked.
Exit code 1 where the content was changed. A content above 16 MB (in archives 8 MB) is not read."""
DIFF = """What differs between two result files of one kind: settings, modules of the code, data, environment; and what
they hold: of runs, searches, tables and weights how many values of each metric differ, and the largest difference. When
a job ran, how long it took and at which commit counts for nothing. Exit code 1 where anything differs."""
WHY = """What differs between a result and the present, a line each, or `up to date`.
RESULT is a run (…/shardS.jsonl), a search (…/choice.json), or a table or figure: then what differs in it, in its own
code and options, and every missing or stale table and run that it is made from is listed. Paths below results/quick/
are compared with the quick scale."""
VERIFY = """Re-check runs, searches, kept weights, tables and figures: whole, unchanged since they were made (sha256),
plausible (numbers, seeds), and of the spec that the present code and configuration give. Snakemake's records are not
used: this is the check for results that were copied from another machine, unpacked from an archive or checked out with
git, which Snakemake trusts by their date.
A line for every problem, then a summary. PATH is a file or a folder; default: results, which holds both scales."""
EXPORT = """Pack the results that a target rests on into FILE: records, headers, choices of searches, and kept weights,
with a list of their digests. TARGET is as for `plan`. The same results give the same bytes (a tar archive within xz).
Refused while one of them is missing, damaged or stale."""
IMPORT = """Put the results of an archive into their places below results/. Each is held against the present code and
configuration, as by `verify`: one whose specification, code or data differ is refused, with the reason, while the
others are taken. Snakemake then makes tables and figures of them, and trains nothing. What is there already stays."""
CLEAN = """What results/store holds that nothing needs any more: finished blocks that are no result now, and that the
present configuration asks for at no scale. A line for each experiment, with what it would free; results are never
touched."""
CITE = """BibTeX of what a target makes use of: papers whose experiments it repeats, learning rules, optimisers, data
sets, software. A comment before every entry says what it is cited for. TARGET is as for `plan`; it need not exist."""
WATCH = """The training jobs of a target while they run: epoch, share of the work, seconds an epoch, time to go, and the
curves of what they measure (of several networks the median); then jobs that were stopped, killed or have failed, and
those that finished last. It reads what jobs say of themselves, on whichever machine they run, and disturbs none. TARGET
is as for `plan`. Ends when all are finished, or with Ctrl-C; one picture where standard output is no terminal."""
COMMANDS = "{plan,run,watch,list,show,diff,why,verify,export,import,clean,cite}"


def parser() -> argparse.ArgumentParser:
    """The command line. Each command sets `run`, called with what makes the `Present`, and the arguments."""
    form = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(NAME, f"{NAME} {COMMANDS} …", __doc__, formatter_class=form)
    top.add_argument("--print-completion", choices=completion.SHELLS, metavar="SHELL", help=argparse.SUPPRESS)
    sub = top.add_subparsers(prog=NAME, metavar=COMMANDS, help=argparse.SUPPRESS)
    shared = _shared()

    def command(name: str, text: str, run: Callable, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = sub.add_parser(name, description=text, parents=parents, formatter_class=form)
        added.set_defaults(run=run)
        return added

    plan = command("plan", PLAN, lambda present, a: _commands().show_plan(present(), a.targets), shared)
    _argument(plan, completion.targets, "targets", nargs="*", default=["all"], metavar="TARGET", help="default: all")
    _run(command, shared)
    _watch(command, shared)
    names = command("list", LIST, lambda present, a: _commands().show_list(present(), a.pattern), shared)
    _argument(names, completion.patterns, "pattern", nargs="?", metavar="PATTERN", help="default: everything")
    _without_configuration(command)
    why = command("why", WHY, lambda present, a: _commands().show_why(present(), a.result), shared)
    _argument(why, completion.results, "result", metavar="RESULT")
    verify = command("verify", VERIFY, lambda present, a: _commands().show_verify(present(), a.paths), shared)
    _argument(verify, completion.results, "paths", nargs="*", metavar="PATH")
    _transport(command, shared)
    _clean(command, shared)
    cite = command("cite", CITE, lambda present, a: _commands().show_cite(present(), a.target), shared)
    _argument(cite, completion.targets, "target", nargs="?", default="all", metavar="TARGET", help="default: all")
    return top


def _commands() -> Any:
    """What asks the workflow: read when a command does, since others must answer at once."""
    from credit.dag import commands

    return commands


def _argument(to: argparse.ArgumentParser, completer: Callable, *names: str, **more: Any) -> None:
    """Add an argument that the shell completes."""
    to.add_argument(*names, **more).completer = completer


def _shared() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    _argument(
        shared, completion.settings, "--config", "-C", nargs="*", default=[], metavar="KEY=VALUE",
        help="override settings, as in snakemake",
    )  # fmt: skip
    _argument(
        shared, completion.configfiles, "--configfile", "--configfiles", nargs="+", default=[], type=Path,
        metavar="FILE", help="laid over config/config.yaml",
    )  # fmt: skip
    shared.add_argument("--run", dest="named", metavar="NAME", help="the run NAME, results/NAME/")
    shared.add_argument(
        "--set", action="append", default=[], metavar="[WHERE:]PATH=VALUE",
        help="a setting of that run: dfc_ssa:hyper.alpha=0.01, PAPER/NAME:train.epochs=5; may be given several times",
    )  # fmt: skip
    return shared


def _run(command: Callable, shared: argparse.ArgumentParser) -> None:
    def run(present: Callable, a: argparse.Namespace) -> int:
        from credit.dag.calling import run

        return run(present(), a.targets, a.cores, a.dry_run, a.profile)

    added = command("run", RUN, run, shared)
    _argument(added, completion.targets, "targets", nargs="+", metavar="TARGET")
    added.add_argument("--cores", default="all", metavar="N", help="default: all")
    added.add_argument("--dry-run", "-n", action="store_true", help="say what would be made")
    added.add_argument("--profile", metavar="NAME", help="of snakemake: slurm, for example")


def _without_configuration(command: Callable) -> None:
    def show(present: Callable, args: argparse.Namespace) -> int:
        from credit.dag import show

        return show.show(args.file)

    def diff(present: Callable, args: argparse.Namespace) -> int:
        from credit.dag import diff

        return diff.diff(args.first, args.second)

    _argument(command("show", SHOW, show), completion.results, "file", metavar="FILE")
    two = command("diff", DIFF, diff)
    for name, shown in (("first", "A"), ("second", "B")):
        _argument(two, completion.results, name, metavar=shown)


def _watch(command: Callable, shared: argparse.ArgumentParser) -> None:
    def watch(present: Callable, a: argparse.Namespace) -> int:
        from credit.dag.watch import show_watch

        return show_watch(present(), a.target, a.once)

    added = command("watch", WATCH, watch, shared)
    _argument(added, completion.targets, "target", nargs="?", default="all", metavar="TARGET", help="default: all")
    added.add_argument("--once", action="store_true", help="one picture")


def _transport(command: Callable, shared: argparse.ArgumentParser) -> None:
    def pack(present: Callable, a: argparse.Namespace) -> int:
        return _commands().show_export(present(), a.target, a.file, a.stale, a.overwrite)

    def unpack(present: Callable, a: argparse.Namespace) -> int:
        return _commands().show_import(present(), a.file, a.stale, a.overwrite)

    export = command("export", EXPORT, pack, shared)
    _argument(export, completion.targets, "target", metavar="TARGET")
    _argument(export, completion.archives, "file", metavar="FILE", help="to write, for example dfc.tar.xz")
    export.add_argument("--stale", action="store_true", help="also results that would be made otherwise now")
    export.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    take = command("import", IMPORT, unpack, shared)
    _argument(take, completion.archives, "file", metavar="FILE", help="written by `export`")
    take.add_argument(
        "--stale", action="store_true", help="take results that would be made otherwise now, too; they count as stale"
    )
    take.add_argument("--overwrite", action="store_true", help="replace other results that are there")


def _clean(command: Callable, shared: argparse.ArgumentParser) -> None:
    def clean(present: Callable, a: argparse.Namespace) -> int:
        from credit.dag.clean import show_clean

        return show_clean(present(), a.yes)

    added = command("clean", CLEAN, clean, shared)
    added.add_argument("--yes", action="store_true", help="delete them; without it nothing is changed")


def main(arguments: Sequence[str] | None = None, root: Path = CHECKOUT) -> int:
    """Run one command on the configuration below `root`; returns the exit code."""
    top = parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks, and gets no further
        import argcomplete

        argcomplete.autocomplete(top)
    args = top.parse_args(arguments)
    try:
        with one_line():
            code = _answer(top, args, root)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stdout = None
        return GOOD
    except SystemExit as error:
        print(error, file=sys.stderr)
        return ERROR


def _answer(top: argparse.ArgumentParser, args: argparse.Namespace, root: Path) -> int:
    if args.print_completion:
        print(completion.script(args.print_completion))
    elif not hasattr(args, "run"):
        top.print_help()
    else:
        _right_checkout(root)
        return args.run(lambda: _present(args, root), args)
    return GOOD


def _right_checkout(root: Path) -> None:
    here = Path.cwd()
    if here != root.resolve() and (here / "Snakefile").is_file():
        raise ConfigError(
            f"{here} is another checkout than {root}, whose code this is; "
            f"run it as PYTHONPATH=src python -m credit, or activate that checkout's environment"
        )


def _present(args: argparse.Namespace, root: Path) -> Present:
    from credit.dag.calling import entries, scoped

    folder = config_folder(root) if root is CHECKOUT else None

    def present(settings: Sequence[str]) -> Present:
        return _commands().Present(args.configfile, entries(args.config, args.named, settings), root, folder)

    asked = vars(args)
    targets = asked.get("targets") or [asked[key] for key in ("target", "result") if key in asked]
    return present(scoped(present([]), targets, args.set) if targets and args.set else args.set)


def command() -> int:
    """The installed command `credit`, and `python -m credit`: `main` in a process of its own."""
    gc.disable()  # a short process, whose objects stay until its end
    atexit.register(gc.freeze)  # and are not looked through then
    return main()


if __name__ == "__main__":
    sys.exit(command())
