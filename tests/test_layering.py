"""The import order of the rooms, the size of files and what nobody may import, read from the source itself."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick

# What each room may import beside itself and the base. Single modules are named where a room may not use the whole.
MAY_IMPORT = {
    # The package itself, which hands out the predictor.
    "front": {"deploy"},
    "base": set[str](),
    "recordio": set[str](),
    "face": set[str](),
    "metrics": set[str](),
    "graph": set[str](),
    "pipeline": {"recordio"},
    "executor": {"graph"},
    "dataset": {"recordio", "face"},
    "engine": {"recordio", "pipeline", "graph", "executor", "metrics"},
    "deploy": {"face", "graph", "executor"},
    "plots": {"metrics", "dataset.stats"},
    # The written evaluation: it gets faces and predictions as arrays, and never runs a network.
    "report": {"metrics", "plots"},
    # The HTTP service: what deployment can do, behind a queue.
    "service": {"face", "deploy"},
    "app": {
        "recordio",
        "face",
        "metrics",
        "graph",
        "pipeline",
        "executor",
        "dataset",
        "engine",
        "deploy",
        "plots",
        "report",
        "service",
        "symbols",
    },
}
# Loaded where they are used, never by importing one of our modules.
LAZY = {"mxnet", "torch", "onnx", "onnxruntime", "matplotlib.pyplot", "h5py", "ray", "sklearn", "jinja2"}
# What may be imported at the top of a file after all: by those whose names start so, and by one another.
AT_HOME = {"torch": "torch_", "onnx": "onnx_"}
# They can run code from a data file.
UNSAFE = {"pickle", "joblib", "dill", "shelve", "marshal"}
MAX_LINES = 450
MAX_SCRIPT_LINES = 25
SKIPPED_FOLDERS = {".venv", "dataset", "models", "runs", "build", ".git"}


@dataclass(frozen=True)
class Import:
    """One imported module: who, whom, in which line, and whether at the top of the file."""

    importer: str
    imported: str
    line: int
    at_top: bool


def python_files(root: Path) -> list[Path]:
    """Every Python file of the checkout that is or will be tracked."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        return [root / name for name in listed.stdout.splitlines() if (root / name).is_file()]
    found = (path.relative_to(root) for path in root.rglob("*.py"))
    return [root / path for path in found if path.parts[0] not in SKIPPED_FOLDERS]


def module_name(path: Path, source: Path) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path) -> dict[str, Path]:
    source = root / "src"
    return {module_name(path, source): path for path in sorted(source.rglob("*.py"))}


def imports_of(name: str, path: Path, known: set[str]) -> Iterator[Import]:
    """Yield what a file imports, in functions as well; ``from a import b`` is a.b where that is a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    inner = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        at_top = id(node) not in inner
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno, at_top)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                whole = full if full in known or full in LAZY else base
                yield Import(name, whole, node.lineno, at_top)


def room_of(module: str) -> str:
    parts = module.split(".")
    if parts[-1] == "__main__":
        return "app"
    if module == "agegender":
        return "front"
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else "base"


@pytest.fixture(scope="module")
def ours(root: Path) -> list[Import]:
    known = modules(root)
    return [found for name, path in known.items() for found in imports_of(name, path, set(known))]


def test_every_room_is_in_the_table(root: Path) -> None:
    rooms = {path.name for path in (root / "src" / "agegender").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert {room for room in rooms if any((root / "src" / "agegender" / room).glob("*.py"))} <= set(MAY_IMPORT)


def test_rooms_import_in_one_direction(ours: list[Import]) -> None:
    wrong = []
    for found in ours:
        if found.imported == "symbols" or found.imported.startswith("symbols."):
            target, module = "symbols", "symbols"
        elif found.imported.startswith("agegender."):
            target, module = room_of(found.imported), found.imported.removeprefix("agegender.")
        else:
            continue
        here = room_of(found.importer)
        allowed = MAY_IMPORT[here]
        if target not in {here, "base"} and target not in allowed and module not in allowed:
            wrong.append(f"{found.importer}:{found.line} ({here}) imports {found.imported}")
    assert wrong == []


def test_modules_import_without_a_ring(ours: list[Import], root: Path) -> None:
    """Also those that are imported within functions: a ring is a ring, whenever it closes.

    But for what the package hands out on demand: everybody may ask it for its version.
    """
    known = modules(root)
    users: dict[str, set[str]] = {name: set() for name in known}
    for found in ours:
        # What the package hands out on demand closes no ring: everybody may ask it for its version.
        on_demand = found.importer == "agegender" and room_of(found.imported) == "deploy"
        if found.imported in known and found.imported != found.importer and not on_demand:
            users[found.importer].add(found.imported)
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for imported in sorted(users[name]):
                visit(imported, (*way, name))
            done.add(name)

    for name in known:
        visit(name, ())


def test_heavy_libraries_are_imported_where_they_are_used(ours: list[Import]) -> None:
    """But for torch, whose classes are inherited from, and onnx, whose types are everywhere: see ``AT_HOME``."""
    top = [found for found in ours if found.at_top]
    heavy = [
        each for each in top if any(each.imported == name or each.imported.startswith(f"{name}.") for name in LAZY)
    ]
    allowed: set[str] = set()
    for library, prefix in AT_HOME.items():
        users = {each.importer for each in heavy if each.imported.partition(".")[0] == library}
        before: set[str] = set()
        while users != before:
            before, named = users, [each for each in top if each.importer.rpartition(".")[2].startswith(prefix)]
            users = before | {each.importer for each in named if each.imported in before}
        assert [name for name in users if not name.rpartition(".")[2].startswith(prefix)] == []
        allowed |= users
    rest = [each for each in heavy if each.importer not in allowed]
    rest += [each for each in top if each.imported in allowed and each.importer not in allowed]
    assert [f"{found.importer}:{found.line} imports {found.imported}" for found in rest] == []


def test_nothing_is_unpickled(ours: list[Import]) -> None:
    unsafe = [found for found in ours if found.imported.partition(".")[0] in UNSAFE]
    assert [f"{found.importer}:{found.line} imports {found.imported}" for found in unsafe] == []


def test_networks_import_nothing_of_ours(root: Path) -> None:
    files = sorted((root / "symbols").rglob("*.py"))
    assert files
    found = [each for path in files for each in imports_of(module_name(path, root), path, set())]
    assert [f"{each.importer}:{each.line}" for each in found if each.imported.partition(".")[0] == "agegender"] == []


def test_folders_of_data_are_not_imported(root: Path) -> None:
    """``dataset`` and ``models`` exist as folders, so importing them would silently succeed."""
    wrong = []
    for path in python_files(root):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        for found in imports_of(name, path, set()):
            if found.imported.partition(".")[0] in ("dataset", "models", "runs"):
                wrong.append(f"{path.relative_to(root)}:{found.line} imports {found.imported}")
    assert wrong == []


def test_files_stay_short(root: Path) -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(root)}
    assert {str(path.relative_to(root)): count for path, count in lines.items() if count >= MAX_LINES} == {}
    scripts = {path.name: count for path, count in lines.items() if path.parent == root}
    assert scripts
    assert {name: count for name, count in scripts.items() if count > MAX_SCRIPT_LINES} == {}
