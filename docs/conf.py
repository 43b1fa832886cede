"""How the documentation is built: ``make docs``."""

import re
import shutil
import sys
from pathlib import Path

from sphinx.addnodes import pending_xref

import endmember

HERE = Path(__file__).parent
PAGES = (".md", ".rst")
sys.path.insert(0, str(HERE / "_sphinx"))

# Examples run where they may leave their pictures: in a copy below the build folder.
EXAMPLES = HERE / "_build" / "examples"
shutil.rmtree(EXAMPLES, ignore_errors=True)
shutil.copytree(HERE.parent / "examples", EXAMPLES, ignore=shutil.ignore_patterns("*.png", "__*"))

project = "Endmember"
author = "The Endmember developers"
copyright = author
version = release = endmember.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "command_line",
    "method_references",
]
exclude_patterns = ["_build", "_sphinx", "_templates", "**/GALLERY_HEADER.rst"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# The real data are not part of the repository: docs/_sphinx/real_figures.py runs their examples where ENDMEMBER_DATA
# names them, and their pages show the pictures that it has kept.
sphinx_gallery_conf = {
    "examples_dirs": str(EXAMPLES),
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("figures.scraper",),
    "capture_repr": (),
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "doc_module": ("endmember",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"endmember": None},
}

html_theme = "pydata_sphinx_theme"
html_title = "Endmember"
html_static_path = ["_static"]
html_css_files = ["guide.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "navbar_align": "left",
    "footer_end": [],
}


def leave_out(app, what, name, value, skip, options):
    """Leave scikit-learn's own methods to scikit-learn's documentation."""
    theirs = str(getattr(value, "__module__", "")).startswith("sklearn")
    return True if theirs or name.endswith("_request") else None


def as_written(app, what, name, value, options, lines):
    """Keep shapes such as (*domain, k) and (n_iter_,) from being read as markup."""
    for i, line in enumerate(lines):
        if line.lstrip().startswith((">>>", "...")):
            continue
        parts = line.split("``")
        parts[::2] = [
            re.sub(r"(?<=[( ])\*(?=\w+[,)])|_(?=,?\))", r"\\\g<0>", part) for part in parts[::2]
        ]
        lines[i] = "``".join(parts)


def underscores(app, what, name, value, options, lines):
    """Keep the last underscore of names such as components_, which markup would take for a link."""
    lines[:] = [re.sub(r"^(:ivar \w+)_:", r"\1\_:", line) for line in lines]


def plain_shapes(app, doctree):
    """Keep the channels of a shape from being taken for the property of a class that has this name."""
    for node in [*doctree.findall(pending_xref)]:
        if node.get("reftarget") == "channels":
            node.replace_self(node.children)


def all_pages(app, docname, source):
    """Put the pages beside an overview that it does not name where a line says "and the others"."""
    beside = sorted(
        path.stem for path in (HERE / docname).parent.glob("*.*") if path.suffix in PAGES
    )
    named = {*source[0].split(), Path(docname).stem, "index"}
    others = "\n".join(page for page in beside if page not in named)
    source[0] = re.sub("^and the others$", others, source[0], flags=re.MULTILINE)


def setup(app):
    """Connect what this file defines, before and after napoleon takes docstrings apart."""
    app.connect("source-read", all_pages)
    app.connect("doctree-read", plain_shapes)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-docstring", as_written, priority=400)
    app.connect("autodoc-process-docstring", underscores, priority=600)
