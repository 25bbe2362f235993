"""Where recordings come from. Every source module measures and loads; this package finds and dispatches.

`find_recordings(roots)` tells what is there, by names and the heads of logs; `measure(recording)` how long it is;
`load_log(recording, state)` gives its actions, `load_masks(recording)` its masks. The video is the file
`recording.video`, except in LMDB sets, where `video_chunks(recording)` gives the mp4 pieces that it is stored in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pipeline.recording import (
    DEFAULT_OPTIONS,
    EPISODE_START,
    CarryState,
    Extent,
    Findings,
    ReadOptions,
    Recording,
    RecordingContent,
    Rejection,
    SourceError,
    SourceName,
)
from pipeline.sources import contractor, minestudio, minestudio_lmdb, plain
from pipeline.sources.index import looks_like_index, read_index
from pipeline.sources.mask_files import load_masks_file
from pipeline.sources.masks import RecordingMasks
from pipeline.sources.minestudio_lmdb import VideoChunk, video_chunks
from pipeline.sources.pairs import duplicate, find_pairs
from pipeline.sources.tree import SourceTree, stem, version_key

SOURCES: tuple[SourceName, ...] = ("contractor", "minestudio", "lmdb", "plain")
"""All sources, from the one with most left in it to the one with least: of two copies the earlier is taken."""


class _Source(Protocol):
    def measure(self, recording: Recording, /) -> Extent: ...

    def load_log(self, recording: Recording, state: CarryState, options: ReadOptions, /) -> RecordingContent: ...


_MODULES: Mapping[SourceName, _Source] = {
    "contractor": contractor,
    "minestudio": minestudio,
    "lmdb": minestudio_lmdb,
    "plain": plain,
}


def find_recordings(roots: Sequence[Path], source: str | None = None) -> Findings:
    """All recordings under the given folders and files, sorted, each name once; and what was left out.

    Nothing but names, listings and the first lines of logs is read.

    Args:
        roots: folders to search through, single videos or logs, and OpenAI's index files. An index that is named
            here makes the recordings that it names and that are not there count as left out; one that lies in a
            folder only tells recorder versions.
        source: one of `SOURCES`, to take what is found for that and nothing else; None: each is recognised.

    Raises:
        SourceError: if a root does not exist, or `source` is none.
    """
    if source is not None and source not in SOURCES:
        raise SourceError(f"--source: got {source!r}, expected one of {', '.join(SOURCES)}.", "usage")
    given = [root for root in roots if root.suffix == ".json" and root.is_file()]
    tree = SourceTree.of([root for root in roots if root not in given])
    indexes = {path: read_index(path) for path in given}
    versions: dict[str, str] = {}
    for path in (*given, *(file.path for file in tree.documents if looks_like_index(file.path))):
        for name, version in (indexes[path] if path in indexes else read_index(path)).items():
            if version is not None and version_key(version) > version_key(versions.get(name)):
                versions[name] = version

    recordings: dict[str, Recording] = {}
    rejections: list[Rejection] = []
    for found in _search(tree, source, versions):
        rejections += found.rejections
        for recording in found.recordings:
            taken = recordings.setdefault(recording.name, recording)
            if taken is not recording:
                rejections.append(duplicate(recording.name, recording.actions, taken.actions))
    # What lacks its other half here may be whole in another source.
    rejections = [
        duplicate(r.recording, Path(r.path), recordings[r.recording].actions)
        if r.reason in ("missing_video", "missing_log") and r.recording in recordings and r.path is not None
        else r
        for r in rejections
    ]
    rejections += _lone_masks(tree, {*recordings, *(rejection.recording for rejection in rejections)})

    for name in [name for name in recordings if not _is_text(name)]:
        rejections.append(
            Rejection(
                name,
                "bad_name",
                "the file's name is not text in UTF-8",
                str(recordings.pop(name).actions),
                remedy="Rename the recording's files.",
            )
        )

    known = {*recordings, *(rejection.recording for rejection in rejections)}
    for path, names in indexes.items():
        missing = [name for name in names if name not in known]
        rejections += [
            Rejection(name, "not_downloaded", f"named in {path.name}", str(path), remedy="Download it.")
            for name in missing
        ]
        known.update(missing)
    return Findings(
        tuple(sorted(recordings.values(), key=lambda r: (r.session, str(r.start_time or ""), r.name))),
        tuple(sorted(rejections, key=lambda r: (r.recording, r.reason, r.path or ""))),
    )


def _search(tree: SourceTree, source: str | None, versions: Mapping[str, str]) -> Iterator[Findings]:
    """What each source finds, the one to be preferred first."""
    converted = Findings((), ())
    claimed: frozenset[Path] = frozenset()
    if source in (None, "minestudio"):
        converted, claimed = minestudio.find(tree, by_folder_names=source is None)
    if source in (None, "contractor", "plain"):
        yield find_pairs(tree, source, versions, claimed)
    yield converted
    if source in (None, "lmdb"):
        yield minestudio_lmdb.find(tree.environments)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lone_masks(tree: SourceTree, known: set[str]) -> list[Rejection]:
    lone: dict[str, Path] = {}
    for file in tree.masks:
        if stem(file.path) not in known:
            lone.setdefault(stem(file.path), file.path)
    return [
        Rejection(name, "missing_recording", "masks without a recording of the same name", str(path))
        for name, path in lone.items()
    ]


def measure(recording: Recording) -> Extent:
    """How long a recording is, and how old its world is at both ends; reads as little as the source allows.

    Raises:
        SourceError: if the log cannot be read.
    """
    return _MODULES[recording.source].measure(recording)


def load_log(
    recording: Recording, state: CarryState = EPISODE_START, options: ReadOptions = DEFAULT_OPTIONS
) -> RecordingContent:
    """A recording's actions, up to the first bad line; `content.breakage` tells why there are no more.

    Args:
        recording: which.
        state: `content.state` of the episode's previous recording; the default starts an episode.
        options: how to read.

    Raises:
        SourceError: if nothing of the log can be read.
    """
    return _MODULES[recording.source].load_log(recording, state, options)


def load_masks(recording: Recording) -> RecordingMasks | None:
    """A recording's masks; None if it has none. Entries that are bad are in `problems`, all others are there.

    Raises:
        SourceError: if the masks as a whole cannot be read; the recording can be used without them.
    """
    if recording.masks is None:
        return None
    try:
        if recording.source == "lmdb":
            return minestudio_lmdb.load_masks(recording)
        return load_masks_file(recording.masks)
    except SourceError as error:
        raise SourceError(str(error), "masks_unreadable") from error


__all__ = ["SOURCES", "VideoChunk", "find_recordings", "load_log", "load_masks", "measure", "video_chunks"]
