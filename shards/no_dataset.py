"""What to say of a path that is no dataset: what it is instead, and what to do."""

import shlex
from pathlib import Path

from shards.manifest import INFO_FILE

_BUILD_FOLDER = ".build"
_VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi")
_LIMIT_LOOKED_AT = 2000


def why_no_dataset(path: str) -> str:
    """One line for a folder or address without a dataset.json."""
    if "://" in path:
        return f"{path}: no {INFO_FILE} there, so it is no finished dataset. Check the address."
    place = Path(path)
    if place.is_file():
        if (place.parent / INFO_FILE).is_file():
            return f"{path}: a file of a dataset, expected its folder. Use {shlex.quote(str(place.parent))}"
        return f"{path}: a file, expected a dataset's folder. Build one: {_build(path)}"
    if not place.is_dir():
        from shards.settings import nearest  # it imports pydantic, which opening a dataset needs not

        try:
            meant = nearest(place.name, sorted(one.name for one in place.parent.iterdir()))
        except OSError:
            meant = None
        hint = f" Did you mean {place.with_name(meant)}?" if meant else " Check the path."
        return f"{path}: no such folder, expected a dataset.{hint}"
    if (place / _BUILD_FOLDER).is_dir():
        return (
            f"{path}: no {INFO_FILE}, so its build did not finish. Go on with it: rocket-prep build-shards "
            f"SOURCE --out {shlex.quote(path)} --resume"
        )
    if any(place.glob("[0-9]*.tar")):
        return f"{path}: shards, but no {INFO_FILE}, so the copy is not whole. Copy the whole dataset again."
    for number, one in enumerate(place.rglob("*")):
        if one.suffix in _VIDEO_SUFFIXES or one.name == "data.mdb":
            return f"{path}: recordings, expected a dataset. Build one from them: {_build(path)}"
        if one.name == INFO_FILE:
            return f"{path}: no dataset itself, but {one.parent} is one. Use that."
        if number > _LIMIT_LOOKED_AT:
            break
    return (
        f"{path}: no {INFO_FILE}, so there is no dataset here. Build one: rocket-prep build-shards SOURCE --out "
        f"{shlex.quote(path.rstrip('/') + '-shards')}"
    )


def _build(source: str) -> str:
    return f"rocket-prep build-shards {shlex.quote(source)} --out {shlex.quote(source.rstrip('/') + '-shards')}"
