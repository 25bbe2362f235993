"""What decides the bytes of a dataset: read from YAML and KEY=VALUE words, checked as a whole.

Whatever does not change the output (workers, engine, time-outs) is no setting but a flag of the command.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shards.errors import RocketError

_Preset = Literal[
    "training", "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]
_Tune = Literal["fastdecode", "film", "animation", "grain", "stillimage", "psnr", "ssim"]

_TRAINING_BASE = "superfast"
TRAINING_PARAMS = (
    "cabac=0:weightp=0:"  # decoded half as fast again, for 6 % more bytes
    "deblock=1,1:deadzone-inter=11:deadzone-intra=6:chroma-qp-offset=-3:"  # faint texture, colour
    "mbtree=1:rc-lookahead=10:qcomp=0.4:"  # bits go where later frames are predicted from
    "subme=2:partitions=p8x8,b8x8,i4x4:8x8dct=0"  # fewer bytes
)
"""What preset `training` changes of x264's superfast. Chosen by the table of benchmarks/codec_table.py."""


class SettingsError(RocketError):
    """A settings file or a KEY=VALUE word is wrong; the message lists all problems."""


class BuildSettings(BaseModel):
    """The settings of `rocket-prep build-shards`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Size of the frames in the dataset, px.
    frame_width: Annotated[int, Field(ge=16, le=2048, multiple_of=2)] = 224
    frame_height: Annotated[int, Field(ge=16, le=2048, multiple_of=2)] = 224
    # Frames of a clip; an episode's last one may be shorter.
    clip_frames: Annotated[int, Field(ge=1, le=4096)] = 128
    # Frames from one key frame to the next; divides clip_frames.
    keyframe_interval: Annotated[int, Field(ge=1, le=1024)] = 32
    # libx264. Preset training is ours: quick to decode and true in RGB; the others are x264's own, of which the
    # slower ones make smaller files. A lower crf is better and larger.
    preset: _Preset = "training"
    crf: Annotated[float, Field(ge=0, le=51)] = 15.4
    # One of x264's own, on top of the preset.
    tune: _Tune | None = None
    # Take the video pieces of LMDB sets as they are, where size and codec allow, instead of encoding them again.
    copy_pieces: bool = True
    # Frames in which nothing is pressed and the camera is still.
    noops: Literal["drop", "keep"] = "drop"
    # A longer hole between two recordings starts a new episode, seconds.
    max_hole_seconds: Annotated[float, Field(ge=0)] = 30.0
    # Episodes with fewer kept frames are left out.
    min_frames: Annotated[int, Field(ge=1)] = 32
    # A shard is full from so many source frames on.
    shard_frames: Annotated[int, Field(ge=1)] = 65536
    # Repeat MineStudio's grouping, state and drop rules.
    compat: Literal["minestudio"] | None = None
    # Scale mouse movement in menus by the factor of the recorder's version.
    gui_mouse_scaling: bool = False

    @model_validator(mode="after")
    def _fits(self) -> BuildSettings:
        problems = []
        if self.clip_frames % self.keyframe_interval:
            problems.append(
                f"clip_frames = {self.clip_frames} is not a multiple of "
                f"keyframe_interval = {self.keyframe_interval}"
            )
        if self.min_frames > self.clip_frames:
            problems.append(f"min_frames = {self.min_frames} is more than clip_frames = {self.clip_frames}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def codec_options(self) -> dict[str, Any]:
        """The output options of ffmpeg for the codec, by name.

        One thread and `cpu-independent` make the bytes the same on every machine; the colour is written into the
        stream only, since as an option of ffmpeg it would convert.
        """
        ours = self.preset == "training"
        fixed = "cpu-independent=1:open-gop=0:colormatrix=smpte170m:colorprim=smpte170m:transfer=smpte170m"
        return {
            "vcodec": "libx264",
            "preset": _TRAINING_BASE if ours else self.preset,
            "crf": f"{self.crf:g}",
            **({"tune": self.tune} if self.tune else {}),
            "g": self.keyframe_interval,
            "keyint_min": self.keyframe_interval,
            "sc_threshold": 0,
            "threads": 1,
            "pix_fmt": "yuv420p",
            "x264-params": f"{TRAINING_PARAMS}:{fixed}" if ours else fixed,
            "flags:v": "+bitexact",
        }

    def codec_record(self) -> dict[str, Any]:
        """What a dataset says of its codec: name, preset, crf, tune, and x264's parameters by name."""
        options = self.codec_options()
        parameters = dict(word.split("=") for word in options["x264-params"].split(":"))
        record: dict[str, Any] = {"name": options["vcodec"]}
        record |= {key: options[key] for key in ("preset", "crf", "tune") if key in options}
        return record | {"parameters": parameters}


def load_settings(config: Path | None, overrides: Sequence[str]) -> BuildSettings:
    """The settings of a YAML file with KEY=VALUE words on top.

    Args:
        config: None for the defaults.
        overrides: such as `crf=18`; later ones win.

    Raises:
        SettingsError: naming every key that is unknown or has a wrong value, not only the first.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    where = "settings" if config is None else str(config)
    malformed = [word for word in overrides if not word.partition("=")[1] or not word.partition("=")[0].strip()]
    if malformed:
        raise SettingsError(
            f"settings: got {', '.join(repr(word) for word in malformed)}, expected KEY=VALUE, such as crf=18."
        )
    values: dict[str, Any] = {}
    try:
        if config is not None:
            values = _plain(OmegaConf.load(config))
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"{where}: cannot be read, got {reason}. Give a YAML file of settings.") from error
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        raise SettingsError(
            f"{where}: not YAML settings, got {_first_line(error)}. Write lines `key: value`."
        ) from error
    try:
        values |= _plain(OmegaConf.from_dotlist(list(overrides)))
        return BuildSettings(**values)
    except ValidationError as error:
        raise SettingsError(f"{where}: {_all_problems(error)}. {_known_keys(error)}") from error
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        raise SettingsError(f"settings: {_first_line(error)}. Write KEY=VALUE, such as crf=18.") from error


def _plain(config: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(config, resolve=True)
    if not isinstance(values, dict):
        raise ValueError(f"a {type(values).__name__}, expected keys with values")
    return {str(key): value for key, value in values.items()}


def _all_problems(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            problems.append(f"{key} is no setting")
        elif not key:
            problems.append(problem["msg"].removeprefix("Value error, "))
        else:
            problems.append(f"{key} = {problem['input']!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}")
    return "; ".join(problems)


def _known_keys(error: ValidationError) -> str:
    if any(problem["type"] == "extra_forbidden" for problem in error.errors()):
        return f"Settings are: {', '.join(BuildSettings.model_fields)}."
    return "See: rocket-prep build-shards --help"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
