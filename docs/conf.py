"""The site: Sphinx over the repository's own pages and walkthroughs (`make docs`).

Sources are read where they stand, so that a page's links work on a code host and here alike; pages
that follow from the code are made first (`pages.py`). No page asks the outside for anything:
formulas become MathML, which browsers draw themselves.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import pages  # noqa: E402

from toolkit import __version__  # noqa: E402

project = "Decoders to Encoders"
author = "The Decoders to Encoders authors"
project_copyright = "2026, the Decoders to Encoders authors"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "pages"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    f"docs/{pages.MADE}/*.md",
    "notebooks/0*.ipynb",
    "runs/reference/README.md",
    "benchmarks/README.md",
    "toolkit/pairs/manuals/README.md",
    "toolkit/tables/published/README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "build", f"docs/{pages.MADE}/gallery.md"]
default_role = "code"  # docstrings say `name` for what is code

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.xref_missing",  # links to code and to README.md, which a site has no page for
    "mystnb.unknown_mime_type",
    "mystnb.exec",  # likewise
]
autodoc_member_order = "bysource"
autodoc_typehints_format = "fully-qualified"
python_use_unqualified_type_names = True
napoleon_use_rtype = False
napoleon_use_ivar = True

nb_execution_mode = os.environ.get("SITE_EXECUTE", "cache")
nb_execution_cache_path = str(pages.execution_cache())
nb_execution_timeout = 600
nb_execution_raise_on_error = False  # pages.py says which cell failed, and fails the build
nb_ipywidgets_js = {}  # their loader comes from elsewhere; the explorer has a page of its own
nb_merge_streams = True

html_theme = "sphinx_book_theme"
html_title = "Decoders to Encoders"
html_static_path = ["style"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = True
html_show_sourcelink = False
html_sourcelink_suffix = ""
html_theme_options = {
    "use_download_button": True,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navigation_with_keys": False,
}
