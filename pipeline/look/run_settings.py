"""The lanes of a training run, as the settings in its folder tell them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.look.lane_plan import LaneSettings
from shards.errors import RocketError

CONFIG_FILE = "config.yaml"


class RunSettingsError(RocketError):
    """A folder holds no run's settings, or a run that other data decide, too."""


def settings_of_run(run: Path) -> LaneSettings:
    """The lanes of the run in this folder, or of the YAML file.

    Raises:
        RunSettingsError: if there is no such file, it is none of a run, or the run joins several datasets: their
            episodes share the lanes, so that one of them alone would be planned otherwise.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    path = run / CONFIG_FILE if run.is_dir() else run
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
        data, trainer = content["data"], content["trainer"]
        batch_size, num_lanes = data["batch_size"], data.get("num_lanes")
        devices = trainer["devices"] if isinstance(trainer["devices"], int) else 1
        num_ranks = num_lanes // batch_size if num_lanes else devices * trainer["num_nodes"]
        settings = LaneSettings(
            num_lanes=num_lanes or batch_size * num_ranks,
            num_ranks=num_ranks,
            window_frames=data["win_len"],
            seed=content["seed"],
            split_ratio=data["split_ratio"],
            shuffle=data["shuffle_episodes"],
            num_groups=data["num_lane_groups"],
        )
    except (KeyError, TypeError, OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise RunSettingsError(
            f"{path}: not the settings of a run, got {error!r}. Give the run_dir of a rocket-train run."
        ) from error
    except OSError as error:
        raise RunSettingsError(
            f"{path}: cannot be read, got {error.strerror}. Give the run_dir of a rocket-train run."
        ) from error
    if len(data["datasets"]) > 1:
        raise RunSettingsError(
            f"{path}: the run joins {len(data['datasets'])} datasets on its lanes, expected one. "
            "Plan each with --lanes, as an approximation."
        )
    return settings
