"""What a frame can see: its own past within reach, over windows, but no other episode, lane or padding."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tests.trainer.policies import cut, lane, logits, random_window, relative_error, tiny_policy
from trainer.policy.attention import MASKED, by_age_to_by_key, visibility


def run_windows(policy, window, length, first=None, valid=None):
    """The policy over windows of `length` frames, memory carried; outputs put together again."""
    parts, memory = [], None
    for start in range(0, window["image"].shape[1], length):
        given = cut(window, start, start + length)
        if first is not None:
            given["first"] = first[:, start : start + length]
        if valid is not None:
            given["valid"] = valid[:, start : start + length]
        output = policy(given, memory)
        memory = output[1]
        parts.append(logits(output))
    return torch.cat(parts, dim=1), memory


@pytest.mark.parametrize(
    ("length", "mem_len"), [(8, 8), (4, 8), (8, 4), (5, 12), (12, 5), (1, 6), (3, 3), (7, 1), (29, 8)]
)
@torch.no_grad()
def test_windows_with_memory_equal_one_long_pass(length, mem_len):
    policy = tiny_policy(length, mem_len, double=True)
    frames = random_window(2, 29)
    whole, remembered = logits(output := policy(frames)), output[1]
    got, memory = run_windows(policy, frames, length)
    torch.testing.assert_close(got, whole, rtol=0, atol=1e-5)  # log_softmax works in float32
    for kept, expected in zip(memory, remembered, strict=True):
        torch.testing.assert_close(kept, expected, rtol=0, atol=1e-10)


@torch.no_grad()
def test_memory_makes_a_difference():
    policy = tiny_policy()
    frames = random_window(1, 16)
    with_memory, _ = run_windows(policy, frames, 8)
    without = logits(policy(cut(frames, 8, 16)))
    assert relative_error(with_memory[:, 8:], without) > 1e-3


@pytest.mark.parametrize("length", [16, 4, 1])
@pytest.mark.parametrize("num_layers", [1, 3])
@torch.no_grad()
def test_frames_see_mem_len_frames_a_layer_and_no_further(length, num_layers):
    mem_len = 4
    policy = tiny_policy(length, mem_len, num_layers=num_layers)
    before, after = random_window(1, 16), random_window(1, 16)
    changed = 2
    after["image"][:, changed] = 255 - after["image"][:, changed]
    difference = (run_windows(policy, before, length)[0] - run_windows(policy, after, length)[0]).abs().amax(-1)[0]
    reach = num_layers * (mem_len - 1)
    assert (difference > 0).nonzero().squeeze(1).tolist() == list(range(changed, min(changed + reach + 1, 16)))


@pytest.mark.parametrize("starts", [{0: 8}, {0: 11}, {1: 15}, {0: 3, 1: 12}])
@torch.no_grad()
def test_first_hides_everything_before_it_in_its_lane_alone(starts):
    policy = tiny_policy(8, 8)
    frames = random_window(2, 24)
    first = torch.zeros(2, 24, dtype=torch.bool)
    for index, start in starts.items():
        first[index, start] = True
    got, _ = run_windows(policy, frames, 8, first)
    undisturbed, _ = run_windows(policy, frames, 8)
    for index in range(2):
        start = starts.get(index, 0)
        alone = logits(policy(cut(lane(frames, index), start, 24)))
        torch.testing.assert_close(got[index : index + 1, start:], alone, rtol=0, atol=2e-5)
        torch.testing.assert_close(got[index, :start], undisturbed[index, :start], rtol=0, atol=2e-5)


@torch.no_grad()
def test_lanes_do_not_touch_each_other_in_evaluation():
    policy = tiny_policy()
    one, other = random_window(3, 16, seed=1), random_window(3, 16, seed=1)
    other["image"][1] = 255 - other["image"][1]
    other["segment"]["obj_mask"][1] = 1 - other["segment"]["obj_mask"][1]
    other["segment"]["obj_id"][1] = 0
    first = torch.zeros(3, 16, dtype=torch.bool)
    first[1, 5] = True
    before, kept = run_windows(policy, one, 8)
    after, changed = run_windows(policy, other, 8, first)
    assert not torch.equal(before[1], after[1])
    for index in (0, 2):
        assert torch.equal(before[index], after[index])
        assert all(torch.equal(a[index], b[index]) for a, b in zip(kept, changed, strict=True))


@torch.no_grad()
def test_padding_is_never_seen_now_or_later():
    policy = tiny_policy(8, 12)
    valid = torch.ones(2, 24, dtype=torch.bool)
    valid[0, 5:8] = False  # the end of a window
    valid[1, 8:16] = False  # a whole window
    one, other = random_window(2, 24), random_window(2, 24)
    other["image"][~valid] = 255 - other["image"][~valid]
    other["segment"]["obj_mask"][~valid] = 0
    other["segment"]["obj_id"][~valid] = 3
    got_one, memory_one = run_windows(policy, one, 8, valid=valid)
    got_other, memory_other = run_windows(policy, other, 8, valid=valid)
    assert torch.equal(got_one[valid], got_other[valid])
    assert torch.isfinite(got_one).all()
    assert torch.equal(memory_one[0], memory_other[0])
    assert memory_one[0][1, 0].tolist() == [False] * 4 + [True] * 8


@torch.no_grad()
def test_frames_after_padding_keep_their_distance_to_those_before_it():
    policy = tiny_policy(16, 16, num_layers=1)
    frames, valid = random_window(1, 16), torch.ones(1, 16, dtype=torch.bool)
    valid[0, 6:9] = False
    got = logits(policy({**frames, "valid": valid}))
    shown = visibility(torch.zeros_like(valid), valid, torch.zeros(1, 16, dtype=torch.bool))[0][0, :, 16:]
    assert (shown[10] == 0).nonzero().squeeze(1).tolist() == [0, 1, 2, 3, 4, 5, 9, 10]
    assert not torch.allclose(got[0, 10], logits(policy(cut(frames, 9, 16)))[0, 1], atol=1e-4)


def test_padding_stays_out_of_batch_statistics_and_gradients():
    """In training, a window with padding gives what its valid frames alone give, whatever the padding shows."""
    valid = torch.ones(2, 8, dtype=torch.bool)
    valid[0, 3:] = False
    results = []
    for seed in (1, 2):
        policy = tiny_policy().train()
        for module in policy.modules():
            if isinstance(module, torch.nn.Dropout | torch.nn.MultiheadAttention):
                setattr(module, "p" if isinstance(module, torch.nn.Dropout) else "dropout", 0.0)
        frames, noise = random_window(2, 8), random_window(2, 8, seed=seed)
        frames["image"][~valid] = noise["image"][~valid]
        output = logits(policy({**frames, "valid": valid}))
        output[valid].sum().backward()
        grads = [parameter.grad for parameter in policy.parameters() if parameter.grad is not None]
        results.append((output[valid], list(policy.buffers()), grads))
    for got, expected in zip(*results, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    alone = tiny_policy().train()
    seen = policy_channels(alone, frames)[valid.flatten()]
    with alone._statistics.updating():
        alone.backbone(seen)
    for a, b in zip(alone.backbone.buffers(), policy.backbone.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def policy_channels(policy, frames):
    """The backbone's input of every frame."""
    image, mask = frames["image"].flatten(0, 1), frames["segment"]["obj_mask"].flatten(0, 1)
    return policy.preprocess.from_rgb(image, mask, torch.float32)


