import base64
import os
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from endmember.show import Components, Report, Section, components, relevance, render, write
from endmember.show.page import blank_figure, svg

HOSTILE = '<script>alert("1")</script> & "quoted" {{ 7 * 7 }}.dm3'
SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "img", "link", "br", "hr"}


class Page(HTMLParser):
    """Reads a page into its elements, the text in each kind of element, and checks the nesting."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self.open = [], {}, []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.text[tag][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def make_report():
    maps = np.arange(24.0).reshape(3, 4, 2)
    figure = components(Components(maps=maps, spectra=np.eye(2, 9), names=[HOSTILE, "b"]))
    return Report(
        title=HOSTILE,
        subtitle=HOSTILE,
        sentences=[HOSTILE, "Two components."],
        warnings=[HOSTILE],
        sections=[
            Section("Data", table=[(HOSTILE, HOSTILE), ("Pixels", 12)]),
            Section("Components", text="One.\n\nTwo.", figure=figure, caption=HOSTILE),
        ],
        methods=f"{HOSTILE}\n\nSecond paragraph.",
        references=[HOSTILE, "Nature 401, 788 (1999), https://doi.org/10.1038/44565"],
        footer=HOSTILE,
    )


@pytest.fixture(scope="module")
def report():
    return make_report()


@pytest.fixture(scope="module")
def page(report):
    return Page(render(report))


def test_the_same_picture_gives_the_same_text():
    first, second = (svg(relevance([8.0, 0.1], kept=1), dpi=60) for _ in range(2))
    assert first == second


def test_nothing_is_loaded_from_outside(page, report):
    addresses = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster", "background")
    ]
    assert addresses and all(
        address.startswith("data:image/svg+xml;base64,") for address in addresses
    )
    style = "".join(page.text["style"])
    assert "url(" not in style and "@import" not in style
    assert not page.all("link")
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert "default-src 'none'" in policy


def test_text_is_escaped_wherever_it_stands(page):
    assert len(page.all("script")) == 1  # the page's own
    assert "alert" not in "".join(page.text["script"])
    (title,), (heading,), (footer,) = page.text["title"], page.text["h1"], page.text["footer"]
    assert title == heading == footer == HOSTILE
    assert page.text["th"][0] == page.text["td"][0] == HOSTILE
    assert page.text["figcaption"] == [HOSTILE]


def test_the_embedded_figure_is_the_figure_in_outlines_that_load_nothing(page, report):
    (image,) = page.all("img")
    drawing = base64.b64decode(image["src"].split(",")[1]).decode()
    root = ElementTree.fromstring(drawing)
    width, height = report.sections[1].figure.get_size_inches()
    assert root.get("viewBox").split()[2:] == [f"{72 * width:g}", f"{72 * height:g}"]
    lines = [path for path in root.iter(f"{SVG}path") if path.get("clip-path")]
    assert len(lines) >= 2  # both spectra, as paths
    links = {value for one in root.iter() for name, value in one.items() if name.endswith("href")}
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert image["alt"].startswith("Maps and spectra of 2 components")


def test_headings_form_one_outline(page):
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1 and set(levels[1:]) == {2}
    assert [h for h in page.text["h2"] if h in ("Data", "Components")] == ["Data", "Components"]


def test_paragraphs_are_cut_at_blank_lines(page):
    assert [p for p in page.text["p"] if p in ("One.", "Two.", "Second paragraph.")] == [
        "One.",
        "Two.",
        "Second paragraph.",
    ]


def test_the_page_is_readable_in_the_dark_on_paper_and_on_a_telephone(page):
    style = page.text["style"][0]
    for condition in ("prefers-color-scheme: dark", "print", "max-width"):
        assert condition in style
    names = [m.get("name") for m in page.all("meta")]
    assert "viewport" in names and "color-scheme" in names


def test_the_copy_button_is_hidden_until_its_script_runs(page):
    (button,) = page.all("button")
    assert "hidden" in button


def test_what_is_not_given_leaves_no_empty_heading():
    page = Page(render(Report("a.dm3")))
    assert [tag for tag, _ in page.elements if tag in ("h2", "section", "footer", "script")] == []


def test_the_file_holds_what_was_rendered_and_the_same_report_gives_the_same_bytes(tmp_path):
    path = write(make_report(), tmp_path / "Å µm.html")
    assert path.read_bytes() == render(make_report()).encode("utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_when_rendering_fails_the_old_report_stays_and_nothing_else(tmp_path):
    path = write(Report("old"), tmp_path / "report.html")
    before, broken = path.read_bytes(), blank_figure(1, 1, "")

    def draw(renderer):
        raise RuntimeError("cannot be drawn")

    broken.draw = draw
    with pytest.raises(RuntimeError, match="cannot be drawn"):
        write(Report("new", sections=[Section("x", figure=broken)]), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_when_the_disk_fails_the_old_report_stays_and_nothing_else(tmp_path, monkeypatch, failing):
    path = write(Report("old"), tmp_path / "report.html")
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if failing == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left"):
        write(Report("new"), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="make it first"):
        write(Report("a"), tmp_path / "nowhere" / "report.html")
