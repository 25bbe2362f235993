"""An overview as text for one screen, 60 columns or more."""

import textwrap
from collections.abc import Mapping
from typing import Any

from pipeline.look.overview import Overview
from shards.action_space import ACTION_SPACE
from shards.display.wording import (
    bar,
    count,
    listed,
    number_of,
    percent,
    play_time,
    short_event,
    size,
    span,
    table,
    watch_out_block,
)

_BAR_COLUMNS = 12
_MAX_REASONS = 6
_MAX_EVENTS = 12
_MAX_ACTION_BARS = 12


def overview_lines(overview: Overview, columns: int = 80) -> list[str]:
    """The overview's lines; those that do not begin with a blank are headings."""
    sections = (_head, _lengths, _interactions, _events, _actions, _shards, _rejected, _made)
    lines: list[str] = []
    for section in sections:
        if lines:
            lines.append("")
        lines += section(overview, columns)
    return lines + watch_out_block(overview.watch_out(), columns)


def _head(o: Overview, columns: int) -> list[str]:
    return [
        o.path,
        *listed(
            [
                number_of(o.num_episodes, "episode"),
                number_of(o.num_recordings, "recording"),
                number_of(o.num_frames, "frame"),
                play_time(o.num_frames),
                f"{size(o.num_bytes)} ({count(o.bytes_per_frame)} B a frame)",
            ],
            columns,
            " · ",
        ),
        *listed(
            [
                f"{o.frame_width_px} x {o.frame_height_px} px",
                f"{ACTION_SPACE.frames_per_second} frames/s",
                f"{number_of(o.num_clips, 'clip')} of up to {o.clip_frames} frames",
                f"keyframe every {o.keyframe_interval_frames}",
            ],
            columns,
            " · ",
        ),
    ]


def _lengths(o: Overview, columns: int) -> list[str]:
    lengths = o.lengths
    summary = (
        f"shortest {play_time(lengths.min)}, median {play_time(lengths.median)}, longest {play_time(lengths.max)}"
    )
    most = max(lengths.num_episodes)
    rows = [
        [play_time(start), "to", play_time(stop), count(number), bar(number / most, columns - 44)]
        for start, stop, number in zip(
            lengths.edges_frames, lengths.edges_frames[1:], lengths.num_episodes, strict=False
        )
    ]
    return [*_titled("Episode lengths", summary, columns), *table(rows, "rlrrl")]


def _interactions(o: Overview, columns: int) -> list[str]:
    if not o.num_interactions:
        return _titled("Interactions", "none: this dataset has no masks", columns)
    summary = (
        f"{count(o.num_interactions)}, with a mask on {percent(o.share(o.num_masked_frames))} of the frames, "
        f"several on {percent(o.share(o.num_overlap_frames))}"
    )
    lines = _titled("Interactions", summary, columns)
    rows = []
    for facts in o.interactions:
        share = o.share(facts.num_frames)
        events = ", ".join(f"{short_event(name)} {count(number)}" for name, number in facts.top_events.items())
        rows.append(
            [facts.name, count(facts.num_interactions), percent(share), _padded_bar(share), _cut(events, 200)]
        )
    return [*lines, *_ending_cut(table(rows, "lrrll"), columns)]


def _events(o: Overview, columns: int) -> list[str]:
    if not o.events:
        return _titled("Events", "none: the logs' statistics say of none", columns)
    parts = [f"{name} {count(number)}" for name, number in list(o.events.items())[:_MAX_EVENTS]]
    if len(o.events) > len(parts):
        parts.append(f"and {len(o.events) - len(parts)} more kinds")
    return [
        *_titled("Events", f"{count(sum(o.events.values()))} counted by the game", columns),
        *listed(parts, columns),
    ]


def _actions(o: Overview, columns: int) -> list[str]:
    shares = {"camera moves": o.share(o.num_camera_frames), "menu open": o.share(o.num_gui_frames)}
    shares |= {
        name: o.share(number)
        for name, number in sorted(o.button_frames.items(), key=lambda item: -item[1])
        if number
    }
    cells = [[name, percent(share), _padded_bar(share)] for name, share in shares.items()]
    rest = [f"{name} {value}" for name, value, _ in cells[_MAX_ACTION_BARS:]]
    never = [name for name, number in o.button_frames.items() if not number]
    cells = cells[:_MAX_ACTION_BARS]
    if columns >= 76:  # two columns of cells
        half = -(-len(cells) // 2)
        blank = ["", "", ""]
        rows = [[*left, *right] for left, right in zip(cells[:half], [*cells[half:], blank][:half], strict=True)]
        lines = table(rows, "lrllrl")
    else:
        lines = table(cells, "lrl")
    if rest:
        lines += listed(rest, columns)
    if never:
        lines += listed([f"never {never[0]}", *never[1:]], columns)
    return [*_titled("Actions", "share of frames", columns), *lines]


def _shards(o: Overview, columns: int) -> list[str]:
    shards = o.shards
    one_size = shards.min_bytes == shards.max_bytes
    sizes = size(shards.max_bytes) if one_size else f"{size(shards.min_bytes)} to {size(shards.max_bytes)}"
    episodes = span((shards.min_episodes, shards.max_episodes), "episode")
    return _titled("Shards", f"{count(shards.num_shards)} of {sizes}, {episodes} each", columns)


def _rejected(o: Overview, columns: int) -> list[str]:
    account = textwrap.wrap(o.account(), columns, subsequent_indent="  ")
    if not o.num_rejected:
        return [*account, *_titled("Left out", "nothing", columns)]
    whole = o.num_frames + o.num_noop_frames + o.num_rejected_frames
    lines = account + _titled(
        "Left out",
        f"{number_of(o.num_rejected, 'entry', 'entries')}, {number_of(o.num_rejected_frames, 'frame')} "
        f"({percent(o.num_rejected_frames / whole)} of all)",
        columns,
    )
    rows = []
    for facts in o.rejected[:_MAX_REASONS]:
        unknown = f" + {count(facts.num_unknown)} unknown" if facts.num_unknown else ""
        rows.append(
            [
                facts.reason,
                count(facts.num_entries),
                f"{number_of(facts.num_frames, 'frame')}{unknown}",
                facts.example,
            ]
        )
    lines += _ending_cut(table(rows, "lrrl"), columns)
    if len(o.rejected) > _MAX_REASONS:
        lines.append(f"  and {len(o.rejected) - _MAX_REASONS} more reasons, all in rejected.jsonl")
    return lines


def _made(o: Overview, columns: int) -> list[str]:
    lines = [*_titled("Made", f"format {o.format_version}, fingerprint {o.fingerprint[:12]}", columns)]
    for name, values in (("codec", o.codec), ("tools", o.tools), ("settings", o.settings), ("sources", o.sources)):
        if values:
            text = f"  {name}: {_pairs(values)}"
            lines += textwrap.wrap(text, columns, subsequent_indent="    ", break_on_hyphens=False)
    return lines


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + _pairs(value) + ")"
    return "none" if value is None else str(value)


def _titled(title: str, summary: str, columns: int) -> list[str]:
    """A heading with its summary beside it, or below where it does not fit."""
    line = f"{title}: {summary}"
    return textwrap.wrap(line, columns, subsequent_indent="  ") or [line]


def _ending_cut(lines: list[str], columns: int) -> list[str]:
    return [_cut(line, columns) for line in lines]


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else text[: columns - 1].rstrip(" ,:") + "…"


def _padded_bar(share: float) -> str:
    return bar(share, _BAR_COLUMNS).ljust(_BAR_COLUMNS)
