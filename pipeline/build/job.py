"""rocket-prep build-shards: from sources to a dataset, whatever interrupts it.

    find, plan -> (groups that are not finished) -> engine -> parts -> shards -> manifest

All state lies in the output folder (see folder.py), so that a second start goes on where the first ended.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.build.engines.tasks import Engine, run_tasks
from pipeline.build.folder import BuildFolder, PartRecord, cannot_write, part_path, refuse_difference
from pipeline.build.group import group_task
from pipeline.build.plan import make_plan
from pipeline.episodes.groups import BuildPlan
from pipeline.progress import ProgressReport
from pipeline.recording import Findings
from pipeline.settings import BuildSettings
from pipeline.sources import find_recordings
from pipeline.transcode.ffmpeg import find_ffmpeg, tool_versions
from shards.errors import RocketError
from shards.manifest import INFO_FILE, DatasetInfo, EpisodeRow, shard_name
from shards.manifest_writer import write_manifest
from shards.reader import open_dataset
from shards.writer import join_parts


@dataclass(frozen=True)
class BuildReport:
    """What a run of build-shards did.

    Attributes:
        out: the dataset's folder.
        info: of the dataset; None where this run built only a share of the parts.
        num_built: groups that this run built.
        num_groups: groups in all.
        rejected: what was left out, as in rejected.jsonl; of a share: what is known before the start.
    """

    out: Path
    info: DatasetInfo | None
    num_built: int
    num_groups: int
    rejected: Sequence[Mapping[str, Any]]


def build_shards(
    sources: Sequence[Path],
    out: Path,
    settings: BuildSettings,
    engine: Engine,
    *,
    resume: bool = False,
    only: tuple[int, int] | None = None,
    source: str | None = None,
    progress: ProgressReport | None = None,
) -> BuildReport:
    """The folder `out` is a dataset of the sources' recordings; with `only`, its share of the parts is built.

    Args:
        sources: folders, files and index files, see `find_recordings`.
        out: does not exist or is empty; or an unfinished build of the same, with `resume` or `only`.
        settings: what decides the output.
        engine: who builds the groups; does not change a byte.
        resume: go on with an unfinished build.
        only: (i, n): build the groups whose number divided by n leaves i, and stop.
        source: the sources' kind; None: recognised.

    Raises:
        RocketError: the folder is in use otherwise, there is nothing to build, or something went wrong on the way;
            then, a second run with `resume` goes on.
    """
    progress = progress or ProgressReport()
    folder = BuildFolder(out)
    tools = tool_versions()
    folder.refuse_foreign_content(resume=resume or only is not None or folder.shared_mark.exists())
    if (out / INFO_FILE).exists():
        return _finished_before(folder, find_recordings(sources, source), settings, tools)
    progress.note(f"Encoding with {find_ffmpeg()}")
    findings = find_recordings(sources, source)
    progress.start("looking", len(findings.recordings), "recordings")
    plan = make_plan(findings, settings, progress.advance)
    rejected = [asdict(rejection) for rejection in plan.rejections]
    if not plan.groups:
        raise _nothing(sources, rejected)
    existed = out.exists()
    with folder.locked(shared=only is not None):
        folder.begin({"settings": settings.model_dump(), "tools": tools, **plan.to_record()})
        if only is not None:
            folder.shared_mark.touch()
        else:
            folder.clear_work()
        num_built = _run(plan, folder, settings, engine, only, progress)
        if only is not None:
            return BuildReport(out, None, num_built, len(plan.groups), rejected)
        try:
            info = _join(plan, folder, sources, settings, tools, rejected, progress)
        except OSError as error:
            raise RocketError(cannot_write(error, out)) from error
    folder.remove()
    if info is None:
        if not existed:
            out.rmdir()
        raise _nothing(sources, rejected)
    return BuildReport(out, info, num_built, len(plan.groups), rejected)


def _without_place(row: Mapping[str, Any], sources: Sequence[Path]) -> dict[str, Any]:
    """The row with paths counted from the sources: where they lie must not change the dataset's bytes."""
    places = {str(source.parent if source.is_file() else source) for source in sources}
    places |= {os.path.abspath(place) for place in places}
    shortened = dict(row)
    for key in ("path", "detail", "remedy"):
        for place in sorted(places, key=len, reverse=True):
            if shortened[key] is not None:
                shortened[key] = shortened[key].replace(place.rstrip("/") + "/", "")
    return shortened


def _run(
    plan: BuildPlan,
    folder: BuildFolder,
    settings: BuildSettings,
    engine: Engine,
    only: tuple[int, int] | None,
    progress: ProgressReport,
) -> int:
    """All groups, or this share of them, are finished; returns how many were built now."""
    mine = [group for group in plan.groups if only is None or group.index % only[1] == only[0]]
    waiting = {group.index for group in plan.groups if not folder.is_finished(group.index)}
    missing = [group for group in mine if group.index in waiting]
    progress.start("building", sum(group.num_frames for group in mine), "frames")
    progress.advance(sum(group.num_frames for group in mine) - sum(group.num_frames for group in missing))
    parts, work = folder.parts.absolute(), folder.work.absolute()

    def done(index: int) -> None:
        """A shard is joined once its last part is finished, so that parts do not pile up on the disk."""
        waiting.discard(index)
        shard = plan.groups[index].shard
        if only is None and waiting.isdisjoint(plan.shards[shard]):
            try:
                _join_shard(folder, shard, plan.shards[shard])
            except OSError as error:
                raise RocketError(cannot_write(error, folder.shards)) from error

    tasks = [group_task(group, settings, parts, work) for group in missing]
    run_tasks(engine, tasks, progress, "group", done)
    return len(missing)


