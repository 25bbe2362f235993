"""What a validation measures: sums over frames that ranks can add up, and the table they become.

Everything is a sum over frames, so the result does not depend on how lanes are spread over ranks and steps.
"""

# B lanes, T frames in the window, K buttons, A actions of a head
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shards.action_space import ACTION_SPACE
from shards.interaction_types import INTERACTION_TYPES, interaction_type
from trainer.data import actions
from trainer.data.layout import Batch, PolicyAction
from trainer.learning.objectives import FrameLosses, camera_mask, cloning_losses

NUM_TYPES = max(kind.id for kind in INTERACTION_TYPES) + 2
"""Rows of the loss by interaction type: type id + 1."""
NUM_POSITIONS = 8
"""Stretches of the window that the loss by position tells apart."""
SMOOTHINGS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Counts added to every action when guessing by frequency; the best one is taken, in the guess's favour."""


def no_counts() -> dict[str, Tensor]:
    """Counts (A,) a head of how often each action occurs, all zero: what the best constant guess is made of."""
    sizes = {"buttons": ACTION_SPACE.num_button_actions, "camera": ACTION_SPACE.num_camera_actions}
    return {head: torch.zeros(size, dtype=torch.int64) for head, size in sizes.items()}


def count_actions(counts: Mapping[str, Tensor], action: PolicyAction, valid_BT: Tensor) -> None:
    """The actions of the frames that count are added to the counts; those of the camera where it moves."""
    moving_BT = camera_mask(action, valid_BT)
    counts["buttons"].index_add_(0, action["buttons"].flatten(), valid_BT.flatten().to(counts["buttons"].dtype))
    counts["camera"].index_add_(0, action["camera"].flatten(), moving_BT.flatten().to(counts["camera"].dtype))


def constant_guess_loss(seen: Mapping[str, Tensor], counted: Mapping[str, Tensor]) -> float:
    """Loss a frame of always guessing by frequency: buttons, and the camera where it moves.

    Args:
        seen: counts (A,) a head of the training frames, which make the guess.
        counted: counts (A,) a head of the frames that are guessed.

    Returns:
        Nats a frame, with the smoothing that suits the guess best; NaN without frames.
    """
    num_frames = float(counted["buttons"].sum())
    if num_frames == 0 or float(seen["buttons"].sum()) == 0:
        return float("nan")
    total = 0.0
    for head in ("buttons", "camera"):
        train, val = (counts[head].detach().cpu().double() for counts in (seen, counted))
        losses = []
        for added in SMOOTHINGS:
            log_prob = torch.log((train + added) / (train.sum() + added * len(train)))
            losses.append(float(-(val * log_prob).sum()))
        total += min(losses)
    return total / num_frames


