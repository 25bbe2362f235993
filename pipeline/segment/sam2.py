"""SAM-2 through transformers: also SAM 2.1 and EdgeTAM checkpoints.

Frames are given as a stream, the last one first, which is how the model tracks backwards: it knows frames only by
their distance. Each object has a session of its own, so that one can be dropped; all share a frame's features,
which cost the most. Of the past a session keeps what the model looks at: the last frames' memory and pointers.

Source: transformers 5.24, models/sam2_video/modeling_sam2_video.py, for the parts of a session that are cut short
here (`processed_frames`, `output_dict_per_obj`, `frames_tracked_per_obj`, `cache`). The tests of this module fail
when they change.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.segment.tracker import Point, TrackedMask, TrackSession
from shards.errors import RocketError
from shards.places import install_command

DEFAULT_MODEL = "facebook/sam2.1-hiera-base-plus"
_MODEL_TYPES = ("sam2_video", "edgetam_video")
_OBJECT = 1
_HASHED_BYTES = 1 << 20


class Sam2Tracker:
    """A SAM-2 model on a device: bfloat16 on a GPU, float32 on the CPU."""

    def __init__(self, model: str, device: str) -> None:
        """The model is loaded from a folder; see `find_model`.

        Raises:
            RocketError: transformers is not installed, or the folder holds no such model.
        """
        transformers = _import_transformers()
        import torch

        self._device = torch.device(device)
        self._dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        try:
            config = transformers.AutoConfig.from_pretrained(model, local_files_only=True)
            if config.model_type not in _MODEL_TYPES:
                raise ValueError(f"a model of type {config.model_type}, expected {' or '.join(_MODEL_TYPES)}")
            loaded: Any = transformers.AutoModel.from_pretrained(
                model, config=config, dtype=self._dtype, local_files_only=True
            )
            self._processor: Any = transformers.Sam2VideoProcessor.from_pretrained(model, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise RocketError(
                f"--model: {model} cannot be loaded, got {' '.join(str(error).split())[:300]}. "
                f"Give the folder of a SAM-2 video model as transformers saves it, such as {DEFAULT_MODEL}."
            ) from error
        self._model: Any = loaded.to(self._device).eval()

    def start(self) -> TrackSession:
        """A session that knows no object yet."""
        return _Session(self._model, self._processor, self._device, self._dtype)


class _Session:
    def __init__(self, model: Any, processor: Any, device: Any, dtype: Any) -> None:
        self._model, self._processor, self._device, self._dtype = model, processor, device, dtype
        self._objects: dict[int, Any] = {}
        self._cache: Any = None
        self._number = 0
        config = model.config
        self._num_kept = max(config.num_maskmem, config.max_object_pointers_in_encoder)

    def step(self, frame: NDArray[np.uint8], objects: Mapping[int, Point | None]) -> Mapping[int, TrackedMask]:
        """The objects' masks in the next frame."""
        import torch

        height, width = frame.shape[:2]
        with torch.inference_mode():
            pixels = self._processor(images=frame, device=self._device, return_tensors="pt").pixel_values[0]
            self._objects = {number: self._session(number, objects[number], (height, width)) for number in objects}
            logits, scores = [], []
            for session in self._objects.values():
                out = self._model(inference_session=session, frame=pixels, frame_idx=self._number)
                logits.append(out.pred_masks)
                scores.append(out.object_score_logits.reshape(-1)[0])
                self._forget(session)
            self._number += 1
            if not logits:
                return {}
            masks = self._processor.post_process_masks([torch.cat(logits).float()], [[height, width]])[0]
            seen = (masks[:, 0] > 0).cpu().numpy()
            confidences = torch.stack(scores).float().sigmoid().cpu().tolist()
        return {
            number: TrackedMask(mask, confidence)
            for number, mask, confidence in zip(self._objects, seen, confidences, strict=True)
        }

    def _session(self, number: int, point: Point | None, size: tuple[int, int]) -> Any:
        """The object's own inference session, with its prompt if it is new."""
        if point is None:
            return self._objects[number]
        session = self._processor.init_video_session(inference_device=self._device, dtype=self._dtype)
        if self._cache is None:
            self._cache = session.cache
        session.cache = self._cache  # a frame's features are computed once for all objects
        self._processor.add_inputs_to_inference_session(
            inference_session=session,
            frame_idx=self._number,
            obj_ids=_OBJECT,
            input_points=[[[list(point)]]],
            input_labels=[[[1]]],
            original_size=size,
        )
        return session

    def _forget(self, session: Any) -> None:
        """The session holds nothing that later frames do not look at."""
        session.processed_frames.clear()
        oldest = self._number - self._num_kept
        for table in (session.output_dict_per_obj[0]["non_cond_frame_outputs"], session.frames_tracked_per_obj[0]):
            for number in [number for number in table if number < oldest]:
                del table[number]


def find_model(model: str) -> tuple[str, str, str]:
    """The folder of a model, its name and its revision. The hub fetches it if need be.

    Raises:
        RocketError: it is not on this disk and cannot be fetched.
    """
    _import_transformers()
    folder = Path(model)
    if folder.is_dir():
        return str(folder.absolute()), folder.absolute().name, _fingerprint(folder)
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    name, _, revision = model.partition("@")
    try:
        fetched = huggingface_hub.snapshot_download(
            name, revision=revision or None, allow_patterns=["*.json", "*.safetensors"]
        )
    except (OSError, HfHubHTTPError, HFValidationError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise RocketError(
            f"--model: {model} is no folder and cannot be fetched, got {type(error).__name__}: {reason}. "
            f"On a machine with network run: hf download {DEFAULT_MODEL} --local-dir sam2, "
            "then give --model sam2."
        ) from error
    return fetched, name, Path(fetched).name


def choose_device(device: str | None) -> str:
    """The device that is named; without a name a GPU if there is one.

    Raises:
        RocketError: a GPU is named and there is none.
    """
    _import_transformers()
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise RocketError("--device: got cuda, but torch sees no GPU. Use --device cpu, or a torch with CUDA.")
    return device


def num_gpus() -> int:
    """The GPUs of this machine that torch may use."""
    import torch

    return torch.cuda.device_count()


def _fingerprint(folder: Path) -> str:
    """A checksum of the model's configuration and of the ends of its weights, 12 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors")):
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest.update(f"{path.name} {size} ".encode())
            file.seek(max(0, size - _HASHED_BYTES))
            digest.update(file.read())
    return digest.hexdigest()[:12]


def _import_transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise RocketError(
            f"segment: the package transformers cannot be imported, got {error}. Run: {install_command('segment')}"
        ) from error
    return transformers
