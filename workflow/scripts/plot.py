"""Draw one figure from tidy tables, as PDF and PNG, with its numbers as a table, and as a page."""

import argparse
import importlib
import importlib.util

import _src  # noqa: F401

from credit.analysis.tables import read_tables, write_table
from credit.errors import ConfigError, one_line
from credit.figures.numbers import numbers
from credit.figures.pages import figure_page
from credit.figures.style import drawn, save
from credit.provenance.files import write_text
from credit.provenance.made import making
from credit.provenance.spec import read_spec


def load(module: str):
    """The module of a figure, `credit.figures.PAPER.FIGURE`. Raises ConfigError where there is none."""
    known = module.startswith("credit.figures.") and module.count(".") == 3
    try:
        known = known and importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the paper's folder does not exist
        known = False
    if not known:
        raise ConfigError(f"spec.module = {module!r}; must be the name of a module credit.figures.PAPER.FIGURE")
    return importlib.import_module(module)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", help="JSON text; holds module and options (see the module's draw)")
    parser.add_argument("pdf")
    parser.add_argument("png")
    parser.add_argument("tables", nargs="+", help="tidy tables made by collect.py")
    parser.add_argument("--references", nargs="*", default=[], help="published curves, tidy tables too")
    parser.add_argument("--numbers", help="every number that is drawn, CSV; to write")
    parser.add_argument("--page", help="the figure and its numbers for a browser, HTML; to write")
    parser.add_argument("--record", help="how it was made, JSON; to write")
    args = parser.parse_args()
    spec = read_spec(args.spec)
    figure = load(spec.get("module", ""))
    inputs, outputs = [*args.tables, *args.references], [args.pdf, args.png, *filter(None, [args.numbers, args.page])]
    with making(args.record, spec, [__file__, figure.__name__], inputs, outputs):
        references = read_tables(args.references) if args.references else None
        options = {"rules": spec.get("rules", {}), "references": references, **spec.get("options", {})}
        note = f"varied: {', '.join(spec['varied'])}" if "varied" in spec else ""
        made = drawn(figure.draw, read_tables(args.tables), options)
        save(made, args.pdf, args.png, note)
        shown = numbers(made)
        if args.numbers:
            write_table(args.numbers, shown)
        if args.page:
            title, scale = spec.get("title", figure.__name__), spec.get("scale", "paper")
            write_text(args.page, figure_page(made, shown, title, scale, args.numbers or ""))


if __name__ == "__main__":
    with one_line():
        main()
