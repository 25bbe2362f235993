"""From what happened in a recording to the stretches to track: which object, where it is prompted, how far back.

    first           prompt    event
      |<--- tracked ---|        |
      menu as at the prompt, same world, no other event but switches, at most max_frames

The event's frame is the first one in whose line the counter has risen. Pure: no files, no pictures.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.recording import WINDOW_HEIGHT_PX, RecordingContent
from pipeline.segment.settings import Rule, SegmentSettings
from shards.action_space import ACTION_SPACE

_WINDOW_WIDTH_PX = WINDOW_HEIGHT_PX * 16 / 9
_HOTBAR_FRAME_PX = (640.0, 360.0)
_NUM_SLOTS = 9
_FIRST_SLOT = ACTION_SPACE.column["hotbar.1"]
_HOLD_FRAMES = 5
"""A shorter press of attack is a blow or a click; a block takes longer."""

SKIP_REASONS: Mapping[str, str] = {
    "no_aim": "no frame before the event has the button down and the menu as expected",
    "no_cursor": "the source does not say where the cursor is",
    "short": "the stretch has fewer frames than min_frames",
    "lost_at_prompt": "the tracker finds nothing at the prompt",
    "covers_at_prompt": "the mask at the prompt covers more than max_area",
    "no_frame": "the video ends before the prompt",
}
"""Why an event has no stretch, or a stretch no masks."""


@dataclass(frozen=True)
class Play:
    """What was done and what happened in a recording, frame by frame.

    Attributes:
        content: of its log.
        events: of each frame, as `EventCounter` tells them; one entry more where the recording that continues this
            one tells what its last action led to.
        worlds: the world of each frame, i64 (n,).
        has_statistics: whether any line had some; without, events are not known.
    """

    content: RecordingContent
    events: Sequence[Mapping[str, int]]
    worlds: NDArray[np.int64]
    has_statistics: bool


@dataclass(frozen=True)
class Stretch:
    """Frames in which an object is to be tracked, backwards from its prompt.

    Attributes:
        kind: the name of one of `INTERACTION_TYPES`.
        event: such as mine_block:stone.
        first: the first frame to track to.
        prompt: the frame that is prompted, at or after `first`.
        event_frame: the frame of the event, at or after `prompt`; the last one where it shows after that.
        point: where the object is in the prompt's frame, (x, y) as shares of width and height.
    """

    kind: str
    event: str
    first: int
    prompt: int
    event_frame: int
    point: tuple[float, float]


def find_stretches(play: Play, settings: SegmentSettings) -> tuple[list[Stretch], Counter[str]]:
    """The stretches of a recording, by event; and how many events were left out, by a key of `SKIP_REASONS`."""
    stretches: list[Stretch] = []
    skipped: Counter[str] = Counter()
    previous: dict[str, int] = {}
    for frame, event in _events(play, settings):
        rule = _rule_of(event, settings)
        if rule is None:
            continue
        ends = [at for name, at in previous.items() if at < frame and (name == event or _is_deed(name, settings))]
        previous[event] = frame
        stretch = _stretch(play, settings, rule, event, frame, max(ends, default=0))
        if isinstance(stretch, Stretch):
            stretches.append(stretch)
        else:
            skipped[stretch] += 1
    return stretches, skipped


def _is_deed(event: str, settings: SegmentSettings) -> bool:
    """Whether the player did something else before this event, so that no later stretch reaches back beyond it."""
    return settings.starts_after == "any" and not event.startswith("switch:")


def _events(play: Play, settings: SegmentSettings) -> Iterator[tuple[int, str]]:
    """All that happens, by frame: what the game counted, or else what buttons hint at; and changes of slot."""
    switches = dict(_switches(play.content, settings.switch_frames))
    guesses = {} if play.has_statistics or not settings.from_buttons else _guesses(play.content)
    for frame, events in enumerate(play.events):
        yield from ((frame, event) for event in events)
        yield from ((frame, event) for event in guesses.get(frame, ()))
        if frame in switches:
            yield frame, f"switch:hotbar.{switches[frame] + 1}"


def _switches(content: RecordingContent, switch_frames: int) -> Iterator[tuple[int, int]]:
    """(frame, slot) of slots that are selected and kept, from the frame after the press on."""
    pressed = content.buttons[:, _FIRST_SLOT : _FIRST_SLOT + _NUM_SLOTS]
    frames = np.flatnonzero(pressed.any(axis=1)).tolist()
    for frame, following in pairwise([*frames, content.num_frames + switch_frames]):
        if following - frame >= switch_frames and frame + 1 < content.num_frames:
            yield frame + 1, int(pressed[frame].argmax())


def _guesses(content: RecordingContent) -> dict[int, list[str]]:
    """What buttons hint at where nothing was counted: attack held for long may mine, use may use something."""
    guesses: dict[int, list[str]] = {}
    for button, event, num_frames in (("attack", "hold:attack", _HOLD_FRAMES), ("use", "press:use", 1)):
        down = (content.buttons[:, ACTION_SPACE.column[button]] > 0) & ~content.gui
        edges = np.flatnonzero(np.diff(np.concatenate(([0], down.astype(np.int8), [0]))))
        for start, stop in zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True):
            if stop - start >= num_frames and stop < content.num_frames:
                guesses.setdefault(stop, []).append(event)
    return guesses


def _rule_of(event: str, settings: SegmentSettings) -> tuple[str, Rule] | None:
    for name, rule in settings.rules().items():
        if _matches(event, rule.events) and not _matches(event, rule.never):
            return name, rule
    return None


def _matches(event: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(event, pattern) for pattern in patterns)


def _stretch(
    play: Play, settings: SegmentSettings, named: tuple[str, Rule], event: str, event_frame: int, begin: int
) -> Stretch | str:
    """The stretch of an event that begins at `begin` at the earliest; or why there is none."""
    name, rule = named
    prompt = _prompt_frame(play, settings, rule, event_frame)
    if prompt is None:
        return "no_aim"
    point = _point(play, settings, rule, event, prompt)
    if point is None:
        return "no_cursor"
    earliest = max(begin, prompt - rule.max_frames + 1, 0)
    first = prompt
    gui = play.content.gui
    while first > earliest and gui[first - 1] == gui[prompt] and _same_world(play, first - 1, prompt):
        first -= 1
    if prompt - first + 1 < settings.min_frames:
        return "short"
    kind = "interact" if name == "use" else name
    return Stretch(kind, event, first, prompt, min(event_frame, play.content.num_frames - 1), point)


def _prompt_frame(play: Play, settings: SegmentSettings, rule: Rule, event_frame: int) -> int | None:
    columns = [ACTION_SPACE.column[button] for button in rule.buttons]
    content = play.content
    latest = min(event_frame - rule.frames_before, content.num_frames - 1)
    world = min(event_frame, content.num_frames - 1)
    for frame in range(latest, max(latest - settings.search_frames - 1, -1), -1):
        fits = bool(content.gui[frame]) == (rule.prompt == "cursor") and _same_world(play, frame, world)
        if fits and (not columns or content.buttons[frame, columns].any()):
            return frame
    return None


def _point(
    play: Play, settings: SegmentSettings, rule: Rule, event: str, frame: int
) -> tuple[float, float] | None:
    """The prompt's place as shares of the frame's width and height."""
    if rule.prompt == "hotbar":
        slot = int(event.rpartition(".")[2]) - 1
        hotbar = settings.hotbar
        return (hotbar.first_x + slot * hotbar.pitch) / _HOTBAR_FRAME_PX[0], hotbar.y / _HOTBAR_FRAME_PX[1]
    if rule.prompt == "crosshair":
        return 0.5, 0.5
    cursors = play.content.cursor_window_px
    if cursors is None or not np.isfinite(cursors[frame]).all():
        return None
    x, y = cursors[frame].tolist()
    x, y = x / _WINDOW_WIDTH_PX, y / WINDOW_HEIGHT_PX
    return (x, y) if 0 <= x < 1 and 0 <= y < 1 else None


def _same_world(play: Play, frame: int, other: int) -> bool:
    return bool(play.worlds[frame] == play.worlds[other])
