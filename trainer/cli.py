"""rocket-train: train, evaluate, and move weights in and out."""

import difflib
import json
import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shards.display.command_line import command_with_settings, new_app
from shards.errors import RocketError, UsageError
from shards.places import file_of, on_this_machine
from shards.settings import yaml_lines
from trainer.ranks import is_main_process

Config = Annotated[str, typer.Argument(help="A YAML file, or a name in configs/.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="KEY=VALUE, such as trainer.max_steps=100.")]
CheckpointPath = Annotated[
    Path, typer.Argument(help="A run's folder, for its newest weights, or a checkpoint: full or weights only.")
]
Average = Annotated[bool, typer.Option("--average", help="Use the checkpoint's averaged (EMA) weights.")]


class TrainByDefault(TyperGroup):
    """`rocket-train CONFIG` means `rocket-train train CONFIG`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `train` in front where no other command is named, nor meant."""
        own = {"--help", "--version", "--install-completion", "--show-completion"}
        if args and args[0] not in self.commands and args[0] not in own and not self._is_typing_error(args[0]):
            args = ["train", *args]
        return super().parse_args(ctx, args)

    def _is_typing_error(self, word: str) -> bool:
        """Whether the word is nearly a command and no settings: left alone, the nearest command is suggested."""
        if Path(word).exists() or not difflib.get_close_matches(word, self.commands, n=1, cutoff=0.7):
            return False
        from trainer.config import config_names

        return word not in config_names()


app = new_app(
    "rocket-train",
    cls=TrainByDefault,
    help="Train ROCKET-1 on shards of contractor recordings: rocket-train CONFIG [KEY=VALUE...]",
    epilog="Example: rocket-train demo data.datasets=demo/dataset run_dir=demo/run",
)


@app.command(
    cls=command_with_settings("trainer.settings:RunConfig"),
    epilog="Example: rocket-train rocket1 data.datasets=data/6xx,data/7xx trainer.devices=4 --dry-run",
)
def train(
    config: Config,
    overrides: Overrides = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="auto|PATH",
            help="Go on: auto from the newest checkpoint in run_dir, or give a run's folder or a checkpoint.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what the settings come to, start nothing.")
    ] = False,
) -> None:
    """Train a policy (the default command)."""
    from trainer.config import check_places, go_on_in, load_config

    # Before torch is loaded, which takes seconds: a typo is told at once.
    settings = load_config(config, overrides or [])
    if resume is not None and Path(resume).is_dir():
        settings, resume = go_on_in(settings, resume, overrides or []), "auto"
    check_places(settings)
    if dry_run:
        from trainer.dry_run import dry_run as print_plan

        raise typer.Exit(print_plan(settings, resume))
    from trainer import run

    command = shlex.join(["rocket-train", config, *(overrides or [])])
    raise typer.Exit(run.train(settings, resume, command))


@app.command(epilog="Example: rocket-train show rocket1 trainer.devices=4 > mine.yaml")
def show(
    config: Config,
    overrides: Overrides = None,
) -> None:
    """Print every setting of a CONFIG with its value and meaning, as a file that is a CONFIG itself."""
    from trainer.config import load_config

    for line in yaml_lines(load_config(config, overrides or [])):
        typer.echo(line)


