"""OpenAI's released index files: which recordings there are, and the recorder version that each was made with.

    {"basedir": "https://...", "relpaths": ["data/10.0/<stem>.mp4", ...]}

Older ones name `8.0/<stem>`, without the extension.
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline.rejection import SourceError
from pipeline.sources.tree import is_version, version_key

_MAX_BYTES = 256 << 20
_HEAD_BYTES = 4096


def looks_like_index(path: Path) -> bool:
    """Whether a `.json` file's head names `basedir` and `relpaths`, as the released ones do."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return b'"relpaths"' in head and b'"basedir"' in head


def read_index(path: Path) -> Mapping[str, str | None]:
    """The recordings that an index names, in its order: stem -> version, the highest where a stem has several.

    Raises:
        SourceError: if the file is no index.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes")
        document = json.loads(path.read_bytes())
        relpaths = document["relpaths"]
        if not isinstance(relpaths, list) or not all(isinstance(relpath, str) for relpath in relpaths):
            raise ValueError("relpaths is no list of strings")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(
            f"{path}: not an index of recordings, got {type(error).__name__} {error}, expected an object with "
            '"basedir" and "relpaths". Give the index as OpenAI released it.'
        ) from error
    found: dict[str, str | None] = {}
    for relpath in relpaths:
        posix = PurePosixPath(relpath)
        stem = posix.name.removesuffix(".mp4")
        version = next((part for part in reversed(posix.parts[:-1]) if is_version(part)), None)
        if stem not in found or version_key(version) > version_key(found[stem]):
            found[stem] = version
    return found
