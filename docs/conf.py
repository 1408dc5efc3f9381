"""Sphinx's configuration. The source folder is made by `docs.website.stage`; nothing is fetched."""

from pathlib import Path

import credit
from docs.website import docstrings

project, author, release = "credit", "The credit authors", credit.__version__
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
html_theme = "furo"
smartquotes = False  # quotes and dashes of code and formulas stay as they are
html_static_path = [str(Path(__file__).parent / "website" / "static")]
html_css_files = ["site.css"]
html_title = f"credit {release}"
html_show_sphinx = False
html_copy_source = False
highlight_language = "none"
myst_heading_anchors = 4
myst_fence_as_directive = []
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries = False
nitpick_ignore_regex = [
    (r"py:.*", r".*")
]  # names in signatures: those of other libraries lead nowhere without a network
suppress_warnings = [
    "misc.highlighting_failure",  # `…` in examples stands for more of the same
    "ref.python",  # a short name in a signature that several modules have
]


def setup(app):
    """Docstrings are no reStructuredText."""
    app.connect("autodoc-process-docstring", docstrings.process)
