"""Fixtures that several packages' tests share."""

from pathlib import Path

import pytest

from tests.synthetic import make_dataset

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The two files that take the longest begin early: at the end, one would keep a core busy alone.

    Both start several processes, so they do not begin together.
    """
    items.sort(
        key=lambda item: (
            item.path.name != "test_learning.py",
            "trainer" in item.path.parts,
            item.path.name != "test_run.py",
        )
    )


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real recordings and reference outputs, where this checkout has them beside it."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real recordings is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of 7 episodes with 1 to 70 frames, in clips of 16; see tests/synthetic.py."""
    folder = tmp_path_factory.mktemp("small") / "dataset"
    make_dataset(folder, [[40, 16], [1, 70, 33], [15, 17]])
    return folder