@app.command(epilog="Example: rocket-train evaluate demo/run demo/dataset --json")
def evaluate(
    checkpoint: CheckpointPath,
    datasets: Annotated[
        list[str] | None,
        typer.Argument(help="Datasets, and KEY=VALUE overrides of its settings. Default: what it was trained on."),
    ] = None,
    split: Annotated[str, typer.Option(help="val or train, as the run divided them, or all episodes.")] = "val",
    average: Average = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Validate a checkpoint on any dataset and print the table."""
    from trainer.look.evaluate import SPLITS, table_lines
    from trainer.look.evaluate import evaluate as run_evaluation

    if split not in SPLITS:
        raise UsageError(f"--split: got {split}, expected one of {', '.join(SPLITS)}.")
    overrides = [text for text in datasets or [] if "=" in text.split("://")[0]]
    paths = [text for text in datasets or [] if text not in overrides]
    figures = run_evaluation(checkpoint, paths, split, average, overrides)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    else:
        typer.echo("\n".join(table_lines(figures)))


@app.command(
    epilog="Example: rocket-train play demo/run/weights/step-00000420.ckpt --tasks bell --episodes 200 --lanes 25"
)
def play(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of rocket-train, full or weights only.")],
    env: Annotated[
        str, typer.Option(help="sample, minestudio, or a gymnasium id such as their/Env-v0.")
    ] = "sample",
    tasks: Annotated[str, typer.Option(help="Tasks of the environment, as a,b. Default: its own.")] = "",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 20,
    lanes: Annotated[int, typer.Option(min=1, help="Episodes side by side.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Episode i has this seed + i.")] = 0,
    memory: Annotated[
        str, typer.Option(help="carry it through an episode, or reset it every window as without memory.")
    ] = "carry",
    sample_actions: Annotated[
        bool, typer.Option("--sample-actions", help="Draw actions instead of taking the likeliest.")
    ] = False,
    average: Average = False,
    video: Annotated[Path | None, typer.Option(help="A folder for a video of each episode.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="A folder for the episodes as recordings, for build-shards.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="A file for the outcome of each episode.")
    ] = None,
) -> None:
    """Let a checkpoint play and print how often it succeeds."""
    from trainer.play.rollout import PlaySettings
    from trainer.play.session import play_checkpoint
    from trainer.play.success import by_task, success_lines, success_record

    if memory not in ("carry", "reset"):
        raise UsageError(f"--memory: got {memory}, expected carry or reset.")
    names = tuple(name.strip() for name in tasks.split(",") if name.strip())
    settings = PlaySettings(env, names, episodes, lanes, seed, memory, sample_actions)  # type: ignore[arg-type]
    outcomes = play_checkpoint(checkpoint, settings, averaged=average, video=video, record=record)
    typer.echo("\n".join(success_lines(by_task(outcomes))))
    if json_file is not None:
        json_file.write_text(json.dumps(success_record(settings, outcomes), indent=1) + "\n", encoding="utf-8")
        typer.echo(f"Wrote {json_file}.")
    if video is not None:
        typer.echo(f"Wrote a video of each episode into {video}.")
    if record is not None:
        typer.echo(f"Wrote recordings. Next: rocket-prep build-shards {shlex.quote(str(record))} --out DATASET")


@app.command(epilog="Example: rocket-train compare demo/run demo/run-without-memory")
def compare(
    run_dirs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", callback=file_of(".html", ".htm"), help="Also write a page with the curves."
        ),
    ] = None,
) -> None:
    """Print the last validation of runs side by side, their differing settings, and if their data differ."""
    from trainer.look.compare import compare_lines, compare_page

    if out is not None:
        from shards.display.page import write_page

        write_page(compare_page(run_dirs), out)
    typer.echo("\n".join(compare_lines(run_dirs)))
    if out is not None:
        typer.echo(f"Wrote {out}. Open it in a browser.")


@app.command(epilog="Example: rocket-train report demo/run")
def report(
    run_dir: Annotated[Path, typer.Argument(help="The run's folder.")],
    out: Annotated[
        Path | None,
        typer.Option(callback=on_this_machine, help="The page to write. Default: RUN_DIR/report.html."),
    ] = None,
    frames: Annotated[bool, typer.Option(help="Show frames with the actions that the policy predicts.")] = True,
) -> None:
    """Write a page that shows a run: loss, memory, validation, speed, frames with predicted actions."""
    from trainer.look.run_page import write_run_page

    typer.echo(f"Wrote {write_run_page(run_dir, out, frames=frames)}. Open it in a browser.")


@app.command("import-weights", epilog="Example: rocket-train import-weights minestudio.ckpt --out start.ckpt")
def import_weights(
    source: Annotated[
        str, typer.Argument(help="A MineStudio .ckpt, a safetensors file, a Hugging Face folder or owner/name.")
    ],
    out: Annotated[
        Path,
        typer.Option(callback=on_this_machine, help="The checkpoint to write, for policy.init_from and evaluate."),
    ],
    config: Annotated[str, typer.Option(help="Settings that the weights are for.")] = "rocket1",
    overrides: Overrides = None,
) -> None:
    """Turn MineStudio's weights into a checkpoint that runs start from."""
    from trainer.checkpoints.transfer import import_policy
    from trainer.config import load_config

    for line in import_policy(source, out, load_config(config, overrides or [])):
        typer.echo(line)


@app.command(
    "export-weights",
    epilog="Example: rocket-train export-weights RUN/weights/step-00002000-EMA.ckpt --out rocket1",
)
def export_weights(
    checkpoint: CheckpointPath,
    out: Annotated[
        Path,
        typer.Option(
            callback=on_this_machine, help="A folder for MineStudio's from_pretrained, or a .safetensors file."
        ),
    ],
    average: Average = False,
) -> None:
    """Write weights as MineStudio's class loads them."""
    from trainer.checkpoints.transfer import export_policy

    for line in export_policy(checkpoint, out, average):
        typer.echo(line)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; known errors are one line each and end with status 1, misuse with 2."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        app(args=arguments)
    except RocketError as error:
        # What is wrong before training is wrong for all ranks alike, so one of them says it.
        for line in str(error).splitlines() if is_main_process() else []:
            sys.stderr.write(f"{line}\n" if line.startswith("  ") else f"error: {line}\n")
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    main()
