"""How Sphinx builds the site: `make docs`."""

import mmap_ninja

project = "mmap_ninja"
author = "the developers of mmap_ninja"
version = release = mmap_ninja.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "mmap_ninja"
