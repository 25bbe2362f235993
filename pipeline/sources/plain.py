"""Plain recordings of one's own: a video and a log of environment actions, `<name>.mp4` and `<name>.jsonl`.

The log has a JSON object for each video frame, in order; line i is the action that was taken on seeing frame i:

    {"buttons": ["forward", "attack"], "camera": [-1.5, 12.0], "gui": false}
    {"forward": 1, "attack": 1, "camera": [-1.5, 12.0]}

Both lines say the same. Buttons are those of `ACTION_SPACE.buttons` (attack, back, ..., hotbar.9, ESC,
pickItem, swapHands); `camera` is [pitch, yaw] in degrees, down and right positive; what is not named is not
pressed. A name that is no button ends the usable part: it is more likely misspelt than meant to be lost. The video
may have any size and shows the cursor, if there is one; it is mp4, mkv, webm, mov or avi with 20 frames a second.
Names of the form `<session>-<YYYYMMDD>-<HHMMSS>` are joined into episodes; any other is an episode of its own.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.recording import EPISODE_START, CarryState, Extent, Findings, Recording, RecordingContent
from pipeline.rejection import SourceError
from pipeline.settings import BuildSettings
from pipeline.sources.contractor import is_recorder_line
from pipeline.sources.files.json_lines import BadLine, count_lines, parse_line, read_first_line, read_lines
from pipeline.sources.pairs import find_pairs
from pipeline.sources.recorder import COLUMN, FIRST_HOTBAR, NUM_HOTBAR_SLOTS, FrameAction, content_of_actions, turn
from pipeline.sources.source import DEFAULTS, Source
from pipeline.sources.tree import Search
from shards.action_space import ACTION_SPACE
from shards.settings import nearest


class Plain(Source):
    """Recordings in the format above: those whose log's first line is an object, but no recorder's."""

    name = "plain"

    def find(self, search: Search) -> Findings:
        return find_pairs(search, self, None if search.alone else _is_plain)

    def measure(self, recording: Recording) -> Extent:
        return Extent(count_lines(recording.actions))

    def load_log(
        self, recording: Recording, state: CarryState = EPISODE_START, settings: BuildSettings = DEFAULTS
    ) -> RecordingContent:
        actions: list[FrameAction] = []
        hotbar = state.hotbar

        def take(line: dict[str, Any]) -> None:
            nonlocal hotbar
            buttons = _buttons(line)
            pitch, yaw = _camera(line.get("camera", [0, 0]))
            gui = line.get("gui", False)
            if not isinstance(gui, bool):
                raise BadLine("wrong_schema", f"gui is {gui!r:.40}, expected true or false")
            actions.append(FrameAction(buttons, (pitch, yaw), gui))
            for slot in range(NUM_HOTBAR_SLOTS):
                if buttons[FIRST_HOTBAR + slot]:
                    hotbar = slot

        read = read_lines(recording.actions, take)
        return content_of_actions(actions, read, CarryState(attack_stuck=False, hotbar=hotbar), settings)


def _is_plain(log: Path) -> bool:
    """Whether a log's first line says so; a log that does not tell is taken for a recorder's."""
    try:
        first = read_first_line(log)
        return first is not None and not is_recorder_line(parse_line(first))
    except (BadLine, SourceError):
        return False  # reading it tells what is wrong


def _buttons(line: dict[str, Any]) -> bytearray:
    named = line.get("buttons")
    pressed: Iterable[tuple[Any, Any]]
    if named is None:
        pressed = ((name, value) for name, value in line.items() if name not in ("camera", "gui", "buttons"))
    elif isinstance(named, list):
        unknown = line.keys() - {"buttons", "camera", "gui"}
        if unknown:
            raise BadLine("wrong_schema", f"{min(unknown)!r:.40} beside buttons, expected camera and gui only")
        pressed = ((name, 1) for name in named)
    else:
        raise BadLine("wrong_schema", f"buttons is {named!r:.40}, expected a list of names")
    buttons = bytearray(len(ACTION_SPACE.buttons))
    for name, value in pressed:
        column = COLUMN.get(name) if isinstance(name, str) else None
        if column is None:
            meant = nearest(name, ACTION_SPACE.buttons) if isinstance(name, str) else None
            hint = f", did you mean {meant!r}?" if meant else ""
            raise BadLine("wrong_schema", f"{name!r:.40} is no button{hint}")
        if not isinstance(value, int) or value not in (0, 1):
            raise BadLine("wrong_schema", f"{name} is {value!r:.40}, expected 0 or 1")
        buttons[column] = value
    return buttons


def _camera(camera: Any) -> tuple[float, float]:
    if isinstance(camera, list) and len(camera) == 2:
        try:
            pitch, yaw = (float(angle) for angle in camera if isinstance(angle, int | float))
            if math.isfinite(pitch) and math.isfinite(yaw):
                return turn("camera", pitch), turn("camera", yaw)
        except (ValueError, OverflowError):
            pass
    raise BadLine("wrong_schema", f"camera is {camera!r:.60}, expected [pitch, yaw] in degrees")
