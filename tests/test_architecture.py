"""The house holds: floors, no cycles, size budgets, public names. Reads the source, runs nothing of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
SOURCE = REPO / "src/nst"

FLOORS = {
    "errors": 0,
    "proto": 1,
    "backend": 1,
    "core": 2,
    "io": 2,
    "layers": 3,
    "net": 4,
    "solvers": 5,
    "style": 6,
    "pycaffe": 6,
    "cli": 7,
    "ui": 7,
}
"""Package -> floor; a module imports from lower floors and its own package only."""

ABSENT_BELOW = {
    "io": {"backend"},
    "layers": {"io"},
    "net": {"io"},
}
"""Lower packages that are nevertheless out of bounds."""

ALLOWED = {
    ("solvers", "nst.io"): {"nst.io.snapshot"},
}
"""Where only some modules of a lower package may be used."""

THIRD_PARTY = {
    "errors": set(),
    "proto": {"google"},
    "backend": {"numpy", "cupy", "cupyx", "threadpoolctl"},
    "core": {"numpy"},
    "io": {"numpy", "google", "PIL", "h5py", "platformdirs"},
    "layers": {"numpy", "google", "h5py", "PIL", "lmdb"},
    "net": {"numpy"},
    "solvers": {"numpy"},
    "style": {"numpy", "google"},
    "pycaffe": {"numpy", "google", "PIL"},
    "cli": {
        "numpy",
        "google",
        "PIL",
        "h5py",
        "rich",
        "matplotlib",
        "pydot",
        "lmdb",
        "platformdirs",
    },
}
"""Libraries that each package may import; h5py, PIL and lmdb in layers are for the data layers."""

FILE_LIMIT = 300
FILE_LIMIT_REASONS: dict[str, str] = {}
"""File -> why it may be longer than FILE_LIMIT lines."""

FUNCTION_LIMIT = 60

FILES = sorted(
    path for path in SOURCE.rglob("*.py") if "proto" not in path.relative_to(SOURCE).parts[:1]
)


def package_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module and node.module.startswith("nst."):
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def names(path: Path) -> str:
    return str(path.relative_to(REPO))


@pytest.mark.parametrize("path", FILES, ids=names)
def test_imports_flow_down_the_floors(path: Path) -> None:
    package = package_of(path)
    if package in ("__init__", "__main__"):
        return
    for module in imports_of(path):
        if not module.startswith("nst"):
            continue
        assert module != "nst", f"{names(path)} imports the root package"
        other = module.split(".")[1]
        if other == package:
            continue
        assert FLOORS[other] < FLOORS[package], f"{names(path)} imports {module} from above"
        assert other not in ABSENT_BELOW.get(package, set()), f"{names(path)} imports {module}"
        allowed = ALLOWED.get((package, f"nst.{other}"))
        assert allowed is None or any(
            module == name or module.startswith(f"{name}.") or name.startswith(f"{module}.")
            for name in allowed
        ), f"{names(path)} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=names)
def test_a_package_uses_only_its_libraries(path: Path) -> None:
    import sys

    package = package_of(path)
    allowed = THIRD_PARTY.get(package, set()) | set(sys.stdlib_module_names) | {"nst"}

    foreign = {module.split(".")[0] for module in imports_of(path)} - allowed
    assert not foreign, f"{names(path)} imports {foreign}"


def test_no_module_is_part_of_an_import_cycle() -> None:
    modules = {
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in FILES
    }
    edges = {
        name: {other for other in imports_of(path) if other in modules and other != name}
        for name, path in modules.items()
    }
    # A package's __init__ names its own modules; that is a door, not a dependency of theirs.
    for name, path in modules.items():
        if path.name == "__init__.py":
            edges[name] = {o for o in edges[name] if not o.startswith(f"{name}.")}

    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name in done:
            return
        for other in sorted(edges[name]):
            visit(other, (*trail, name))
        done.add(name)

    for name in sorted(modules):
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=names)
def test_a_file_reads_in_one_go(path: Path) -> None:
    lines = len(path.read_text().splitlines())

    assert lines <= FILE_LIMIT or names(path) in FILE_LIMIT_REASONS, f"{lines} lines"


@pytest.mark.parametrize("path", FILES, ids=names)
def test_functions_stay_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                length = (body[-1].end_lineno or 0) - body[0].lineno + 1
                assert length <= FUNCTION_LIMIT, f"{node.name}: {length} lines"


@pytest.mark.parametrize("path", FILES, ids=names)
def test_every_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", FILES, ids=names)
def test_public_names_are_listed_in_order(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            listed = ast.literal_eval(node.value)
            key = [(not name.isupper(), not name[:1].isupper(), name) for name in listed]
            assert key == sorted(key), f"{names(path)}: __all__ is not sorted"


def test_there_are_no_rooms_for_odds_and_ends() -> None:
    forbidden = {"utils", "util", "helpers", "common", "misc"}

    assert not {path for path in FILES if path.stem in forbidden}
