"""MineStudio's intermediate files: `videos/<stem>.mp4` with the cursor in it, `actions/<stem>.pkl`, `.rle` masks.

`privileged_infos/<stem>.pkl`, where there, tells in which frames a menu is open.

Source: CraftJarvis/MineStudio, tools/process_all_openai.py, which writes them.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.recording import EPISODE_START, Breakage, CarryState, Extent, Findings, Recording, RecordingContent
from pipeline.rejection import Rejection, SourceError
from pipeline.settings import BuildSettings
from pipeline.sources.files.pickles import load_pickle_file
from pipeline.sources.minestudio_frames import content_of_arrays, info_lines, read_action_arrays
from pipeline.sources.recorder import FIRST_HOTBAR
from pipeline.sources.source import DEFAULTS, Source, duplicate
from pipeline.sources.tree import Search, session_and_start, stem

ACTIONS, VIDEOS, INFOS, RAW_VIDEOS = "actions", "videos", "privileged_infos", "mp4"


class MineStudio(Source):
    """MineStudio's intermediate files: pickles in folders named `actions`, videos in folders named `videos`."""

    name = "minestudio"

    def find(self, search: Search) -> Findings:
        pickles = [file.path for file in search.ending(".pkl")]
        infos = {path for path in pickles if path.parent.name == INFOS}
        actions = [path for path in pickles if path.parent.name == ACTIONS or (search.alone and path not in infos)]
        sets = {path.parent.parent for path in (*actions, *infos)}
        videos: dict[str, list[Path]] = {}
        for file in search.videos:
            in_a_set = file.path.parent.name == VIDEOS and file.path.parent.parent in sets
            # Its input, which lies in `mp4`, lacks the cursor.
            if in_a_set or (search.alone and file.path.parent.name != RAW_VIDEOS):
                videos.setdefault(stem(file.path), []).append(file.path)
                search.claimed.add(file.path)
        recordings: dict[str, Recording] = {}
        rejections: list[Rejection] = []
        for path in actions:
            name, folder = stem(path), path.parent.parent
            if name in recordings:
                rejections.append(duplicate(name, path, recordings[name].actions))
                continue
            video = min(videos.get(name, ()), key=lambda one: (one.parent.parent != folder, one), default=None)
            if video is None:
                rejections.append(
                    Rejection(
                        name,
                        "missing_video",
                        "the actions have no video of the same name",
                        str(path),
                        num_frames=self.length(Recording(name, self.name, path, path)),
                        remedy=f"Put {name}.mp4 into the folder {VIDEOS} beside {ACTIONS}.",
                    )
                )
                continue
            session, start = session_and_start(name)
            info = folder / INFOS / f"{name}.pkl"
            recordings[name] = Recording(
                name=name,
                source=self.name,
                video=video,
                actions=path,
                masks=search.masks_of(name, folder),
                info=info if info in infos else None,
                session=session,
                start_time=start,
            )
        known = {*recordings, *(rejection.recording for rejection in rejections)}
        rejections += [
            Rejection(
                name,
                "missing_log",
                "the video has no actions of the same name",
                str(videos[name][0]),
                remedy=f"Put {name}.pkl into the folder {ACTIONS} beside {VIDEOS}.",
            )
            for name in sorted(videos.keys() - known)
        ]
        return Findings(tuple(recordings.values()), tuple(rejections))

    def measure(self, recording: Recording) -> Extent:
        """Its actions are read for that, which takes a few milliseconds."""
        return Extent(_actions(recording)[2])

    def load_log(
        self, recording: Recording, state: CarryState = EPISODE_START, settings: BuildSettings = DEFAULTS
    ) -> RecordingContent:
        """The actions as MineStudio made them, but for a slot that was selected already.

        MineStudio takes slot 1 for selected at the start of each recording, so that each one that goes on with
        another slot seems to begin with pressing it.
        """
        buttons, camera, num_lines = _actions(recording)
        breakage = None
        if len(buttons) < num_lines:
            breakage = Breakage(len(buttons), "lengths_differ", f"arrays of {len(buttons)} to {num_lines} frames")
        goes_on = state.attack_stuck is not None
        if goes_on and settings.compat is None and state.hotbar != 0:
            buttons[:1, FIRST_HOTBAR + state.hotbar] = 0
        return content_of_arrays(buttons, camera, _infos(recording), num_lines, breakage, state, settings)

    def log_lines(self, recording: Recording) -> Iterator[bytes]:
        return info_lines(_infos(recording))


def _actions(recording: Recording) -> tuple[NDArray[np.uint8], NDArray[np.float64], int]:
    return read_action_arrays(load_pickle_file(recording.actions), str(recording.actions))


def _infos(recording: Recording) -> list[Any]:
    """The dict of each frame; none of them if the file cannot be read."""
    infos: Any = None
    if recording.info is not None:
        with contextlib.suppress(SourceError):
            infos = load_pickle_file(recording.info)
    return infos if isinstance(infos, list) else []
