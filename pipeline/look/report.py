"""The page that shows a dataset to a colleague: facts as charts, frames, the lane plan, what was left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.look import charts
from pipeline.look.coverage import coverage_of
from pipeline.look.lane_plan import EpochPlan, LaneSettings, plan_lanes
from pipeline.look.overview import Overview, overview_of
from pipeline.look.sample_strips import sample_strips
from pipeline.look.sampled_actions import SampledActions, sample_actions
from pipeline.recording import REASONS
from pipeline.transcode.probe import VIDEO_REASONS
from shards.action_space import ACTION_SPACE
from shards.display.page import Panel, Section, Tile, html_legend, html_table, render_page
from shards.display.wording import count, duration, number_of, percent, play_time, short_count, short_event, size
from shards.errors import RocketError
from shards.interaction_types import interaction_type
from shards.reader import Dataset

_MAX_LISTED = 40
_MAX_EVENTS = 9
_MANY, _FEW = 1e7, 12
_MAX_PADDING = 0.05
_MAX_LANES = 64
_LANES_PER_RANK = 8


def check_out(out: Path) -> None:
    """The page can be written there.

    Raises:
        RocketError: if it does not end in .html or its folder is missing.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise RocketError(f"--out: {out} ends in {out.suffix or 'nothing'}, expected .html.")
    if not out.parent.is_dir():
        raise RocketError(f"--out: the folder {out.parent} is missing. Make it: mkdir -p {out.parent}")


def report_page(dataset: Dataset, lanes: LaneSettings | None = None) -> str:
    """The report as HTML.

    Args:
        lanes: the run to plan; None: as many lanes, up to 64, as the dataset fills.

    Raises:
        RocketError: if the lanes do not divide.
    """
    overview = overview_of(dataset)
    plan = plan_lanes(dataset, lanes) if lanes is not None else _fitting_plan(dataset)
    alarms: list[str] = []
    actions, strips = SampledActions(np.zeros((0, 2)), 0, []), ""
    try:
        actions = sample_actions(dataset)
        strips = sample_strips(dataset, alarms)
    except OSError as error:
        alarms.append(f"Shards cannot be read ({error}), so frames and camera are missing here.")
    if actions.damaged:
        looked_at = actions.num_clips + len(actions.damaged)
        alarms.append(
            f"{count(len(actions.damaged))} of the {count(looked_at)} clips that were looked at are damaged, "
            f"the first: {actions.damaged[0]}"
        )
    sections = [
        _episodes(overview, dataset),
        _interactions(overview, dataset),
        _actions(overview, actions),
        _frames(strips),
        _lanes(plan),
        _rejected(overview, dataset),
        _made(overview),
    ]
    return render_page(
        dataset.path.rstrip("/").rsplit("/", 1)[-1] or dataset.path,
        f"{dataset.path}: frames of {overview.frame_width_px} x {overview.frame_height_px} px, "
        f"{ACTION_SPACE.frames_per_second} a second, in clips of up to {overview.clip_frames}",
        [
            Tile(count(overview.num_episodes), "episodes"),
            Tile(count(overview.num_recordings), "recordings"),
            Tile(_tile_count(overview.num_frames), "frames"),
            Tile(play_time(overview.num_frames), "of play"),
            Tile(_tile_count(overview.num_interactions), "interactions"),
            Tile(size(overview.num_bytes), f"{count(overview.bytes_per_frame)} bytes a frame"),
        ],
        [section for section in sections if section.panels],
        alarms=alarms,
        footer=f"rocket-prep report {dataset.path} | fingerprint {overview.fingerprint[:16]}",
    )


def _episodes(overview: Overview, dataset: Dataset) -> Section:
    lengths, shards = overview.lengths, overview.shards
    return Section(
        "Episodes",
        [
            Panel(
                "Length",
                charts.lengths_chart(overview),
                f"Shortest {play_time(lengths.min)}, median {play_time(lengths.median)}, "
                f"longest {play_time(lengths.max)}.",
            ),
            Panel(
                "Shards",
                charts.shards_chart(dataset.info.files["shard_bytes"]),
                f"{number_of(shards.num_shards, 'shard')}, {size(shards.median_bytes)} in the median, with "
                f"{_span(shards.min_episodes, shards.max_episodes)} episodes each.",
            ),
        ],
    )


def _interactions(overview: Overview, dataset: Dataset) -> Section:
    if not overview.num_interactions:
        return Section("Interactions", [Panel("", "<p>This dataset has no masks.</p>")])
    events = [
        (number, item.name, event) for item in overview.interactions for event, number in item.top_events.items()
    ]
    events.sort(key=lambda entry: -entry[0])
    rows = [[name, short_event(event), count(number)] for number, name, event in events[:_MAX_EVENTS]]
    masked, several = (
        percent(overview.share(number)) for number in (overview.num_masked_frames, overview.num_overlap_frames)
    )
    coverage = coverage_of(dataset)
    legend = html_legend([(interaction_type(type_id).name, f"--type-{type_id}") for type_id in coverage.shares])
    return Section(
        "Interactions",
        [
            Panel(
                "Coverage by type",
                charts.types_chart(overview),
                f"Share of frames (and number). {masked} of the frames have a mask, {several} have several.",
            ),
            Panel("Most frequent events", html_table(["type", "event", "number"], rows, "lnr")),
            Panel(
                "Over an episode's time",
                f'{legend}<div class="scroll">{charts.coverage_chart(coverage)}</div>',
                f"Of the frames at that time in all episodes that last so long ({count(coverage.num_episodes[0])} "
                f"at the start, {count(coverage.num_episodes[-1])} at the end).",
                wide=True,
            ),
        ],
    )


