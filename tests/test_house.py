"""The shape of the house: who may import whom, and what the README says is there."""

import ast
import fnmatch
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "shards", "trainer")


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imports(path: Path, *, at_once: bool = False) -> Iterator[str]:
    """The dotted names that a module imports, at once or ever, `from a import b` as `a.b`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("shards", ("pipeline", "trainer", "torch", "lightning")),
        ("pipeline", ("trainer", "torch", "lightning")),
        ("trainer", ("pipeline",)),
    ],
)
def test_packages_import_only_what_lies_below_them(package, forbidden):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in _modules(package)
        for name in _imports(path)
        if name.split(".")[0] in forbidden
    ]
    # The one model that the pipeline runs, behind an extra.
    assert [line for line in wrong if line != "pipeline/segment/sam2.py imports torch"] == []


def test_nothing_imports_a_command_line():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in PACKAGES
        for path in _modules(package)
        for name in _imports(path)
        if name.split(".")[0] in PACKAGES and "cli" in name.split(".")
    ]
    assert wrong == []


def test_no_module_shadows_the_standard_librarys_inspect():
    assert [path for package in PACKAGES for path in _modules(package) if path.name == "inspect.py"] == []


LAYERS = {
    "shards": ["storage", "schedule", "display"],
    "pipeline": ["sources", "episodes", "transcode", "build look", "sample segment"],
    "trainer": ["policy", "data", "checkpoints", "learning", "callbacks", "look", "play"],
}
"""Sub-packages, lowest first: each imports only those before it; those of one line may import each other."""


@pytest.mark.parametrize("package", PACKAGES)
def test_sub_packages_import_only_those_below_them(package):
    floor = {name: floor for floor, names in enumerate(LAYERS[package]) for name in names.split()}
    folders = {path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").is_file()}
    assert floor.keys() == folders
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in folders
        for path in sorted((ROOT / package / folder).rglob("*.py"))
        for name in _imports(path)
        if name.split(".")[0] == package and floor.get(name.split(".")[1], -1) > floor[folder]
    ]
    assert wrong == []


def _paths() -> dict[str, Path]:
    """The file of every module of ours."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in _modules(package)
    }


def _imported_modules() -> dict[str, set[str]]:
    """Every module of ours, and those of ours that it imports."""
    paths = _paths()
    imported: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        for dotted in _imports(path):
            parts = dotted.split(".")
            parents = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
            module = next((parent for parent in parents if parent in paths), name)
            imported[name] |= {module} - {name}
    return imported


def test_no_modules_import_each_other_in_a_circle():
    # Also not inside functions or for type checkers alone: a reader has to follow those as well.
    tuple(graphlib.TopologicalSorter(_imported_modules()).static_order())


def test_a_dry_run_loads_neither_lightning_nor_timm_at_once():
    # Both take seconds. A policy that was counted before needs no timm.
    paths, loaded, waiting = _paths(), set(), ["trainer.dry_run"]
    while waiting:
        name = waiting.pop()
        if name in loaded:
            continue
        loaded.add(name)
        waiting += [".".join(name.split(".")[:count]) for count in range(1, name.count(".") + 1)]
        waiting += _imports(paths[name], at_once=True) if name in paths else []
    assert "trainer.plan" in loaded
    assert [name for name in loaded if name.split(".")[0] in {"lightning", "timm"}] == []


def test_pytest_passes_over_no_folder_of_tests(pytestconfig):
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert ROOT / "tests/pipeline/build" in folders  # a name that pytest leaves out by default
    for pattern in pytestconfig.getini("norecursedirs"):
        assert [str(folder) for folder in folders if fnmatch.fnmatch(folder.name, pattern)] == []
