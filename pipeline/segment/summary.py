"""The last lines of `rocket-prep segment`: what was made, what came to nothing and why, what to do next."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.rejection import REASONS
from pipeline.segment.job import SegmentReport
from pipeline.segment.stretches import SKIP_REASONS
from shards.display.wording import count, number_of


def summary_lines(report: SegmentReport, sources: Sequence[Path]) -> list[str]:
    """What the run did, a line each."""
    found = sum(report.found.values())
    done = f"{number_of(report.num_done, 'recording')}, {count(report.num_made)} of them made now"
    masks = f"{number_of(found, 'interaction')}, {count(report.num_mask_frames)} masks"
    lines = [f"{report.out}: masks of {done}: {masks}."]
    if found:
        lines.append("  " + ", ".join(f"{name} {count(n)}" for name, n in report.found.items()))
    lines += _reasons("Events without masks:", report.skipped, SKIP_REASONS)
    lines += _reasons("Recordings that cannot be read to their end:", report.problems, REASONS)
    if report.num_guessed:
        lines.append(
            f"{number_of(report.num_guessed, 'recording')} without statistics: events are guessed from buttons, "
            "so kills and crafts are missing and what is mined or used is not known."
        )
    places = " ".join(shlex.quote(str(place)) for place in (*sources, report.out))
    if report.num_done < report.num_recordings:
        missing = report.num_recordings - report.num_done
        lines.append(f"{number_of(missing, 'recording')} without masks yet: run the other shares, or --resume.")
    lines.append(f"Look at them: rocket-prep preview {places} --out masks.html")
    lines.append(f"Build shards with them: rocket-prep build-shards {places} --out DATASET")
    return lines


def _reasons(title: str, counts: Mapping[str, int], meanings: Mapping[str, str]) -> list[str]:
    if not counts:
        return []
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [title, *(f"  {count(number)} {name}: {meanings.get(name, name)}" for name, number in rows)]
