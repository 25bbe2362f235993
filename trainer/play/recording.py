"""Played episodes as recordings in OpenAI's contractor format, with masks: they can be built and trained on."""

import json
from pathlib import Path
from typing import IO, Any

import numpy as np

from shards.action_space import ACTION_SPACE
from shards.display.film import Film
from shards.interaction_types import NO_INTERACTION, interaction_type
from shards.masks import centroid, encode_text
from shards.recorder_lines import DEGREES_PER_PX, keys_of, mouse_buttons_of, mouse_line
from trainer.checkpoints.disk import write_atomically
from trainer.play.rollout import EpisodePlan, PlayedFrame

_OFF_SCREEN_PX = (1280.0, 720.0)
"""Where the mouse is said to be, so that no second cursor is drawn: the picture shows its own."""


class EpisodeRecorder:
    """Writes `<name>.mp4`, `<name>.jsonl` and `<name>.masks.jsonl`; the video gets its name last."""

    def __init__(self, folder: Path, plan: EpisodePlan) -> None:
        """Begin an episode's files; the name holds the task and, as the session's id, the seed."""
        self.name = f"play-{plan.name}-{plan.seed:012x}-20200101-000000"
        self._event = f"play:{plan.name}"
        self._folder = folder
        self._film = Film(folder / f"{self.name}.mp4")
        self._log: IO[str] = open(folder / f"{self.name}.jsonl", "w", encoding="utf-8")  # noqa: SIM115
        self._held: set[str] = set()
        self._stretches: list[dict[str, Any]] = []
        self._mask_size: tuple[int, ...] = (0, 0)
        self._slot, self._num_frames = 0, 0

    def add(self, frame: PlayedFrame) -> None:
        """Append a frame with its action and the goal's mask."""
        self._film.add(np.ascontiguousarray(frame.image))
        self._log.write(json.dumps(self._line(frame), separators=(",", ":")) + "\n")
        self._mask_size = frame.mask.shape
        if frame.obj_id != NO_INTERACTION:
            kind = interaction_type(frame.obj_id).name
            last = self._stretches[-1] if self._stretches else None
            if last is None or last["type"] != kind or last["stop"] != self._num_frames:
                last = {"type": kind, "event": self._event, "start": self._num_frames, "stop": 0, "frames": []}
                self._stretches.append(last)
            last["stop"] = self._num_frames + 1
            mask = frame.mask.astype(bool)
            last["frames"].append({"frame": self._num_frames, "rle": encode_text(mask), "point": centroid(mask)})
        self._num_frames += 1

    def close(self, finished: bool) -> None:
        """The files are there; of an episode that was broken off there is none."""
        self._log.close()
        if finished:
            masks = self._folder / f"{self.name}.masks.jsonl"
            height, width = self._mask_size
            header = {"format": "rocket-masks", "version": 1, "height": height, "width": width}
            lines = "".join(json.dumps(line) + "\n" for line in [header, *self._stretches])
            write_atomically(masks, lines.encode())
        else:
            Path(self._log.name).unlink()
        self._film.close(finished)

    def _line(self, frame: PlayedFrame) -> dict[str, Any]:
        pressed = {name for name, down in zip(ACTION_SPACE.buttons, frame.buttons, strict=True) if down}
        new = pressed - self._held if self._num_frames else set()  # a press on line 0 reads as a stuck button
        self._held = pressed
        for name in sorted(pressed):
            if name.startswith("hotbar."):
                self._slot = int(name.removeprefix("hotbar.")) - 1
        pitch, yaw = (float(degrees) / DEGREES_PER_PX for degrees in frame.camera)
        held, started = mouse_buttons_of(pressed), mouse_buttons_of(new)
        return {
            "mouse": mouse_line(_OFF_SCREEN_PX, (yaw, pitch), held, started),
            "keyboard": {"keys": keys_of(pressed), "newKeys": keys_of(new), "chars": ""},
            "isGuiOpen": frame.gui,
            "isGuiInventory": False,
            "hotbar": self._slot,
            "tick": self._num_frames,
            "serverTick": self._num_frames,
            "milli": 50 * self._num_frames,
            "stats": {},
        }
