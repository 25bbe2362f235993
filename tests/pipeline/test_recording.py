"""The records between sources and build."""

from __future__ import annotations

import pickle

from pipeline.rejection import SourceError


def test_source_error_survives_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(SourceError("x: bad", "wrong_schema")))
    assert (str(error), error.reason) == ("x: bad", "wrong_schema")