class ValidationTable:
    """Sums over the frames of a validation.

    Use: `add` for every batch, `reduce` once with a function that adds over ranks, then `summary`.
    """

    def __init__(self, timesteps: int, device: torch.device) -> None:
        self.timesteps = timesteps
        self._buttons_of_action = _buttons_of_action(device)
        self._degrees_of_action = _degrees_of_action(device)
        num_buttons = len(ACTION_SPACE.policy_buttons)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        self.sums: dict[str, Tensor] = {
            "frames": zeros(1),
            "loss": zeros(2),  # buttons, camera
            "hits": zeros(2),  # buttons, camera: the likeliest action is the human's
            "moving_frames": zeros(1),
            "camera_error": zeros(2),  # degrees, pitch and yaw
            "pressed": zeros(3, num_buttons),  # by both, by the policy alone, by the human alone
            "by_type": zeros(2, NUM_TYPES),  # loss, frames
            "by_position": zeros(2, timesteps),
            "memory": zeros(3),  # loss with memory, without, frames; windows that have a past
            "watched": zeros(3),  # the same for watched frames, all windows
            "counts_buttons": zeros(ACTION_SPACE.num_button_actions),
            "counts_camera": zeros(ACTION_SPACE.num_camera_actions),
        }

    @torch.no_grad()
    def add(
        self,
        pi_logits: Mapping[str, Tensor],
        batch: Batch,
        pi_logits_without_memory: Mapping[str, Tensor] | None = None,
    ) -> FrameLosses:
        """Count a batch; returns its frames' losses.

        Args:
            pi_logits: log-probabilities (B, T, 1, A) a head, with carried memory.
            batch: `action`, `valid`, `first`, and where there are `env_action`, `segment`, `watch` (B, T) bool.
            pi_logits_without_memory: the same windows seen without a past.
        """
        action, valid_BT = batch["action"], batch["valid"]
        losses = cloning_losses(pi_logits, action, valid_BT)
        loss_BT = losses.total.double()
        moving_BT = camera_mask(action, valid_BT)
        sums = self.sums
        sums["frames"] += valid_BT.sum()
        sums["moving_frames"] += moving_BT.sum()
        sums["loss"] += torch.stack([losses.buttons.double().sum(), losses.camera.double().sum()])
        sums["by_position"] += torch.stack([loss_BT.sum(0), valid_BT.double().sum(0)])
        if "segment" in batch:
            row = (batch["segment"]["obj_id"] + 1).clamp(0, NUM_TYPES - 1).flatten()
            sums["by_type"][0].index_add_(0, row, loss_BT.flatten())
            sums["by_type"][1].index_add_(0, row, valid_BT.double().flatten())
        count_actions(self._counts(), action, valid_BT)
        self._add_guesses(pi_logits, batch, valid_BT, moving_BT)

        without_BT = None
        if pi_logits_without_memory is not None:
            without_BT = cloning_losses(pi_logits_without_memory, action, valid_BT).total.double()
            has_past_B = ~batch["first"][:, 0]
            self._add_pair("memory", loss_BT, without_BT, valid_BT & has_past_B[:, None])
        if "watch" in batch:
            self._add_pair("watched", loss_BT, without_BT, valid_BT & batch["watch"])
        return losses

    def reduce(self, add_over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Let every rank hold the sums of all; `add_over_ranks` maps a tensor to its sum over ranks."""
        flat = add_over_ranks(torch.cat([tensor.flatten() for tensor in self.sums.values()]))
        parts = torch.split(flat, [tensor.numel() for tensor in self.sums.values()])
        self.sums = {
            name: part.view_as(tensor) for (name, tensor), part in zip(self.sums.items(), parts, strict=True)
        }

    def summary(self, seen: Mapping[str, Tensor] | None = None) -> dict[str, float]:
        """The figures by name, without what no frame speaks for.

        `seen`, counts of the training frames' actions, makes the best constant guess.
        """
        sums = {name: tensor.cpu().numpy() for name, tensor in self.sums.items()}
        frames, moving = float(sums["frames"][0]), float(sums["moving_frames"][0])
        if frames == 0:
            return {}
        buttons, camera = sums["loss"] / frames
        result = {"loss": buttons + camera, "loss_buttons": buttons, "loss_camera": camera}
        if seen is not None:
            result["loss_constant_guess"] = constant_guess_loss(seen, self._counts())
        result |= _pair(sums["memory"], "loss_with_memory", "loss_without_memory")
        result |= _pair(sums["watched"], "loss_watched", "loss_watched_without_memory")
        result["action_accuracy"] = sums["hits"][0] / frames
        result |= _by_button(sums["pressed"], frames)
        if moving:
            result["camera_accuracy"] = sums["hits"][1] / moving
        error = sums["camera_error"] / frames
        result |= {
            "camera_error_degrees": error.mean(),
            "pitch_error_degrees": error[0],
            "yaw_error_degrees": error[1],
        }
        for row in range(NUM_TYPES):
            if sums["by_type"][1, row]:
                name = interaction_type(row - 1).name
                result[f"loss_by_type/{name}"] = sums["by_type"][0, row] / sums["by_type"][1, row]
        result |= self._by_position(sums["by_position"])
        result["num_frames"] = frames
        return {name: float(value) for name, value in result.items() if not np.isnan(value)}

    def _counts(self) -> dict[str, Tensor]:
        return {head: self.sums[f"counts_{head}"] for head in ("buttons", "camera")}

    def _add_guesses(
        self, pi_logits: Mapping[str, Tensor], batch: Batch, valid_BT: Tensor, moving_BT: Tensor
    ) -> None:
        """Compare the likeliest actions with the human's."""
        action, sums = batch["action"], self.sums
        guess_buttons, guess_camera = (pi_logits[head].squeeze(-2).argmax(-1) for head in ("buttons", "camera"))
        sums["hits"] += torch.stack(
            [
                ((guess_buttons == action["buttons"]) & valid_BT).sum(),
                ((guess_camera == action["camera"]) & moving_BT).sum(),
            ]
        )
        guessed_NK = self._buttons_of_action[guess_buttons[valid_BT]]
        human_NK = self._buttons_of_action[action["buttons"][valid_BT]]
        sums["pressed"] += torch.stack(
            [
                (guessed_NK & human_NK).sum(0),
                (guessed_NK & ~human_NK).sum(0),
                (~guessed_NK & human_NK).sum(0),
            ]
        )
        # The camera rests unless the button action says that it moves, as when the policy plays.
        moves_BT = (guess_buttons % 2 == 1) & (guess_buttons != ACTION_SPACE.exclusive_action)
        guess_BT2 = self._degrees_of_action[torch.where(moves_BT, guess_camera, ACTION_SPACE.null_camera_action)]
        error_BT2 = (guess_BT2 - batch["env_action"]["camera"].double()).abs()
        sums["camera_error"] += torch.where(valid_BT[..., None], error_BT2, 0.0).sum((0, 1))

    def _add_pair(self, name: str, loss_BT: Tensor, without_BT: Tensor | None, mask_BT: Tensor) -> None:
        without = torch.full_like(loss_BT, torch.nan) if without_BT is None else without_BT
        zero = torch.zeros((), dtype=loss_BT.dtype, device=loss_BT.device)
        self.sums[name] += torch.stack(
            [
                torch.where(mask_BT, loss_BT, zero).sum(),
                torch.where(mask_BT, without, zero).sum(),
                mask_BT.double().sum(),
            ]
        )

    def _by_position(self, sums: NDArray[np.float64]) -> dict[str, float]:
        """Loss by stretch of the window; its first frames lean on memory."""
        bounds = np.linspace(0, self.timesteps, min(NUM_POSITIONS, self.timesteps) + 1).round().astype(int)
        width = len(str(self.timesteps - 1))
        result = {}
        for start, stop in pairwise(bounds.tolist()):
            frames = sums[1, start:stop].sum()
            if frames:
                result[f"loss_by_position/{start:0{width}d}-{stop - 1:0{width}d}"] = (
                    sums[0, start:stop].sum() / frames
                )
        return result


def _pair(sums: NDArray[np.float64], with_name: str, without_name: str) -> dict[str, float]:
    if not sums[2]:
        return {}
    return {with_name: sums[0] / sums[2], without_name: sums[1] / sums[2]}


def _by_button(pressed: NDArray[np.float64], frames: float) -> dict[str, float]:
    """Accuracy, F1 and the human's frames of each button that somebody pressed; F1's mean over the human's."""
    both, policy_alone, human_alone = pressed
    accuracy, f1, pressed_frames, of_human = {}, {}, {}, []
    for index, name in enumerate(ACTION_SPACE.policy_buttons):
        wrong = policy_alone[index] + human_alone[index]
        if not both[index] + wrong:
            continue
        accuracy[f"button_accuracy/{name}"] = 1.0 - wrong / frames
        f1[f"button_f1/{name}"] = 2 * both[index] / (2 * both[index] + wrong)
        pressed_frames[f"button_frames/{name}"] = both[index] + human_alone[index]
        if pressed_frames[f"button_frames/{name}"]:
            of_human.append(f1[f"button_f1/{name}"])
    mean = {"button_f1": float(np.mean(of_human))} if of_human else {}
    return mean | accuracy | f1 | pressed_frames


def _buttons_of_action(device: torch.device) -> Tensor:
    """Pressed policy buttons (8641, 20) bool of every button action."""
    every = np.arange(ACTION_SPACE.num_button_actions)
    buttons, _ = actions.to_env(every, np.full_like(every, ACTION_SPACE.null_camera_action))
    return torch.from_numpy(buttons[:, : len(ACTION_SPACE.policy_buttons)] != 0).to(device)


def _degrees_of_action(device: torch.device) -> Tensor:
    """Degrees (121, 2) of every camera action."""
    bins = np.stack(np.divmod(np.arange(ACTION_SPACE.num_camera_actions), ACTION_SPACE.num_camera_bins), axis=-1)
    return torch.from_numpy(actions.camera_degrees(bins)).to(device)
