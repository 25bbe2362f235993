"""Every reason for which something is left out is explained to the reader of the report."""

import ast
from pathlib import Path

import pipeline
from pipeline.rejection import REASONS, REMEDIES

ENDS_THE_BUILD = {"missing", "usage"}  # a source that is not there or not meant: told at once, never listed
PLACE_OF_REASON = {"Rejection": 1, "SourceError": 1, "Breakage": 1, "BadVideo": 0, "BadLine": 0, "rejection": 0}


def reasons_in(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLACE_OF_REASON:
            place = PLACE_OF_REASON[node.func.id]
            if len(node.args) > place and isinstance(node.args[place], ast.Constant):
                yield node.args[place].value


def test_every_reason_in_the_program_is_explained():
    found = {reason for path in Path(pipeline.__file__).parent.rglob("*.py") for reason in reasons_in(path)}
    assert len(found) > 15
    assert found - REASONS.keys() == ENDS_THE_BUILD


def test_every_remedy_is_for_a_known_reason():
    assert REMEDIES.keys() < REASONS.keys()
