import gc
import os
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from shards.action_space import ACTION_SPACE
from shards.clip import Interaction
from shards.errors import RocketError
from shards.masks import packed_size
from tests import synthetic
from tests.synthetic import (
    HEIGHT,
    WIDTH,
    actions_of,
    episode_number,
    frame_number,
    make_dataset,
    mask_of,
)
from tests.trainer.batches import WIN_LEN, assert_same, joined, make_module, plain, take
from tests.trainer.slow import slow_goals, slow_to_policy
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two datasets: 7 and 6 episodes, of 1 to 70 frames, in 5 shards together."""
    root = tmp_path_factory.mktemp("two")
    make_dataset(root / "a", [[40, 16], [1, 70, 33], [15, 17]])
    make_dataset(root / "b", [[64, 5, 31], [48, 20, 9]])
    return root / "a", root / "b"


@pytest.fixture(scope="module")
def reference(datasets):
    """The global batches of two epochs, read in one process as one rank of 8 lanes in 2 groups."""
    return take(make_module(*datasets, batch_size=8, num_lane_groups=2), num_epochs=2)


LENGTHS = [40, 16, 1, 70, 33, 15, 17, 64, 5, 31, 48, 20, 9]
"""Frames of the 13 episodes; the first 7 are those of the first dataset."""
LANES = [[0, 5, 6, 8, 10], [1, 3, 9, 11], [2, 4, 7, 12]]
"""The episodes of each lane as stored, worked out by hand: each goes to the first lane with the fewest windows."""


def test_batches_hold_what_the_schedule_says(datasets):
    batches = take(make_module(*datasets, batch_size=3, shuffle_episodes=False))
    windows = [
        [(ep, at, min(at + WIN_LEN, LENGTHS[ep])) for ep in lane for at in range(0, LENGTHS[ep], WIN_LEN)]
        for lane in LANES
    ]
    assert len(batches) == max(map(len, windows))
    for step, batch in enumerate(batches):
        for lane in range(3):
            row = {name: array[lane] for name, array in batch.items() if array.ndim}
            assert row["lane"] == lane
            if step >= len(windows[lane]):
                assert (row["episode"], row["start_frame"], row["stop_frame"]) == (-1, 0, 0)
                assert not row["valid"].any()
                assert not row["first"].any()
                continue
            number, start, stop = windows[lane][step]
            episode = number if number < 7 else number - 7
            assert (row["episode"], row["start_frame"], row["stop_frame"]) == (number, start, stop)
            assert (row["index"], row["last"]) == (start // WIN_LEN, stop == LENGTHS[number])
            assert row["valid"].tolist() == [place < stop - start for place in range(WIN_LEN)]
            assert row["first"].tolist() == [start == 0, *[False] * (WIN_LEN - 1)]
            shown = row["yuv"][: stop - start]
            assert [frame_number(yuv) for yuv in shown] == [frame % 50 for frame in range(start, stop)]
            assert {episode_number(yuv) for yuv in shown} == {episode}
            goals = slow_goals(f"ep{episode:03d}", LENGTHS[number], seed=5, epoch=0)
            types = [one.type for one in synthetic.episode_interactions(LENGTHS[number])]
            for place, frame in enumerate(range(start, stop)):
                goal = goals[frame]
                buttons, camera = actions_of(episode, frame)
                mask = np.unpackbits(row["segment/obj_mask_bits"][place])[: HEIGHT * WIDTH].reshape(HEIGHT, WIDTH)
                assert row["segment/obj_id"][place] == (types[goal] if goal >= 0 else -1)
                assert np.array_equal(mask, mask_of(goal, frame) if goal >= 0 else np.zeros_like(mask))
                assert row["env_action/buttons"][place].tolist() == buttons.tolist()
                assert row["env_action/camera"][place] == pytest.approx(camera)
                names = [name for name, down in zip(ACTION_SPACE.buttons, buttons, strict=True) if down]
                assert (row["action/buttons"][place], row["action/camera"][place]) == slow_to_policy(names, camera)


def test_padded_frames_are_empty(datasets):
    for batch in take(make_module(*datasets)):
        padding = ~batch["valid"]
        assert (batch["yuv"][padding][:, :HEIGHT] == 16).all()
        assert (batch["yuv"][padding][:, HEIGHT:] == 128).all()
        assert not batch["segment/obj_mask_bits"][padding].any()
        assert (batch["segment/obj_id"][padding] == -1).all()
        assert not batch["env_action/buttons"][padding].any()
        assert (batch["action/buttons"][padding] == 0).all()
        assert (batch["action/camera"][padding] == 60).all()


@pytest.mark.parametrize("num_ranks", [2, 4, 8])
def test_batches_do_not_depend_on_the_number_of_ranks(datasets, reference, num_ranks):
    ranks = [
        take(
            make_module(*datasets, batch_size=8 // num_ranks, num_lane_groups=2, rank=rank, num_ranks=num_ranks),
            num_epochs=2,
        )
        for rank in range(num_ranks)
    ]
    assert_same(joined(ranks), reference)


@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_batches_do_not_depend_on_the_number_of_workers(datasets, reference, num_workers):
    module = make_module(*datasets, batch_size=8, num_lane_groups=2, num_workers=num_workers, prefetch_factor=3)
    assert_same(take(module, num_epochs=2), reference)
    module.teardown()


@pytest.mark.parametrize("win_len", [1, 7, 8, 24, 32, 100])
def test_windows_of_any_length_show_every_frame_once_in_order(datasets, win_len):
    shown: dict[int, list[int]] = {}
    for batch in take(make_module(datasets[0], win_len=win_len, batch_size=2)):
        for lane in range(2):
            valid = batch["valid"][lane]
            frames = [frame_number(yuv) for yuv in batch["yuv"][lane][valid]]
            shown.setdefault(int(batch["episode"][lane]), []).extend(frames)
    lengths = [40, 16, 1, 70, 33, 15, 17]
    assert {episode: frames for episode, frames in shown.items() if episode >= 0} == {
        episode: [frame % 50 for frame in range(length)] for episode, length in enumerate(lengths)
    }


def test_goals_are_drawn_anew_each_epoch_and_agree_within_an_episode(tmp_path, monkeypatch):
    # Two interactions over the same frames, of different types: which one is shown is drawn.
    def twins(num_frames: int) -> list[Interaction]:
        return [Interaction(type=kind, event=f"event_{kind}", start=0, stop=num_frames) for kind in (2, 3)]

    monkeypatch.setattr(synthetic, "episode_interactions", twins)
    make_dataset(tmp_path / "twins", [[20, 40, 33, 18, 25, 50, 17, 36]])
    module = make_module(tmp_path / "twins", batch_size=2)
    epochs = []
    for batches in (take(module), take(module)):
        types: dict[int, set[int]] = {}
        for batch in batches:
            for lane in range(2):
                if batch["episode"][lane] >= 0:
                    shown = batch["segment/obj_id"][lane][batch["valid"][lane]]
                    types.setdefault(int(batch["episode"][lane]), set()).update(shown.tolist())
        assert all(len(shown) == 1 for shown in types.values())
        epochs.append(types)
    assert epochs[0] != epochs[1]
    assert {2, 3} == set().union(*epochs[0].values())


def test_batches_without_segmentation_have_empty_masks(datasets):
    for batch in take(make_module(*datasets, enable_segment=False)):
        assert not batch["segment/obj_mask_bits"].any()
        assert (batch["segment/obj_id"] == -1).all()
        assert batch["segment/obj_mask_bits"].shape == (4, WIN_LEN, packed_size(HEIGHT, WIDTH))


def test_watched_frames_are_those_whose_goal_has_such_an_event(datasets):
    num_watched = 0
    for batch in take(make_module(datasets[0], watch_events=["event_1"])):
        for lane, place in np.argwhere(batch["segment/obj_id"] >= 0):
            episode, frame = int(batch["episode"][lane]), int(batch["start_frame"][lane]) + int(place)
            goal = slow_goals(f"ep{episode:03d}", LENGTHS[episode], seed=5, epoch=0)[frame]
            assert batch["watch"][lane, place] == (goal == 1)  # the synthetic events are event_0, event_1, ...
            num_watched += int(batch["watch"][lane, place])
    assert num_watched > 0
    assert not any(batch["watch"].any() for batch in take(make_module(datasets[0])))


def test_watched_frames_without_masks_are_those_that_lead_to_such_an_event(datasets):
    """A stone is mined in every tenth frame from 3 on; that frame and the twenty before it are watched."""
    num_watched = 0
    for batch in take(make_module(datasets[0], watch_events=["stone"], enable_segment=False)):
        for lane in range(len(batch["episode"])):
            length = LENGTHS[int(batch["episode"][lane])]
            for place in np.flatnonzero(batch["valid"][lane]):
                frame = int(batch["start_frame"][lane]) + int(place)
                leads = any(mined % 10 == 3 for mined in range(frame, min(frame + 21, length)))
                assert batch["watch"][lane, place] == leads
                num_watched += leads
    assert num_watched > 0


def test_batches_that_are_kept_are_never_overwritten(datasets, reference):
    loader = make_module(*datasets, batch_size=8, num_lane_groups=2, num_workers=1).train_dataloader()
    kept = [batch for _ in range(2) for batch in loader]
    loader.close()
    assert_same([plain(batch) for batch in kept], reference)


def test_parts_of_a_batch_keep_its_memory(datasets, reference):
    loader = make_module(*datasets, batch_size=8, num_lane_groups=2).train_dataloader()
    kept = []
    for _ in range(2):
        for batch in loader:
            kept.append(batch["yuv"][3, 2:5].numpy())
            del batch
    assert all(np.array_equal(frames, whole["yuv"][3, 2:5]) for frames, whole in zip(kept, reference, strict=True))


def test_slots_are_used_again_when_batches_go(datasets):
    loader = make_module(*datasets, batch_size=2, num_workers=1, prefetch_factor=2).train_dataloader()
    places = [batch["yuv"].data_ptr() for _ in range(3) for batch in loader]
    loader.close()
    assert len(places) > 30
    assert len(set(places)) == 3  # two ahead, one with the trainer


def test_validation_gives_the_same_batches_every_time(datasets):
    module = make_module(*datasets, split_ratio=0.6, num_workers=1, augment=True)
    loader = module.val_dataloader()
    first = [plain(batch) for batch in loader]
    for _ in zip(range(2), module.train_dataloader(), strict=False):
        pass
    for _ in zip(range(1), loader, strict=False):  # a validation that ends early
        pass
    assert_same([plain(batch) for batch in loader], first)
    module.teardown()
    trained = {int(ep) for batch in take(module) for ep in batch["episode"]}
    assert not trained & {int(ep) for batch in first for ep in batch["episode"] if ep >= 0}


def test_validation_shards_stay_with_the_groups_of_training(datasets):
    module = make_module(*datasets, split_ratio=0.6, num_lane_groups=4)
    assert module.data.val.num_windows > 0
    both = module.data.train.group_of_shard.keys() & module.data.val.group_of_shard.keys()
    assert both
    assert {s: module.data.train.group_of_shard[s] for s in both} == {
        s: module.data.val.group_of_shard[s] for s in both
    }


def test_loader_process_that_is_killed_is_named(datasets):
    loader = make_module(*datasets, num_workers=2).train_dataloader()
    iterator = iter(loader)
    next(iterator)
    pid = loader._pool.pids[1]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(
        RocketError, match=rf"loader process {pid}: ended \(killed by SIGKILL\) while reading .*tar"
    ):
        for _ in range(20):
            next(iterator)
    loader.close()


def test_loader_processes_leave_signals_to_the_trainer(datasets, reference):
    module = make_module(*datasets, batch_size=8, num_lane_groups=2, num_workers=2)
    found = []
    for batch in module.train_dataloader():
        found.append(plain(batch))
        for pid in module.train_dataloader()._pool.pids:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
                os.kill(pid, number)
    module.teardown()
    assert_same(found, reference[: len(found)])


def test_loader_keeps_no_windows_that_were_read(datasets):
    loader = make_module(*datasets, batch_size=8, win_len=4).train_dataloader()
    kept, num_windows = [], []
    tracemalloc.start()
    try:
        for _ in range(3):
            num_windows.append(sum(int((batch["episode"] >= 0).sum()) for batch in loader))
            gc.collect()
            kept.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert num_windows[0] >= 90
    # A window takes 10 kB, so an epoch's would be 1 MB.
    assert kept[2] - kept[1] < 100_000


def test_loader_process_opens_no_more_files_with_each_epoch(datasets):
    loader = make_module(*datasets, batch_size=8, num_workers=1).train_dataloader()
    handles = []
    for _ in range(3):
        for _ in loader:
            pass
        (pid,) = loader._pool.pids
        handles.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
    loader.close()
    assert handles[2] == handles[1] < 40


def test_loader_process_that_hangs_is_named_after_the_time_limit(datasets, capfd):
    loader = make_module(*datasets, num_workers=1).train_dataloader()
    iterator = iter(loader)
    next(iterator)
    loader._pool._timeout_seconds = 1.0
    (pid,) = loader._pool.pids
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(
        RocketError, match=rf"loader process {pid}: no answer for 1 seconds while reading .*episode ep"
    ):
        for _ in range(20):
            next(iterator)
    loader.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_loader_processes_end_when_the_loader_is_forgotten(datasets):
    loader = make_module(*datasets, num_workers=2).train_dataloader()
    next(iter(loader))
    pids = loader._pool.pids
    del loader
    gc.collect()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_loader_processes_end_when_the_trainer_is_killed(datasets):
    script = textwrap.dedent(
        f"""
        import os, sys, time
        from tests.trainer.batches import make_module
        loader = make_module({str(datasets[0])!r}, num_workers=2).train_dataloader()
        next(iter(loader))
        print(*loader._pool.pids, flush=True)
        time.sleep(60)
        """
    )
    # Not guarded by __main__: loader processes do not import the script again.
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        process.kill()
    assert len(pids) == 2
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the loader processes' end")


def test_loader_processes_do_without_torch():
    code = (
        "import sys, trainer.data.worker; print([name for name in ('torch', 'webdataset') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
