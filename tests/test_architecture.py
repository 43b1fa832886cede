"""The rooms of the house: who may import whom, what names mean, what importing costs."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import endmember

SOURCE = Path(endmember.__file__).parent
#: Each room may import from those named here, and from itself.
MAY_IMPORT = {
    "factor": set(),
    "methods": {"factor"},
    "preprocess": {"factor"},
    "synthetic": {"factor"},
    "show": set(),
    "assess": {"factor", "methods", "show"},
    "signals": {"factor", "methods", "assess", "preprocess", "show"},
    "cli": {"factor", "methods", "assess", "preprocess", "show", "signals", "synthetic", "app"},
    "app": {"factor", "methods", "assess", "preprocess", "show", "signals", "synthetic"},
}
FILES = sorted(SOURCE.rglob("*.py"))
LOCAL_RANDOMNESS = tuple(
    f"np.random.{name}" for name in ("default_rng", "SeedSequence", "Generator", "Philox")
)
HEAVY = ("sklearn", "numba", "dask", "hyperspy", "matplotlib", "panel", "scipy", "numpy")


def imports_of(file: Path):
    """Yield the modules of the package that a file imports, inside functions and for types alone as well."""
    package = ("endmember", *file.relative_to(SOURCE).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, node.module] if node.module else base)
            modules = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            if module.split(".")[0] == "endmember":
                yield module


def room_of(file: Path) -> str:
    part = file.relative_to(SOURCE).parts[0]
    return part.removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_point_one_way(file):
    room = room_of(file)
    if room == "__init__":
        return
    for module in imports_of(file):
        parts = module.split(".")
        if len(parts) > 1 and parts[1] in MAY_IMPORT and parts[1] != room:
            assert parts[1] in MAY_IMPORT[room], f"{room} must not import {module}"


def test_modules_form_no_cycle():
    names = {}
    for file in FILES:
        parts = file.relative_to(SOURCE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    graph = {
        name: {
            max((known for known in names if (module + ".").startswith(known + ".")), key=len)
            for module in imports_of(file)
        }
        - {name, "endmember"}
        for name, file in names.items()
    }
    done: set[str] = set()

    def visit(name, path):
        assert name not in path, f"a cycle of imports: {' -> '.join([*path, name])}"
        if name not in done:
            for other in graph[name]:
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_no_module_bears_the_name_of_a_public_name():
    modules = {file.stem for file in FILES} | {folder.name for folder in SOURCE.iterdir()}
    public = set(endmember.__all__) - set(endmember._MODULES)
    assert not modules & public


@pytest.mark.parametrize("name", endmember.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    value = getattr(endmember, name)
    assert name == "__version__" or (value.__doc__ and len(value.__doc__) > 40)


@cache
def names_in(module: str) -> set[str]:
    """Return what can be imported from a module: names that it gives or imports, and the modules of a folder."""
    place = SOURCE.parent.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    found = {inside.stem for inside in place.iterdir()} if place.is_dir() else set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # names told lazily
            found.add(node.value)
    return found


@pytest.mark.parametrize("folder", ["benchmarks", "docs", "examples", "tests", "tools"])
def test_what_scripts_import_is_where_they_look_for_it(folder):
    for file in (SOURCE.parents[1] / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("endmember"):
                missing = {alias.name for alias in node.names} - names_in(node.module)
                assert not missing, f"{file}: {node.module} has no {missing}"


def loaded_after(code: str) -> set[str]:
    program = f"import sys; {code}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    return set(answer.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    assert not loaded_after("import endmember") & set(HEAVY)


def test_making_a_model_imports_neither_files_nor_pictures():
    loaded = loaded_after("import endmember as em; em.NMF(3)")
    assert not loaded & {"hyperspy", "matplotlib", "dask", "numba", "panel"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_library_code_neither_prints_nor_uses_global_randomness_nor_pickles(file):
    if room_of(file) == "cli":
        return
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            said = ast.unparse(node.func)
            assert said != "print", file
            assert not said.startswith("np.random.") or said.startswith(LOCAL_RANDOMNESS), said
        if isinstance(node, ast.Import):
            assert all(alias.name != "pickle" for alias in node.names)


def statements(text: str) -> int:
    """Return how many statements a source has; a docstring is none."""
    nodes = list(ast.walk(ast.parse(text)))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = sum(
        ast.get_docstring(node, clean=False) is not None
        for node in nodes
        if isinstance(node, documented)
    )
    return sum(isinstance(node, ast.stmt) for node in nodes) - docstrings


#: Statements of every room. A change that needs more raises the number here, and says why.
MOST_STATEMENTS = {
    "__init__": 23,
    "app": 2290,
    "assess": 2092,
    "catalogue": 41,
    "cli": 1078,
    "errors": 53,
    "factor": 6832,
    "methods": 2171,
    "preprocess": 1105,
    "show": 728,
    "signals": 2185,
    "synthetic": 402,
}


@pytest.mark.parametrize("room", sorted({room_of(file) for file in FILES}))
def test_no_room_grows_unnoticed(room):
    size = sum(statements(file.read_text()) for file in FILES if room_of(file) == room)
    assert size <= MOST_STATEMENTS[room], f"{room} has {size} statements"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_files_and_functions_stay_short(file):
    text = file.read_text()
    assert len(text.splitlines()) <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = ast.get_docstring(node, clean=False) is not None
            spoken = first.end_lineno - first.lineno + 1 if documented else 0
            assert node.end_lineno - node.lineno + 1 - spoken <= 60, node.name


def test_folders_stay_small():
    folders = {file.parent for file in FILES}
    crowded = {
        folder.name: len({*folder.glob("*.py")} - {folder / "__init__.py"}) for folder in folders
    }
    assert max(crowded.values()) <= 16, crowded


#: Words that only insiders would know, and the plain ones that stand in their place.
PRIVATE = {
    "wish": "penalty",
    "wishes": "penalties",
    "gauge": "norm or scale",
    "doubting": "doubts",
    "stand_in": "as_least_squares",
}


#: Everything that is read with the source.
READ_TOO = [
    file
    for folder in ("tests", "examples", "benchmarks", "tools")
    for file in sorted((SOURCE.parents[1] / folder).rglob("*.py"))
]


@pytest.mark.parametrize("file", [*FILES, *READ_TOO], ids=lambda file: file.stem)
def test_names_are_plain_words(file):
    named = {
        name
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            getattr(node, "name", None),
            getattr(node, "id", None),
            getattr(node, "arg", None),
        )
        if isinstance(name, str)
    }
    found = {word for name in named for word in name.strip("_").lower().split("_")} | named
    assert not {word: PRIVATE[word] for word in found & PRIVATE.keys()}


@pytest.mark.parametrize(
    "page", sorted(SOURCE.parents[1].glob("docs/**/*.md")), ids=lambda p: p.stem
)
def test_pages_are_written_in_plain_words(page):
    said = set(re.findall(r"[a-z_]+", page.read_text().lower()))
    assert not {word: PRIVATE[word] for word in said & PRIVATE.keys()}


def test_stubs_are_those_that_would_be_written():
    script = SOURCE.parents[1] / "tools" / "stubs.py"
    answer = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert answer.returncode == 0, "run python tools/stubs.py"


#: Files that one spectrum image passes on its way from ``em.unmix`` to the solver, and calls that end on it.
WAY = (36, 620)


def test_the_way_of_an_image_to_the_solver_stays_short():
    script = SOURCE.parents[1] / "tools" / "architecture.py"
    answer = subprocess.run(
        [sys.executable, str(script), "--walk"], capture_output=True, check=True, text=True
    )
    files, returns = map(int, re.findall(r"\d+", answer.stdout.splitlines()[-1]))
    assert 10 < files <= WAY[0] and 100 < returns <= WAY[1], answer.stdout
