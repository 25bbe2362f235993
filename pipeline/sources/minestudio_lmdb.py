"""MineStudio's LMDB sets: `<set>/{image,action,segmentation,meta_info}/part-<n>/data.mdb`, joined by episode name.

Version v106 has `video`, `segment` and `contractor_info` instead, and masks without events, points and ranges.
An episode here is one already: its recordings are joined, no-ops are dropped and the cursor is in the picture, so
that it counts as one recording that is never joined with another. Its video is stored as mp4 pieces of 32 frames
(h264, yuv420p, 224x224 as published).

Source: CraftJarvis/MineStudio, core.py and callbacks/*.py, which read them.
"""

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.recording import (
    EPISODE_START,
    MINESTUDIO_FRAME_PX,
    Breakage,
    CarryState,
    Extent,
    Findings,
    Recording,
    RecordingContent,
)
from pipeline.rejection import Rejection, SourceError
from pipeline.settings import BuildSettings
from pipeline.sources.files.lmdb_store import close_environments, list_episodes, num_frames, read_chunks
from pipeline.sources.files.pickles import load_pickle
from pipeline.sources.masks import MaskCollector, RecordingMasks, frame_range
from pipeline.sources.minestudio_frames import content_of_arrays, info_lines, read_action_arrays
from pipeline.sources.source import DEFAULTS, Source, VideoPiece, duplicate
from pipeline.sources.tree import Search
from shards.action_space import ACTION_SPACE
from shards.places import install_command

_MODALITIES = {
    "image": "image",
    "video": "image",
    "action": "action",
    "segmentation": "segmentation",
    "segment": "segmentation",
    "meta_info": "meta_info",
    "contractor_info": "meta_info",
}


class _Part(NamedTuple):
    """An episode in the environment of one modality."""

    folder: Path
    num_frames: int


class MineStudioLmdb(Source):
    """The episodes of all sets among the files."""

    name = "lmdb"
    stored_as = "pieces"

    def find(self, search: Search) -> Findings:
        environments = [file for file in search.files if file.path.name.lower() == "data.mdb"]
        if environments and importlib.util.find_spec("lmdb") is None:
            raise SourceError(f"LMDB sets need the package lmdb. Run: {install_command('lmdb')}", "missing")
        rejections: list[Rejection] = []
        recordings: dict[str, Recording] = {}
        for parts in _list_sets([file.path.parent for file in environments], rejections).values():
            for name in sorted({*parts["image"], *parts["action"]}):
                found = {modality: episodes[name] for modality, episodes in parts.items() if name in episodes}
                lengths = {modality: part.num_frames for modality, part in found.items()}
                expected = next(iter(lengths.values()))  # the images', if there are any
                where = str(next(iter(found.values())).folder)
                if "image" not in found or "action" not in found:
                    rejections.append(
                        Rejection(
                            name,
                            "missing_log" if "image" in found else "missing_video",
                            "the episode is not in all parts of the set",
                            where,
                            num_frames=expected,
                            remedy="Download the set's missing parts.",
                        )
                    )
                elif name in recordings:
                    if not _same_file(found["image"].folder, recordings[name].video):
                        rejections.append(duplicate(name, found["image"].folder, recordings[name].video))
                elif len(set(lengths.values())) > 1:
                    # Nobody knows where the hole is: what comes after it would get another moment's actions.
                    detail = ", ".join(f"{modality} has {length} frames" for modality, length in lengths.items())
                    rejections.append(Rejection(name, "lengths_differ", detail, where, num_frames=expected))
                else:
                    recordings[name] = Recording(
                        name=name,
                        source=self.name,
                        video=found["image"].folder,
                        actions=found["action"].folder,
                        masks=found["segmentation"].folder if "segmentation" in found else None,
                        info=found["meta_info"].folder if "meta_info" in found else None,
                        session=name,
                        is_episode=True,
                    )
        return Findings(tuple(recordings.values()), tuple(rejections))

    def measure(self, recording: Recording) -> Extent:
        return Extent(num_frames(recording.video, recording.name))

    def load_log(
        self, recording: Recording, state: CarryState = EPISODE_START, settings: BuildSettings = DEFAULTS
    ) -> RecordingContent:
        where = f"{recording.actions}: episode {recording.name}"
        breakage: Breakage | None = None
        buttons, cameras = [np.zeros((0, len(ACTION_SPACE.buttons)), np.uint8)], [np.zeros((0, 2))]
        for start, expected, raw in read_chunks(recording.actions, recording.name):
            try:
                pressed, camera, length = read_action_arrays(_load_chunk(raw, start, where), where)
            except SourceError as error:
                breakage = Breakage(start, error.reason, str(error))
                break
            buttons.append(pressed[:expected])
            cameras.append(camera[:expected])
            if len(pressed) != expected or length != expected:
                usable = min(len(pressed), expected)
                detail = f"chunk {start}: {usable} good actions, expected {expected}"
                breakage = Breakage(start + usable, "wrong_schema", detail)
                break
        num_lines = num_frames(recording.actions, recording.name)
        actions = np.concatenate(buttons), np.concatenate(cameras)
        return content_of_arrays(*actions, _infos(recording), num_lines, breakage, state, settings)

    def pieces(self, recording: Recording) -> Iterator[VideoPiece]:
        return starmap(VideoPiece, read_chunks(recording.video, recording.name))

    def log_lines(self, recording: Recording) -> Iterator[bytes]:
        return info_lines(_infos(recording))

    def load_masks(self, recording: Recording) -> RecordingMasks | None:
        if recording.masks is None:
            return None
        width, height = MINESTUDIO_FRAME_PX
        collector = MaskCollector(height, width)
        runs: dict[Any, tuple[int, int]] = {}  # of v106, by type: the first and the last frame of its stretch
        where = f"{recording.masks}: episode {recording.name}"
        for start, _, raw in read_chunks(recording.masks, recording.name):
            try:
                frames = _load_chunk(raw, start, where)
            except SourceError as error:
                collector.problem("mask_entry", str(error), start)
                continue
            if not isinstance(frames, list):
                collector.problem("mask_entry", f"a chunk is a {type(frames).__name__}, expected a list", start)
                continue
            for frame, entries in enumerate(frames, start):
                if not isinstance(entries, dict):
                    what = f"a frame is a {type(entries).__name__}, expected a dict"
                    collector.problem("mask_entry", what, frame)
                    continue
                for key, entry in entries.items():
                    if isinstance(entry, str):
                        # v106's masks have a type only: each stretch of frames with one type is an interaction.
                        first, last = runs.get(key, (frame, frame - 1))
                        first = first if last == frame - 1 else frame
                        runs[key] = (first, frame)
                        collector.add(frame, (key, first), key, "", first, frame + 1, entry, None)
                    elif not isinstance(entry, dict):
                        what = f"an entry is a {type(entry).__name__}, expected a dict"
                        collector.problem("mask_entry", what, frame)
                    elif entry.get("frame_id", frame) != frame:
                        what = "frame_id is not the number of the frame that has the entry"
                        collector.problem("mask_entry", what, frame)
                    else:
                        # Keys start again in each recording, and an episode has several: ranges tell them apart.
                        collector.add_entry(frame, (key, frame_range(entry)), entry)
        return collector.masks()


