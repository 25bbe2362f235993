"""One session of recordings and its dataset, for all tests that change neither."""

from pathlib import Path

import pytest

from pipeline.build.job import BuildReport, build_shards
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import TINY, TinyRecording, write_session


@pytest.fixture(scope="package")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TinyRecording]]:
    """Its folder, and its recordings."""
    folder = tmp_path_factory.mktemp("session")
    return folder, write_session(folder)


@pytest.fixture(scope="package")
def dataset(
    session: tuple[Path, list[TinyRecording]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, BuildReport]:
    """Its folder, and what its build reported."""
    out = tmp_path_factory.mktemp("built") / "dataset"
    return out, build_shards([session[0]], out, TINY, InlineEngine())
