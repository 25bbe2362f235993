"""Recordings of a video and a `.jsonl` log: which files belong together, which copy of two is taken."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.recording import Findings, Recording
from pipeline.rejection import Rejection
from pipeline.sources.source import Source, duplicate
from pipeline.sources.tree import Search, SourceFile, session_and_start, set_folder, stem, version_key

_Pair = tuple[SourceFile, SourceFile]  # a log and its video

_MISSING = {  # what is missing: what is said, and what to put where
    "video": ("the log has no video of the same name", "mp4 beside it, or in mp4 or videos beside jsonl"),
    "log": ("the video has no log of the same name", "jsonl beside it, or in jsonl beside mp4 or videos"),
}


def find_pairs(search: Search, source: Source, takes: Callable[[Path], bool] | None = None) -> Findings:
    """The recordings that are a video and a `.jsonl` log of one name, by name; their files are claimed.

    `takes` says whether a log is of that source; None: all are, and what lacks its other half is told, too.
    """
    pairs, lone_logs, lone_videos = _pair(search)
    recordings: list[Recording] = []
    rejections: list[Rejection] = []
    by_name: dict[str, list[_Pair]] = {}
    for log, video in sorted(pairs, key=lambda pair: (stem(pair[0].path), pair[0].path)):
        by_name.setdefault(stem(log.path), []).append((log, video))
    for name, copies in by_name.items():
        versions = [log.version or video.version or search.versions.get(name) for log, video in copies]
        newest = versions.index(max(versions, key=version_key))  # the first of equals
        log, video = copies[newest]
        if takes is not None and not takes(log.path):
            continue
        search.claimed.update(file.path for copy in copies for file in copy)
        rejections += [duplicate(name, other.path, log.path) for other, _ in copies if other is not log]
        session, start = session_and_start(name)
        recordings.append(
            Recording(
                name=name,
                source=source.name,
                video=video.path,
                actions=log.path,
                masks=search.masks_of(name, set_folder(log.path)),
                session=session,
                start_time=start,
                version=versions[newest],
            )
        )
    if takes is None:
        rejections += [_missing("video", file, by_name, source) for file in lone_logs]
        rejections += [_missing("log", file, by_name, source) for file in lone_videos]
    return Findings(tuple(recordings), tuple(rejections))


def _pair(search: Search) -> tuple[list[_Pair], list[SourceFile], list[SourceFile]]:
    """Logs and videos of one name in one set; then, of those left over, the same name anywhere."""
    waiting: dict[tuple[Path | None, str], list[SourceFile]] = {}
    for video in search.unclaimed(search.videos):
        waiting.setdefault((set_folder(video.path), stem(video.path)), []).append(video)
    pairs: list[_Pair] = []
    lone: list[SourceFile] = []
    second: list[SourceFile] = []  # such as a.mkv beside a.mp4
    for log in search.unclaimed(search.logs):
        found = waiting.pop((set_folder(log.path), stem(log.path)), None)
        if found:
            pairs.append((log, found[0]))
            second += found[1:]
        else:
            lone.append(log)

    # MineStudio's `videos` have the cursor burnt in: they go with nothing but a log of the same set.
    anywhere: dict[str, list[SourceFile]] = {}
    for video in (video for files in waiting.values() for video in files):
        if video.path.parent.name != "videos":
            anywhere.setdefault(stem(video.path), []).append(video)
    lone_logs: list[SourceFile] = []
    for log in lone:
        candidates = anywhere.get(stem(log.path), [])
        match = next((video for video in candidates if _same_version(log, video)), None)
        if match is None:
            lone_logs.append(log)
        else:
            candidates.remove(match)
            pairs.append((log, match))
    paired = {video.path for _, video in pairs}
    lone_videos = [video for files in (second, *waiting.values()) for video in files if video.path not in paired]
    return pairs, lone_logs, lone_videos


def _same_version(log: SourceFile, video: SourceFile) -> bool:
    return log.version == video.version or log.version is None or video.version is None


def _missing(what: str, file: SourceFile, complete: Mapping[str, Sequence[_Pair]], source: Source) -> Rejection:
    name = stem(file.path)
    if name in complete:
        return duplicate(name, file.path, complete[name][0][0].path)
    num_frames = source.length(Recording(name, source.name, file.path, file.path)) if what == "video" else None
    detail, wanted = _MISSING[what]
    path, remedy = str(file.path), f"Put {name}.{wanted}."
    return Rejection(name, f"missing_{what}", detail, path, num_frames=num_frames, remedy=remedy)
