"""The commands that read a dataset: inspect, preview, plan, verify, export-logs, report.

`pipeline.cli` registers them.
Heavy imports wait until a command needs them, so that `inspect` answers at once.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipeline.look.lane_options import LaneOptions, takes_lane_options
from shards.places import file_of, on_this_machine

DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="Folder or address of a dataset.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def inspect(
    dataset: DatasetArgument,
    episode: Annotated[str | None, typer.Option(metavar="ID", help="Show only this episode.")] = None,
    recordings: Annotated[
        bool, typer.Option("--recordings", help="Show what became of each recording's frames.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what is in a dataset: episodes, interactions, actions, shards, what was left out and why.

    It reads the manifest only and takes about a second.
    """
    from pipeline.look.episode_facts import episode_facts, episode_lines
    from pipeline.look.overview import overview_of
    from pipeline.look.overview_text import overview_lines
    from pipeline.look.recording_accounts import account_lines, recording_accounts
    from shards.display.wording import print_json, print_lines, terminal_columns
    from shards.reader import open_dataset

    opened, columns = open_dataset(dataset), terminal_columns()
    if episode is not None:
        facts = episode_facts(opened, episode)
        print_json(facts.to_json()) if as_json else print_lines(episode_lines(facts, columns))
    elif recordings:
        accounts = recording_accounts(opened)
        print_json([one.to_json() for one in accounts]) if as_json else print_lines(
            account_lines(opened, accounts)
        )
    else:
        overview = overview_of(opened)
        print_json(overview.to_json()) if as_json else print_lines(overview_lines(overview, columns))


