"""A dataset held against the recordings that it was built from: are frames and actions those of the same moment?

    source frames   s-1   s   s+1          scaled as a build scales them
    stored frame          x                nearest to s where the picture moves; else it is another moment's

All actions are compared, and a few frames of each clip: those in which most moves, since a still picture proves
nothing. Frames with an open menu are left out: a cursor is drawn into them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.build.plan import make_plan
from pipeline.episodes.groups import PlannedRecording
from pipeline.look.faults import Fault
from pipeline.look.pool import check_each
from pipeline.recording import EPISODE_START, Findings, RecordingContent
from pipeline.rejection import SourceError
from pipeline.settings import BuildSettings, settings_of_build
from pipeline.sources import find_recordings, source_of
from pipeline.transcode.decode import source_frames
from pipeline.transcode.probe import BadVideo
from pipeline.transcode.scaling import FrameScaler
from shards.clip import ClipArrays
from shards.display.wording import number_of
from shards.manifest import shard_name
from shards.reader import Dataset
from shards.video import decode_yuv

FRAMES_PER_CLIP = 8
_MOVES = 16.0  # mean squared difference of luma between neighbours from which on an encoder's own error is less


@dataclass
class Comparison:
    """What was compared and what differed.

    Attributes:
        num_actions: frames whose actions were compared.
        num_pictures: frames whose pictures were compared with their neighbours.
        num_moving: those of them in which the picture moves enough to tell.
        num_right: those of them that are nearest to the source frame of their own number.
        faults: in the order of episodes and clips.
    """

    num_actions: int = 0
    num_pictures: int = 0
    num_moving: int = 0
    num_right: int = 0
    faults: list[Fault] = field(default_factory=list)

    def add(self, other: "Comparison") -> None:
        """This one includes the other."""
        self.num_actions += other.num_actions
        self.num_pictures += other.num_pictures
        self.num_moving += other.num_moving
        self.num_right += other.num_right
        self.faults += other.faults

    def line(self) -> str:
        """The verdict in one sentence."""
        return (
            f"Against the recordings: actions of {number_of(self.num_actions, 'frame')} compared; "
            f"{number_of(self.num_pictures, 'picture')} compared, {self.num_moving:,} of them move, "
            f"{self.num_right:,} of those are nearest to the source frame of their own number"
        )


def compare_with_sources(
    dataset: Dataset, sources: Sequence[Path], num_workers: int, progress: Callable[[int], None] = lambda _: None
) -> Comparison:
    """All actions of the dataset and some of its pictures are compared with the recordings'.

    Raises:
        RocketError: the sources cannot be read, or this release does not know the settings of the build.
    """
    settings = settings_of_build(dataset)
    found = find_recordings(sources)
    planned = {
        one.recording.name: one
        for group in make_plan(Findings(found.recordings, ()), settings).groups
        for one in group.recordings
    }
    jobs = []
    for number in range(len(dataset.episodes)):
        names = [row.name for row in dataset.episode_row(number).recordings]
        jobs.append((number, {name: planned[name] for name in names if name in planned}))
    whole = Comparison()
    parts = check_each(partial(compare_episode, settings=settings), dataset, jobs, num_workers)
    for (number, _), part in zip(jobs, parts, strict=True):
        whole.add(part)
        progress(int(dataset.episodes.num_frames[number]))
    return whole


@dataclass(frozen=True)
class _Sample:
    """A stored picture: its clip, its source frame's number, and its luma, u8 (height, width)."""

    clip: int
    number: int
    luma: NDArray[np.uint8]


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean squared difference: 10 log10(255^2 / it) is the PSNR."""
    return float(np.mean((one.astype(np.float32) - other) ** 2))


def compare_episode(
    dataset: Dataset, job: tuple[int, Mapping[str, PlannedRecording]], settings: BuildSettings
) -> Comparison:
    """An episode is compared with its recordings; `job` is its number, and the recordings by name."""
    number, planned = job
    episode = dataset.episode_row(number)
    shard = shard_name(int(dataset.episodes.shard[number]))
    result = Comparison()
    clips = [(row.clip, dataset.read_clip(number, row)) for row in episode.clips]
    state = EPISODE_START
    for index, row in enumerate(episode.recordings):

        def fault(problem: str, clip: int | None = None, name: str = row.name) -> None:
            result.faults.append(Fault(f"recording {name}: {problem}", shard, episode.episode_id, clip))

        if row.name not in planned:
            fault("is not among the sources, or cannot be used")
            continue
        one = planned[row.name]
        try:
            log = source_of(one.recording).load_log(one.recording, state, settings)
        except SourceError as error:
            fault(str(error))
            continue
        state, content = log.state, log.thinned(one.extent.every)
        samples: list[_Sample] = []
        for clip, stored in clips:
            mine = np.flatnonzero(stored.arrays.recording == index)
            result.num_actions += len(mine)
            if (problem := _action_problem(stored.arrays, mine, content)) is not None:
                fault(problem, clip)
                continue
            chosen = _sample(stored.arrays, mine)
            yuv = decode_yuv(stored.video, 0, stored.arrays.num_frames) if len(chosen) else ()
            for at in chosen:
                luma = yuv[at][: settings.frame_height].copy()
                samples.append(_Sample(clip, int(stored.arrays.source_frame[at]), luma))
        if samples:
            _compare_pictures(one, content, samples, settings, result, fault)
    return result


def _action_problem(arrays: ClipArrays, mine: NDArray[np.int64], content: RecordingContent) -> str | None:
    """What is wrong with the actions of these frames of a clip, if anything is."""
    numbers = arrays.source_frame[mine]
    if len(numbers) and (numbers.max() >= content.num_frames or (np.diff(numbers) <= 0).any()):
        return f"source frames {numbers.min()} to {numbers.max()}, expected rising ones below {content.num_frames}"
    same = (arrays.buttons[mine] == content.buttons[numbers]).all(axis=1)
    same &= (arrays.camera[mine] == content.camera[numbers]).all(axis=1)
    if same.all():
        return None
    first = int(numbers[np.argmin(same)])
    return f"{int((~same).sum())} frames have other actions than the log, the first is source frame {first}"


def _sample(arrays: ClipArrays, mine: NDArray[np.int64]) -> list[int]:
    """Frames of a clip in which the view turns, as far as there are enough; spread over the clip, in order."""
    outside = mine[arrays.gui[mine] == 0]
    turning = outside[(arrays.camera[outside] != 0).any(axis=1)]
    pool = turning if len(turning) >= FRAMES_PER_CLIP else outside
    places = np.unique(np.linspace(0, len(pool) - 1, FRAMES_PER_CLIP).astype(int)) if len(pool) else ()
    return [int(pool[place]) for place in places]


def _compare_pictures(
    planned: PlannedRecording,
    content: RecordingContent,
    samples: Sequence[_Sample],
    settings: BuildSettings,
    result: Comparison,
    fault: Callable[[str, int | None], None],
) -> None:
    """Each sample is compared with the source frame of its number and those beside it; a fault for each clip."""
    every = planned.extent.every
    wanted = {sample.number + step for sample in samples for step in (-every, 0, every)}
    lumas: dict[int, NDArray[np.uint8]] = {}
    scaler = FrameScaler(settings.frame_width, settings.frame_height)
    try:
        for number, frame in enumerate(source_frames(planned.recording, content.num_lines, [], every)):
            if number in wanted:
                plane = np.frombuffer(scaler.scale(frame, None)[0], np.uint8)
                lumas[number] = plane.reshape(settings.frame_height, settings.frame_width).copy()
            if number == max(wanted):
                break
    except (BadVideo, SourceError) as error:
        fault(str(error), None)
    wrong: dict[int, list[tuple[int, int]]] = {}
    for sample in samples:
        if sample.number not in lumas:
            fault(f"its video has no frame {sample.number}", sample.clip)
            continue
        mine = lumas[sample.number]
        errors = {
            number: _difference(sample.luma, lumas[number])
            for number in (sample.number - every, sample.number + every)
            if number in lumas and _difference(mine, lumas[number]) >= _MOVES
        }
        nearest = min(errors, key=lambda number: errors[number], default=sample.number)
        is_wrong = bool(errors) and errors[nearest] < _difference(sample.luma, mine)
        result.num_pictures += 1
        result.num_moving += bool(errors)
        result.num_right += bool(errors) and not is_wrong
        if is_wrong:
            wrong.setdefault(sample.clip, []).append((sample.number, nearest))
    for clip, found in wrong.items():
        fault(
            f"{number_of(len(found), 'picture')} nearer to another source frame than to its own, "
            f"the first is that of source frame {found[0][0]}, nearer to {found[0][1]}",
            clip,
        )
