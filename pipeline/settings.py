"""What decides the bytes of a dataset; shards/settings.py reads it from YAML and KEY=VALUE words.

Whatever does not change the output (workers, engine) is no setting but a flag of the command.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from shards.errors import RocketError
from shards.settings import Section, setting

if TYPE_CHECKING:
    from shards.reader import Dataset

Even = Annotated[int, Field(ge=16, le=2048, multiple_of=2)]

_Preset = Literal[
    "training", "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]
_Tune = Literal["fastdecode", "film", "animation", "grain", "stillimage", "psnr", "ssim"]

_TRAINING_BASE = "superfast"
TRAINING_PARAMS = (
    "cabac=0:weightp=0:"  # decodes 1.5 times as fast, for 6 % more bytes
    "deblock=1,1:deadzone-inter=11:deadzone-intra=6:chroma-qp-offset=-3:"  # faint texture, colour
    "mbtree=1:rc-lookahead=10:qcomp=0.4:"  # bits go where later frames are predicted from
    "subme=5:me=hex:partitions=p8x8,b8x8,i4x4:8x8dct=0"  # fewer bytes
)
"""What preset `training` changes of x264's superfast. Chosen by the table of benchmarks/codec_table.py."""


class BuildSettings(Section):
    """The settings of `rocket-prep build-shards`."""

    frame_width: Even = setting(224, "width of the dataset's frames, px")
    frame_height: Even = setting(224, "height of the dataset's frames, px")
    clip_frames: Annotated[int, Field(ge=1, le=4096)] = setting(
        128, "frames of a clip; an episode's last one may be shorter"
    )
    keyframe_interval: Annotated[int, Field(ge=1, le=1024)] = setting(
        32, "frames from one key frame to the next; divides clip_frames"
    )
    preset: _Preset = setting(
        "training", "training is quick to decode and true in RGB; the others are x264's own, slower ones smaller"
    )
    crf: Annotated[float, Field(ge=0, le=51)] = setting(14.9, "quality of the video: lower is better and larger")
    tune: _Tune | None = setting(None, "one of x264's own, on top of the preset")
    copy_pieces: bool = setting(
        True,
        "take the video pieces of LMDB sets as they are where size and codec allow, not encoded again",
    )
    keep_log: bool = setting(
        True, "keep the log's lines, those of dropped frames too; export-logs writes them again"
    )
    noops: Literal["drop", "keep"] = setting("drop", "frames in which nothing is pressed and the camera is still")
    max_hole_seconds: Annotated[float, Field(ge=0)] = setting(
        30.0, "seconds; a longer hole between two recordings starts a new episode"
    )
    min_frames: Annotated[int, Field(ge=1)] = setting(32, "episodes with fewer kept frames are left out")
    shard_frames: Annotated[int, Field(ge=1)] = setting(65536, "source frames from which on a shard is full")
    compat: Literal["minestudio"] | None = setting(None, "repeat MineStudio's grouping, state and drop rules")
    reduce_rate: bool = setting(
        False, "take every second or third frame of 40 or 60 per second, with the actions of all"
    )
    gui_mouse_scaling: bool = setting(
        False, "scale mouse movement in menus by the factor of the recorder's version"
    )

    def contradictions(self) -> Iterator[str]:
        """Yield what no single field can know."""
        if self.clip_frames % self.keyframe_interval:
            yield (
                f"clip_frames: got {self.clip_frames}, expected a multiple of keyframe_interval = "
                f"{self.keyframe_interval}. Change one of the two."
            )
        if self.min_frames > self.clip_frames:
            yield (
                f"min_frames: got {self.min_frames}, expected clip_frames = {self.clip_frames} or less. "
                "Change one of the two."
            )

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


def settings_of_build(dataset: "Dataset") -> BuildSettings:
    """The settings that a dataset was built with.

    Raises:
        RocketError: another release did, with settings that this one does not have.
    """
    try:
        return BuildSettings(**dataset.info.settings)
    except ValueError as error:
        raise RocketError(
            f"{dataset.path}: its build settings are not those of this release. Use the release that built it."
        ) from error
