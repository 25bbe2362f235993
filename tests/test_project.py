"""What a project owes its users besides code: true dependencies, types, a licence."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OURS = ("configs", "pipeline", "shards", "trainer")
TOOLS = {"moto", "mypy", "pytest-timeout", "pytest-xdist", "ruff"}
"""Development programs and plugins, which nothing imports."""
NEEDED_BY_OTHERS = {"torchvision": "timm"}


def imported(*folders: str) -> set[str]:
    """Distributions that the modules of these folders import, by their names on the package index."""
    tops = set()
    for path in [path for folder in folders for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                tops |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                tops.add(node.module.split(".")[0])
    known = packages_distributions()
    others = tops - set(sys.stdlib_module_names) - {*OURS, "rocket1", "tests", "benchmarks"}
    return {_normal(known.get(top, [top])[0]) for top in others}


def listed(*requirements: str) -> set[str]:
    return {_normal(re.split(r"[\[<>=;! ]", text)[0]) for text in requirements}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_dependencies_are_what_the_packages_import():
    extras = PROJECT["optional-dependencies"]
    optional = listed(*[text for name, texts in extras.items() if name != "dev" for text in texts])
    required = listed(*PROJECT["dependencies"])
    found = imported(*OURS) - {"minestudio", "sam2"}  # installed apart, as their error says
    assert found - optional <= required
    assert required - found - set(NEEDED_BY_OTHERS) == set()


def test_development_dependencies_are_what_the_tests_import():
    dev = listed(*PROJECT["optional-dependencies"]["dev"]) - {"rocket1"}
    extras = listed(*[text for texts in PROJECT["optional-dependencies"].values() for text in texts])
    assert imported("tests") <= listed(*PROJECT["dependencies"]) | extras
    assert dev - TOOLS <= imported("tests")


def test_constraints_pin_every_dependency():
    pins = listed(
        *re.findall(r"^[\w.-]+==.*$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    wanted = listed(*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]) - {"rocket1"}
    assert wanted - pins == set()


@pytest.mark.parametrize("package", OURS)
def test_package_says_that_it_is_typed(package):
    assert (ROOT / package / "py.typed").is_file()


def test_licence_is_the_one_that_the_project_names():
    assert PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")
