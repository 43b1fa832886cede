"""The documentation knows every public name, says what is true, and its links lead somewhere."""

import ast
import importlib.util
import inspect
import os
import re
import sys
import tomllib
import warnings
from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
DOCS = ROOT / "docs"
ROOMS = ("assess", "preprocess", "show", "synthetic")
BUILT = ("_build", "gallery", "generated")
PAGES = sorted(
    page
    for suffix in ("*.md", "*.rst")
    for page in DOCS.rglob(suffix)
    if not set(page.relative_to(DOCS).parts) & set(BUILT) and page.parent.name != "autosummary"
)
TEXTS = [*PAGES, *ROOT.glob("*.md")]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PUBLIC = {
    f"endmember.{name}": getattr(em, name)
    for name in em.__all__
    if name not in (*ROOMS, "__version__")
} | {
    f"endmember.{room}.{name}": getattr(getattr(em, room), name)
    for room in ROOMS
    for name in getattr(em, room).__all__
}


def named(path):
    """Return the name of a page or script as a test shows it."""
    return str(path.relative_to(ROOT))


def names_on_the_api_page():
    room, names = "", set()
    for line in (DOCS / "api" / "index.rst").read_text().splitlines():
        if line.startswith(".. currentmodule:: "):
            room = line.split()[-1]
        elif re.fullmatch(r" {3}\w+", line):
            names.add(f"{room}.{line.strip()}")
    return names