def _actions(overview: Overview, actions: SampledActions) -> Section:
    never = [name for name, number in overview.button_frames.items() if not number]
    note = "Share of all frames in which a button is down."
    if never:
        note += f" Never: {', '.join(never)}."
    panels = [Panel("Buttons", charts.buttons_chart(overview), note)]
    sample = (
        f"{count(len(actions.camera))} frames of {count(actions.num_clips)} clips, evenly spread over the dataset."
    )
    moves, menu = (
        percent(overview.share(number)) for number in (overview.num_camera_frames, overview.num_gui_frames)
    )
    if len(actions.camera):
        panels += [
            Panel(
                "Camera",
                charts.camera_chart(actions) + f'<p class="note">Of {sample}</p>' + charts.turns_chart(actions),
                f"It moves in {moves} of all frames; positive is right and down. A menu is open in {menu}.",
            )
        ]
    return Section("Actions", panels)


def _frames(strips: str) -> Section:
    note = "Tinted: the interaction's object. Yellow: pressed keys, and the camera's movement as an arrow."
    return Section("Frames", [Panel("", strips, wide=True)] if strips else [], note)


def _fitting_plan(dataset: Dataset) -> EpochPlan:
    """The plan with the most lanes that are filled well, up to the tutorial's 64 on 8 ranks."""
    lanes = _MAX_LANES
    while True:
        ranks = max(lanes // _LANES_PER_RANK, 1)
        plan = plan_lanes(dataset, LaneSettings(lanes, ranks))
        if lanes == 1 or plan.padding_fraction <= _MAX_PADDING:
            return plan
        lanes //= 2


def _lanes(plan: EpochPlan) -> Section:
    settings, schedule = plan.settings, plan.schedule
    ranks = number_of(settings.num_ranks, "rank")
    lanes = number_of(settings.num_lanes // settings.num_ranks, "lane")
    rows = [
        [
            str(share.rank),
            count(share.num_episodes),
            count(share.num_windows),
            count(len(share.shards)),
            size(share.num_bytes),
        ]
        for share in plan.ranks
    ]
    facts = [
        ["one step", f"{ranks} x {lanes} x {number_of(settings.window_frames, 'frame')}"],
        ["frames a step", count(plan.frames_per_step)],
        ["steps an epoch", count(schedule.num_steps)],
        ["windows", count(schedule.num_windows)],
        ["padding", f"{count(schedule.num_padding)} windows ({percent(plan.padding_fraction)})"],
        ["time an epoch", f"{duration(plan.seconds(5000))} at 5,000 frames/s"],
        ["can go on with", f"{', '.join(map(str, [*plan.whole_shard_ranks, *plan.sharing_ranks]))} ranks"],
    ]
    return Section(
        "Lane plan",
        [
            Panel("An epoch", html_table(["", ""], facts, "ln")),
            Panel("Ranks", html_table(["rank", "episodes", "windows", "shards", "bytes"], rows, "rrrrr")),
            Panel(
                "Lanes",
                f'<div class="scroll">{charts.lanes_chart(plan)}</div>',
                "Episodes as blocks, each whole and in order on one lane.",
                wide=True,
            ),
        ],
        f"All episodes as a training run of {number_of(settings.num_lanes, 'lane')} would read them. "
        "For your own run: rocket-prep plan.",
    )


def _rejected(overview: Overview, dataset: Dataset) -> Section:
    if not overview.num_rejected:
        return Section("Left out", [Panel("", "<p>Nothing was left out.</p>", wide=True)])
    whole = overview.num_frames + overview.num_rejected_frames
    rows = [
        [
            fact.reason,
            count(fact.num_entries),
            count(fact.num_frames) + (f" and {fact.num_unknown} unknown" if fact.num_unknown else ""),
            percent(fact.num_frames / whole if whole else 0),
            {**REASONS, **VIDEO_REASONS}.get(fact.reason, ""),
        ]
        for fact in overview.rejected
    ]
    entries = [
        [
            str(record.get("recording", "")),
            str(record.get("reason", "")),
            str(record.get("detail", "")),
            "unknown" if record.get("num_frames") is None else count(record["num_frames"]),
        ]
        for record in dataset.rejected()[:_MAX_LISTED]
    ]
    more = overview.num_rejected - len(entries)
    listing = html_table(["recording", "reason", "what was met", "frames"], entries, "nlnr")
    is_open = " open" if len(entries) <= _FEW else ""
    details = f"<details{is_open}><summary>Entries</summary>{listing}</details>"
    more_text = f" The first {len(entries)}; {count(more)} more in rejected.jsonl." if more else ""
    return Section(
        "Left out",
        [
            Panel(
                "By reason",
                html_table(["reason", "entries", "frames", "share", "meaning"], rows, "lrrrn"),
                f"{count(overview.num_rejected_frames)} frames in {count(overview.num_rejected)} entries.",
                wide=True,
            ),
            Panel(
                "",
                details,
                more_text.strip(),
                wide=True,
            ),
        ],
    )


def _made(overview: Overview) -> Section:
    def rows(values: Mapping[str, Any]) -> Sequence[Sequence[str]]:
        return [[key, _text(value)] for key, value in values.items()]

    groups = (("Settings", overview.settings), ("Tools", overview.tools), ("Codec", overview.codec))
    panels = [Panel(title, html_table(["", ""], rows(values), "ln")) for title, values in groups if values]
    return Section("How it was made", panels, f"Format {overview.format_version}, {overview.fingerprint}")


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def _span(low: int, high: int) -> str:
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def _tile_count(number: int) -> str:
    return count(number) if number < _MANY else short_count(number)