def _list_sets(folders: Sequence[Path], rejections: list[Rejection]) -> Mapping[Path, dict[str, dict[str, _Part]]]:
    """For each set its episodes by modality, images first; `rejections` gets what cannot be used."""
    sets: dict[Path, dict[str, dict[str, _Part]]] = {}
    for folder in folders:
        modality_folder = folder.parent if folder.parent.name in _MODALITIES else folder
        modality = _MODALITIES.get(modality_folder.name)
        if modality is None:
            continue  # event and motion: indexes over what is in the others
        try:
            episodes = list_episodes(folder)
        except SourceError as error:
            rejections.append(Rejection(folder.name, "unreadable", str(error), str(folder)))
            continue
        parts = sets.setdefault(modality_folder.parent, {name: {} for name in _MODALITIES.values()})[modality]
        for name, length in episodes.items():
            known = parts.setdefault(name, _Part(folder, length))
            if known.folder != folder and not _same_file(known.folder, folder):
                rejections.append(duplicate(name, folder, known.folder))
    close_environments()
    return sets


def _same_file(one: Path, other: Path) -> bool:
    """Whether two environments are one, by a link."""
    return (one / "data.mdb").samefile(other / "data.mdb")


def _load_chunk(raw: bytes | None, start: int, where: str) -> Any:
    if raw is None:
        raise SourceError(f"{where}: chunk {start} is missing. Download the set again.")
    return load_pickle(raw, where)


def _infos(recording: Recording) -> Iterator[Any]:
    """The dict of each frame, a chunk at a time; None where a chunk is missing or bad."""
    if recording.info is None:
        return
    with contextlib.suppress(SourceError):
        for start, expected, raw in read_chunks(recording.info, recording.name):
            infos: Any = None
            with contextlib.suppress(SourceError):
                infos = _load_chunk(raw, start, str(recording.info))
            known = infos if isinstance(infos, list) else []
            yield from (known + [None] * expected)[:expected]
