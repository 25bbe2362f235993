"""Recordings of a video and a `.jsonl` log: which files belong together, which copy of two is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.episodes.grouping import session_and_start
from pipeline.recording import Findings, Recording, Rejection, SourceError
from pipeline.sources.contractor import is_recorder_line
from pipeline.sources.files.json_lines import BadLine, parse_line, read_first_line
from pipeline.sources.tree import SourceFile, SourceTree, set_folder, stem, version_key


@dataclass(frozen=True, slots=True)
class _Pair:
    name: str
    version: str | None
    log: Path
    video: Path


def find_pairs(
    tree: SourceTree, source: str | None, versions: Mapping[str, str], claimed: frozenset[Path]
) -> Findings:
    """The contractor's and plain recordings of a tree, by name.

    Args:
        tree: the files.
        source: "contractor" or "plain" for all of them; None: each log's first line tells.
        versions: recorder versions by name, from index files; a folder's own version is preferred.
        claimed: videos that belong to another source.
    """
    videos = [file for file in tree.videos if file.path not in claimed]
    pairs, lone_logs, lone_videos = _pair(tree.logs, videos, versions)
    recordings: list[Recording] = []
    rejections: list[Rejection] = []
    masks = tree.masks_of()
    by_name: dict[str, list[_Pair]] = {}
    for pair in pairs:
        by_name.setdefault(pair.name, []).append(pair)
    for name, copies in by_name.items():
        taken = max(copies, key=lambda pair: version_key(pair.version))  # the first of equals
        rejections += [duplicate(name, copy.log, taken.log) for copy in copies if copy is not taken]
        kind = source or _kind_of(taken.log)
        session, start = session_and_start(name)
        recordings.append(
            Recording(
                name=name,
                source="plain" if kind == "plain" else "contractor",
                video=taken.video,
                actions=taken.log,
                masks=masks.find(name, set_folder(taken.log)),
                session=session,
                start_time=start,
                version=taken.version,
            )
        )
    rejections += [_missing("video", file, by_name) for file in lone_logs]
    rejections += [_missing("log", file, by_name) for file in lone_videos]
    return Findings(tuple(recordings), tuple(rejections))


def duplicate(name: str, left_out: Path, taken: Path) -> Rejection:
    """The account of a copy that is left out."""
    return Rejection(name, "duplicate", f"taken from {taken}", path=str(left_out))


def _pair(
    logs: Sequence[SourceFile], videos: Sequence[SourceFile], versions: Mapping[str, str]
) -> tuple[list[_Pair], list[SourceFile], list[SourceFile]]:
    """Logs and videos of one name in one set; then, of those left over, the same name anywhere."""
    waiting: dict[tuple[Path | None, str], list[SourceFile]] = {}
    for video in videos:
        waiting.setdefault((set_folder(video.path), stem(video.path)), []).append(video)
    pairs: list[_Pair] = []
    lone: list[SourceFile] = []
    for log in logs:
        found = waiting.pop((set_folder(log.path), stem(log.path)), None)
        if found:
            pairs.append(_make_pair(log, found[0], versions))
        else:
            lone.append(log)

    # MineStudio's `videos` have the cursor burnt in: they go with nothing but a log in the same folder.
    anywhere: dict[str, list[SourceFile]] = {}
    for files in waiting.values():
        for video in files:
            if video.path.parent.name != "videos":
                anywhere.setdefault(stem(video.path), []).append(video)
    used: set[Path] = set()
    lone_logs: list[SourceFile] = []
    for log in lone:
        fitting = [v for v in anywhere.get(stem(log.path), []) if _same_version(log, v) and v.path not in used]
        if fitting:
            used.add(fitting[0].path)
            pairs.append(_make_pair(log, fitting[0], versions))
        else:
            lone_logs.append(log)
    lone_videos = [video for files in waiting.values() for video in files if video.path not in used]
    pairs.sort(key=lambda pair: (pair.name, pair.log))
    return pairs, lone_logs, lone_videos


def _make_pair(log: SourceFile, video: SourceFile, versions: Mapping[str, str]) -> _Pair:
    name = stem(log.path)
    return _Pair(name, log.version or video.version or versions.get(name), log.path, video.path)


def _same_version(log: SourceFile, video: SourceFile) -> bool:
    return log.version == video.version or log.version is None or video.version is None


def _kind_of(log: Path) -> str:
    """What wrote a log, by its first line; a log that does not tell is taken for the recorder's."""
    try:
        first = read_first_line(log)
        return "contractor" if first is None or is_recorder_line(parse_line(first)) else "plain"
    except (BadLine, SourceError):
        return "contractor"  # reading it tells what is wrong


def _missing(what: str, file: SourceFile, complete: Mapping[str, Sequence[_Pair]]) -> Rejection:
    name = stem(file.path)
    if name in complete:
        return duplicate(name, file.path, complete[name][0].log)
    if what == "video":
        detail, wanted = "the log has no video of the same name", "mp4 beside it, or in mp4 beside jsonl"
    else:
        detail, wanted = "the video has no log of the same name", "jsonl beside it, or in jsonl beside mp4"
    return Rejection(name, f"missing_{what}", detail, str(file.path), remedy=f"Put {name}.{wanted}.")
