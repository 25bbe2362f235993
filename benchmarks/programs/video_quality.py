"""How near a prepared set's frames are to the source's, scaled by OpenCV's INTER_AREA: luma and RGB.

Every 5th frame is compared, so that all places between two key frames and all kinds of frames have their turn;
frames with an open menu are left out, since the cursor is drawn into them.
"""

from __future__ import annotations

import io
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.measure import answer
from benchmarks.quality import psnr, ssim

_EVERY = 5


def our_clips(folder: Path) -> Iterator[tuple[list[tuple[str, int]], bytes]]:
    """(recording, source frame) of each frame of a clip, and the clip's video."""
    from shards.reader import open_dataset

    dataset = open_dataset(folder)
    for episode in range(len(dataset.episodes)):
        for row in dataset.clip_rows(episode):
            clip = dataset.read_clip(episode, row)
            names = [clip.info.recordings[index] for index in clip.arrays.recording]
            yield list(zip(names, clip.arrays.source_frame.tolist(), strict=True)), clip.video


def minestudio_clips(folder: Path) -> Iterator[tuple[list[tuple[str, int]], bytes]]:
    """The same of MineStudio's LMDB set, by its own grouping and filter."""
    import lmdb
    from minestudio.data.minecraft.callbacks import ActionConvertCallback, ImageConvertCallback

    root = folder.with_name("intermediate")
    parts = ImageConvertCallback(input_dirs=[str(root / "videos")], chunk_size=32).load_episodes()
    actions = ActionConvertCallback.__new__(ActionConvertCallback)
    actions.input_dirs = [str(root / "actions")]
    for part in sorted((folder / "image").iterdir()):
        with lmdb.open(str(part), readonly=True, lock=False) as environment, environment.begin() as transaction:
            for info in pickle.loads(transaction.get(b"__chunk_infos__")):
                places = [
                    (path.stem, frame)
                    for _, path in parts[info["episode"]]
                    for frame, keep in enumerate(actions.gen_frame_skip_flags(path.stem))
                    if keep
                ]
                for start in range(0, info["num_frames"], 32):
                    key = str((info["episode_idx"], start)).encode()
                    yield places[start : start + 32], transaction.get(key)


def main() -> None:
    whose, folder, source = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    clips = our_clips(folder) if whose == "rocket1" else minestudio_clips(folder)
    wanted: dict[str, dict[int, tuple[Any, Any]]] = {}
    for places, video in clips:
        frames = _decode(video)
        for (name, number), frame in list(zip(places, frames, strict=True))[::_EVERY]:
            wanted.setdefault(name, {})[number] = (_luma(frame), frame.to_ndarray(format="rgb24"))
    figures = []
    for name, frames_of in wanted.items():
        menu = [json.loads(line)["isGuiOpen"] for line in (source / f"{name}.jsonl").read_text().splitlines()]
        with av.open(str(source / f"{name}.mp4")) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number not in frames_of or menu[number]:
                    continue
                luma, rgb = frames_of[number]
                size = luma.shape[::-1]
                luma_wanted = cv2.resize(_luma(frame), size, interpolation=cv2.INTER_AREA)
                rgb_wanted = cv2.resize(frame.to_ndarray(format="rgb24"), size, interpolation=cv2.INTER_AREA)
                figures.append((psnr(luma, luma_wanted), psnr(rgb, rgb_wanted), ssim(rgb, rgb_wanted)))
    luma_psnr, rgb_psnr, rgb_ssim = np.mean(figures, axis=0)
    answer(luma_psnr=luma_psnr, rgb_psnr=rgb_psnr, rgb_ssim=rgb_ssim, num_frames=len(figures))


def _decode(video: bytes) -> list[Any]:
    with av.open(io.BytesIO(video)) as container:
        return list(container.decode(video=0))


def _luma(frame: Any) -> Any:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)[:, : frame.width].copy()


if __name__ == "__main__":
    main()
