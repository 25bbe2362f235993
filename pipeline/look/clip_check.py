"""One clip held against the manifest and the format: its place in the tar, its bytes, every frame and mask."""

import io
import tarfile
from collections.abc import Iterator
from itertools import zip_longest

import av
import numpy as np
from av.error import FFmpegError

from shards.action_space import ACTION_SPACE
from shards.clip import EXTENSIONS, Clip, ClipArrays, ClipInfo, clip_key
from shards.manifest import ClipRow, DatasetInfo, EpisodeRow


def tar_problems(data: bytes, start: int, episode_id: str, row: ClipRow) -> Iterator[str]:
    """What is wrong with the tar's members of a clip.

    Args:
        data: the shard's bytes from the end of the clip before to the end of this one.
        start: where in the shard they begin.
    """
    expected = [
        (f"{clip_key(episode_id, row.clip)}.{EXTENSIONS[name]}", offset, size)
        for name, (offset, size) in row.members.items()
    ]
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            found = [(member.name, start + member.offset_data, member.size) for member in tar]
    except (tarfile.TarError, ValueError, EOFError) as error:
        yield f"tar: {error}, expected members {', '.join(name for name, _, _ in expected)}"
        return
    for got, wanted in zip_longest(found, expected):
        if got != wanted:
            yield f"tar: got {_member(got)}, expected {_member(wanted)}"
            return
    for _, offset, size in expected:
        end = offset - start + size
        padding = data[end : end + -size % tarfile.BLOCKSIZE]
        if padding.strip(b"\0"):
            yield f"tar: bytes other than zero behind the member at {offset}"


def clip_problems(
    clip: Clip, row: ClipRow, episode: EpisodeRow, info: DatasetInfo, *, decode: bool
) -> Iterator[str]:
    """What is wrong with a clip's content.

    Args:
        decode: whether to decode the video.
    """
    yield from _info_problems(clip, row, episode)
    yield from _action_problems(clip.arrays, episode)
    yield from _candidate_problems(clip.arrays, episode, info)
    yield from _event_problems(clip)
    yield from _log_problems(clip, episode)
    if decode:
        yield from _video_problems(clip.video, row.num_frames, info)


def _member(member: tuple[str, int, int] | None) -> str:
    if member is None:
        return "nothing"
    name, offset, size = member
    return f"{name} ({size} bytes at {offset})"


def _info_problems(clip: Clip, row: ClipRow, episode: EpisodeRow) -> Iterator[str]:
    info, arrays = clip.info, clip.arrays
    if arrays.num_frames != row.num_frames:
        yield f"arrays: {arrays.num_frames} frames, expected {row.num_frames}"
    # A clip is written before the episode's later recordings are known: it names those up to its own.
    num_named = max(len(info.recordings), int(arrays.recording.max(initial=0)) + 1)
    interactions, events = dict(enumerate(episode.interactions)), dict(enumerate(episode.events))
    expected = ClipInfo(
        episode_id=episode.episode_id,
        clip=row.clip,
        start_frame=row.start_frame,
        num_frames=row.num_frames,
        recordings=[recording.name for recording in episode.recordings[:num_named]],
        interactions={index: interactions[index] for index in info.interactions if index in interactions},
        events={index: events[index].name for index in info.events if index in events},
    )
    for name, value in vars(expected).items():
        if (got := getattr(info, name)) != value:
            yield f"json: {name} {got}, expected {value}"


