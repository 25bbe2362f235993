"""Reading a log's lines and its ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.rejection import SourceError
from pipeline.sources.files.json_lines import (
    MAX_LINE_BYTES,
    count_lines,
    read_first_line,
    read_last_line,
    read_lines,
)


def log(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "first", "last", "num_lines"),
    [
        (b"", None, None, 0),
        (b"\n\n", b"\n", None, 0),
        (b"{}", b"{}", b"{}", 1),
        (b"{1}\n{2}\n", b"{1}\n", b"{2}", 2),
        (b"{1}\n{2}", b"{1}\n", b"{2}", 2),
        (b"{1}\n\n{2}\r\n \n\n", b"{1}\n", b"{2}", 3),
    ],
)
def test_ends_and_number_of_lines(
    tmp_path: Path, content: bytes, first: bytes | None, last: bytes | None, num_lines: int
) -> None:
    path = log(tmp_path, content)
    assert (read_first_line(path), read_last_line(path), count_lines(path)) == (first, last, num_lines)


@pytest.mark.parametrize("size", [10, 1 << 14, (1 << 14) + 1, 300_000, MAX_LINE_BYTES - 1])
def test_last_line_is_found_whatever_its_length(tmp_path: Path, size: int) -> None:
    assert read_last_line(log(tmp_path, b"{}\n" * 9 + b"x" * size + b"\n")) == b"x" * size
    assert read_last_line(log(tmp_path, b"x" * size)) == b"x" * size


def test_last_line_longer_than_any_real_one_is_not_read_to_its_start(tmp_path: Path) -> None:
    assert read_last_line(log(tmp_path, b"{}\n" + b"x" * (70 << 20))) is None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b"{}", b'{"a": 1}', b"", b" ", b"[", b"\xff", b"\0"]), max_size=8), st.booleans())
def test_lines_are_taken_in_order_up_to_the_first_bad_one(tmp_path: Path, lines: list[bytes], ended: bool) -> None:
    path = log(tmp_path, b"\n".join(lines) + b"\n" * ended)
    taken: list[dict[str, object]] = []
    read = read_lines(path, taken.append)
    solid = list(lines)
    while solid and not solid[-1].strip():
        solid.pop()
    good = next((place for place, line in enumerate(solid) if not line.startswith(b"{")), len(solid))
    assert len(taken) == good
    assert read.num_lines == len(solid) == count_lines(path)
    assert (read.breakage.first_frame if read.breakage else len(solid)) == good


@pytest.mark.parametrize("read", [read_first_line, read_last_line, count_lines, lambda path: read_lines(path, id)])
def test_log_that_is_not_there_is_named(tmp_path: Path, read: object) -> None:
    with pytest.raises(SourceError, match=r"none\.jsonl: cannot be read, got No such file or directory\. Check"):
        read(tmp_path / "none.jsonl")  # type: ignore[operator]
