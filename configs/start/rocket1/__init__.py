"""Where both commands start, under a name that no other project uses.

`pipeline`, `shards`, `trainer` and `configs` are common names: other distributions install packages of the same
names, and Python imports whichever comes first. Here that is noticed, and said in one line. This package is
installed beside them; pyproject.toml says so.
"""

import importlib
import importlib.util
import os
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

PACKAGES = ("configs", "pipeline", "shards", "trainer")


def prep() -> None:
    """Run rocket-prep."""
    _run("pipeline.cli")


def train() -> None:
    """Run rocket-train."""
    _run("trainer.cli")


def _run(command: str) -> None:
    os.environ["PYTHONSAFEPATH"] = "1"  # no process that is started from here imports from the current folder
    here = next(
        folder for folder in Path(__file__).resolve().parents if all((folder / name).is_dir() for name in PACKAGES)
    )
    clash = next((found for name in PACKAGES if (found := _elsewhere(name, here)) is not None), None)
    if clash is None:
        try:
            importlib.import_module(command).main()
        except ImportError as error:
            clash = _overwritten(error)
            if clash is None:
                raise
    if clash is not None:
        sys.exit(
            f"error: {clash}. Install rocket1 into an environment of its own: python3 -m venv ENV && "
            "ENV/bin/pip install FOLDER_OF_ROCKET1"
        )


def _elsewhere(name: str, here: Path) -> str | None:
    """What is wrong if Python would import another package of this name; None if it is this project's."""
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    if (here / name).resolve() in [Path(place).resolve() for place in places[:1]]:
        return None
    return f"{name}: this project's package is hidden by {_owners(name)}{f' ({places[0]})' if places else ''}"


def _overwritten(error: ImportError) -> str | None:
    """What is wrong if another distribution has written into one of this project's packages."""
    name = (error.name or "").partition(".")[0]
    others = set(packages_distributions().get(name, [])) - {"rocket1"}
    if name not in PACKAGES or not others:
        return None
    return f"{name}: {_owners(name)} has installed a package of the same name over this project's"


def _owners(name: str) -> str:
    others = sorted(set(packages_distributions().get(name, [])) - {"rocket1"})
    return f"the distribution {' and '.join(others)}" if others else "another package of that name"
