"""Pages of the API: what `credit` exports, and a page for every public module of the packages that people build on."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections.abc import Iterator

import credit
from credit.config.parts import METHODS
from credit.provenance.sources import Sources
from docs.website.docstrings import literal, plain_markdown
from docs.website.settings import RULES

FOLDER = "api"
PACKAGES = (
    "interactive", "methods", "nets", "tasks", "probes", "optim", "numerics", "data", "training", "analysis", "figures",
    "provenance", "config", "errors",
)  # fmt: skip
APART = ("credit.figures.",)  # what stands below these, a figure each, has its options in the configuration reference
OPTIONS = "   :members:\n   :show-inheritance:\n"


def modules() -> dict[str, list[str]]:
    """{package: its public modules}, dotted names; learning rules are left out: they have pages of their own."""
    rules = {METHODS.module(name) for name in METHODS.names()}
    found: dict[str, list[str]] = {}
    for module, path in sorted(Sources().modules.items()):
        parts = module.split(".")[1:]
        private = any(part.startswith("_") for part in parts)
        apart = module.startswith(APART) and len(parts) > 2
        if parts and parts[0] in PACKAGES and not (private or apart or module in rules) and public(module):
            package = module if path.name == "__init__.py" or len(parts) == 1 else module.rpartition(".")[0]
            found.setdefault(package, []).append(module)
    return found


def public(module: str) -> list[str]:
    """Names of the public functions and classes that a module defines; of those in its `__all__`, where it has one."""
    return list(_defined(module))


@functools.cache
def _defined(module: str) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    tree = ast.parse(Sources().modules[module].read_text("utf-8"))
    named = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = {n.name: n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")}
    return {name: n for name, n in found.items() if not named or name in ast.literal_eval(named[0])}


def unseen(module: str) -> str:
    """Directives of functions that autodoc passes over without a word: wrapped ones, such as numba's intrinsics."""
    text = ""
    for name, node in _defined(module).items():
        found = getattr(importlib.import_module(module), name)
        if not (inspect.isroutine(found) or inspect.isclass(found) or hasattr(found, "py_func")):
            told = "\n".join(f"   {line}" for line in literal((ast.get_docstring(node) or "").splitlines()))
            text += f"\n.. py:function:: {name}({ast.unparse(node.args)})\n   :module: {module}\n\n{told}\n"
    return text


def summary(module: str) -> str:
    """The first sentence of a module's docstring, as markdown."""
    text = " ".join((importlib.import_module(module).__doc__ or "").split("\n\n")[0].split())
    return plain_markdown(text)


def exports() -> Iterator[str]:
    """The directives of what `import credit` offers."""
    for name, module in credit._EXPORTS.items():
        owner = importlib.import_module(module)
        kind = "autoclass" if isinstance(getattr(owner, name), type) else "autofunction"
        members = "   :members:\n" if kind == "autoclass" else ""
        yield f".. {kind}:: credit.{name}\n   :no-index:\n{members}"


def pages() -> dict[str, str]:
    """{page of the site: its markdown}, the overview first."""
    text = f"# API\n\n{plain_markdown((credit.__doc__ or '').splitlines()[0])}\n\n## Exported by `credit`\n\n"
    text += "```{eval-rst}\n" + "\n".join(exports()) + "```\n\n## Packages\n\n"
    known = modules()
    ordered = sorted(known, key=lambda name: (PACKAGES.index(name.split(".")[1]), name))
    text += "".join(f"- [{package}]({package}.md): {summary(package)}\n" for package in ordered)
    found = {f"{FOLDER}/README.md": text}
    for package in ordered:
        body = f"# {package}\n\n{summary(package)}\n"
        if package == "credit.methods":
            body += f"\nThe learning rules themselves: [a page each](../{RULES}/README.md).\n"
        for module in known[package]:
            title = "" if known[package] == [package] else f"\n## {module}\n"
            body += f"{title}\n```{{eval-rst}}\n.. automodule:: {module}\n{OPTIONS}{unseen(module)}```\n"
        found[f"{FOLDER}/{package}.md"] = body
    return found
