"""Finds the figures of an example: they are made without pyplot, which keeps a list of its own."""

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst


def scraper(block, block_vars, gallery_conf):
    """Save every figure among the names that a block of an example has left, each once."""
    names = block_vars["example_globals"]
    kept = names.setdefault("__figures_kept__", [])
    paths = []
    for figure in [value for value in names.values() if isinstance(value, Figure)]:
        if figure in kept:
            continue
        kept.append(figure)
        paths.append(next(block_vars["image_path_iterator"]))
        figure.savefig(paths[-1], dpi=110)
    return figure_rst(paths, gallery_conf["src_dir"])
