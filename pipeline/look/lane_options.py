"""Which lanes to look at: the options that `plan`, `preview` and `report` share."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shards.errors import RocketError

if TYPE_CHECKING:
    from pipeline.look.lane_plan import EpochPlan


@dataclass(frozen=True)
class LaneOptions:
    """What a command line says of the lanes; None where it says nothing."""

    datasets: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATASET...", help="Folders or addresses. Default: those of --run."),
    ] = None
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN_DIR", help="Use the settings of this run, or of a YAML file."),
    ] = None
    lanes: Annotated[
        int | None, typer.Option(metavar="L", min=1, help="The global batch: ranks times lanes per rank.")
    ] = None
    ranks: Annotated[
        int | None, typer.Option(metavar="W", min=1, help="Training processes, one per GPU. Default: 1.")
    ] = None
    window: Annotated[
        int | None, typer.Option(metavar="T", min=1, help="Frames in a window: data.win_len. Default: 128.")
    ] = None
    epoch: Annotated[int, typer.Option(metavar="N", min=0, help="Which epoch.")] = 0
    seed: Annotated[int | None, typer.Option(metavar="N", help="The run's seed. Default: 0.")] = None
    split_ratio: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0, max=1, help="Share of the episodes that train: data.split_ratio. Default: all."
        ),
    ] = None
    split: Annotated[Literal["train", "val"], typer.Option(help="Which part of a split, with --split-ratio.")] = (
        "train"
    )
    shuffle: Annotated[bool | None, typer.Option(help="data.shuffle_episodes. Default: shuffle.")] = None
    lane_groups: Annotated[
        int | None, typer.Option(metavar="G", min=1, help="data.num_lane_groups. Default: one for each rank.")
    ] = None

    def paths(self) -> list[str]:
        """The datasets that are given, or the run's.

        Raises:
            BadParameter: neither is given.
            RocketError: the run has another number of datasets.
        """
        if self.run is None:
            if not self.datasets:
                raise typer.BadParameter("give one or more, or --run RUN_DIR", param_hint="DATASET")
            return self.datasets
        from pipeline.look.lane_plan import lanes_of_run

        of_run = list(lanes_of_run(self.run).datasets)
        if self.datasets and len(of_run) > 1 and len(self.datasets) != len(of_run):
            raise RocketError(
                f"{self.run}: the run joins {len(of_run)} datasets on its lanes, got {len(self.datasets)}. "
                "Give all of them in the same order, or none."
            )
        return self.datasets or of_run

    def plan(self) -> "EpochPlan":
        """The plan that the options ask for, on top of a run's settings where one is given.

        Raises:
            RocketError: the datasets cannot be opened, or the settings do not fit them.
        """
        from pipeline.look.lane_plan import RunLanes, lanes_of_run, plan_lanes
        from shards.schedule.collection import open_collection
        from shards.schedule.lanes import lanes_of_rank
        from shards.schedule.settings import ScheduleSettings

        of_run = RunLanes([], 1, {"num_lanes": 1}) if self.run is None else lanes_of_run(self.run)
        given = {
            "num_lanes": self.lanes,
            "window_frames": self.window,
            "seed": self.seed,
            "split_ratio": self.split_ratio,
            "shuffle": self.shuffle,
            "num_groups": self.lane_groups,
        }
        num_ranks = self.ranks or of_run.num_ranks
        values = {"num_groups": num_ranks, **of_run.values}
        values |= {name: value for name, value in given.items() if value is not None}
        collection = open_collection(self.paths())
        lanes_of_rank(0, num_ranks, values["num_lanes"])  # do the lanes divide over the ranks?
        return plan_lanes(collection, ScheduleSettings(**values), num_ranks, split=self.split, epoch=self.epoch)


def takes_lane_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `LaneOptions` on its command line, in the place of its own `options`."""
    shared = inspect.signature(LaneOptions).parameters
    own = inspect.signature(command).parameters.values()

    @functools.wraps(command)
    def run(**given: Any) -> None:
        options = LaneOptions(**{name: given.pop(name) for name in shared})
        command(**given, options=options)

    parameters = [*(one for one in own if one.name != "options"), *shared.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
