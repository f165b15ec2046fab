"""Configuration of Sphinx: `make docs` writes build/docs/html."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bsce_keras import __version__  # noqa: E402
from tools.reference import write_reference  # noqa: E402

project = "bsce_keras"
author = "bsce_keras maintainers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"bsce_keras {__version__}"
# The copies of the sources would be a second place for each page.
html_copy_source = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
default_role = "code"
# Two dashes of a flag would become one.
smartquotes = False
autodoc_member_order = "bysource"
# Docstrings have types with shapes and units.
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "exclude-members": "build,call"}
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

write_reference(ROOT / "docs" / "reference")


def mark_formulas(app, what, name, subject, options, lines):
    """Marks indented paragraphs of docstrings, which are formulas, as literal."""
    before, marked = "", []
    for place, line in enumerate(lines):
        begins = place and not lines[place - 1].strip() and line.startswith("    ")
        if begins and before == "Example:":
            marked[-2:] = ["Example::", ""]
        elif begins and not before.startswith(" ") and not before.endswith("::"):
            marked += ["::", ""]
        marked.append(line)
        before = line if line.strip() else before
    lines[:] = marked


def drop_repository_links(app, name, source):
    """Turns links to files outside docs/ into text: the site has only notebooks."""
    if "/" not in name:
        source[0] = source[0].replace("(../CONTRIBUTING.md)", "(contributing.md)")
        outside = r"\[([^\]]*)\]\(\.\./(?!notebooks/)[^)]*\)"
        source[0] = re.sub(outside, r"\1", source[0])


def setup(app):
    app.connect("source-read", drop_repository_links)
    # Before napoleon, which reads sections such as "Args:".
    app.connect("autodoc-process-docstring", mark_formulas, priority=100)