def _action_problems(arrays: ClipArrays, episode: EpisodeRow) -> Iterator[str]:
    if (arrays.buttons > 1).any():
        yield f"arrays: a button of {int(arrays.buttons.max())}, expected 0 or 1"
    if (arrays.gui > 1).any():
        yield f"arrays: a gui flag of {int(arrays.gui.max())}, expected 0 or 1"
    if not np.isfinite(arrays.camera).all():
        yield "arrays: the camera is not a number somewhere"
    elif np.abs(arrays.camera).max(initial=0) > ACTION_SPACE.max_turn_degrees:
        turn, limit = np.abs(arrays.camera).max(), ACTION_SPACE.max_turn_degrees
        yield f"arrays: the camera turns by {turn:.0f} degrees in a frame, expected at most {limit:g}"
    if arrays.recording.max(initial=0) >= max(len(episode.recordings), 1):
        yield f"arrays: recording {int(arrays.recording.max())}, expected less than {len(episode.recordings)}"
        return
    sizes = np.array([recording.num_source_frames for recording in episode.recordings])
    if (arrays.source_frame < 0).any() or (arrays.source_frame >= sizes[arrays.recording]).any():
        yield "arrays: a source frame that its recording does not have"
    order = arrays.recording.astype(np.int64) << 32 | arrays.source_frame.clip(0)
    if (np.diff(order) <= 0).any():
        yield "arrays: source frames are not in order"


def _candidate_problems(arrays: ClipArrays, episode: EpisodeRow, info: DatasetInfo) -> Iterator[str]:
    named = arrays.candidate_interaction
    if named.size and (named.min() < 0 or named.max() >= len(episode.interactions)):
        yield f"arrays: interaction {int(named.max())}, expected 0 to {len(episode.interactions) - 1}"
        return
    points = arrays.candidate_point
    if ((points < 0) | (points > 1)).any():
        yield "arrays: a point outside its frame"
    lengths = np.diff(arrays.mask_offsets)
    num_pixels = info.frame_width * info.frame_height
    ends = np.concatenate(([0], np.cumsum(arrays.mask_runs, dtype=np.int64)))[arrays.mask_offsets]
    if (lengths % 2).any() or (np.diff(ends) != num_pixels).any():
        wrong = int(np.flatnonzero((lengths % 2 != 0) | (np.diff(ends) != num_pixels))[0])
        yield f"arrays: mask {wrong} has {int(np.diff(ends)[wrong])} pixels, expected {num_pixels}"


def _event_problems(clip: Clip) -> Iterator[str]:
    arrays = clip.arrays
    frames, counts = arrays.event_frame, arrays.event_count
    if frames.size and (frames.min() < 0 or frames.max() >= arrays.num_frames or (np.diff(frames) < 0).any()):
        yield "arrays: frames of events are not in order, or not in the clip"
    if (counts < 1).any():
        yield f"arrays: an event that counts {int(counts.min())}, expected 1 or more"
    if unnamed := sorted({*arrays.event_name.tolist()} - {*clip.info.events}):
        yield f"json: no name of event {unnamed[0]}"


def _log_problems(clip: Clip, episode: EpisodeRow) -> Iterator[str]:
    """The log has a line for each frame and each dropped one; the episode's last clip those after its end, too."""
    arrays = clip.arrays
    if (arrays.dropped_before < 0).any():
        yield "arrays: a negative number of dropped frames"
    if clip.log is None:
        return
    num_lines, expected = clip.log.count(b"\n"), arrays.num_frames + int(arrays.dropped_before.sum())
    is_last = clip.info.clip == len(episode.clips) - 1
    if num_lines < expected or (num_lines > expected and not is_last):
        yield f"log: {num_lines} lines, expected {expected}"


def _video_problems(video: bytes, num_frames: int, info: DatasetInfo) -> Iterator[str]:
    sizes, keyframes, number = set(), [], 0
    try:
        with av.open(io.BytesIO(video), mode="r", format="mp4") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                sizes.add((frame.width, frame.height, frame.format.name))
                if frame.key_frame:
                    keyframes.append(number)
                number += 1
    except (FFmpegError, IndexError) as error:
        yield f"video: {error}, after {number} of {num_frames} frames"
        return
    if number != num_frames:
        yield f"video: {number} frames, expected {num_frames}"
    expected = (info.frame_width, info.frame_height, "yuv420p")
    if sizes != {expected}:
        yield f"video: frames of {sorted(sizes)}, expected {expected}"
    gaps = np.diff([*keyframes, number])
    if not keyframes or keyframes[0] != 0 or gaps.max() > info.keyframe_interval:
        yield f"video: keyframes at {keyframes}, expected one every {info.keyframe_interval} frames or less"
