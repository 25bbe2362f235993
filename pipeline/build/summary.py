"""The last lines of build-shards: what was written, what was left out and why, what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pipeline.build.job import BuildReport
from shards.display.wording import count, play_time, size

_MAX_SHOWN = 5


def summary_lines(report: BuildReport) -> list[str]:
    """What a run of build-shards has to say when it ends well."""
    if report.info is None:
        return [
            f"{report.out}: {report.num_built} groups of {report.num_groups} built now.",
            "When all shares are built, join them: the same command without --only, with --resume.",
        ]
    counts = report.info.counts
    episodes, frames = counts["num_episodes"], counts["num_frames"]
    shards, num_bytes = counts["num_shards"], counts["num_bytes"]
    before = [] if report.num_groups else ["Built before, from the same recordings and settings: nothing to do."]
    return [
        *before,
        (
            f"{report.out}: {count(episodes)} episodes of {count(counts['num_recordings'])} recordings, "
            f"{count(frames)} frames ({play_time(frames)}), {count(counts['num_interactions'])} interactions, "
            f"in {count(shards)} {'shard' if shards == 1 else 'shards'}, {size(num_bytes)}, "
            f"{num_bytes / max(frames, 1):,.0f} bytes a frame."
        ),
        *_left_out(report),
        f"Look at it: rocket-prep inspect {shlex.quote(str(report.out))}",
        f"Train on it: rocket-train rocket1 {shlex.quote(f'data.datasets={report.out}')}",
    ]


def _left_out(report: BuildReport) -> Sequence[str]:
    if not report.rejected:
        return ["Nothing was left out."]
    reasons: dict[str, tuple[int, int]] = {}
    for row in report.rejected:
        entries, frames = reasons.get(row["reason"], (0, 0))
        reasons[row["reason"]] = entries + 1, frames + int(row["num_frames"] or 0)
    by_reason = ", ".join(
        f"{reason} {entries} ({count(frames)} frames)" for reason, (entries, frames) in sorted(reasons.items())
    )
    lines = [f"Left out or used in part: {by_reason}."]
    for row in report.rejected[:_MAX_SHOWN]:
        remedy = f" {row['remedy']}" if row["remedy"] else ""
        lines.append(f"  {row['path'] or row['recording']}: {row['reason']}, {row['detail'].rstrip('.')}.{remedy}")
    if len(report.rejected) > _MAX_SHOWN:
        lines.append(f"  and {len(report.rejected) - _MAX_SHOWN} more in {report.out / 'rejected.jsonl'}")
    return lines
