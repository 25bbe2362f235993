"""Writes recordings in OpenAI's contractor format (mp4 and jsonl) and the masks that ROCKET-1 adds (rle)."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import ffmpeg
import numpy as np

from pipeline.sample.barcode import FrameMark
from pipeline.sample.inputs import InputLog
from pipeline.sample.player import Interaction, Player, Tick
from pipeline.sample.render import Mask, Renderer
from pipeline.sample.scene import VIEW_HEIGHT, VIEW_WIDTH, Target
from pipeline.transcode.encoding import EncoderProcess
from pipeline.transcode.ffmpeg import ffmpeg_program
from shards.action_space import ACTION_SPACE
from shards.masks import centroid, encode_text

FRAME_WIDTH = 640
FRAME_HEIGHT = 360
_ZOOM = FRAME_WIDTH // VIEW_WIDTH


def video_encoder(path: Path) -> EncoderProcess:
    """An encoder of frames of packed pixels (180, 320): H.264, 640x360, 20 fps, High profile with B-frames, 4:2:0.

    One thread, so that the same frames give the same bytes on every machine with the same ffmpeg.
    """
    command = (
        ffmpeg.input(
            "pipe:",
            format="rawvideo",
            pix_fmt="rgb0",
            s=f"{VIEW_WIDTH}x{VIEW_HEIGHT}",
            r=ACTION_SPACE.frames_per_second,
        )
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
    return EncoderProcess(command, path, where=str(path), again="make the sample again")


class _Sight(NamedTuple):
    """What the tracker makes of a target in one frame."""

    rle: str
    point: tuple[float, float] | None
    tracking: str


class RecordingWriter:
    """Writes one recording: frame by frame its video and its log, at the end its masks.

    Attributes:
        roles: by what frames are about, "signal" or "recall", their ranges.
    """

    def __init__(self, stem: Path, masks_path: Path, number: int, log: InputLog, player: Player) -> None:
        self.number, self.log = number, log
        self._masks_path, self._player, self._renderer = masks_path, player, Renderer()
        self.video = video_encoder(stem.with_name(stem.name + ".mp4"))
        self._lines: IO[str] = open(stem.with_name(stem.name + ".jsonl"), "w", encoding="utf-8", newline="\n")  # noqa: SIM115
        self._seen: dict[Interaction, dict[int, _Sight]] = {}
        self.num_noops = 0
        self.roles: dict[str, list[list[int]]] = {"signal": [], "recall": []}

    def add(self, tick: Tick) -> None:
        """Append a frame, its action and its masks."""
        frame = self.log.num_lines
        masks = self._draw([interaction.target for interaction, _ in tick.candidates])
        for (interaction, tracking), mask in zip(tick.candidates, masks, strict=True):
            zoomed = mask.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
            sight = _Sight(encode_text(zoomed), centroid(zoomed), tracking)
            self._seen.setdefault(interaction, {})[frame] = sight
        self._lines.write(json.dumps(self.log.line(self._player, tick.action), separators=(",", ":")) + "\n")
        self.num_noops += tick.action.is_noop
        if tick.role:
            ranges = self.roles[tick.role]
            if ranges and ranges[-1][1] == frame:
                ranges[-1][1] = frame + 1
            else:
                ranges.append([frame, frame + 1])

    def add_frame_without_action(self) -> None:
        """Append the one frame more that some published videos have."""
        self._draw([])

    def _draw(self, targets: Sequence[Target]) -> list[Mask]:
        """The video has the player's view as its next frame; returns what is seen of each target."""
        mark = FrameMark(self.number, self.log.num_lines)
        pixels, masks = self._renderer.draw(self._player.scene, targets, mark)
        self.video.write([pixels.view(np.uint8).reshape(-1).data])
        return masks

    def finish(self) -> None:
        """All three files are finished."""
        self._lines.close()
        self.video.end()
        with open(self._masks_path, "wb") as file:
            pickle.dump(self._annotations(), file, protocol=4)

    def close(self) -> None:
        """No ffmpeg runs and no file is open any more."""
        self._lines.close()
        self.video.close()

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
