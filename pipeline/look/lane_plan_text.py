"""A lane plan as text for one screen, 60 columns or more."""

import textwrap
from collections import Counter

from pipeline.look.lane_plan import EpochPlan
from shards.display.wording import bar, count, duration, number_of, percent, size, span, table

_MAX_RANKS = 16
_SPEEDS = (1000.0, 5000.0)
_BAR_COLUMNS = 12


def plan_lines(plan: EpochPlan, columns: int = 80, frames_per_second: float | None = None) -> list[str]:
    """The plan's lines; those that do not begin with a blank are headings."""
    settings, schedule = plan.settings, plan.schedule
    lanes_per_rank = settings.num_lanes // plan.num_ranks
    which = f"all {number_of(len(plan.episodes), 'episode')}"
    if settings.split_ratio < 1:
        which = f"{number_of(len(plan.episodes), f'{plan.split} episode')} (split {settings.split_ratio:g})"
    lines = [
        f"Plan of {', '.join(one.path for one in plan.collection.datasets)}",
        *_wrapped(f"{which}, seed {settings.seed}, epoch {plan.epoch}", columns),
        *_wrapped(
            f"{number_of(plan.num_ranks, 'rank')} x {number_of(lanes_per_rank, 'lane')} x "
            f"{number_of(settings.window_frames, 'frame')} = {count(plan.frames_per_step)} frames a step",
            columns,
        ),
        "",
        f"Epoch: {number_of(schedule.num_steps, 'step')}, {number_of(schedule.num_windows, 'window')}",
        *_wrapped(
            f"padding: {number_of(schedule.num_padding, 'window')} ({percent(plan.padding_fraction)}), masked, "
            "at the ends of lanes",
            columns,
        ),
    ]
    speeds = [frames_per_second] if frames_per_second else _SPEEDS
    lines += [f"  time: {duration(plan.seconds(speed))} at {count(speed)} frames/s" for speed in speeds]
    return [*lines, "", *_rank_lines(plan, columns), "", *_resume_lines(plan, columns)]


def _rank_lines(plan: EpochPlan, columns: int) -> list[str]:
    head = ["rank", "lanes", "episodes", "windows", "shards", "bytes", ""]
    rows = [head] + [
        [
            str(share.rank),
            _span(share.lanes),
            count(share.num_episodes),
            count(share.num_windows),
            count(len(share.shards)),
            size(share.num_bytes),
            bar(share.num_windows / max(plan.schedule.num_steps * len(share.lanes), 1), _BAR_COLUMNS),
        ]
        for share in plan.ranks[:_MAX_RANKS]
    ]
    if columns < 72:
        rows = [row[:-1] for row in rows]
    lines = table(rows, "rlrrrrl"[: len(rows[0])])
    if len(plan.ranks) > _MAX_RANKS:
        lines.append(f"  and {len(plan.ranks) - _MAX_RANKS} more ranks; all with --json")
    of_ranks = [share.num_windows for share in plan.ranks]
    of_lanes = plan.schedule.lane_windows.tolist()
    return [
        "Ranks",
        *lines,
        *_wrapped(
            f"balance: ranks have {span((min(of_ranks), max(of_ranks)), 'window')}, "
            f"lanes {span((min(of_lanes), max(of_lanes)), 'window')}",
            columns,
        ),
        *_wrapped(_shard_sentence(plan), columns),
    ]


def _shard_sentence(plan: EpochPlan) -> str:
    num_ranks = Counter(shard for share in plan.ranks for shard in share.shards).values()
    shared = sum(number > 1 for number in num_ranks)
    if plan.lane_plan.by_episode:
        return "shards: fewer than groups of lanes, so ranks share them and read byte ranges"
    if shared:
        return f"shards: {count(shared)} are read by several ranks, each its own byte ranges"
    return "shards: each is read by one rank alone, the same in every epoch"


def _resume_lines(plan: EpochPlan, columns: int) -> list[str]:
    groups = number_of(plan.settings.num_groups, "lane group")
    heading = f"Resume: the same batches on any of these numbers of ranks ({groups})"
    lines = textwrap.wrap(heading, columns, subsequent_indent="  ")
    ways = {"with shards of their own": plan.whole_shard_ranks, "sharing shards": plan.sharing_ranks}
    for how, ranks in ways.items():
        if ranks:
            lines += _wrapped(f"{how}: {', '.join(map(str, ranks))}", columns)
    return lines


def _wrapped(text: str, columns: int) -> list[str]:
    return textwrap.wrap(text, columns, initial_indent="  ", subsequent_indent="    ")


def _span(lanes: range) -> str:
    return str(lanes.start) if len(lanes) == 1 else f"{lanes.start}-{lanes.stop - 1}"