@takes_lane_options
def plan(
    options: LaneOptions,
    frames_per_second: Annotated[
        float | None,
        typer.Option("--fps", metavar="N", min=0.001, help="Frames/s of all ranks together."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", callback=file_of(".png"), help="Also draw the lanes.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a training run would do: steps, padding, shards of each rank, time, ways to resume."""
    from pipeline.look.lane_plan_text import plan_lines
    from shards.display.wording import print_json, print_lines, terminal_columns, watch_out_block

    if options.lanes is None and options.run is None:
        raise typer.BadParameter("give --lanes L or --run RUN_DIR", param_hint="--lanes")
    planned, columns = options.plan(), terminal_columns()
    if out is not None:
        from pipeline.look.charts import save_lanes

        save_lanes(planned, out)
    if as_json:
        print_json(planned.to_json())
        return
    lines = plan_lines(planned, columns, frames_per_second)
    lines += watch_out_block(planned.watch_out(of_run=options.run is not None), columns)
    print_lines([*lines, "", f"Wrote {out}"] if out is not None else lines)


@takes_lane_options
def preview(
    options: LaneOptions,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            callback=file_of(".png", ".jpg", ".mp4", ".html"),
            help="A sheet (.png, .jpg), a video (.mp4) or a page that plays (.html).",
        ),
    ],
    episode: Annotated[str | None, typer.Option(metavar="ID", help="Show this episode.")] = None,
    frames: Annotated[str | None, typer.Option(metavar="A:B", help="Only these frames of the episode.")] = None,
    recording: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of recordings with masks: show this one alone.")
    ] = None,
    lane: Annotated[int | None, typer.Option(metavar="L", min=0, help="Show what this lane sees.")] = None,
    steps: Annotated[
        str | None, typer.Option(metavar="A:B", help="These steps of the lane. Default: the first 6.")
    ] = None,
    cells: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Frames on a sheet: of the episode, or of each window.")
    ] = None,
) -> None:
    """Draw frames with masks, events, pressed keys and camera movement, of an episode or of a lane.

    A lane shows what training gets: the goal of each frame, and where memory starts empty. Give it the settings of
    the run. Recordings and the folder of their masks, in the place of a dataset, show some of their stretches.
    """
    from pipeline.look.preview import dataset_with, parse_range, preview_episode, preview_lane
    from pipeline.progress import progress_on_stderr

    if episode is None and lane is None and options.datasets and _are_recordings(options.datasets):
        from pipeline.look.masks import preview_masks

        number = preview_masks([Path(place) for place in options.datasets], out, recording, cells)
        typer.echo(f"Wrote {out}: {number} stretches")
        return
    if (episode is None) == (lane is None):
        raise typer.BadParameter("give either --episode ID or --lane L", param_hint="--episode")
    if lane is not None and frames is not None:
        raise typer.BadParameter("goes with --episode; a lane has --steps", param_hint="--frames")
    with progress_on_stderr() as progress:
        if episode is not None:
            dataset, shown = dataset_with(options.paths(), episode), parse_range("--frames", frames or ":")
            number = preview_episode(dataset, episode, shown, out, cells, progress)
        elif lane is not None:
            planned = options.plan()
            span = parse_range("--steps", steps or f"0:{min(6, planned.schedule.num_steps)}")
            number = preview_lane(planned, lane, span, out, cells, progress)
    typer.echo(f"Wrote {out}: {number} frames")


def _are_recordings(places: Sequence[str]) -> bool:
    """Whether these are folders or files of recordings, not datasets."""
    from shards.manifest import INFO_FILE

    paths = [Path(place) for place in places]
    return all(path.exists() for path in paths) and not any((path / INFO_FILE).exists() for path in paths)


def verify(
    dataset: DatasetArgument,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Worker processes. Default: one for each core.")
    ] = None,
    decode: Annotated[bool, typer.Option(help="Decode every video; otherwise only bytes are checked.")] = True,
    repair: Annotated[
        list[Path] | None,
        typer.Option(metavar="SOURCE", help="Build damaged episodes again from these recordings. Repeatable."),
    ] = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RECORDINGS",
            help="Compare all actions and a sample of pictures with these recordings. Repeatable.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every byte of a dataset: checksums, frames, actions, masks, and the manifest against the tars.

    Faults are listed by shard, episode and clip. The exit status is 1 if there are any.
    """
    from pipeline.look.verify import run_verify

    status = run_verify(
        dataset, workers, decode=decode, repair_from=repair or [], sources=sources or [], as_json=as_json
    )
    raise typer.Exit(status)


def export_logs(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", callback=on_this_machine, help="Folder for the logs.")],
) -> None:
    """Write the recordings' logs again, DIR/<recording>.jsonl, equal to the source's up to the last line used.

    Of MineStudio's sources, a line has what they knew of its frame.
    """
    from pipeline.look.export_logs import export_logs
    from shards.display.wording import number_of
    from shards.reader import open_dataset

    num_logs, num_lines = export_logs(open_dataset(dataset), out)
    typer.echo(f"Wrote {number_of(num_logs, 'log')} into {out}: {number_of(num_lines, 'line')}")


@takes_lane_options
def report(
    options: LaneOptions,
    out: Annotated[
        Path, typer.Option(metavar="FILE.html", callback=file_of(".html", ".htm"), help="The page to write.")
    ],
) -> None:
    """Write a page that shows a dataset: charts, frames with masks, what was left out, the lane plan.

    It is one file and needs no network. Without --lanes or --run it plans as many lanes as the data fill.
    """
    from pipeline.look.report import fitting_plan, report_page
    from shards.display.page import write_page

    unsaid = options.lanes is None and options.run is None
    if unsaid and (options.ranks or options.lane_groups):
        raise typer.BadParameter("goes with --lanes L", param_hint="--ranks" if options.ranks else "--lane-groups")
    planned = fitting_plan(options) if unsaid else options.plan()
    write_page(report_page(planned), out)
    typer.echo(f"Wrote {out}. Open it in a browser.")


_EXAMPLES: dict[Callable[..., None], list[str]] = {
    inspect: ["rocket-prep inspect data/contractors"],
    preview: [
        "rocket-prep preview data/contractors --episode ID --frames 400:600 --out sheet.png",
        "rocket-prep preview data/contractors --lane 3 --run runs/rocket1 --steps 0:8 --out lane.mp4",
    ],
    plan: ["rocket-prep plan data/contractors --lanes 64 --ranks 8 --out lanes.png"],
    verify: ["rocket-prep verify data/contractors", "rocket-prep verify data/contractors --repair recordings/"],
    export_logs: ["rocket-prep export-logs data/contractors --out logs"],
    report: ["rocket-prep report data/contractors --out report.html"],
}


def add_commands(app: typer.Typer) -> None:
    """The app has the commands of this module."""
    for command, examples in _EXAMPLES.items():
        title = "Example:" if len(examples) == 1 else "Examples:"
        app.command(epilog="\b\n" + "\n  ".join([title, *examples]))(command)
