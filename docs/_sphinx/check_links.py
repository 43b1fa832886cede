"""Follow every link of the built pages that stays within them: ``python docs/_sphinx/check_links.py [FOLDER]``.

Prints the links that lead nowhere, one a line, and ends with 1 if there are any. Nothing is loaded from the network.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

BUILT = Path(__file__).parents[1] / "_build" / "html"


class Page(HTMLParser):
    """What one page links to, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep links and anchors of one element."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken(folder: Path) -> list[str]:
    """Return ``page: link`` for every link within the folder whose page or anchor does not exist."""
    pages = {
        path.resolve(): Page(path.read_text("utf-8"))
        for path in folder.rglob("*.html")
        if "_static" not in path.parts
    }
    found = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            aim = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            # Sphinx leads from a source to its page by the first module that shows the file: the page is right.
            known = "_modules" in path.parts or not (aim in pages and anchor)
            lost = not known and anchor not in pages[aim].anchors
            if not aim.exists() or lost:
                found.append(f"{path.relative_to(folder.resolve())}: {link}")
    return found


if __name__ == "__main__":
    lost = broken(Path(sys.argv[1]) if len(sys.argv) > 1 else BUILT)
    sys.stdout.write("".join(f"leads nowhere: {line}\n" for line in lost))
    sys.exit(bool(lost))
