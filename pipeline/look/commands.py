"""The commands that look at a dataset: inspect, preview, plan, verify, report. `pipeline.cli` registers them.

Heavy imports wait until a command needs them, so that `inspect` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="Folder or address of a dataset.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def inspect(
    dataset: DatasetArgument,
    episode: Annotated[str | None, typer.Option(metavar="ID", help="Show this episode alone.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what is in a dataset: episodes, interactions, actions, shards, what was left out and why.

    Reads the manifest only. Example: rocket-prep inspect data/contractors
    """
    from pipeline.look.output import print_json, print_lines
    from pipeline.look.wording import terminal_columns
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


def add_commands(app: typer.Typer) -> None:
    """The app has the commands of this module."""
    for command in (inspect,):
        app.command()(command)
