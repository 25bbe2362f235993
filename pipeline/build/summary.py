"""The last lines of build-shards: what was written, what was left out and why, what to type next."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.build.job import BuildReport
from shards.display.wording import count, frames_account, number_of, play_time, size

_MAX_REASONS, _MAX_NAMES = 8, 3


def summary_lines(report: BuildReport) -> list[str]:
    """What a run of build-shards has to say when it ends well."""
    if report.info is None:
        return [
            f"{report.out}: {count(report.num_built)} of {number_of(report.num_groups, 'group')} built now.",
            "When all shares are built, join them: the same command without --only, with --resume.",
        ]
    counts = report.info.counts
    frames, num_bytes = counts["num_frames"], counts["num_bytes"]
    episodes, recordings, interactions, shards = (
        number_of(counts[f"num_{unit}s"], unit) for unit in ("episode", "recording", "interaction", "shard")
    )
    before = [] if report.num_groups else ["Built before, from the same recordings and settings: nothing to do."]
    return [
        *before,
        (
            f"{report.out}: {episodes} of {recordings}, {number_of(frames, 'frame')} ({play_time(frames)}), "
            f"{interactions}, in {shards}, {size(num_bytes)}, "
            f"{num_bytes / max(frames, 1):,.0f} bytes a frame."
        ),
        *_accounts(report),
        f"Look at it: rocket-prep inspect {shlex.quote(str(report.out))}",
        f"Train on it: rocket-train rocket1 {shlex.quote(f'data.datasets={report.out}')}",
    ]


def _accounts(report: BuildReport) -> Sequence[str]:
    """What became of every frame, and what was left out, by reason; many alike are one line."""
    assert report.info is not None
    counts = report.info.counts
    kept, noops, lost = counts["num_frames"], counts["num_noop_frames"], counts["num_rejected_frames"]
    by_reason: dict[str, list[Mapping[str, Any]]] = {}
    for row in report.rejected:
        by_reason.setdefault(row["reason"], []).append(row)
    unknown = sum(row["num_frames"] is None and row["reason"] != "duplicate" for row in report.rejected)
    lines = [frames_account(kept, noops, lost, unknown)]
    if not by_reason:
        return [*lines, "Nothing was left out."]
    totals = {reason: sum(row["num_frames"] or 0 for row in rows) for reason, rows in by_reason.items()}
    by_frames = sorted(by_reason, key=lambda reason: (-totals[reason], reason))
    summary = ", ".join(
        f"{reason} {len(by_reason[reason])} ({number_of(totals[reason], 'frame')})" for reason in by_frames
    )
    lines.append(f"Left out or used in part: {summary}.")
    for reason in by_frames[:_MAX_REASONS]:
        rows = by_reason[reason]
        first = rows[0]
        names = list(dict.fromkeys(row["recording"] for row in rows))
        where = first["path"] or first["recording"]
        if len(rows) > 1:
            others = f" and {count(len(names) - _MAX_NAMES)} more" if len(names) > _MAX_NAMES else ""
            where = f"{', '.join(names[:_MAX_NAMES])}{others}"
        remedy = f" {first['remedy']}" if first["remedy"] else ""
        such_as = "such as: " if len({row["detail"] for row in rows}) > 1 else ""
        lines.append(f"  {where}: {reason}, {such_as}{first['detail'].rstrip('.')}.{remedy}")
    if len(report.rejected) > 1:
        lines.append(f"  All {count(len(report.rejected))} lines are in {report.out / 'rejected.jsonl'}")
    return lines
