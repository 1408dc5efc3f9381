"""Pages of what parts can be told: learning rules, nets, tasks, probes, optimisers, figures."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from credit.config import hyperparameters
from credit.config.fields import REQUIRED, Field
from credit.config.parts import METHODS, NETS, PROBES, TASKS
from credit.dag import extended
from credit.figures import options
from credit.optim import config as optimisers
from docs.website.descriptions import of_class
from docs.website.places import REPOSITORY
from docs.website.tables import code, table

RULES = "learning-rules"
KINDS = {"nets": NETS, "tasks": TASKS, "probes": PROBES}
HEAD = ("setting", "values (default)", "meaning")


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting of a part. name: with those of its groups before it. default: as code, or "" where it is required."""

    name: str
    allowed: str
    default: str
    meaning: str

    @property
    def row(self) -> tuple[str, ...]:
        return code(self.name), f"{self.allowed} ({self.default or 'required'})".strip(), self.meaning


def settings(part: type, fields: Mapping[str, Field], before: str = "") -> Iterator[Setting]:
    """Every setting of a part's class, those of its groups behind the group."""
    told = of_class(part, fields)
    defaults = {f.name: f.default for f in dataclasses.fields(part)}
    for name, field in fields.items():
        group = field.group
        default = "" if field.default is REQUIRED else "see below" if group else code(_plain(field.default))
        yield Setting(before + name, "a group" if group else field.describe(), default, told.get(name, ""))
        if group:
            yield from settings(type(defaults[name]), group.fields, f"{before}{name}.")


def _plain(value: Any) -> Any:
    return list(map(_plain, value)) if isinstance(value, tuple) else value


def parts(registry: Any) -> dict[str, type]:
    """{name: class} of the parts of a registry. Modules beside them that are none are left out."""
    found = {}
    for name in registry.names():
        module = importlib.import_module(registry.module(name))
        if hasattr(module, "part"):
            found[name] = module.part
    return found


def of_part(registry: Any, name: str, part: type) -> list[Setting]:
    """The settings of a part."""
    return list(settings(part, hyperparameters.fields(registry.module(name))))


def figures() -> dict[str, list[Setting]]:
    """{module, or module and class: settings} of all figures."""
    found: dict[str, list[Setting]] = {}
    for module in options.modules():
        for name in ("Options", *options.declared(module)["entries"].values()):
            part = getattr(importlib.import_module(module), name)
            title = module if name == "Options" else f"{module}, each of {name}"
            found[title] = list(settings(part, hyperparameters.fields(module, name=name)))
    return found


def of_optimisers() -> dict[str, list[Setting]]:
    """{kind: settings} of the optimisers, as the docstring of their module has them."""
    found: dict[str, list[Setting]] = {}
    kind = key = ""
    for line in (optimisers.__doc__ or "").splitlines():
        if match := re.match(r" {4}(\w[\w ]*?)? {2,}(\w+) {2,}(.*)$", line):
            kind, key = match[1] or kind, match[2]
            defaults = {"lr": REQUIRED, **optimisers.COMMON, **optimisers.KINDS.get(kind, {})}
            default = "" if defaults[key] is REQUIRED else code(_plain(defaults[key]))
            found.setdefault(kind, []).append(Setting(key, "", default, match[3]))
        elif key and line.startswith(" " * 20):
            last = found[kind].pop()
            found[kind].append(dataclasses.replace(last, meaning=f"{last.meaning} {line.strip()}"))
        else:
            key = ""
    return found


# ---- pages


def literature() -> dict[str, str]:
    """{learning rule: its name in the literature}, of README.md's table of names."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .*\|$", (REPOSITORY / "README.md").read_text("utf-8"), re.MULTILINE)
    return dict(rows)


def experiments() -> dict[str, list[str]]:
    """{learning rule: experiments in which a method uses it}."""
    found: dict[str, list[str]] = {}
    for path in sorted((REPOSITORY / "config/experiments").glob("*/*.yaml")):
        methods = extended.read(path, lambda content, _: content)["methods"]
        for rule in sorted({(entry or {}).get("rule", name) for name, entry in methods.items()}):
            found.setdefault(rule, []).append(f"{path.parent.name}/{path.stem}")
    return found


def rule_page(name: str, part: type, called: str, used: list[str]) -> str:
    """The page of a learning rule: what it is called, its settings, its class."""
    facts = [("in the literature", called), ("nets", ", ".join(part.nets))]
    facts.append(("records beside loss and error", ", ".join(map(code, getattr(part, "metrics", ()))) or "nothing"))
    facts.append(("experiments", ", ".join(map(code, used)) or "none of the project's own"))
    text = f"# {name}\n\n" + table(("", ""), facts)
    rows = [setting.row for setting in of_part(METHODS, name, part)]
    text += "\n## Hyperparameters\n\n" + (table(HEAD, rows) if rows else "It has none.\n")
    module = METHODS.module(name)
    directive = f".. automodule:: {module}\n   :members:\n   :exclude-members: part\n"
    return f"{text}\n## Module\n\n```{{eval-rst}}\n{directive}```\n"


def rules() -> dict[str, str]:
    """{page of the site: its markdown} of all learning rules, the overview first."""
    names, used = literature(), experiments()
    found = parts(METHODS)
    overview = [(f"[{name}]({name}.md)", names.get(name, ""), ", ".join(part.nets)) for name, part in found.items()]
    text = "# Learning rules\n\nA page each: hyperparameters with bounds and defaults, experiments, module.\n\n"
    lines = "".join(f"| {page} | {called} | {nets} |\n" for page, called, nets in overview)
    pages = {f"{RULES}/README.md": f"{text}| name | in the literature | nets |\n|---|---|---|\n{lines}"}
    for name, part in found.items():
        pages[f"{RULES}/{name}.md"] = rule_page(name, part, names.get(name, ""), used.get(name, []))
    return pages


def others() -> dict[str, str]:
    """{page of the site: its markdown} of nets, tasks, probes, optimisers and figures."""
    found = {}
    for kind, registry in KINDS.items():
        text = f"# Settings of {kind}\n\nMade from the classes in `src/credit/{kind}`, by which they are checked.\n"
        for name, part in parts(registry).items():
            rows = [setting.row for setting in of_part(registry, name, part)]
            text += f"\n## {name}\n\n" + (table(HEAD, rows) if rows else "It has none.\n")
        found[f"configuration/{kind}.md"] = text
    told = "Every number may be a list with one value per member of the stack, and a mapping from layers to either."
    text = f"# Settings of optimisers\n\n{told}\n"
    for kind, known in of_optimisers().items():
        rows = [(code(s.name), s.default or "required", s.meaning) for s in known]
        text += f"\n## {kind}\n\n" + table(("setting", "default", "meaning"), rows)
    found["configuration/optimisers.md"] = text
    text = "# Options of figures\n\nWhat `options` of a figure may hold, by the module that draws it.\n"
    for title, known in figures().items():
        text += f"\n## {title}\n\n" + table(HEAD, [setting.row for setting in known])
    found["configuration/figures.md"] = text
    return found
