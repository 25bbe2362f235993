"""rocket-prep: the command line. Commands parse words and call a function elsewhere."""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from pipeline.look.commands import add_commands
from pipeline.recording import SourceName
from shards.display.command_line import command_with_settings, new_app
from shards.errors import RocketError, SettingsError, UsageError
from shards.places import on_this_machine

app = new_app(
    "rocket-prep", name="rocket-prep", help="Contractor recordings in, ordered shards for a ROCKET-1 policy out."
)

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*=")

WordsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE... [KEY=VALUE...]",
        help="Folders, files or index files of recordings; and settings, as listed below.",
    ),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted call.")]
EngineOption = Annotated[
    Literal["local", "ray"], typer.Option(help="Who works: processes on this machine, or a Ray cluster.")
]
ConfigOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Settings in YAML.")]
SourceOption = Annotated[SourceName | None, typer.Option(help="What the sources are. Default: recognised.")]


@app.command(name="make-sample")
def make_sample(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", callback=on_this_machine, help="Folder to write to; new or empty.")
    ],
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same recordings.")] = 0,
    sessions: Annotated[
        int, typer.Option(metavar="N", min=1, help="Play sessions, of one to three recordings.")
    ] = 10,
    min_frames: Annotated[int, typer.Option(metavar="N", min=1, help="Shortest recording.")] = 320,
    max_frames: Annotated[int, typer.Option(metavar="N", min=1, help="Longest recording.")] = 680,
) -> None:
    """Write sample recordings in OpenAI's contractor format, with masks.

    Example: rocket-prep make-sample data/sample
    """
    from pipeline.progress import progress_on_stderr
    from pipeline.sample import make

    settings = make.SampleSettings(
        seed=seed, num_sessions=sessions, min_recording_frames=min_frames, max_recording_frames=max_frames
    )
    with progress_on_stderr() as progress:
        sample = make.make_sample(out, settings, progress)
    typer.echo(
        f"{out}: {len(sample.recordings)} recordings of {sample.num_sessions} play sessions, "
        f"{sample.num_frames:,} frames, {sample.num_noops:,} of them no-ops."
    )
    typer.echo(f"Build shards from them: rocket-prep build-shards {shlex.quote(str(out))} --out DATASET")


@app.command(
    name="build-shards",
    cls=command_with_settings("pipeline.settings:BuildSettings"),
    epilog="\b\nExamples:\n"
    "  rocket-prep build-shards data/sample --out data/shards\n"
    "  rocket-prep build-shards contractors/ all_9xx_Jun_29.json --out data/9xx crf=18 --workers 16\n"
    "  rocket-prep build-shards /shared/10xx --out /shared/shards --only $SLURM_ARRAY_TASK_ID/64",
)
def build_shards(
    words: WordsArgument,
    out: Annotated[
        Path,
        typer.Option(metavar="DATASET", callback=on_this_machine, help="Folder of the dataset; new or empty."),
    ],
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Worker processes. Default: one for each core.")
    ] = None,
    resume: ResumeOption = False,
    engine: EngineOption = "local",
    only: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Build the I-th of N shares (from 0) and stop; a last call without it joins them.",
        ),
    ] = None,
    config: ConfigOption = None,
    source: SourceOption = None,
) -> None:
    """Build a dataset of ordered shards from recordings.

    Recordings of one play session are joined into episodes; what cannot be used is listed in rejected.jsonl. The
    same sources and settings give the same bytes for any number of workers and any engine, and after any number of
    interruptions: run the same command again with --resume.
    """
    from pipeline.build import job as build
    from pipeline.build.engines.local import LocalEngine
    from pipeline.build.engines.ray_cluster import RayEngine
    from pipeline.build.summary import summary_lines
    from pipeline.progress import progress_on_stderr
    from pipeline.settings import BuildSettings
    from shards.settings import load_settings

    sources, overrides = _sources_and_settings(words)
    settings, share = load_settings(BuildSettings, config, overrides), _share(only)
    with _resumable(out), progress_on_stderr() as progress:
        report = build.build_shards(
            sources,
            out,
            settings,
            RayEngine(workers) if engine == "ray" else LocalEngine(workers),
            resume=resume,
            only=share,
            source=source,
            progress=progress,
        )
    for line in summary_lines(report):
        typer.echo(line)