def _join_shard(folder: BuildFolder, shard: int, groups: Sequence[int]) -> None:
    target = folder.shards / shard_name(shard)
    parts = [(part_path(folder.parts, group), PartRecord.read(folder.parts, group).episodes) for group in groups]
    filled = [(path, episodes) for path, episodes in parts if episodes]
    if filled and not target.exists():
        join_parts(filled, target)
    for path, _ in parts:
        path.unlink(missing_ok=True)


def _join(
    plan: BuildPlan,
    folder: BuildFolder,
    sources: Sequence[Path],
    settings: BuildSettings,
    tools: Mapping[str, str],
    rejected: list[dict[str, Any]],
    progress: ProgressReport,
) -> DatasetInfo | None:
    """All parts are joined, moved and described; None where no episode came out of them.

    `rejected` has what was left out before; what was left out of the parts comes to it.
    """
    filled: list[list[int]] = []
    num_noops = 0
    progress.start("joining", len(plan.shards), "shards")
    for shard, groups in enumerate(plan.shards):
        records = [PartRecord.read(folder.parts, group) for group in groups]
        for record in records:
            rejected += record.rejections
            num_noops += record.num_noops
        if any(record.episodes for record in records):
            final = folder.out / shard_name(len(filled))
            filled.append(groups)
            # After a crash: whatever lies under the final or the joined name was complete when it got there.
            if not final.exists():
                _join_shard(folder, shard, groups)
                (folder.shards / shard_name(shard)).rename(final)
        progress.advance(1)
    rejected.sort(key=lambda row: (row["recording"], row["first_frame"], row["reason"]))
    if not filled:
        return None
    return write_manifest(
        folder.out,
        (_rows(folder, groups) for groups in filled),
        (_without_place(row, sources) for row in rejected),
        num_noop_frames=num_noops,
        frame_size_px=(settings.frame_width, settings.frame_height),
        clip_frames=settings.clip_frames,
        keyframe_interval=settings.keyframe_interval,
        codec=settings.codec_record(),
        tools=tools,
        settings=settings.model_dump(),
    )


def _rows(folder: BuildFolder, groups: Sequence[int]) -> list[EpisodeRow]:
    """A shard's episodes, their bytes counted from its start."""
    rows: list[EpisodeRow] = []
    num_bytes = 0
    for group in groups:
        episodes = PartRecord.read(folder.parts, group).episodes
        rows += [episode.moved(num_bytes) for episode in episodes]
        num_bytes += episodes[-1].stop_byte if episodes else 0
    return rows


def _finished_before(
    folder: BuildFolder, findings: Findings, settings: BuildSettings, tools: Mapping[str, str]
) -> BuildReport:
    """The report of a dataset that an earlier run finished, with the same settings, tools and recordings."""
    dataset = open_dataset(str(folder.out))
    before = {"settings": dataset.info.settings, "tools": dataset.info.tools}
    refuse_difference(folder.out, before, {"settings": settings.model_dump(), "tools": tools})
    rejected = dataset.rejected()
    used = dataset.column("recordings").combine_chunks().flatten().field("name").to_pylist()
    known = {*used, *(row["recording"] for row in rejected)}
    found = {one.name for one in findings.recordings} | {one.recording for one in findings.rejections}
    _refuse_other_recordings(folder.out, found - known, known - found)
    folder.remove()
    return BuildReport(folder.out, dataset.info, 0, 0, rejected)


def _refuse_other_recordings(out: Path, new: set[str], gone: set[str]) -> None:
    if new:
        second = shlex.quote(f"{out}-2")
        raise RocketError(
            f"{out}: this dataset is finished, but the sources hold recordings that were not there when it was "
            f"built: {_first_of(new)}. Build those alone into a second dataset and train on both: "
            f"rocket-prep build-shards NEW_RECORDINGS --out {second}, then "
            f"{shlex.quote(f'data.datasets={out},{out}-2')}"
        )
    if gone:
        raise RocketError(
            f"{out}: this dataset is finished, but the sources lack recordings that it was built from: "
            f"{_first_of(gone)}. Give all of its sources, or build these into another --out."
        )


def _first_of(names: set[str]) -> str:
    return min(names) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _nothing(sources: Sequence[Path], rejected: Sequence[Mapping[str, Any]]) -> RocketError:
    where = ", ".join(str(source) for source in sources)
    if not rejected:
        return RocketError(
            f"{where}: nothing to build, got no recording, expected videos with logs of the same name (a.mp4 and "
            "a.jsonl, in one folder or in folders such as videos and jsonl side by side), MineStudio's "
            "videos/a.mp4 and actions/a.pkl, or its LMDB sets. Give the folder that holds them, and name their "
            "kind with --source where it is not recognised."
        )
    first = rejected[0]
    more = f" (and {len(rejected) - 1} more)" if len(rejected) > 1 else ""
    remedy = first["remedy"] or "Give recordings that are whole."
    return RocketError(
        f"{where}: nothing usable, got {first['path'] or first['recording']}: {first['reason']}, "
        f"{first['detail'].rstrip('.')}{more}. {remedy}"
    )
