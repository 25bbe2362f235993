"""A real human's play goes the whole way: recording, shards, a training step."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.transcode.ffmpeg import ffmpeg_program
from shards import open_dataset
from shards.masks import decode_runs
from shards.video import decode_yuv
from tests.synthetic import candidate_of

NUM_FRAMES, SIZE = 889, 224
STEM = "fearless-timber-seeker-5c42a54ff0a0-20250106-122038"


def _mask_rectangle(frame: int) -> tuple[int, int]:
    """Top row and left column of the 90 x 160 rectangle that stands for the object in a frame of 360 x 640."""
    return 100 + frame % 100, 200 + frame % 200


def _write_masks(path: Path) -> None:
    """One interaction over frames 200 to 499, as ROCKET-1's annotation files hold it."""
    frames, masks = {}, {}
    for frame in range(200, 500):
        top, left = _mask_rectangle(frame)
        key = (0, "minecraft.mine_block:minecraft.oak_log", frame)
        rle = " ".join(f"{(top + row) * 640 + left + 1} 160" for row in range(90))
        frames[frame] = [key]
        masks[key] = {
            "obj_id": 2,
            "rle_mask": rle,
            "event": "minecraft.mine_block:minecraft.oak_log",
            "point": (top + 45, left + 80),
            "frame_range": (200, 499),
        }
    path.write_bytes(pickle.dumps({"video_annos": frames, "rle_mask_mapping": masks}))


def _run(package: str, *words: str) -> None:
    """Run a package's command line as a user would."""
    code = f"from {package}.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def recording(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real clip and a real log cut to its length, laid out as OpenAI published recordings."""
    folder = tmp_path_factory.mktemp("real") / "10.0"
    folder.mkdir()
    shutil.copy(shared / "data/video/human_survival_640x360_20fps.mp4", folder / f"{STEM}.mp4")
    log = (shared / f"data/contractor_jsonl/FIA_{STEM}.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / f"{STEM}.jsonl").write_text("\n".join(log[:NUM_FRAMES]) + "\n", encoding="utf-8")
    _write_masks(folder / f"{STEM}.rle")
    return folder


@pytest.fixture(scope="module")
def dataset_path(recording: Path) -> Path:
    out = recording.parent / "dataset"
    _run("pipeline", "build-shards", str(recording), "--out", str(out), "--workers", "1", "noops=keep")
    return out


def _luma(path: Path) -> np.ndarray:
    """Every frame of a video as ffmpeg extracts it: area-scaled luma, (frames, SIZE, SIZE)."""
    command = [ffmpeg_program(), "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    command += ["-vf", f"scale={SIZE}:{SIZE}:flags=area", "-pix_fmt", "gray", "-f", "rawvideo", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, SIZE, SIZE)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def test_real_frames_are_where_the_source_has_them(recording, dataset_path):
    # gray is full range and the shards' luma is limited: compare in the shards' scale.
    source = 16 + _luma(recording / f"{STEM}.mp4").astype(np.float64) * 219 / 255
    assert len(source) == NUM_FRAMES
    dataset = open_dataset(dataset_path)
    assert dataset.episodes.num_frames.tolist() == [NUM_FRAMES]
    worse_beside = compared_beside = 0
    for row in dataset.clip_rows(0):
        clip = dataset.read_clip(0, row)
        decoded = decode_yuv(clip.video, 0, row.num_frames)[:, :SIZE]
        numbers = clip.arrays.source_frame.tolist()
        assert numbers == list(range(row.start_frame, row.start_frame + row.num_frames))
        for luma, number in zip(decoded, numbers, strict=True):
            here = _psnr(luma, source[number])
            assert here > 30, f"frame {number}: {here:.1f} dB"
            for beside in (number - 1, number + 1):
                if 0 <= beside < NUM_FRAMES and _psnr(source[number], source[beside]) < 28:
                    compared_beside += 1
                    worse_beside += _psnr(luma, source[beside]) < 30
    assert compared_beside > 100
    assert worse_beside == compared_beside


def test_real_actions_are_those_of_the_log(recording, dataset_path):
    lines = [json.loads(line) for line in (recording / f"{STEM}.jsonl").read_text().splitlines()]
    dataset = open_dataset(dataset_path)
    clips = [dataset.read_clip(0, row).arrays for row in dataset.clip_rows(0)]
    camera = np.concatenate([arrays.camera for arrays in clips])
    expected = [[line["mouse"]["dy"] * 360 / 2400, line["mouse"]["dx"] * 360 / 2400] for line in lines]
    assert np.allclose(camera, expected, rtol=0, atol=1e-9)
    forward = np.concatenate([arrays.buttons[:, 2] for arrays in clips])
    assert forward.tolist() == [int("key.keyboard.w" in line["keyboard"]["keys"]) for line in lines]


def test_real_masks_lie_where_they_were_drawn(dataset_path):
    dataset = open_dataset(dataset_path)
    (interaction,) = dataset.interactions(0)
    assert (interaction.type, interaction.start, interaction.stop) == (2, 200, 500)
    for row in dataset.clip_rows(0):
        arrays = dataset.read_clip(0, row).arrays
        for at, frame in enumerate(arrays.source_frame.tolist()):
            candidate = candidate_of(arrays, at, 0)
            assert (candidate is not None) == (200 <= frame < 500)
            if candidate is None:
                continue
            top, left = _mask_rectangle(frame)
            drawn = np.zeros((360, 640), bool)
            drawn[top : top + 90, left : left + 160] = True
            rows, columns = np.arange(SIZE) * 360 // SIZE, np.arange(SIZE) * 640 // SIZE
            assert (decode_runs(arrays.runs(candidate), SIZE, SIZE) == drawn[np.ix_(rows, columns)]).all()


def test_real_recording_takes_a_training_step(dataset_path, tmp_path):
    words = [f"data.datasets=[{dataset_path}]", f"run_dir={tmp_path / 'run'}", "data.frame_width=224"]
    words += ["data.frame_height=224", "data.batch_size=1", "data.num_workers=0", "data.split_ratio=1.0"]
    words += ["trainer.max_steps=1", "trainer.val_every=1000", "trainer.save_every=1", "log_freq=1"]
    _run("trainer", "demo", *words)
    header, line = (tmp_path / "run/metrics.csv").read_text().splitlines()[:2]
    assert 0 < float(line.split(",")[header.split(",").index("train/loss")]) < 30