@app.command(
    name="segment",
    cls=command_with_settings("pipeline.segment.settings:SegmentSettings"),
    epilog="\b\nExamples:\n"
    "  rocket-prep segment contractors/ --out masks/\n"
    "  rocket-prep segment contractors/ --out masks/ --model sam2-large/ --only $SLURM_ARRAY_TASK_ID/64\n"
    "  rocket-prep build-shards contractors/ masks/ --out data/contractors",
)
def segment(
    words: WordsArgument,
    out: Annotated[
        Path,
        typer.Option(metavar="MASKS", callback=on_this_machine, help="Folder of the mask files; new or empty."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|ID",
            help="SAM-2 video model: a folder, or a name on the hub. Default: sam2.1-hiera-base-plus.",
        ),
    ] = None,
    device: Annotated[
        Literal["cuda", "cpu"] | None, typer.Option(help="Where the model runs. Default: a GPU if there is one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Worker processes. Default: one a GPU, or a core.")
    ] = None,
    resume: ResumeOption = False,
    engine: EngineOption = "local",
    only: Annotated[
        str | None, typer.Option(metavar="I/N", help="Take the I-th of N shares of the recordings (from 0).")
    ] = None,
    config: ConfigOption = None,
    source: SourceOption = None,
    tracker: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="A tracker of your own, see pipeline/segment/tracker.py."),
    ] = None,
) -> None:
    """Make masks from raw recordings: find events, point at the object, track it backwards with SAM-2.

    Each recording gets a file RECORDING.masks.jsonl; give the folder to build-shards, beside the recordings.
    """
    from pipeline.progress import progress_on_stderr
    from pipeline.segment.choice import choose_engine, choose_tracker
    from pipeline.segment.job import segment_recordings
    from pipeline.segment.settings import SegmentSettings
    from pipeline.segment.summary import summary_lines
    from shards.settings import load_settings

    sources, overrides = _sources_and_settings(words)
    settings, share = load_settings(SegmentSettings, config, overrides), _share(only)
    choice = choose_tracker(tracker, model, device)
    with _resumable(out), progress_on_stderr() as progress:
        report = segment_recordings(
            sources,
            out,
            settings,
            choice,
            choose_engine(engine, workers, choice),
            resume=resume,
            only=share,
            source=source,
            progress=progress,
        )
    for line in summary_lines(report, sources):
        typer.echo(line)


@app.command(name="settings")
def list_settings(
    words: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE...]", help="Values to show.")] = None,
) -> None:
    """Print every setting of build-shards with its value and meaning, as a file for --config.

    Examples:
      rocket-prep settings
      rocket-prep settings preset=slow crf=20 > mine.yaml
    """
    from pipeline.settings import BuildSettings
    from shards.settings import load_settings, yaml_lines

    for line in yaml_lines(load_settings(BuildSettings, None, words or [])):
        typer.echo(line)


add_commands(app)


def _sources_and_settings(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The words that are recordings, and those that are KEY=VALUE; what exists is a recording."""
    settings = [word for word in words if _SETTING.match(word) and not Path(word).exists()]
    sources = [Path(word) for word in words if word not in settings]
    if not sources:
        raise typer.BadParameter("no SOURCE among the arguments", param_hint="SOURCE")
    return sources, settings


@contextmanager
def _resumable(out: Path) -> Iterator[None]:
    """Ctrl-C ends the block, and the program, with a line that says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        _fail([f"{out}: interrupted. Go on with the same command and --resume."], 130)


def _share(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise typer.BadParameter(f"got {text!r}, expected I/N with I from 0 to N - 1", param_hint="--only")
    return int(index), int(count)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a known error is one line on stderr and exit status 1, misuse is 2."""
    try:
        app(args=arguments)
    except SettingsError as error:
        _fail(error.problems, 1)
    except RocketError as error:
        _fail([str(error)], 2 if isinstance(error, UsageError) else 1)


def _fail(problems: Sequence[str], status: int) -> NoReturn:
    for problem in problems:
        typer.echo(f"error: {' '.join(problem.split())}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
