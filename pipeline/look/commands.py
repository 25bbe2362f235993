"""The commands that read a dataset: inspect, preview, plan, verify, export-logs, report.

`pipeline.cli` registers them.
Heavy imports wait until a command needs them, so that `inspect` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shards.places import on_this_machine

if TYPE_CHECKING:
    from pipeline.look.lane_plan import EpochPlan

DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="Folder or address of a dataset.")]
DatasetsArgument = Annotated[
    list[str], typer.Argument(metavar="DATASET...", help="Folders or addresses, in the order of data.datasets.")
]
RunDatasetsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATASET...", help="In the order of data.datasets. Default: those of --run."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
RunOption = Annotated[
    Path | None,
    typer.Option("--run", metavar="RUN_DIR", help="Use the settings of this run, or of a YAML file."),
]
WindowOption = Annotated[
    int | None, typer.Option(metavar="T", min=1, help="Frames in a window: data.win_len. Default: 128.")
]
EpochOption = Annotated[int, typer.Option(metavar="N", min=0, help="Which epoch.")]
SeedOption = Annotated[int | None, typer.Option(metavar="N", help="The run's seed. Default: 0.")]
RanksOption = Annotated[
    int | None, typer.Option(metavar="W", min=1, help="Training processes, one per GPU. Default: 1.")
]
SplitRatioOption = Annotated[
    float | None,
    typer.Option(
        metavar="X", min=0, max=1, help="Share of the episodes that train: data.split_ratio. Default: all."
    ),
]
SplitOption = Annotated[Literal["train", "val"], typer.Option(help="Which part of a split, with --split-ratio.")]
ShuffleOption = Annotated[bool | None, typer.Option(help="data.shuffle_episodes. Default: shuffle.")]
LaneGroupsOption = Annotated[
    int | None, typer.Option(metavar="G", min=1, help="data.num_lane_groups. Default: one for each rank.")
]


def inspect(
    dataset: DatasetArgument,
    episode: Annotated[str | None, typer.Option(metavar="ID", help="Show only this episode.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what is in a dataset: episodes, interactions, actions, shards, what was left out and why.

    It reads the manifest only and takes about a second.
    """
    from shards.display.wording import print_json, print_lines, terminal_columns
    from shards.reader import open_dataset

    opened = open_dataset(dataset)
    if episode is not None:
        from pipeline.look.episode_facts import episode_facts, episode_lines

        facts = episode_facts(opened, episode)
        if as_json:
            print_json(facts.to_json())
        else:
            print_lines(episode_lines(facts, terminal_columns()))
        return
    from pipeline.look.overview import overview_of

    overview = overview_of(opened)
    if as_json:
        print_json(overview.to_json())
    else:
        from pipeline.look.overview_text import overview_lines

        print_lines(overview_lines(overview, terminal_columns()))