def test_the_api_page_lists_every_public_name_and_no_other():
    assert names_on_the_api_page() == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_says_what_is_taken_what_is_returned_and_shows_it(name):
    value = PUBLIC[name]
    text = inspect.getdoc(value)
    assert text.splitlines()[0].endswith((".", ":"))
    given = [
        parameter
        for parameter in inspect.signature(value).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    made_by_us = dataclass_of_results(value) or value is em.Unmixing
    if not made_by_us:
        section = text.partition("Parameters\n---")[2]
        unsaid = [one.name for one in given if not re.search(rf"\b{one.name}\b", section)]
        assert not unsaid, f"{name} does not describe {unsaid}"
        assert ">>>" in text or name == "endmember.open", (
            f"{name} shows no example"
        )  # the tour does
    else:
        assert "Attributes\n---" in text
    if inspect.isfunction(value) and "return" in value.__annotations__:
        assert "Returns\n---" in text


def dataclass_of_results(value):
    """Tell whether users are given such objects and do not make them."""
    plain = hasattr(value, "__dataclass_fields__") or hasattr(value, "_fields")
    return plain and "Parameters\n---" not in inspect.getdoc(value)


def anchors_of(page):
    """Return the anchors of the headings of a page in Markdown, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", [page for page in TEXTS if page.suffix == ".md"], ids=named)
def test_links_and_pictures_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        if path == "gallery/index.rst":  # made from examples/
            continue
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), f"{named(page)} links to {target}, which is not there"
        assert not anchor or anchor in anchors_of(aim), f"{named(page)} links to {target}"


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_files_and_names_that_a_page_mentions_exist(page):
    text = page.read_text()
    for script in re.findall(r"\b((?:examples|benchmarks|tests)/\w+\.py)\b", text):
        assert (ROOT / script).exists(), script
    for spoken in set(
        re.findall(r"\bem\.((?:(?:assess|preprocess|show|synthetic)\.)?\w+)\b", text)
    ):
        owner, _, name = spoken.rpartition(".")
        assert hasattr(getattr(em, owner) if owner else em, name), f"{named(page)}: em.{spoken}"


@pytest.mark.parametrize("script", EXAMPLES, ids=named)
def test_example_is_short_and_begins_with_its_question(script):
    title, line, blank, *_ = ast.get_docstring(ast.parse(script.read_text())).splitlines()
    assert title and set(line) == {"="} and len(line) == len(title) and not blank
    assert len(script.read_text().splitlines()) < 90
    assert script.name.startswith(("plot_", "real_")), (
        "the gallery runs plot_* and shows what real_* has left"
    )


def test_the_article_is_covered_by_names_examples_and_tests_that_exist():
    rows = [
        line for line in (DOCS / "project" / "coverage.md").read_text().splitlines() if "|" in line
    ]
    used = set()
    for row in rows[2:]:
        _, section, names, examples, tests, _ = (cell.strip() for cell in row.split("|"))
        assert section and names and tests, row
        used |= set(re.findall(r"\w+\.py", examples))
        for script in re.findall(r"\w+\.py", examples):
            assert (ROOT / "examples" / script).exists(), script
        for test in re.findall(r"\w+\.py", tests):
            assert (ROOT / "tests" / test).exists(), test
    shown = {script.name for script in EXAMPLES if script.name.startswith("plot_")}
    assert shown <= used, "examples that the coverage table does not name"


def loaded(file):
    specification = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def test_every_paper_that_a_class_names_is_in_the_bibliography():
    entries = re.split(
        r"^@", (DOCS / "project" / "references.bib").read_text(), flags=re.MULTILINE
    )[1:]
    assert len({entry.split(",")[0] for entry in entries}) == len(entries)
    for value in PUBLIC.values():
        for paper in getattr(value, "references", ()) if inspect.isclass(value) else ():
            author = re.match(
                r"(?:[^\W\d_](?:\.-?| ))*(?:-?[A-Z]\. )*([^,]+?)(?: and | et al|,)", paper
            )[1]
            year = re.findall(r"\b(1[89]\d\d|20\d\d)\b", paper)
            numbers = re.findall(r"\d+", paper)
            entry = [
                entry
                for entry in entries
                if author.split()[-1] in entry
                and any(f"year = {{{y}}}" in entry for y in year)
                and ("@article" not in "@" + entry or f"pages = {{{numbers[-1]}}}" in entry)
            ]
            assert entry, f"references.bib has no entry for: {paper}"


def test_the_tour_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "tour.md").read_text(), re.DOTALL):
        exec(block, names)
    assert (tmp_path / "diode" / "report.html").exists()
    true = names["phantom"].spectra

    def off(model):
        order = em.match_components(model.components_, true)
        return em.spectral_angle(model.components_[order], true).max()

    assert names["report"].suggested == 3
    assert off(names["other"].model) < off(names["nmf"]) < 4
    printed = apart_from_numbers(capsys.readouterr().out)
    for block in re.findall(r"```text\n(.*?)```", (DOCS / "tour.md").read_text(), re.DOTALL):
        assert apart_from_numbers(block) in printed


PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PASTED = [page for page in PAGES if "```python" in page.read_text() and page.stem != "tour"]


@pytest.mark.parametrize("page", PASTED, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs_as_pasted(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, names = page.read_text(), {}
    if "LSMO_STO_linescan.hspy" in text:
        real = DATA / "eels" / "LSMO_STO_linescan.hspy"
        if not real.exists():
            pytest.skip("the real data are not here (ENDMEMBER_DATA)")
        (tmp_path / real.name).symlink_to(real)
    with warnings.catch_warnings(action="ignore"):
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(block, names)


def test_every_warning_that_is_explained_exists():
    source = "".join(file.read_text() for file in (ROOT / "src").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    for line in (DOCS / "troubleshooting.md").read_text().splitlines():
        for words in re.findall('"([^"]+)"', line.split(" | ")[0]) if line.startswith("| ") else ():
            assert words in source, f"no warning says {words!r}"


def test_every_name_that_the_way_from_other_programs_gives_exists():
    text = (DOCS / "coming_from.md").read_text()
    for name in set(re.findall(r"\bem\.([\w.]+)", text)):
        value = em
        for part in name.split("."):
            value = getattr(value, part)


def test_examples_show_what_users_may_call():
    for script in (ROOT / "examples").glob("*.py"):
        assert not re.findall(r"^(?:from|import) endmember\.", script.read_text(), re.MULTILINE), (
            script
        )


def apart_from_numbers(text):
    return re.sub(r"\d+(\.\d+)?", "#", text)


def test_the_command_line_page_shows_every_command():
    pytest.importorskip("docutils")
    pytest.importorskip("sphinx")
    page = loaded(DOCS / "_sphinx" / "command_line.py")
    commands = page.commands()
    assert {"demo", "info", "rank", "unmix", "report"} <= set(commands)
    for name, command in commands.items():
        lines = "\n".join(page.described(name, command))
        for option in command.params:
            assert option.opts[-1] in lines or (option.metavar or option.name.upper()) in lines


def test_the_version_and_what_is_needed_are_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    recipe = (ROOT / "conda" / "recipe.yaml").read_text()
    assert project["version"] == em.__version__
    assert f'version: "{em.__version__}"' in recipe
    assert f"version: {em.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    for needed in project["dependencies"]:
        name, least = re.match(r"([\w-]+)(?:\[.*\])?(.*)", needed).groups()
        assert re.search(rf"- {name}(-base)? {re.escape(least)}\n", recipe), f"conda lacks {needed}"


# What a newcomer types first, and the way on that the answer must name.
STUMBLES = {
    "a file's name for the data": (lambda: em.NMF(3).fit("diode.dm4"), r"em\.load\('diode\.dm4'\)"),
    "the number alone": (lambda: em.unmix(np.ones((4, 5)), 3), r"em\.NMF\(3\)"),
    "a class for a model": (lambda: em.unmix(np.ones((4, 5)), em.NMF), r"em\.NMF\(3\)"),
    "no number": (lambda: em.NMF().fit(np.ones((4, 5))), r"em\.assess\.rank"),
    "a word for a loss": (
        lambda: em.NMF(2, loss="poisson").fit(np.ones((4, 5))),
        r"em\.Poisson\(\)",
    ),
    "a class for a penalty": (
        lambda: em.NMF(2, maps=em.Sparse).fit(np.ones((4, 5))),
        r"em\.Smooth\(\)",
    ),
    "axes that do not fit": (
        lambda: em.show.components(em.NMF(2).fit(np.eye(4)), energy=np.arange(3)),
        "give 4 values",
    ),
}


@pytest.mark.parametrize("typed", STUMBLES)
def test_what_a_newcomer_types_wrong_is_answered_with_a_way_on(typed):
    attempt, way_on = STUMBLES[typed]
    with pytest.raises((TypeError, ValueError), match=way_on):
        attempt()


def test_a_misspelt_name_is_answered_with_the_right_one():
    with pytest.raises(AttributeError, match=r"did you mean NMF\?"):
        em.Nmf  # noqa: B018


def test_a_stack_of_images_is_answered_with_how_to_take_it(tmp_path):
    hs.signals.Signal2D(np.ones((3, 4, 5))).save(tmp_path / "stack.hspy")
    with pytest.raises(ValueError, match=r'reader=\{"energy_axis": 0\}'):
        em.load(tmp_path / "stack.hspy")


def test_the_scoreboard_holds_every_row_that_its_script_prints():
    script = loaded(ROOT / "benchmarks" / "scoreboard.py")
    page = (DOCS / "scoreboard.md").read_text()
    for table in script.TABLES:
        begin, end = (f"<!-- {word} {table.__name__} -->" for word in ("begin", "end"))
        head, line, *rows = page[page.index(begin) : page.index(end)].splitlines()[1:]
        assert [head, line] == script.head(table)
        named_rows = {tuple(cell.strip() for cell in row.split("|")[1:3]) for row in rows}
        wanted = {("endmember", row.name) for row in script.our_rows() if table in row.only}
        assert wanted <= named_rows
        assert {who for who, _ in named_rows} >= {"scikit-learn", "hyperspy", "pyMCR", "tensorly"}
        assert len(named_rows) == len(rows)


#: What is a name for what everybody knows, or only says what is known of the specimen.
NO_SOURCE = {"Absent", "Free", "Known", "NonNegative", "ZeroOutside"}


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_names_its_errors_and_its_source(name):
    value, text = PUBLIC[name], inspect.getdoc(PUBLIC[name])
    if inspect.isfunction(value):
        tree = ast.parse(inspect.getsource(value))
        assert (
            not any(isinstance(node, ast.Raise) for node in ast.walk(tree)) or "Raises\n---" in text
        )
    elif isinstance(
        getattr(value, "references", None), tuple
    ):  # models, losses, penalties, solvers
        assert value.__name__ in NO_SOURCE or "References\n---" in text
    if hasattr(value, "fit_transform"):
        assert "Raises\n---" in inspect.getdoc(value.fit)
        learned = text.partition("Attributes\n----------\n")[2].partition("\n\n")[0]
        bare = re.findall(r"^(\S.*)(?=\n\S|\Z)", learned, re.MULTILINE)
        assert learned and not bare, f"{name} does not say what these are: {bare}"


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    check = loaded(DOCS / "_sphinx" / "check_links.py")
    (tmp_path / "there.html").write_text('<p id="here"><a href="https://example.org/x">out</a>')
    links = ["there.html", "there.html#here", "#top", "there.html#lost", "lost.html", "lost.png"]
    anchors = "".join(f'<a href="{link}">x</a>' for link in links)
    (tmp_path / "index.html").write_text(f'<h1 id="top">{anchors}</h1>')
    assert check.broken(tmp_path) == [f"index.html: {link}" for link in links[3:]]
