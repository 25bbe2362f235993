"""rocket-prep segment: a mask file for each recording, whatever interrupts it.

MASKS/segment.json               what the masks are made with; written first
MASKS/<recording>.masks.jsonl    appears when the recording is done
"""

import json
import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.build.engines.tasks import Engine, Task, run_tasks
from pipeline.build.folder import refuse_difference
from pipeline.progress import ProgressReport
from pipeline.recording import Recording
from pipeline.segment.choice import TrackerChoice
from pipeline.segment.play import with_following
from pipeline.segment.settings import SegmentSettings
from pipeline.segment.task import masks_path, segment_recording
from pipeline.sources import find_recordings, source_of
from shards.display.wording import version_line
from shards.errors import RocketError
from shards.settings import flat

RUN_FILE = "segment.json"
_PROBE_THREADS = 16
_MAX_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class SegmentReport:
    """What is in a folder of masks after a run.

    Attributes:
        num_recordings: in the sources.
        num_done: mask files that are finished.
        num_made: by this run.
        num_mask_frames: frames' masks in all files.
        found: interactions by type.
        skipped: events that came to nothing, by a key of `stretches.SKIP_REASONS`.
        problems: recordings that could not be read, or not to their end, by reason.
        num_guessed: recordings without statistics.
    """

    out: Path
    num_recordings: int
    num_done: int
    num_made: int
    num_mask_frames: int
    found: Mapping[str, int]
    skipped: Mapping[str, int]
    problems: Mapping[str, int]
    num_guessed: int


def segment_recordings(
    sources: Sequence[Path],
    out: Path,
    settings: SegmentSettings,
    choice: TrackerChoice,
    engine: Engine,
    *,
    resume: bool = False,
    only: tuple[int, int] | None = None,
    source: str | None = None,
    progress: ProgressReport | None = None,
) -> SegmentReport:
    """The folder `out` has a mask file for each recording of the sources; with `only`, for its share of them.

    Args:
        sources: folders, files and index files, see `find_recordings`.
        out: does not exist or is empty; or holds masks made with the same, with `resume` or `only`.
        settings: what decides the masks, beside the tracker.
        choice: the tracker.
        engine: who works.
        resume: leave out the recordings that are done.
        only: (i, n): take each n-th recording, from the i-th on.
        source: the sources' kind; None: recognised.

    Raises:
        RocketError: the folder is in use otherwise, there is no recording, or something went wrong on the way;
            then, a second run with `resume` goes on.
    """
    progress = progress or ProgressReport()
    header = {
        "tracker": choice.factory,
        "model": choice.title,
        "revision": choice.revision,
        "device": choice.device,
        "made_with": version_line("rocket-prep"),
        "settings": settings.model_dump(mode="json"),
    }
    _begin(out, header, resume=resume or only is not None)
    findings = find_recordings(sources, source)
    if not findings.recordings:
        where = ", ".join(str(source) for source in sources)
        raise RocketError(
            f"{where}: nothing to segment, got no recording, expected videos with their logs, such as a.mp4 and "
            "a.jsonl. Give the folder that holds them."
        )
    mine = [
        (index, recording, following)
        for index, (recording, following) in enumerate(with_following(findings.recordings))
        if only is None or index % only[1] == only[0]
    ]
    waiting = [entry for entry in mine if not _is_done(masks_path(out, entry[1].name))]
    progress.start("looking", len(waiting), "recordings")
    with ThreadPoolExecutor(_PROBE_THREADS) as threads:
        lengths = []
        for num_frames in threads.map(lambda entry: source_of(entry[1]).length(entry[1]), waiting):
            lengths.append(num_frames or 0)
            progress.advance(1)
    tasks = [
        Task(
            index,
            recording.name,
            num_frames,
            out.absolute(),
            partial(segment_recording, recording, following, num_frames, settings, choice, out.absolute(), header),
        )
        for (index, recording, following), num_frames in zip(waiting, lengths, strict=True)
    ]
    progress.start("segmenting", sum(lengths), "frames")
    run_tasks(engine, tasks, progress, "recording")
    return _report(out, [recording for _, recording, _ in mine], len(findings.recordings), len(tasks))


def _begin(out: Path, header: dict[str, Any], *, resume: bool) -> None:
    """The folder holds masks that are made with the same, or none yet."""
    file = out / RUN_FILE
    try:
        if file.exists():
            refuse_difference(out, _identity(json.loads(file.read_bytes())), _identity(header))
            if not resume:
                raise RocketError(
                    f"{out}: holds masks already, expected an empty folder. Go on with --resume, or begin again: "
                    f"rm -r {shlex.quote(str(out))}"
                )
            return
        if out.exists() and any(out.iterdir()):
            raise RocketError(f"{out}: not empty and not made by segment. Choose another --out.")
        out.mkdir(parents=True, exist_ok=True)
        partial = out / f".{RUN_FILE}.{os.getpid()}.part"
        partial.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, file)
    except (OSError, json.JSONDecodeError) as error:
        raise RocketError(f"{out}: cannot be used, got {error}. Choose another --out.") from error


def _identity(header: dict[str, Any]) -> dict[str, Any]:
    """What must not change from one call to the next, as `refuse_difference` compares it."""
    tools = {key: value for key, value in header.items() if key != "settings"}
    return {"settings": flat(header.get("settings", {})), "tools": tools}


def _is_done(path: Path) -> bool:
    """Whether a recording has its masks; one that could not be read is tried again."""
    header = _header(path)
    return header is not None and "problem" not in header


def _header(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            header: dict[str, Any] = json.loads(file.readline(_MAX_HEADER_BYTES))
            return header
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RocketError(
            f"{path}: cannot be read, got {error}. Delete it, then run again with --resume."
        ) from error


def _report(out: Path, recordings: Sequence[Recording], num_recordings: int, num_made: int) -> SegmentReport:
    found, skipped, problems = Counter[str](), Counter[str](), Counter[str]()
    num_done = num_mask_frames = num_guessed = 0
    for recording in recordings:
        header = _header(masks_path(out, recording.name))
        if header is None:
            continue
        num_done += 1
        num_mask_frames += header["mask_frames"]
        found.update(header["found"])
        skipped.update(header["skipped"])
        problems.update([header["problem"]] if "problem" in header else [])
        num_guessed += "events_from" in header
    return SegmentReport(
        out, num_recordings, num_done, num_made, num_mask_frames, found, skipped, problems, num_guessed
    )