def test_nothing_but_padding_gives_gradients_of_zero_and_leaves_the_statistics():
    policy = tiny_policy().train()
    before = [buffer.clone() for buffer in policy.buffers()]
    latents, memory = policy({**random_window(2, 8), "valid": torch.zeros(2, 8, dtype=torch.bool)})
    latents["pi_logits"]["buttons"].mul(0.0).sum().backward()
    for name, parameter in policy.named_parameters():
        if name.startswith(("backbone", "updim", "pooling")):
            assert parameter.grad is not None, name
            assert not parameter.grad.any(), name
    assert all(torch.equal(a, b) for a, b in zip(before, policy.buffers(), strict=True))
    assert all(layer.training for layer in policy.modules() if isinstance(layer, _BatchNorm))
    assert not memory[0].any()


def test_memory_is_no_part_of_the_model_and_has_no_gradient():
    policy = tiny_policy().train()
    names = [name for name, _ in (*policy.named_parameters(), *policy.named_buffers())]
    _, memory = policy(random_window(2, 8), policy.initial_state(2))
    assert [name for name, _ in (*policy.named_parameters(), *policy.named_buffers())] == names
    assert not any(tensor.requires_grad for tensor in memory)
    assert not any("memory" in name or "first" in name for name in names)


def slow_visibility(first, valid, seen):
    """Frame by frame: who sees whom, by the rules in words."""
    num_lanes, length = first.shape
    mem_len = seen.shape[1]
    mask = torch.full((num_lanes, length, mem_len + length), MASKED)
    kept = torch.zeros(num_lanes, mem_len + length, dtype=torch.bool)
    for b in range(num_lanes):
        counts = seen[b].tolist() + valid[b].tolist()
        starts = [False] * mem_len + first[b].tolist()
        for query in range(mem_len, mem_len + length):
            for key in range(max(0, query - mem_len + 1), query + 1):
                between = any(starts[key + 1 : query + 1])
                if key == query or (counts[key] and not between):
                    mask[b, query - mem_len, key] = 0.0
        for key in range(mem_len + length):
            kept[b, key] = counts[key] and not any(starts[key + 1 :])
    return mask, kept[:, length:]


@pytest.mark.parametrize(("length", "mem_len"), [(6, 6), (3, 7), (7, 3), (1, 4), (5, 1)])
def test_visibility_equals_the_rules_frame_by_frame(length, mem_len):
    random = torch.Generator().manual_seed(length * 10 + mem_len)
    for _ in range(20):
        first = torch.rand(3, length, generator=random) < 0.2
        valid = torch.rand(3, length, generator=random) < 0.8
        seen = torch.rand(3, mem_len, generator=random) < 0.8
        mask, kept = visibility(first, valid, seen)
        expected_mask, expected_kept = slow_visibility(first, valid, seen)
        assert torch.equal(mask, expected_mask)
        assert torch.equal(kept, expected_kept)


@pytest.mark.parametrize(("length", "mem_len"), [(2, 2), (5, 3), (3, 5), (1, 4)])
def test_scores_by_age_land_on_their_keys(length, mem_len):
    scores = torch.randn(2, 3, length, mem_len)  # oldest first
    got = by_age_to_by_key(scores)
    expected = torch.zeros(2, 3, length, mem_len + length)
    for query in range(length):
        for age in range(mem_len):
            expected[:, :, query, mem_len + query - age] = scores[:, :, query, mem_len - 1 - age]
    assert torch.equal(got, expected)
