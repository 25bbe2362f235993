"""What a clip holds, as arrays and as the bytes of its members.

Members, one WebDataset sample `<episode_id>/<clip:06d>`:

    json  episode_id, clip, start_frame, num_frames, recordings and the interactions that this clip uses
    mp4   H.264, yuv420p, BT.601 limited range, frame i at time i / 20 s, closed GOP
    npz   numpy arrays of n frames with K candidates (a frame's candidates are the interactions it belongs to)
            buttons                u8  (n, 23)  1 = pressed; columns in the order of ACTION_SPACE.buttons
            camera                 f64 (n, 2)   degrees, [pitch, yaw]
            recording              u16 (n,)     index into the episode's recordings
            source_frame           i32 (n,)     0-based frame number in that recording
            gui                    u8  (n,)     1 = a menu is open
            candidate_offsets      i32 (n + 1,) frame i has candidates [offsets[i], offsets[i + 1])
            candidate_interaction  i32 (K,)     index into the episode's interactions
            candidate_point        f32 (K, 2)   (row, column) as fractions of the frame, NaN where unknown
            mask_offsets           i64 (K + 1,) candidate k has lengths [offsets[k], offsets[k + 1]) of mask_runs
            mask_runs              u32          run lengths, see masks.py
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.action_space import ACTION_SPACE

MEMBERS = ("json", "mp4", "npz")
"""Extensions of a clip's members, in the order in which WebDataset's writer puts them (sorted)."""


@dataclass(frozen=True)
class Interaction:
    """A stretch of an episode's frames that leads to one event.

    Attributes:
        type: see `interaction_types`.
        event: what it leads to, such as `mine_block:stone`.
        start: first frame in the episode.
        stop: one past the frame of the event.
    """

    type: int
    event: str
    start: int
    stop: int


@dataclass(frozen=True)
class ClipArrays:
    """The arrays of a clip's npz member (shapes and units in the module's docstring)."""

    buttons: NDArray[np.uint8]
    camera: NDArray[np.float64]
    recording: NDArray[np.uint16]
    source_frame: NDArray[np.int32]
    gui: NDArray[np.uint8]
    candidate_offsets: NDArray[np.int32]
    candidate_interaction: NDArray[np.int32]
    candidate_point: NDArray[np.float32]
    mask_offsets: NDArray[np.int64]
    mask_runs: NDArray[np.uint32]

    def __post_init__(self) -> None:
        n, k = len(self.buttons), len(self.candidate_interaction)
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            "buttons": (np.uint8, (n, len(ACTION_SPACE.buttons))),
            "camera": (np.float64, (n, 2)),
            "recording": (np.uint16, (n,)),
            "source_frame": (np.int32, (n,)),
            "gui": (np.uint8, (n,)),
            "candidate_offsets": (np.int32, (n + 1,)),
            "candidate_interaction": (np.int32, (k,)),
            "candidate_point": (np.float32, (k, 2)),
            "mask_offsets": (np.int64, (k + 1,)),
            "mask_runs": (np.uint32, (len(self.mask_runs),)),
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

    def candidate_of(self, frame: int, interaction: int) -> int | None:
        """The candidate that shows this interaction in this frame, if there is one."""
        start = int(self.candidate_offsets[frame])
        found = np.flatnonzero(self.candidates(frame) == interaction)
        return start + int(found[0]) if found.size else None

    def to_npz(self) -> bytes:
        """The bytes of the npz member; the same arrays give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: getattr(self, name) for name in self.__dataclass_fields__})
        return buffer.getvalue()

    @classmethod
    def from_npz(cls, data: bytes) -> "ClipArrays":
        """The arrays of an npz member.

        Raises:
            ValueError: if it is no npz of this form; nothing in it is ever unpickled.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})
        except (KeyError, OSError, EOFError, zipfile.BadZipFile, IndexError) as error:
            raise ValueError(f"npz member: {error}") from error


@dataclass(frozen=True)
class ClipInfo:
    """The json member: where the clip comes from and what its interactions are.

    Attributes:
        recordings: names of the episode's recordings, as `ClipArrays.recording` counts them.
        interactions: those that the clip's candidates name, by index in the episode.
    """

    episode_id: str
    clip: int
    start_frame: int
    num_frames: int
    recordings: Sequence[str]
    interactions: Mapping[int, Interaction]

    def to_json(self) -> bytes:
        record = {
            "episode_id": self.episode_id,
            "clip": self.clip,
            "start_frame": self.start_frame,
            "num_frames": self.num_frames,
            "recordings": list(self.recordings),
            "interactions": {str(index): vars(self.interactions[index]) for index in sorted(self.interactions)},
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
            return cls(**{**record, "interactions": interactions})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"json member: {error!r}") from error


@dataclass(frozen=True)
class Clip:
    """A clip as it lies in a shard: encoded video, arrays and facts."""

    video: bytes
    arrays: ClipArrays
    info: ClipInfo

    def members(self) -> dict[str, bytes]:
        """Extension -> bytes, in the order of `MEMBERS`."""
        return {"json": self.info.to_json(), "mp4": self.video, "npz": self.arrays.to_npz()}

    @classmethod
    def from_members(cls, members: Mapping[str, bytes]) -> "Clip":
        """The clip of these members.

        Raises:
            ValueError: if a member is missing or not of its form.
        """
        missing = [ext for ext in MEMBERS if ext not in members]
        if missing:
            raise ValueError(f"member {missing[0]} is missing")
        return cls(members["mp4"], ClipArrays.from_npz(members["npz"]), ClipInfo.from_json(members["json"]))


def clip_key(episode_id: str, clip: int) -> str:
    """The WebDataset key of a clip."""
    return f"{episode_id}/{clip:06d}"


def checksum(members: Sequence[bytes | memoryview]) -> int:
    """The CRC-32 of a clip's members, in the order of `MEMBERS`."""
    crc = 0
    for data in members:
        crc = zlib.crc32(data, crc)
    return crc
