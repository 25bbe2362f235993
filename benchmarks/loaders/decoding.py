"""What the peers make of our clips' members: the tensors of one window, padded to its length.

`planar` gives what our data module gives, by the same functions, so that only the way there differs; `rgb` is what
somebody writes who uses torchcodec as its documentation shows. MineStudio's goal rule is applied window by window,
since none of the peers knows of episodes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.loaders import WINDOW_FRAMES, Batch, Decode, Row
from shards.clip import ClipArrays, ClipInfo
from shards.masks import decode_runs, packed_size, runs_to_packed_bits
from shards.video import decode_yuv
from trainer.data.actions import to_policy

SIZE_PX = 224


def decode_window(members: Mapping[str, bytes], how: Decode) -> dict[str, Any]:
    """The window of a clip's members (mp4, arrays, json)."""
    if how == "none":
        info = json.loads(members["json"])
        place = {"episode": info["episode_id"], "start": info["start_frame"]}
        return {**place, "stop": info["start_frame"] + info["num_frames"]}
    info, arrays = ClipInfo.from_json(members["json"]), ClipArrays.from_bytes(members["arrays"])
    n = info.num_frames
    goals = _choose_goals(arrays)
    shown = [frame for frame in range(n) if goals[frame] is not None]
    obj_id = np.full(WINDOW_FRAMES, -1, np.int64)
    obj_id[shown] = [info.interactions[int(arrays.candidate_interaction[goals[frame]])].type for frame in shown]
    buttons, camera = np.zeros(WINDOW_FRAMES, np.int64), np.full(WINDOW_FRAMES, 60, np.int64)
    buttons[:n], camera[:n] = to_policy(arrays.buttons, arrays.camera)
    runs = [arrays.runs(goals[frame]) for frame in shown]
    window = {
        "episode": info.episode_id,
        "start": info.start_frame,
        "stop": info.start_frame + n,
        "obj_id": obj_id,
        "buttons": buttons,
        "camera": camera,
        "one_candidate": int(np.diff(arrays.candidate_offsets).max(initial=0) <= 1),
    }
    if how == "planar":
        yuv = np.empty((WINDOW_FRAMES, SIZE_PX * 3 // 2, SIZE_PX), np.uint8)
        decode_yuv(members["mp4"], 0, n, yuv[:n])
        yuv[n:, :SIZE_PX], yuv[n:, SIZE_PX:] = 16, 128
        bits = np.zeros((WINDOW_FRAMES, packed_size(SIZE_PX, SIZE_PX)), np.uint8)
        bits[shown] = runs_to_packed_bits(runs, SIZE_PX, SIZE_PX)
        return {**window, "yuv": yuv, "mask_bits": bits}
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(members["mp4"], seek_mode="approximate")
    image = decoder.get_frames_in_range(0, n).data
    if n < WINDOW_FRAMES:
        image = torch.cat((image, image.new_zeros(WINDOW_FRAMES - n, *image.shape[1:])))
    mask = np.zeros((WINDOW_FRAMES, SIZE_PX, SIZE_PX), np.uint8)
    for frame, frame_runs in zip(shown, runs, strict=True):
        mask[frame] = decode_runs(frame_runs, SIZE_PX, SIZE_PX)
    return {**window, "image": image, "obj_mask": mask}


def as_batch(collated: Mapping[str, Any]) -> Batch:
    """The batch that a peer's collation made of windows."""
    places = zip(collated["episode"], collated["start"].tolist(), collated["stop"].tolist(), strict=True)
    fields = {name: value for name, value in collated.items() if name not in ("episode", "start", "stop")}
    return Batch([Row(*place) for place in places], fields)


class PeerLoader:
    """A peer's loader of such windows, with the position that it keeps itself."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def epoch(self) -> Iterator[Batch]:
        for batch in self._loader:
            yield as_batch(batch)

    def state(self) -> Any:
        return self._loader.state_dict()

    def restore(self, state: Any) -> None:
        self._loader.load_state_dict(state)


def _choose_goals(arrays: ClipArrays) -> list[int | None]:
    """A candidate for each frame, going backwards: the same interaction for as long as it is there, else any."""
    goals: list[int | None] = [None] * arrays.num_frames
    interaction = -1
    for frame in range(arrays.num_frames - 1, -1, -1):
        candidates = arrays.candidates(frame).tolist()
        if not candidates:
            continue
        if interaction not in candidates:
            interaction = random.choice(candidates)
        goals[frame] = int(arrays.candidate_offsets[frame]) + candidates.index(interaction)
    return goals
