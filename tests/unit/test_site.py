"""The documentation as a site: pages from sections, schemas and docstrings, and a build without a warning."""

from __future__ import annotations

import copy
import importlib
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from credit.config.parts import METHODS
from credit.figures import options
from docs.website import commands, docstrings, keys, places, reference, settings, stage
from docs.website.descriptions import of_text
from docs.website.links import Links
from tests.conftest import REPOSITORY

# ---- every key and every setting is described


@pytest.mark.parametrize("name", keys.names())
def test_every_key_of_a_schema_has_a_description(name):
    found = list(keys.keys(keys.read(name)))
    assert len(found) > 3
    assert [".".join(key.place) for key in found if not key.meaning] == []


@pytest.mark.parametrize("place", [("seeds",), ("methods", "NAME", "rule"), ("train", "evaluate", "every")])
def test_a_key_without_a_description_is_found(place):
    schema = copy.deepcopy(keys.read("experiment"))
    node = {"seeds": schema, "methods": schema["$defs"]["method"], "train": schema["$defs"]["train"]}[place[0]]
    for part in place[1:-1]:
        node = node["properties"][part] if part != keys.ANY else node
    del node["properties"][place[-1]]["description"]
    assert place in [key.place for key in keys.keys(schema) if not key.meaning]


KINDS = {"methods": METHODS, **settings.KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_of_a_part_has_a_description(kind):
    found = {name: settings.of_part(KINDS[kind], name, part) for name, part in settings.parts(KINDS[kind]).items()}
    assert sum(map(len, found.values())) > 10
    assert [f"{name}: {s.name}" for name, known in found.items() for s in known if not s.meaning] == []


def test_every_option_of_figures_has_a_description():
    found = settings.figures()
    assert found.keys() >= set(options.modules())
    assert [f"{title}: {s.name}" for title, known in found.items() for s in known if not s.meaning] == []


def test_every_setting_of_optimisers_has_a_description():
    from credit.optim.config import COMMON, KINDS

    found = {kind: {s.name: s.meaning for s in known} for kind, known in settings.of_optimisers().items()}
    assert {kind: set(known) for kind, known in found.items()} == {
        "every kind": {"lr", *COMMON},
        **{kind: set(known) for kind, known in KINDS.items()},
    }
    assert all(all(known.values()) for known in found.values())


def test_descriptions_are_read_from_docstrings():
    text = "What.\n\nlr, eps: of a\nstep; a: not this. sigma:\n    of the noise: 1. Else.\n\nOther text. sigma: later"
    assert of_text(text, ["lr", "eps", "sigma", "gone"]) == {
        "lr": "of a step; a: not this", "eps": "of a step; a: not this", "sigma": "of the noise: 1. Else",
    }  # fmt: skip


# ---- pages that are made


def test_every_command_has_a_page_with_its_section_and_its_help():
    found = commands.pages()
    for command in commands.known():
        text = found[f"commands/{command}.md"]
        assert text.startswith(f"# credit {command}\n")
        assert f"usage: credit {command} " in text
    assert "## Completion" in found["commands.md"] and "## plan" not in found["commands.md"]
    assert "Estimates, good to a factor of two" in found["commands/plan.md"]
    assert "(#export-and-import)" in found["commands/import.md"]


def test_a_command_without_a_section_stops_the_build(monkeypatch):
    monkeypatch.setattr(commands, "known", lambda: {"plan": None, "nonsense": None})
    with pytest.raises(ValueError, match=r"docs/commands\.md: no section for nonsense"):
        commands.pages()


def test_links_lead_to_pages_of_the_site():
    links = Links(places.pages(), {**commands.moved(), ("README.md", ""): ("index.md", "")}, {})

    def at(text: str, page: str = "docs/runs.md", place: str = "runs.md") -> str:
        return links.rewrite(text, page, place)

    assert (
        at("[a](commands.md#plan) [b](commands.md#completion)") == "[a](commands/plan.md) [b](commands.md#completion)"
    )
    assert at("[a](#the-store), [b](https://x.org/#y), [c](../README.md)") == (
        "[a](#the-store), [b](https://x.org/#y), [c](index.md)"
    )
    assert at("[a](../config/README.md#net) [b](../LICENSE) [c](results/README.md)") == (
        "[a](configuration/README.md#net) b [c](results/README.md)"
    )
    assert at("[a](../docs/runs.md)", "config/README.md", "configuration/README.md") == "[a](../runs.md)"
    assert at("[a](#plan)", "docs/commands.md", "commands/show.md") == "[a](plan.md)"
    assert at("[a](start.md) and\n```\n[b](start.md)\n```\n", place="concepts/x.md") == (
        "[a](../start.md) and\n```\n[b](start.md)\n```\n"
    )
    assert at("![a](img/fig1.png)", place="concepts/x.md") == "![a](../img/fig1.png)"
    assert links.files == {"docs/img/fig1.png": "img/fig1.png"}
    with pytest.raises(ValueError, match=r"docs/runs\.md: link to nothing\.md, which is not there"):
        at("[a](nothing.md)")


def test_every_page_of_the_repository_is_on_the_site_and_every_new_one_in_a_table_of_contents():
    found, _ = stage.pages()
    assert found.keys() >= {p.relative_to(places.DOCS).as_posix() for p in places.DOCS.glob("*.md")}
    trees = "".join(text.partition("```{toctree}")[2] for text in found.values())
    assert [page for page in found if page != "index.md" and f"/{page.removesuffix('.md')}\n" not in trees] == []
    for paper in ("dfc", "di", "dtp", "pc", "pepita"):
        assert {f"{paper}.md", f"results/{paper}/README.md"} <= found.keys()


@pytest.mark.parametrize(
    ("text", "rst"),
    [
        ("a * b, **c**, d_, |e| and `f(*g)`s", r"a \* b, \*\*c\*\*, d\_, \|e\| and ``f(*g)``\ s"),
        ("1. is no list", r"\1. is no list"),
        ("Two\nlines.\n\n    code  *here*\n\nMore.", "Two lines.\n\n::\n\n        code  *here*\n\nMore."),
        ("- one\n  on\n- two", "- one on\n\n- two"),
    ],
)
def test_docstrings_are_plain_text(text, rst):
    assert "\n".join(docstrings.literal(text.split("\n"))).strip() == rst


# ---- the build


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])}
    done = subprocess.run(
        [sys.executable, "-m", "docs.website", str(folder)],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return folder / "html"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_shows_every_page(site):
    pages, pictures = stage.pages()
    assert [page for page in pages if not (site / page).with_suffix(".html").exists()] == []
    assert pictures
    fetched = r'<(?:script|img)[^>]* src="(https?:[^"]*)|<link[^>]* href="(https?:[^"]*)'
    assert re.findall(fetched, (site / "start.html").read_text("utf-8")) == []
    assert "Kolen and Pollack" in (site / "notebooks/own_rule.html").read_text("utf-8")
    assert "usage: credit show" in (site / "commands/show.html").read_text("utf-8")


@pytest.mark.slow
def test_the_api_has_every_public_function_and_class(site):
    """Wrapped ones (numba's `intrinsic`, `vectorize`, `jitclass`) are left out by autodoc without a word."""
    raw = (site / "objects.inv").read_bytes()
    lines = zlib.decompress(raw.split(b"\n", 4)[4]).decode().splitlines()
    listed = {line.split(" ")[0] for line in lines}
    modules = [m for known in reference.modules().values() for m in known] + [
        METHODS.module(n) for n in METHODS.names()
    ]
    wanted = {f"{module}.{name}" for module in modules for name in reference.public(module)}
    silent = {name for name in wanted - listed if documented(name)}
    assert len(wanted) > 300 and silent == set()


def test_functions_that_autodoc_passes_over_are_described():
    text = reference.unseen("credit.numerics.views")
    head = ".. py:function:: matrix(typing_context, array, start, rows, columns)\n   :module: credit.numerics.views\n"
    assert f"{head}\n   array" in text
    assert reference.unseen("credit.numerics.chunks") == ""


def documented(name: str) -> bool:
    module, _, last = name.rpartition(".")
    return bool(getattr(getattr(importlib.import_module(module), last), "__doc__", None))
