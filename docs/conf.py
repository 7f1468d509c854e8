"""How Sphinx builds the site: `make docs`."""

import sys
import tomllib
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

import mmap_ninja

DOCS = Path(__file__).parent
REPOSITORY = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
sys.path.insert(0, str(DOCS / "hooks"))

project = "mmap_ninja"
author = "the developers of mmap_ninja"
version = release = mmap_ninja.__version__
extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "links", "drawings",
    "reference",
]  # fmt: skip
myst_heading_anchors = 4

links_repository = REPOSITORY
links_pages = {  # the files outside docs that a page shows
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
    "benchmarks/ARRAYS.md": "benchmarks/arrays",
    "benchmarks/FEATURES.md": "benchmarks/features",
    "benchmarks/FRAMEWORKS.md": "benchmarks/frameworks",
    "benchmarks/LOADING.md": "benchmarks/loading",
    "benchmarks/RECORDS.md": "benchmarks/records",
    "benchmarks/RESULTS.md": "benchmarks/texts",
}

autodoc_typehints = "none"  # hooks/reference.py writes signatures as the sources do
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
smartquotes_action = "D"  # dashes alone: "r" in a docstring is a value

copybutton_prompt_text = r"\$ |>>> |\.\.\. "  # what a console printed is not copied
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

pygments_dark_style = "github-dark"

html_theme = "furo"
html_title = "mmap_ninja"
html_favicon = "static/favicon.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_copyright = False
html_domain_indices = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b6e4f",
        "color-brand-content": "#0b6e4f",
        "color-brand-visited": "#0b6e4f",
        "color-foreground-primary": "#1f2328",
        "color-sidebar-link-text--top-level": "var(--color-foreground-primary)",
        "color-api-name": "#0b6e4f",
        "color-api-pre-name": "#0b6e4f",
    },
    "dark_css_variables": {
        "color-brand-primary": "#45c497",
        "color-brand-content": "#45c497",
        "color-brand-visited": "#45c497",
        "color-foreground-primary": "#d7dade",
        "color-sidebar-link-text--top-level": "var(--color-foreground-primary)",
        "color-api-name": "#45c497",
        "color-api-pre-name": "#45c497",
    },
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "footer_icons": [{"name": "Repository", "url": REPOSITORY, "html": "Repository", "class": "repository"}],
}


def say_what_it_is(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """Tell those who hear a page what Sphinx leaves out: levels of headings, and that parameters are no definitions."""
    context["furo_navigation_tree"] = context["furo_navigation_tree"].replace(
        'role="heading"', 'role="heading" aria-level="2"'
    )
    if "body" in context:
        context["body"] = context["body"].replace("<dl>\n<dd>", '<dl role="presentation">\n<dd>')


def setup(app: Sphinx) -> None:
    app.add_lexer("hexdump", TextLexer)  # that of Pygments does not know the ".." of bytes that are not always the same
    app.connect("html-page-context", say_what_it_is, priority=900)  # after furo has made it
