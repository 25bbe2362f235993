"""Where recordings come from: the kinds of sources, and finding what is there."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.recording import Findings, Recording
from pipeline.rejection import Rejection, SourceError, printable
from pipeline.sources.contractor import Contractor
from pipeline.sources.index import looks_like_index, read_index
from pipeline.sources.minestudio import MineStudio
from pipeline.sources.minestudio_lmdb import MineStudioLmdb
from pipeline.sources.plain import Plain
from pipeline.sources.source import Source, duplicate
from pipeline.sources.tree import Search, list_files, version_key

SOURCES: dict[str, Source] = {
    source.name: source for source in (Contractor(), MineStudio(), MineStudioLmdb(), Plain())
}
"""All kinds, from the one with most left in it to the one with least: of two copies the earlier is taken."""


def source_of(recording: Recording) -> Source:
    """The source that reads a recording."""
    return SOURCES[recording.source]


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
    search = Search(list_files([root for root in roots if root not in given]), alone=source is not None)
    indexes = {path: read_index(path) for path in given}
    beside = [read_index(file.path) for file in search.ending(".json") if looks_like_index(file.path)]
    for names in (*indexes.values(), *beside):
        for name, version in names.items():
            if version is not None and version_key(version) > version_key(search.versions.get(name)):
                search.versions[name] = version

    asked = [SOURCES[source]] if source is not None else list(SOURCES.values())
    # The first kind takes what no other one claims, so it is asked last.
    found = [kind.find(search) for kind in reversed(asked)]
    recordings: dict[str, Recording] = {}
    rejections: list[Rejection] = []
    for findings in reversed(found):
        rejections += findings.rejections
        for recording in findings.recordings:
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
    known = {*recordings, *(rejection.recording for rejection in rejections)}
    rejections += [
        Rejection(name, "missing_recording", "masks without a recording of the same name", str(paths[0]))
        for name, paths in search.masks.items()
        if name not in known
    ]

    for recording in [recording for name, recording in recordings.items() if printable(name) != name]:
        del recordings[recording.name]
        rejections.append(
            Rejection(
                recording.name,
                "bad_name",
                "the file's name is not text in UTF-8",
                str(recording.actions),
                num_frames=SOURCES[recording.source].length(recording),
                remedy="Rename the recording's files.",
            )
        )

    known = {*recordings, *(rejection.recording for rejection in rejections)}
    for path, named in indexes.items():
        missing = [name for name in named if name not in known]
        rejections += [
            Rejection(name, "not_downloaded", f"named in {path.name}", str(path), remedy="Download it.")
            for name in missing
        ]
        known.update(missing)
    return Findings(
        tuple(sorted(recordings.values(), key=lambda r: (r.session, str(r.start_time or ""), r.name))),
        tuple(sorted(rejections, key=lambda r: (r.recording, r.reason, r.path or ""))),
    )
