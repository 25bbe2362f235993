"""The SAM-2 tracker, on a tiny model with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.segment.sam2 import Sam2Tracker, choose_device, find_model
from shards.errors import RocketError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIDE = 64  # px that the model sees
HEIGHT, WIDTH = 36, 64
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds objects in every frame, saved as transformers saves them."""
    place = tmp_path_factory.mktemp("model") / "tiny"
    cells = SIDE // 16
    wide = 128
    config = transformers.Sam2VideoConfig(
        image_size=SIDE,
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [SIDE, SIDE],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [4, 4, 4, 4],
                "window_positional_embedding_background_size": [4, 4],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[4 * cells] * 2, [2 * cells] * 2, [cells] * 2],
            "fpn_hidden_size": wide,
        },
        prompt_encoder_config={"hidden_size": wide, "image_size": SIDE},
        mask_decoder_config={
            "hidden_size": wide,
            "mlp_dim": 64,
            "iou_head_hidden_dim": 64,
            "num_attention_heads": 2,
        },
        memory_attention_hidden_size=wide,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[cells, cells],
        memory_encoder_hidden_size=wide,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=wide,
        memory_fuser_embed_dim=wide,
        memory_fuser_intermediate_dim=64,
    )
    torch.manual_seed(0)
    model = transformers.Sam2VideoModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pred_obj_score_head" in name and name.endswith("proj_out.bias"):
                parameter.fill_(2.0)
            elif "memory" in name or "pointer" in name:
                parameter.mul_(3.0)  # what was seen before must matter
    model.save_pretrained(place)
    size = {"height": SIDE, "width": SIDE}
    transformers.Sam2VideoProcessor(
        transformers.Sam2ImageProcessor(size=size, mask_size={"height": SIDE // 4, "width": SIDE // 4}),
        transformers.Sam2VideoVideoProcessor(size=size),
    ).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def video() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (30, HEIGHT, WIDTH, 3), np.uint8)


def track(folder: Path, video: NDArray[np.uint8], starts: dict[int, tuple[int, tuple[float, float]]]) -> Any:
    """By object and frame what the tracker finds, when each object is prompted in its frame."""
    session = Sam2Tracker(str(folder), "cpu").start()
    found: dict[int, dict[int, Any]] = {number: {} for number in starts}
    for frame in range(len(video) - 1, -1, -1):
        objects = {n: point if start == frame else None for n, (start, point) in starts.items() if start >= frame}
        for number, tracked in session.step(video[frame], objects).items():
            found[number][frame] = tracked
    return found


def test_sam2_tracks_as_the_library_does_backwards_over_a_whole_video(
    folder: Path, video: NDArray[np.uint8]
) -> None:
    start, point = 29, (40.0, 12.0)
    ours = track(folder, video, {7: (start, point)})[7]
    assert list(ours) == list(range(29, -1, -1))
    assert all(tracked.mask.shape == (HEIGHT, WIDTH) for tracked in ours.values())
    assert all(tracked.mask.dtype == bool for tracked in ours.values())

    model = transformers.Sam2VideoModel.from_pretrained(folder).eval()
    processor = transformers.Sam2VideoProcessor.from_pretrained(folder)
    session = processor.init_video_session(video=list(video))
    processor.add_inputs_to_inference_session(
        session, frame_idx=start, obj_ids=1, input_points=[[[list(point)]]], input_labels=[[[1]]]
    )
    agreement = []
    with torch.inference_mode():
        for out in model.propagate_in_video_iterator(session, start_frame_idx=start, reverse=True):
            logits = processor.post_process_masks([out.pred_masks], [[HEIGHT, WIDTH]], binarize=False)[0][0, 0]
            mine = ours[out.frame_idx]
            agreement.append(float(((logits > 0).numpy() == mine.mask).mean()))
            assert mine.confidence == pytest.approx(float(out.object_score_logits.sigmoid()), abs=1e-3)
    assert len(agreement) == 30
    assert min(agreement) > 0.99
    shares = [float(tracked.mask.mean()) for tracked in ours.values()]
    assert max(shares) > 0.01
    assert min(shares) < 0.99


def test_sam2_tracks_several_objects_as_it_tracks_each_alone(folder: Path, video: NDArray[np.uint8]) -> None:
    video = video[:12]
    starts = {3: (11, (40.0, 12.0)), 5: (8, (10.0, 30.0)), 9: (8, (50.0, 5.0))}
    together = track(folder, video, starts)
    for number, start in starts.items():
        alone = track(folder, video, {number: start})[number]
        assert list(alone) == list(together[number]) == list(range(start[0], -1, -1))
        for frame, tracked in alone.items():
            np.testing.assert_array_equal(tracked.mask, together[number][frame].mask)
    assert any(together[5][frame].mask.tolist() != together[9][frame].mask.tolist() for frame in range(9))


def test_sam2_session_holds_a_bounded_past_and_forgets_objects(folder: Path, video: NDArray[np.uint8]) -> None:
    session: Any = Sam2Tracker(str(folder), "cpu").start()
    for number in range(50):
        objects: dict[int, Any] = {1: (40.0, 12.0) if number == 0 else None}
        if 10 <= number < 20:
            objects[2] = (10.0, 30.0) if number == 10 else None
        assert set(session.step(video[number % 30], objects)) == set(objects)
    assert list(session._objects) == [1]
    [kept] = session._objects.values()
    assert not kept.processed_frames
    assert len(kept.output_dict_per_obj[0]["cond_frame_outputs"]) == 1
    # The model looks at 16 object pointers, the prompt's among them, and 7 memories.
    assert len(kept.output_dict_per_obj[0]["non_cond_frame_outputs"]) <= 17
    assert len(kept.frames_tracked_per_obj[0]) <= 17
    assert list(kept.cache._vision_features) == [49]


@pytest.mark.parametrize("device", DEVICES)
def test_sam2_runs_on_each_device(folder: Path, video: NDArray[np.uint8], device: str) -> None:
    session = Sam2Tracker(str(folder), device).start()
    found = session.step(video[0], {1: (40.0, 12.0), 2: (3.0, 3.0)})
    assert set(found) == {1, 2}
    assert session.step(video[1], {}) == {}


def test_model_is_named_with_its_revision_and_a_missing_one_with_a_remedy(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, title, revision = find_model(str(folder))
    assert (path, title) == (str(folder), "tiny")
    assert len(revision) == 12
    assert find_model(str(folder))[2] == revision
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        RocketError, match=r"--model: facebook/none is no folder and cannot be fetched, got .*hf download"
    ):
        find_model("facebook/none")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(RocketError, match=r"cannot be loaded, got a model of type bert, expected sam2_video or"):
        Sam2Tracker(str(tmp_path), "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_device_is_the_cpu_where_there_is_no_gpu() -> None:
    assert choose_device(None) == "cpu"
    with pytest.raises(RocketError, match=r"--device: got cuda, but torch sees no GPU\. Use --device cpu"):
        choose_device("cuda")
