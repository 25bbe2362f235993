"""What a clip holds, as arrays and as the bytes of its members; FORMAT.md describes both."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from shards.action_space import ACTION_SPACE
from shards.columns import Int8, Int32

EXTENSIONS = {"json": "json", "mp4": "mp4", "arrays": "safetensors.gz", "log": "jsonl.gz"}
"""The extension of each member, in the order in which they lie in a shard. A clip need not have a log."""

CORE_MEMBERS = ("json", "mp4", "arrays")
"""The members that every clip has; who trains reads no more."""

_GZIP = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 6


@dataclass(frozen=True)
class Interaction:
    """A stretch of an episode's frames that leads to one event.

    Attributes:
        type: see `interaction_types`.
        event: what it leads to, such as `mine_block:stone`.
        start: first frame in the episode.
        stop: one past the frame of the event.
        cut_frames: 0, or the recording's data end before the event: so many source frames it would go on for.
    """

    type: Int8
    event: str
    start: Int32
    stop: Int32
    cut_frames: Int32 = 0


@dataclass(frozen=True)
class ClipArrays:
    """The arrays of a clip: n frames, K candidates (a frame's are the interactions it belongs to), E events.

    Attributes:
        buttons: u8 (n, 23), 1 = pressed; columns as `ACTION_SPACE.buttons`.
        camera: f64 (n, 2), degrees, [pitch, yaw].
        recording: u16 (n,), index into the episode's recordings.
        source_frame: i32 (n,), 0-based frame number in that recording.
        dropped_before: i32 (n,), source frames that were dropped since the episode's frame before, or its start.
        gui: u8 (n,), 1 = a menu is open.
        candidate_offsets: i32 (n + 1,), frame i has candidates [offsets[i], offsets[i + 1]).
        candidate_interaction: i32 (K,), index into the episode's interactions.
        candidate_point: f32 (K, 2), (row, column) as fractions of the frame, NaN where unknown.
        mask_offsets: i64 (K + 1,), candidate k has lengths [offsets[k], offsets[k + 1]) of mask_runs.
        mask_runs: u32, run lengths, see masks.py.
        event_frame: i32 (E,), frame in the clip, never falling.
        event_name: i32 (E,), index into the episode's event names.
        event_count: i64 (E,), how much the counter rose, at least 1.
    """

    buttons: NDArray[np.uint8]
    camera: NDArray[np.float64]
    recording: NDArray[np.uint16]
    source_frame: NDArray[np.int32]
    dropped_before: NDArray[np.int32]
    gui: NDArray[np.uint8]
    candidate_offsets: NDArray[np.int32]
    candidate_interaction: NDArray[np.int32]
    candidate_point: NDArray[np.float32]
    mask_offsets: NDArray[np.int64]
    mask_runs: NDArray[np.uint32]
    event_frame: NDArray[np.int32]
    event_name: NDArray[np.int32]
    event_count: NDArray[np.int64]

    def __post_init__(self) -> None:
        n, k, e = len(self.buttons), len(self.candidate_interaction), len(self.event_frame)
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            "buttons": (np.uint8, (n, len(ACTION_SPACE.buttons))),
            "camera": (np.float64, (n, 2)),
            "recording": (np.uint16, (n,)),
            "source_frame": (np.int32, (n,)),
            "dropped_before": (np.int32, (n,)),
            "gui": (np.uint8, (n,)),
            "candidate_offsets": (np.int32, (n + 1,)),
            "candidate_interaction": (np.int32, (k,)),
            "candidate_point": (np.float32, (k, 2)),
            "mask_offsets": (np.int64, (k + 1,)),
            "mask_runs": (np.uint32, (len(self.mask_runs),)),
            "event_frame": (np.int32, (e,)),
            "event_name": (np.int32, (e,)),
            "event_count": (np.int64, (e,)),
        }
        for name, (dtype, shape) in expected.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(
                    f"{name}: {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape} for {n} frames"
                )
        for name, count in (("candidate_offsets", k), ("mask_offsets", len(self.mask_runs))):
            offsets = getattr(self, name)
            if offsets[0] != 0 or offsets[-1] != count or (np.diff(offsets) < 0).any():
                raise ValueError(f"{name}: does not rise from 0 to {count}")

    @property
    def num_frames(self) -> int:
        return len(self.buttons)

    def candidates(self, frame: int) -> NDArray[np.int32]:
        """The interactions that a frame (0-based in the clip) belongs to."""
        return self.candidate_interaction[self.candidate_offsets[frame] : self.candidate_offsets[frame + 1]]

    def runs(self, candidate: int) -> NDArray[np.uint32]:
        """The mask of a candidate (0-based in the clip) as run lengths."""
        return self.mask_runs[self.mask_offsets[candidate] : self.mask_offsets[candidate + 1]]

    def to_bytes(self) -> bytes:
        """The bytes of the arrays member; the same arrays give the same bytes."""
        return _gzip(safetensors.numpy.save({name: getattr(self, name) for name in self.__dataclass_fields__}))

    @classmethod
    def from_bytes(cls, data: bytes) -> "ClipArrays":
        """The arrays of an arrays member.

        Raises:
            ValueError: if it is not of this form.
        """
        try:
            return cls(**safetensors.numpy.load(zlib.decompress(data, _GZIP)))
        except (zlib.error, SafetensorError, TypeError) as error:
            raise ValueError(f"arrays member: {error}") from error


@dataclass(frozen=True)
class ClipInfo:
    """The json member: where the clip comes from and what its interactions are.

    Attributes:
        recordings: names of the episode's recordings, as `ClipArrays.recording` counts them.
        interactions: those that the clip's candidates name, by index in the episode.
        events: the names of the clip's events, by index in the episode.
    """

    episode_id: str
    clip: int
    start_frame: int
    num_frames: int
    recordings: Sequence[str]
    interactions: Mapping[int, Interaction]
    events: Mapping[int, str]

    def to_json(self) -> bytes:
        record = {
            "episode_id": self.episode_id,
            "clip": self.clip,
            "start_frame": self.start_frame,
            "num_frames": self.num_frames,
            "recordings": list(self.recordings),
            "interactions": {str(index): vars(self.interactions[index]) for index in sorted(self.interactions)},
            "events": {str(index): self.events[index] for index in sorted(self.events)},
        }
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "ClipInfo":
        """The record of a json member.

        Raises:
            ValueError: if it is not of this form.
        """
        try:
            record = json.loads(data)
            interactions = {int(index): Interaction(**fields) for index, fields in record["interactions"].items()}
            events = {int(index): str(name) for index, name in record["events"].items()}
            return cls(**{**record, "interactions": interactions, "events": events})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"json member: {error!r}") from error


@dataclass(frozen=True)
class Clip:
    """A clip as it lies in a shard: encoded video, arrays, facts and log.

    Attributes:
        log: the log's lines of its frames and of the dropped frames before each; None without a log.
    """

    video: bytes
    arrays: ClipArrays
    info: ClipInfo
    log: bytes | None = None

    def members(self) -> dict[str, bytes]:
        """Name -> bytes, in the order of `EXTENSIONS`."""
        members = {"json": self.info.to_json(), "mp4": self.video, "arrays": self.arrays.to_bytes()}
        return members if self.log is None else {**members, "log": _gzip(self.log)}

    @classmethod
    def from_members(cls, members: Mapping[str, bytes]) -> "Clip":
        """The clip of these members.

        Raises:
            ValueError: if a member is missing or not of its form.
        """
        missing = [name for name in CORE_MEMBERS if name not in members]
        if missing:
            raise ValueError(f"the {missing[0]} member is missing")
        arrays, info = ClipArrays.from_bytes(members["arrays"]), ClipInfo.from_json(members["json"])
        return cls(members["mp4"], arrays, info, unpack_log(members["log"]) if "log" in members else None)


def unpack_log(data: bytes) -> bytes:
    """The lines of a log member.

    Raises:
        ValueError: if it is not of that form.
    """
    try:
        return zlib.decompress(data, _GZIP)
    except zlib.error as error:
        raise ValueError(f"log member: {error}") from error


def clip_key(episode_id: str, clip: int) -> str:
    """The WebDataset key of a clip."""
    return f"{episode_id}/{clip:06d}"


def checksum(members: Sequence[bytes | memoryview]) -> int:
    """The CRC-32 of these members' bytes, one after the other."""
    crc = 0
    for data in members:
        crc = zlib.crc32(data, crc)
    return crc


def _gzip(data: bytes) -> bytes:
    packed = zlib.compress(data, _GZIP_LEVEL, _GZIP)  # no name, no time
    return packed[:9] + b"\xff" + packed[10:]  # "unknown", where zlib says which system it was built for