def plan(
    datasets: RunDatasetsArgument = None,
    lanes: Annotated[
        int | None, typer.Option(metavar="L", min=1, help="The global batch: ranks times lanes per rank.")
    ] = None,
    ranks: RanksOption = None,
    window: WindowOption = None,
    run: RunOption = None,
    frames_per_second: Annotated[
        float | None,
        typer.Option("--fps", metavar="N", min=0.001, help="Frames/s of all ranks together."),
    ] = None,
    epoch: EpochOption = 0,
    seed: SeedOption = None,
    split_ratio: SplitRatioOption = None,
    split: SplitOption = "train",
    shuffle: ShuffleOption = None,
    lane_groups: LaneGroupsOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", callback=on_this_machine, help="Also draw the lanes.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a training run would do: steps, padding, shards of each rank, time, ways to resume."""
    from shards.display.wording import print_json, print_lines, terminal_columns, watch_out_block

    if lanes is None and run is None:
        raise typer.BadParameter("give --lanes L or --run RUN_DIR", param_hint="--lanes")
    if out is not None:
        from shards.display.page import check_out

        check_out(out, ".png")
    planned = _plan(datasets, run, epoch, split, lanes, ranks, window, seed, split_ratio, shuffle, lane_groups)
    if out is not None:
        from pipeline.look.charts import save_lanes

        save_lanes(planned, out)
    if as_json:
        print_json(planned.to_json())
        return
    from pipeline.look.lane_plan_text import plan_lines

    columns = terminal_columns()
    lines = plan_lines(planned, columns, frames_per_second)
    lines += watch_out_block(planned.watch_out(of_run=run is not None), columns)
    print_lines([*lines, "", f"Wrote {out}"] if out is not None else lines)


def preview(
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            callback=on_this_machine,
            help="A sheet (.png, .jpg), a video (.mp4) or a page that plays (.html).",
        ),
    ],
    datasets: RunDatasetsArgument = None,
    episode: Annotated[str | None, typer.Option(metavar="ID", help="Show this episode.")] = None,
    frames: Annotated[str | None, typer.Option(metavar="A:B", help="Only these frames of the episode.")] = None,
    recording: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of recordings with masks: show this one alone.")
    ] = None,
    lane: Annotated[int | None, typer.Option(metavar="L", min=0, help="Show what this lane sees.")] = None,
    steps: Annotated[str, typer.Option(metavar="A:B", help="These steps of the lane.")] = "0:6",
    lanes: Annotated[int | None, typer.Option(metavar="N", min=1, help="Lanes of the run. Default: 1.")] = None,
    ranks: RanksOption = None,
    window: WindowOption = None,
    run: RunOption = None,
    epoch: EpochOption = 0,
    seed: SeedOption = None,
    split_ratio: SplitRatioOption = None,
    split: SplitOption = "train",
    shuffle: ShuffleOption = None,
    lane_groups: LaneGroupsOption = None,
    cells: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Frames on a sheet: of the episode, or of each window.")
    ] = None,
) -> None:
    """Draw frames with masks, events, pressed keys and camera movement, of an episode or of a lane.

    A lane shows what training gets: the goal of each frame, and where memory starts empty. Give it the settings of
    the run. Recordings and the folder of their masks, in the place of a dataset, show some of their stretches.
    """
    from pipeline.look.preview import (
        EPISODE_CELLS,
        FORMATS,
        LANE_CELLS,
        dataset_with,
        parse_range,
        preview_episode,
        preview_lane,
    )
    from pipeline.progress import progress_on_stderr
    from shards.display.page import check_out

    if episode is None and lane is None and datasets and _are_recordings(datasets):
        from pipeline.look.masks import preview_masks

        check_out(out, *FORMATS)
        number = preview_masks([Path(place) for place in datasets], out, recording, cells)
        typer.echo(f"Wrote {out}: {number} stretches")
        return
    if (episode is None) == (lane is None):
        raise typer.BadParameter("give either --episode ID or --lane L", param_hint="--episode")
    if lane is not None and frames is not None:
        raise typer.BadParameter("goes with --episode; a lane has --steps", param_hint="--frames")
    check_out(out, *FORMATS)
    with progress_on_stderr() as bar:
        begun = False

        def report(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                bar.start("drawing", total, "frames")
                begun = True
            bar.advance(done)

        if episode is not None:
            opened = dataset_with(_paths(datasets, run), episode)
            shown = parse_range("--frames", frames or ":")
            number = preview_episode(
                opened, episode, shown, out, num_cells=cells or EPISODE_CELLS, progress=report
            )
        else:
            assert lane is not None
            from pipeline.look.footage import LaneView

            planned = _plan(
                datasets, run, epoch, split, lanes, ranks, window, seed, split_ratio, shuffle, lane_groups
            )
            start, stop = parse_range("--steps", steps)
            view = LaneView(planned, lane)
            chosen = view.steps(start or 0, planned.schedule.num_steps if stop is None else stop)
            number = preview_lane(view, chosen, out, num_cells=cells or LANE_CELLS, progress=report)
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
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the logs.")],
) -> None:
    """Write the recordings' logs again, DIR/<recording>.jsonl, equal to the source's up to the last line used.

    Of MineStudio's sources, a line has what they knew of its frame.
    """
    from pipeline.look.export_logs import export_logs
    from shards.display.wording import number_of
    from shards.reader import open_dataset

    num_logs, num_lines = export_logs(open_dataset(dataset), out)
    typer.echo(f"Wrote {number_of(num_logs, 'log')} into {out}: {number_of(num_lines, 'line')}")


def report(
    datasets: DatasetsArgument,
    out: Annotated[Path, typer.Option(metavar="FILE.html", callback=on_this_machine, help="The page to write.")],
    lanes: Annotated[
        int | None, typer.Option(metavar="L", min=1, help="Plan this many lanes. Default: as many as fit.")
    ] = None,
    ranks: RanksOption = None,
    window: WindowOption = None,
) -> None:
    """Write a page that shows a dataset: charts, frames with masks, what was left out, the lane plan.

    It is one file and needs no network.
    """
    from pipeline.look.lane_plan import lane_settings
    from pipeline.look.report import report_page
    from shards.display.page import check_out, write_page
    from shards.schedule.collection import open_collection

    check_out(out, ".html", ".htm")
    ranks = ranks or 1
    settings = None
    if lanes is not None:
        settings = lane_settings(ranks, {"num_lanes": lanes, "window_frames": window or 128})
    write_page(report_page(open_collection(datasets), settings, ranks), out)
    typer.echo(f"Wrote {out}. Open it in a browser.")


def _plan(
    datasets: list[str] | None,
    run: Path | None,
    epoch: int,
    split: Literal["train", "val"],
    lanes: int | None,
    ranks: int | None,
    window: int | None,
    seed: int | None,
    split_ratio: float | None,
    shuffle: bool | None,
    lane_groups: int | None,
) -> EpochPlan:
    """The plan that the options ask for, on top of a run's settings where one is given."""
    from pipeline.look.lane_plan import lane_settings, lanes_of_run, plan_lanes
    from shards.schedule.collection import open_collection

    values: dict[str, Any] = {"num_lanes": 1}
    num_ranks = 1
    if run is not None:
        of_run = lanes_of_run(run)
        values, num_ranks = of_run.values, of_run.num_ranks
    given = {
        "num_lanes": lanes,
        "window_frames": window,
        "seed": seed,
        "split_ratio": split_ratio,
        "shuffle": shuffle,
        "num_groups": lane_groups,
    }
    num_ranks = ranks or num_ranks
    values |= {name: value for name, value in given.items() if value is not None}
    settings = lane_settings(num_ranks, values)
    collection = open_collection(_paths(datasets, run))
    return plan_lanes(collection, settings, num_ranks, split=split, epoch=epoch)


def _paths(datasets: list[str] | None, run: Path | None) -> list[str]:
    """The datasets that are given, or the run's."""
    from pipeline.look.lane_plan import lanes_of_run
    from shards.errors import RocketError

    if run is None:
        if not datasets:
            raise typer.BadParameter("give one or more, or --run RUN_DIR", param_hint="DATASET")
        return datasets
    of_run = lanes_of_run(run).datasets
    if not datasets:
        return list(of_run)
    if len(of_run) > 1 and len(datasets) != len(of_run):
        raise RocketError(
            f"{run}: the run joins {len(of_run)} datasets on its lanes, got {len(datasets)}. "
            "Give all of them in the same order, or none."
        )
    return datasets


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
