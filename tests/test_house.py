"""The shape of the house: who may import whom, and what the README says is there."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "shards", "trainer")


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    """The dotted names that a module imports, `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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
    assert wrong == []


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
