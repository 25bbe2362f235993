"""Recordings of a video and a `.jsonl` log: which files belong together, which copy of two is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.recording import Findings, Recording, Rejection
from pipeline.sources.source import Search, Source, duplicate
from pipeline.sources.tree import SourceFile, session_and_start, set_folder, stem, version_key


@dataclass(frozen=True, slots=True)
class _Pair:
    name: str
    version: str | None
    log: Path
    video: Path


def find_pairs(search: Search, source: Source, takes: Callable[[Path], bool] | None = None) -> Findings:
    """The recordings of a search that are a video and a `.jsonl` log of one name, by name.

    Args:
        search: where to look; the files of the recordings are claimed.
        source: the source that they are of.
        takes: whether a log is of that source; None: all are, and what lacks its other half is told, too.
    """
    tree = search.tree
    pairs, lone_logs, lone_videos = _pair(search)
    recordings: list[Recording] = []
    rejections: list[Rejection] = []
    by_name: dict[str, list[_Pair]] = {}
    for pair in pairs:
        by_name.setdefault(pair.name, []).append(pair)
    for name, copies in by_name.items():
        taken = max(copies, key=lambda pair: version_key(pair.version))  # the first of equals
        if takes is not None and not takes(taken.log):
            continue
        search.claimed.update(path for copy in copies for path in (copy.log, copy.video))
        rejections += [duplicate(name, copy.log, taken.log) for copy in copies if copy is not taken]
        session, start = session_and_start(name)
        recordings.append(
            Recording(
                name=name,
                source=source.name,
                video=taken.video,
                actions=taken.log,
                masks=tree.masks_of(name, set_folder(taken.log)),
                session=session,
                start_time=start,
                version=taken.version,
            )
        )
    if takes is None:
        rejections += [_missing("video", file, by_name, source) for file in lone_logs]
        rejections += [_missing("log", file, by_name, source) for file in lone_videos]
    return Findings(tuple(recordings), tuple(rejections))


def _pair(search: Search) -> tuple[list[_Pair], list[SourceFile], list[SourceFile]]:
    """Logs and videos of one name in one set; then, of those left over, the same name anywhere."""
    versions = search.versions
    waiting: dict[tuple[Path | None, str], list[SourceFile]] = {}
    for video in search.unclaimed(search.tree.videos):
        waiting.setdefault((set_folder(video.path), stem(video.path)), []).append(video)
    pairs: list[_Pair] = []
    lone: list[SourceFile] = []
    second: list[SourceFile] = []  # such as a.mkv beside a.mp4
    for log in search.unclaimed(search.tree.logs):
        found = waiting.pop((set_folder(log.path), stem(log.path)), None)
        if found:
            pairs.append(_make_pair(log, found[0], versions))
            second += found[1:]
        else:
            lone.append(log)

    # MineStudio's `videos` have the cursor burnt in: they go with nothing but a log of the same set.
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
    lone_videos = [video for files in (second, *waiting.values()) for video in files if video.path not in used]
    pairs.sort(key=lambda pair: (pair.name, pair.log))
    return pairs, lone_logs, lone_videos


def _make_pair(log: SourceFile, video: SourceFile, versions: Mapping[str, str]) -> _Pair:
    name = stem(log.path)
    return _Pair(name, log.version or video.version or versions.get(name), log.path, video.path)


def _same_version(log: SourceFile, video: SourceFile) -> bool:
    return log.version == video.version or log.version is None or video.version is None


def _missing(what: str, file: SourceFile, complete: Mapping[str, Sequence[_Pair]], source: Source) -> Rejection:
    name = stem(file.path)
    if name in complete:
        return duplicate(name, file.path, complete[name][0].log)
    num_frames = None
    if what == "video":
        num_frames = source.length(Recording(name, source.name, file.path, file.path))
        detail, wanted = (
            "the log has no video of the same name",
            "mp4 beside it, or in mp4 or videos beside jsonl",
        )
    else:
        detail, wanted = (
            "the video has no log of the same name",
            "jsonl beside it, or in jsonl beside mp4 or videos",
        )
    path, remedy = str(file.path), f"Put {name}.{wanted}."
    return Rejection(name, f"missing_{what}", detail, path, num_frames=num_frames, remedy=remedy)
