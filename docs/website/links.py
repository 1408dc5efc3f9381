"""Links of the repository's pages, as they stand in the site."""

from __future__ import annotations

import re
from collections.abc import Mapping

from docs.website.places import REPOSITORY, relative, resolve

LINK = re.compile(r"(?<!\\)(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1`*\s*?$", re.DOTALL | re.MULTILINE)


class Links:
    """Where links lead.

    pages: {page of the repository: page of the site}. moved: {(page of the repository, anchor): (page of the site,
    anchor)}, sections that have become pages. files: where {file of the repository: file of the site} that pages show
    are added.
    """

    def __init__(
        self, pages: Mapping[str, str], moved: Mapping[tuple[str, str], tuple[str, str]], files: dict[str, str]
    ):
        self.pages, self.moved, self.files = pages, moved, files

    def rewrite(self, text: str, page: str, place: str) -> str:
        """Markdown of `page` with its links as they must be at `place` of the site.

        Links to what is no page and no picture lose their target: the site does not hold the sources.
        """

        def outside(part: str) -> str:
            return LINK.sub(lambda link: self._link(link, page, place), part)

        end, parts = 0, []
        for fence in FENCE.finditer(text):
            parts += [outside(text[end : fence.start()]), fence[0]]
            end = fence.end()
        return "".join([*parts, outside(text[end:])])

    def _link(self, link: re.Match, page: str, place: str) -> str:
        mark, words, target = link.groups()
        if re.match(r"[a-z]+:", target):
            return link[0]
        name, _, anchor = target.partition("#")
        goal = resolve(name, page) if name else page
        if mark:
            self.files[goal] = goal.removeprefix("docs/")
            return f"![{words}]({relative(self.files[goal], place)})"
        found, anchor = self._goal(goal, anchor)
        if found is None:
            if not (REPOSITORY / goal).exists():
                raise ValueError(f"{page}: link to {target}, which is not there")
            return words
        if found == place:
            return f"[{words}](#{anchor})" if anchor else words
        return f"[{words}]({relative(found, place)}{'#' + anchor if anchor else ''})"

    def _goal(self, goal: str, anchor: str) -> tuple[str | None, str]:
        if (goal, anchor) in self.moved:
            return self.moved[goal, anchor]
        return self.pages.get(goal), anchor


def anchor(title: str) -> str:
    """The anchor of a heading, as it is made on the web."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
