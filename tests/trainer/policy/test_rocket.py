"""Building and calling the policy: inputs, actions, errors, and where the work is saved."""

import re

import numpy as np
import pytest
import timm
import torch
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from shards.errors import RocketError
from tests.trainer.policies import SIZE, TINY, cut, logits, random_window, relative_error, tiny_policy
from trainer.policy import RocketPolicy
from trainer.policy.backbone import memory_format


def test_feed_forward_of_film_runs_on_the_interaction_types_alone():
    policy = tiny_policy()
    rows = []
    for block in policy.recurrent.blocks:
        block.injection.ff.register_forward_hook(lambda module, args, output: rows.append(output.shape))
    policy(random_window(3, 8))
    assert rows == [torch.Size([10, 32])] * 2


@torch.no_grad()
def test_missing_interaction_uses_the_first_embedding():
    policy = tiny_policy()
    frames = random_window(1, 8)
    frames["segment"]["obj_id"][:] = -1
    none = logits(policy(frames))
    policy.interaction.weight[1:] = float("nan")
    assert torch.equal(logits(policy(frames)), none)
    policy.interaction.weight[0] += 1
    assert not torch.equal(logits(policy(frames)), none)


@torch.no_grad()
def test_input_without_segment_means_no_interaction_and_no_mask():
    policy = tiny_policy()
    frames = random_window(1, 8)
    frames["segment"]["obj_id"][:] = -1
    frames["segment"]["obj_mask"][:] = 0
    assert torch.equal(logits(policy({"image": frames["image"]})), logits(policy(frames)))


