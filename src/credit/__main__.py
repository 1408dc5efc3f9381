"""What will it cost, is it still true, is it whole, how to keep it, whom to cite: python -m credit COMMAND …

  plan [TARGET ...]  before a run: jobs, networks, CPU time and disk of targets, and what is still to run
  why RESULT         what differs between a result and the present code and configuration: the module, the
                     setting, the data set or the environment; of a table or figure, also what is below it
  verify [PATH ...]  every result file is whole and plausible, and is what the present code and configuration
                     would make; also for results from another machine, of which Snakemake knows nothing
  export TARGET FILE pack the runs that a figure, a table, an experiment, a paper or everything rests on
  import FILE        put them back as results, those that the present code and configuration would make
  clean              what the store of finished blocks would free, and --yes frees it
  cite [TARGET]      BibTeX of the papers, learning rules, data sets and software behind a target

Run it in the root of the repository, with the --configfile and --config that snakemake gets:

  python -m credit plan results/figures/fig1.pdf
  python -m credit plan all --configfile config/quick.yaml
  python -m credit plan dfc --config methods=bp,dfa seeds=2
  python -m credit why results/runs/cross/images/mnist/bp/shard0.jsonl
  python -m credit why results/quick/figures/fig3.pdf
  python -m credit export results/figures/dfc/fig3.pdf fig3.tar.xz
  python -m credit import fig3.tar.xz
  python -m credit cite results/figures/dfc/fig3.pdf > dfc.bib

exit code: 0 all is well, 1 something is stale or damaged, 2 the question cannot be answered
"""

from __future__ import annotations

import argparse
import atexit
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from credit.config.place import config_folder
from credit.dag import commands
from credit.dag.clean import show_clean
from credit.data.catalog import ROOT
from credit.errors import ConfigError, one_line

PLAN = """What targets will cost together: jobs, networks trained, CPU time, disk; by experiment, in total, and what is
still to run. Results on disk count as done when they belong to the present code and configuration.
TARGET is all, a paper (dfc), a figure, a table or a run, as for snakemake, or an experiment, PAPER/NAME. Prepared data
sets (results/data/…) and `bench` train nothing and have no plan; what a target downloads is part of its own."""
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


def parser() -> argparse.ArgumentParser:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    name = "python -m credit"
    top = argparse.ArgumentParser(
        name, f"{name} {{plan,why,verify,export,import,clean,cite}} …", __doc__, formatter_class=form
    )
    sub = top.add_subparsers(prog=name, metavar="{plan,why,verify,export,import,clean,cite}", help=argparse.SUPPRESS)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--config", "-C", nargs="*", default=[], metavar="KEY=VALUE", help="override settings, as in snakemake"
    )
    shared.add_argument(
        "--configfile", "--configfiles", nargs="+", default=[], type=Path, metavar="FILE",
        help="laid over config/config.yaml",
    )  # fmt: skip

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return sub.add_parser(name, description=text, parents=[shared], formatter_class=form)

    plan = command("plan", PLAN)
    plan.add_argument("targets", nargs="*", default=["all"], metavar="TARGET", help="default: all")
    plan.set_defaults(run=lambda present, args: commands.show_plan(present, args.targets))
    why = command("why", WHY)
    why.add_argument("result", metavar="RESULT")
    why.set_defaults(run=lambda present, args: commands.show_why(present, args.result))
    verify = command("verify", VERIFY)
    verify.add_argument("paths", nargs="*", metavar="PATH")
    verify.set_defaults(run=lambda present, args: commands.show_verify(present, args.paths))
    export = command("export", EXPORT)
    export.add_argument("target", metavar="TARGET")
    export.add_argument("file", metavar="FILE", help="to write, for example dfc.tar.xz")
    export.add_argument("--stale", action="store_true", help="also results that would be made otherwise now")
    export.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    export.set_defaults(
        run=lambda present, args: commands.show_export(present, args.target, args.file, args.stale, args.overwrite)
    )
    take = command("import", IMPORT)
    take.add_argument("file", metavar="FILE", help="written by `export`")
    take.add_argument(
        "--stale", action="store_true", help="take results that would be made otherwise now, too; they count as stale"
    )
    take.add_argument("--overwrite", action="store_true", help="replace other results that are there")
    take.set_defaults(run=lambda present, args: commands.show_import(present, args.file, args.stale, args.overwrite))
    clean = command("clean", CLEAN)
    clean.add_argument("--yes", action="store_true", help="delete them; without it nothing is changed")
    clean.set_defaults(run=lambda present, args: show_clean(present, args.yes))
    cite = command("cite", CITE)
    cite.add_argument("target", nargs="?", default="all", metavar="TARGET", help="default: all")
    cite.set_defaults(run=lambda present, args: commands.show_cite(present, args.target))
    return top


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run one command on the configuration below `root`; returns the exit code."""
    top = parser()
    args = top.parse_args(arguments)
    if not hasattr(args, "run"):
        top.print_help()
        return commands.GOOD
    try:
        with one_line():
            here = Path.cwd()
            if here != root.resolve() and (here / "Snakefile").is_file():
                raise ConfigError(
                    f"{here} is another checkout than {root}, whose code this is; "
                    f"run it as PYTHONPATH=src python -m credit, or activate that checkout's environment"
                )
            folder = config_folder(root) if root is ROOT else None
            return args.run(commands.Present(args.configfile, args.config, root, folder), args)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stdout = None
        return commands.GOOD
    except SystemExit as error:
        print(error, file=sys.stderr)
        return commands.ERROR


if __name__ == "__main__":
    gc.disable()  # a short process, whose objects stay until its end
    atexit.register(gc.freeze)  # and are not looked through then
    sys.exit(main())
