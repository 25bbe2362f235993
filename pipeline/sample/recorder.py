"""Writes recordings in OpenAI's contractor format (mp4 and jsonl) and the masks that ROCKET-1 adds (rle)."""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import ffmpeg

from pipeline.sample.barcode import FrameMark
from pipeline.sample.inputs import InputLog
from pipeline.sample.player import Interaction, Player, Tick
from pipeline.sample.render import Renderer
from pipeline.sample.scene import VIEW_HEIGHT, VIEW_WIDTH
from pipeline.sample.textures import Pixels
from pipeline.transcode.ffmpeg import ffmpeg_program
from shards.action_space import ACTION_SPACE
from shards.errors import RocketError
from shards.masks import centroid, encode_text

FRAME_WIDTH = 640
FRAME_HEIGHT = 360
_ZOOM = FRAME_WIDTH // VIEW_WIDTH


class VideoWriter:
    """An H.264 file in the making: 640x360, 20 fps, High profile with B-frames, 4:2:0.

    One encoder thread, so that the same frames give the same bytes on every machine with the same ffmpeg.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by close() and kill()
        size = f"{VIEW_WIDTH}x{VIEW_HEIGHT}"
        command = (
            ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb0", s=size, r=ACTION_SPACE.frames_per_second)
            .filter("scale", FRAME_WIDTH, FRAME_HEIGHT, flags="neighbor+bitexact")
            .output(
                str(path),
                vcodec="libx264",
                pix_fmt="yuv420p",
                preset="superfast",
                crf=23,
                bf=2,
                threads=1,
                fflags="+bitexact",
                **{"profile:v": "high", "flags:v": "+bitexact"},
            )
            .global_args("-loglevel", "error", "-nostdin")
            .compile(cmd=ffmpeg_program(), overwrite_output=True)
        )
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors
        )

    def add(self, frame: Pixels) -> None:
        """Append a frame of packed pixels (180, 320)."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frame.tobytes())
        except BrokenPipeError:
            self.close()

    def close(self) -> None:
        """Leave a finished file.

        Raises:
            RocketError: ffmpeg failed.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        self._errors.close()
        if status != 0:
            raise RocketError(
                f"{self._path}: ffmpeg did not write the video, got status {status} ({said[-300:]}), expected 0. "
                f"Check the free space and that {ffmpeg_program()} has libx264."
            )

    def kill(self) -> None:
        """End the encoder without a finished file."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._errors.close()


class _Sight(NamedTuple):
    """What the tracker makes of a target in one frame."""

    rle: str
    point: tuple[float, float] | None
    tracking: str


class RecordingWriter:
    """Writes one recording: frame by frame its video and its log, at the end its masks."""

    def __init__(self, stem: Path, masks_path: Path, number: int, log: InputLog) -> None:
        self.number, self.log = number, log
        self._masks_path = masks_path
        self._video = VideoWriter(stem.with_name(stem.name + ".mp4"))
        self._lines: IO[str] = open(stem.with_name(stem.name + ".jsonl"), "w", encoding="utf-8", newline="\n")  # noqa: SIM115
        self._seen: dict[Interaction, dict[int, _Sight]] = {}
        self.num_video_frames = 0
        self.num_noops = 0
        self.roles: dict[str, list[list[int]]] = {"signal": [], "recall": []}

    @property
    def num_frames(self) -> int:
        """Frames with an action so far."""
        return self.log.num_lines

    def add(self, renderer: Renderer, player: Player, tick: Tick) -> None:
        """Append a frame, its action and its masks."""
        frame = self.num_frames
        pixels, masks = renderer.draw(
            player.scene, [interaction.target for interaction, _ in tick.candidates], FrameMark(self.number, frame)
        )
        self._video.add(pixels)
        self.num_video_frames += 1
        for (interaction, tracking), mask in zip(tick.candidates, masks, strict=True):
            zoomed = mask.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
            sight = _Sight(encode_text(zoomed), centroid(zoomed), tracking)
            self._seen.setdefault(interaction, {})[frame] = sight
        self._lines.write(json.dumps(self.log.line(player, tick.action), separators=(",", ":")) + "\n")
        self.num_noops += tick.action.is_noop
        if tick.role:
            ranges = self.roles[tick.role]
            if ranges and ranges[-1][1] == frame:
                ranges[-1][1] = frame + 1
            else:
                ranges.append([frame, frame + 1])

    def add_frame_without_action(self, renderer: Renderer, player: Player) -> None:
        """Append the one frame more that some published videos have."""
        pixels, _ = renderer.draw(player.scene, [], FrameMark(self.number, self.num_frames))
        self._video.add(pixels)
        self.num_video_frames += 1

    def close(self) -> None:
        """Leave all three files finished."""
        self._lines.close()
        self._video.close()
        with open(self._masks_path, "wb") as file:
            pickle.dump(self._annotations(), file, protocol=4)

    def kill(self) -> None:
        """Stop without finished files."""
        self._lines.close()
        self._video.kill()

    def _annotations(self) -> dict[str, Any]:
        """Return ROCKET-1's structure; an interaction is named by the frame of its event.

        Tracking runs backwards from the event, so the target is always known in that frame.
        """
        frames: dict[int, list[tuple[int, str, int]]] = {}
        masks: dict[tuple[int, str, int], dict[str, Any]] = {}
        for interaction, seen in self._seen.items():
            last = max(seen)
            known = {frame: sight for frame, sight in seen.items() if sight.tracking != "lost" or frame == last}
            for frame, sight in known.items():
                key = (last, interaction.event, frame)
                frames.setdefault(frame, []).append(key)
                empty = sight.tracking == "empty" and frame != last
                masks[key] = {
                    "obj_id": interaction.obj_id,
                    "rle_mask": "" if empty else sight.rle,
                    "event": interaction.event,
                    "point": None if empty else sight.point,
                    "frame_range": (min(known), last),
                }
        return {"video_annos": dict(sorted(frames.items())), "rle_mask_mapping": masks}