@torch.no_grad()
def test_packed_mask_bits_equal_the_mask():
    policy = tiny_policy()
    frames = random_window(2, 8)
    mask = frames["segment"]["obj_mask"]
    bits = torch.from_numpy(np.packbits(mask.flatten(2).numpy(), axis=-1))
    packed = {"image": frames["image"], "segment": {"obj_mask_bits": bits, "obj_id": frames["segment"]["obj_id"]}}
    assert torch.equal(logits(policy(packed)), logits(policy(frames)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_backbone_reads_frames_and_weights_in_the_layout_of_the_device(layout, monkeypatch):
    for module in ("backbone", "preprocess"):
        monkeypatch.setattr(f"trainer.policy.{module}.memory_format", lambda device: layout)
    policy = tiny_policy(double=True).float()
    seen = []
    policy.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    policy(random_window(1, 8))
    assert seen[0].shape == (8, 4, SIZE, SIZE)
    for tensor in (seen[0], policy.backbone.conv_stem.weight):
        assert tensor.stride() == torch.empty(tensor.shape, memory_format=layout).stride()


def test_layout_is_channels_last_on_a_gpu_alone():
    formats = [memory_format(torch.device(device)) for device in ("cuda:3", "cpu")]
    assert formats == [torch.channels_last, torch.contiguous_format]


@pytest.mark.filterwarnings("ignore")  # torch warns about itself while it traces
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_window_of_padding_alone_trains_nothing_and_leaves_the_statistics(compiled, checkpointing, frozen):
    policy = tiny_policy(num_layers=1).train()
    policy.backbone.train(not frozen)
    if checkpointing:
        policy.enable_activation_checkpointing()
    if compiled:
        policy.compile_layers(backend="aot_eager")
    frames = random_window(2, 8)
    logits(policy({**frames, "valid": torch.arange(8).expand(2, 8) < 5})).sum().backward()
    policy.zero_grad()
    before = [buffer.clone() for buffer in policy.buffers()]
    latents, _ = policy({**frames, "valid": torch.zeros(2, 8, dtype=torch.bool)})
    latents["pi_logits"]["buttons"].sum().backward()
    assert all(torch.equal(old, new) for old, new in zip(before, policy.buffers(), strict=True))
    gradients = {name: p.grad for name, p in policy.named_parameters() if name.startswith(("backbone", "pooling"))}
    assert {name for name, gradient in gradients.items() if gradient is None or gradient.any()} == set()


def test_activation_checkpointing_changes_neither_gradients_nor_statistics():
    results = []
    for checkpointing in (False, True):
        policy = tiny_policy().train()
        if checkpointing:
            policy.enable_activation_checkpointing()
        torch.manual_seed(3)  # dropout
        for step in range(2):
            logits(policy(random_window(2, 8, seed=step))).square().mean().backward()
        results.append(([p.grad for p in policy.parameters() if p.grad is not None], list(policy.buffers())))
    for plain, recomputed in zip(*results, strict=True):
        for a, b in zip(plain, recomputed, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.filterwarnings("ignore")  # torch warns about itself while it traces
def test_compiled_layers_keep_results_and_names_and_serve_any_number_of_frames():
    """Dynamo alone: whether the layers trace without a break. What a compiler makes of them is torch's affair."""
    torch._dynamo.reset()
    policy, compiled = tiny_policy(num_layers=1), CompileCounter()
    frames = random_window(2, 8)
    expected, names = logits(policy(frames)), list(policy.state_dict())
    policy.compile_layers(backend=compiled, fullgraph=True)
    assert torch.equal(logits(policy(frames)), expected)
    assert list(policy.state_dict()) == names
    policy.train()
    counts = []
    for num_frames in (8, 5, 3):  # of each lane; padding is left out, so that each step has another number
        logits(policy({**frames, "valid": torch.arange(8).expand(2, 8) < num_frames})).sum().backward()
        counts.append(compiled.frame_count)
    assert policy.updim.weight.grad is not None
    assert counts[2] == counts[1]


class MapsMade(TorchDispatchMode):
    """The types of all tensors (frames, channels, rows, columns) that operations return."""

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        self.num_frames, self.found = num_frames, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.ndim == 4 and len(leaf) == self.num_frames:
                self.found.add(leaf.dtype)
        return result


def test_backward_pass_makes_no_float32_map_where_maps_are_bfloat16():
    policy = tiny_policy(num_layers=1).train()
    channels = torch.rand(6, 4, SIZE, SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        total = policy.backbone(channels)[-1].sum()
    with MapsMade(6) as maps:
        total.backward()
    assert maps.found == {torch.bfloat16}


def test_a_plain_flag_for_padding_gives_the_same_as_asking_the_device():
    policy = tiny_policy()
    valid = torch.ones(2, 8, dtype=torch.bool)
    valid[1, 4:] = False
    frames = {**random_window(2, 8), "valid": valid}
    assert torch.equal(logits(policy({**frames, "has_padding": True})), logits(policy(frames)))


def test_get_action_steps_through_an_episode_like_one_window():
    policy = tiny_policy(8, 8)
    frames = random_window(1, 12)
    expected, _ = policy(frames)
    memory = None
    for step in range(12):
        observation = {
            "image": frames["image"][0, step].numpy(),
            "segment": {
                "obj_mask": frames["segment"]["obj_mask"][0, step].numpy(),
                "obj_id": int(frames["segment"]["obj_id"][0, step]),
            },
            "text": "an observation's other entries",
        }
        action, memory = policy.get_action(observation, memory, deterministic=True, input_shape="*")
        for head in ("buttons", "camera"):
            assert action[head].shape == (1,)
            assert int(action[head]) == int(expected["pi_logits"][head][0, step].argmax())
        assert [tuple(tensor.shape) for tensor in memory[:3]] == [(1, 8), (8, 32), (8, 32)]


def test_get_action_serves_rocket_ones_own_session():
    policy = tiny_policy()
    state = policy.initial_state()
    frames = random_window(1, 1)
    observation = {
        "img": frames["image"][0, 0],
        "segment": {"obj_id": frames["segment"]["obj_id"][0, 0], "obj_mask": frames["segment"]["obj_mask"][0, 0]},
    }
    action, state = policy.get_action(observation, state, first=None, input_shape="*")
    assert action["buttons"].shape == action["camera"].shape == (1,)
    assert [tuple(tensor.shape) for tensor in state] == [tuple(tensor.shape) for tensor in policy.initial_state()]


def test_get_action_of_a_batch_keeps_lanes_and_time_even_in_training_mode():
    policy = tiny_policy().train()
    action, memory = policy.get_action(random_window(3, 2), policy.initial_state(3))
    assert action["buttons"].shape == action["camera"].shape == (3, 2, 1)
    assert memory[1].shape == (3, 8, 32)


def test_get_action_refuses_an_unknown_input_shape():
    with pytest.raises(
        RocketError, match=re.escape("get_action: unknown input_shape, got 'B*', expected '*' or 'BT*'")
    ):
        tiny_policy().get_action(random_window(1, 1), None, input_shape="B*")


@pytest.mark.parametrize("backbone", ["resnet10t", "test_vit", "test_convnext", "timm/test_resnet.r160_in1k"])
@torch.no_grad()
def test_backbones_of_other_kinds_work(backbone):
    policy = RocketPolicy(**{**TINY, "backbone": backbone}, timesteps=2, mem_len=2)
    latents, _ = policy.eval()(random_window(1, 2, size=160))
    assert latents["pi_logits"]["camera"].shape == (1, 2, 1, 121)


@torch.no_grad()
def test_feature_maps_with_channels_last_give_the_same_tokens():
    from trainer.policy.backbone import last_map_tokens

    maps = torch.randn(2, 7, 3, 5)
    assert torch.equal(last_map_tokens([maps], 7), last_map_tokens([maps.permute(0, 2, 3, 1)], 7))
    assert torch.equal(last_map_tokens([maps], 7)[0, 6], maps[0, :, 1, 1])


def test_backbone_weights_come_from_a_local_file(tmp_path):
    torch.manual_seed(5)
    classifier = timm.create_model("test_efficientnet", pretrained=False)
    path = tmp_path / "weights.pth"
    torch.save(classifier.state_dict(), path)
    policy = RocketPolicy(**{**TINY, "backbone_weights": path}, timesteps=2, mem_len=2)
    got, expected = policy.backbone.state_dict(), classifier.state_dict()
    stem = expected["conv_stem.weight"]  # three channels, spread over four
    torch.testing.assert_close(got["conv_stem.weight"], torch.cat([stem, stem[:, :1]], dim=1) * 0.75)
    for name in got.keys() - {"conv_stem.weight"}:
        assert torch.equal(got[name], expected[name]), name


def test_unknown_backbone_names_its_neighbours():
    with pytest.raises(
        RocketError,
        match=r"policy\.backbone: timm .* has no model 'eficientnet_b0'. Close names: .*\befficientnet_b0\b",
    ):
        RocketPolicy("eficientnet_b0")


def test_unknown_weights_of_a_known_backbone_are_listed():
    with pytest.raises(
        RocketError, match=r"efficientnet_b0 has no pretrained weights named 'ra_in2k', expected one of: .*ra_in1k"
    ):
        RocketPolicy("efficientnet_b0.ra_in2k")


def test_pretrained_weights_that_cannot_be_fetched_name_the_setting(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        RocketError,
        match=r"weights of test_efficientnet\.r160_in1k could not be fetched: .*policy\.backbone_weights=PATH",
    ):
        RocketPolicy("test_efficientnet.r160_in1k", hiddim=32, num_heads=4)


def test_backbone_without_pretrained_weights_says_so():
    with pytest.raises(RocketError, match=r"policy\.pretrained: timm has no weights for 'efficientnet_b0_g8_gn'"):
        RocketPolicy("efficientnet_b0_g8_gn")


def test_missing_and_wrong_backbone_files_are_named(tmp_path):
    with pytest.raises(RocketError, match=r"policy\.backbone_weights: no file .*absent\.pth"):
        RocketPolicy(**{**TINY, "backbone_weights": tmp_path / "absent.pth"})
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"no weights at all")
    with pytest.raises(
        RocketError, match=r"policy\.backbone_weights: .*wrong\.pth does not hold test_efficientnet's weights: "
    ):
        RocketPolicy(**{**TINY, "backbone_weights": wrong})


def test_backbone_file_that_leaves_weights_random_is_refused(tmp_path):
    state = timm.create_model("test_efficientnet", pretrained=False).state_dict()
    del state["conv_stem.weight"], state["blocks.0.0.conv.weight"]
    torch.save(state, tmp_path / "partial.pth")
    with pytest.raises(
        RocketError,
        match=r"partial\.pth lacks weights of test_efficientnet: conv_stem\.weight, blocks\.0\.0\.conv\.weight\.",
    ):
        RocketPolicy(**{**TINY, "backbone_weights": tmp_path / "partial.pth"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hiddim": 30}, "policy.hiddim: not divisible by policy.num_heads, got 30 and 4. Use 32."),
        ({"mem_len": 0}, "policy.mem_len: too small, got 0"),
        ({"timesteps": 0}, "policy.timesteps: too small, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(RocketError, match=re.escape(message)):
        RocketPolicy(**{**TINY, **settings})


def test_training_windows_of_another_length_are_refused():
    with pytest.raises(RocketError, match=re.escape("got 5 frames, expected policy.timesteps = 8")):
        tiny_policy().train()(random_window(1, 5))


def broken(change):
    frames = random_window(2, 8)
    change(frames)
    return frames


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (broken(lambda f: f.pop("image")), "input: no frames, got the keys ['segment'], expected image or yuv"),
        (broken(lambda f: f.update(image=f["image"][..., :1])), "image: wrong shape, got (2, 8, 32, 32, 1)"),
        (
            broken(lambda f: f["segment"].update(obj_mask=f["segment"]["obj_mask"][..., :16])),
            "segment.obj_mask: wrong shape, got (32, 16), expected (32, 32) like the frames",
        ),
        (
            broken(
                lambda f: f["segment"].update(
                    obj_mask=None, obj_mask_bits=torch.zeros(2, 8, 127, dtype=torch.uint8)
                )
            ),
            "segment.obj_mask_bits: wrong size, got 127 bytes a frame, expected 128 for 32x32 frames",
        ),
        (
            broken(lambda f: f["segment"].update(obj_id=f["segment"]["obj_id"][:1])),
            "segment.obj_id: wrong shape, got (1, 8), expected (2, 8)",
        ),
        (broken(lambda f: f.update(first=torch.zeros(2, 7))), "first: wrong shape, got (2, 7), expected (2, 8)"),
        (
            {"yuv": torch.zeros(1, 8, 47, 32, dtype=torch.uint8)},
            "yuv: wrong shape, got (1, 8, 47, 32), expected (B, T, H * 3 / 2, W)",
        ),
    ],
)
def test_inputs_that_contradict_each_other_are_refused(frames, message):
    with pytest.raises(RocketError, match=re.escape(message)):
        tiny_policy()(frames)


def test_memory_of_another_size_is_refused():
    policy = tiny_policy()
    with pytest.raises(RocketError, match=r"memory: wrong shapes, got .*\(3, 1, 8\).* expected .*\(2, 1, 8\)"):
        policy(random_window(2, 8), policy.initial_state(3))


@torch.no_grad()
def test_frames_of_any_even_size_are_accepted():
    policy = tiny_policy()
    wide = {"image": torch.zeros(1, 2, 36, 64, 3, dtype=torch.uint8)}
    assert logits(policy(wide)).shape == (1, 2, 8641 + 121 + 1)


def test_time_axis_may_be_any_length_in_evaluation():
    policy = tiny_policy(8, 8)
    frames = random_window(1, 11)
    with torch.no_grad():
        long, short = logits(policy(frames)), logits(policy(cut(frames, 0, 3)))
    assert relative_error(short, long[:, :3]) < 1e-5
