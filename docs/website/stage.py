"""The source folder of the site: the repository's pages, those that are made, and the pictures that they show."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from docs.website import commands, keys, notebooks, places, reference, settings
from docs.website.links import LINK, Links
from docs.website.places import REPOSITORY, resolve

INDEX = "index.md"
REFERENCE = "<!-- reference -->"  # where the landing page lists what is made
MADE = (f"{settings.RULES}/README.md", f"{reference.FOLDER}/README.md")
LISTED = (
    f"- [Learning rules]({MADE[0]}), a page each: hyperparameters, experiments, module\n"
    f"- [API]({MADE[1]}): what the packages hold, from their docstrings"
)


def made() -> dict[str, str]:
    """{page of the site: its markdown} of all pages that no file of the repository is."""
    return keys.pages() | settings.rules() | settings.others() | reference.pages()


def written(links: Links) -> dict[str, str]:
    """{page of the site: its markdown} of the repository's pages."""
    found = {}
    texts = notebooks.pages()
    for page, place in links.pages.items():
        if page == commands.PAGE:
            continue
        text = texts[page] if page in texts else (REPOSITORY / page).read_text("utf-8")
        if place == INDEX:
            found[place] = _landing(text.replace(REFERENCE, LISTED), links)
        else:
            found[place] = links.rewrite(text, page, place)
    for place, text in commands.pages().items():
        found[place] = links.rewrite(text, commands.PAGE, place)
    return found


def _landing(text: str, links: Links) -> str:
    """The landing page: its sections are the parts of the table of contents."""
    page = f"docs/{INDEX}"
    before, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    known = links.pages | {f"docs/{made}": made for made in MADE}
    links = Links(known, links.moved, links.files)
    parts = [links.rewrite(before, page, INDEX)]
    for section in sections:
        title, _, body = section.partition("\n")
        goals = [known[resolve(target, page)] for target in re.findall(r"^- \[.*?\]\((\S+?)\)", body, re.MULTILINE)]
        tree = toctree(goals, title) if goals else ""
        parts.append(f"## {title}\n{links.rewrite(body, page, INDEX)}\n{tree}\n")
    return "".join(parts)


def toctree(pages: list[str], caption: str = "") -> str:
    """A table of contents that the side bar shows."""
    lines = "".join(f"/{page.removesuffix('.md')}\n" for page in pages)
    return f"```{{toctree}}\n:hidden:\n{f':caption: {caption}' if caption else ':maxdepth: 1'}\n\n{lines}```\n"


def below(pages: Iterable[str]) -> dict[str, list[str]]:
    """{page: the pages that its table of contents names}: a README those below it, the overview the commands."""
    found: dict[str, list[str]] = {}
    for page in pages:
        folders = Path(page).parents if Path(page).name != "README.md" else Path(page).parent.parents
        owners = [commands.OVERVIEW if f.name == commands.FOLDER else (f / "README.md").as_posix() for f in folders]
        if owner := next((one for one in owners if one in pages), None):
            found.setdefault(owner, []).append(page)
    return found


def pages() -> tuple[dict[str, str], dict[str, str]]:
    """({page of the site: its markdown}, {file of the repository: file of the site that is shown})."""
    readme = {("README.md", ""): (INDEX, ""), ("README.md", "names"): (f"{settings.RULES}/README.md", "")}
    links = Links(places.pages(), commands.moved() | readme, {})
    found = {**written(links), **made()}
    for page, inner in below(found).items():
        listed = LINK.findall(found.get(INDEX, ""))
        targets = {target for _, _, target in listed}
        if rest := [one for one in inner if one not in targets]:
            found[page] += "\n" + toctree(rest)
    return found, links.files


def stage(folder: Path) -> None:
    """Write the source folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    texts, files = pages()
    for page, text in texts.items():
        path = folder / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for file, place in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / file, folder / place)
