"""What training minimises: a list of objectives, each with its weight, added up.

Objectives see log-probabilities and actions, never ranks or loaders. Sums become losses through a `Scale`, which
knows how many frames count in the global batch, so that the loss is the same however lanes are spread over ranks.
"""

# B lanes of this rank, T frames in the window, A actions of a head
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from shards.action_space import ACTION_SPACE
from shards.errors import SettingsError
from trainer.data.layout import Batch, PolicyAction
from trainer.settings import ObjectiveConfig


@dataclass(frozen=True)
class Scale:
    """How a rank's sums become losses whose mean over ranks is the loss of the global batch."""

    num_frames: Tensor
    """Frames that count, scalar float: the mean over ranks, so that mean-of-losses is the mean over all frames."""
    num_lanes: int
    """Lanes of this rank."""

    def apply(self, loss_BT: Tensor, reduction: str) -> Tensor:
        """The scalar loss of one loss a frame (zero where it does not count)."""
        if reduction == "sum":
            return loss_BT.sum() / self.num_lanes
        return loss_BT.sum() / self.num_frames.clamp(min=1e-6)


@dataclass(frozen=True)
class FrameLosses:
    """Behaviour cloning's loss of each frame in nats, (B, T) each, zero where it does not count."""

    buttons: Tensor
    camera: Tensor

    @property
    def total(self) -> Tensor:
        return self.buttons + self.camera


@dataclass(frozen=True)
class ObjectiveLoss:
    """What one objective says about one step."""

    loss: Tensor
    """Scalar, without the objective's weight."""
    parts: Mapping[str, Tensor]
    """Detached scalars to log."""
    by_frame: Tensor
    """Detached loss (B, T) of each frame, to tell which lane is at fault."""


def action_log_prob(pi_logits: Mapping[str, Tensor], head: str, action: Tensor) -> Tensor:
    """Log-probability (B, T) that a head, `buttons` or `camera`, gives to the actions (B, T)."""
    logits_BTA = pi_logits[head].squeeze(-2)
    return logits_BTA.gather(-1, action.long().unsqueeze(-1)).squeeze(-1)


def counted(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The values where the mask is true, zero elsewhere, whatever stands there (padding may hold anything)."""
    return torch.where(mask_BT, values_BT, torch.zeros((), dtype=values_BT.dtype, device=values_BT.device))


def camera_mask(action: PolicyAction, valid_BT: Tensor) -> Tensor:
    """Frames (B, T) whose camera action counts: valid, and moving."""
    return valid_BT & (action["camera"] != ACTION_SPACE.null_camera_action)


def cloning_losses(pi_logits: Mapping[str, Tensor], action: PolicyAction, valid_BT: Tensor) -> FrameLosses:
    """Each frame's negative log-probability of what the human did.

    Source: MineStudio, minestudio/offline/mine_callbacks/behavior_clone.py.
    """
    return FrameLosses(
        buttons=counted(-action_log_prob(pi_logits, "buttons", action["buttons"]), valid_BT),
        camera=counted(-action_log_prob(pi_logits, "camera", action["camera"]), camera_mask(action, valid_BT)),
    )


def entropies(pi_logits: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Entropies (B, T) in nats of the buttons and of the camera."""
    buttons, camera = (pi_logits[head].squeeze(-2) for head in ("buttons", "camera"))
    return -(buttons.exp() * buttons).sum(-1), -(camera.exp() * camera).sum(-1)


@dataclass(frozen=True)
class Step:
    """What an objective looks at."""

    latents: Mapping[str, Any]
    """What the policy returned: `pi_logits` and `vpred`."""
    batch: Batch
    """The windows, with `action` and `valid`."""
    scale: Scale
    teacher_latents: Mapping[str, Any] | None = None
    """What the objective's teacher returned for the same windows, with its own memory."""


class Objective(ABC):
    """One term of the loss."""

    name: ClassVar[str]
    uses_value_head: ClassVar[bool] = False

    def __init__(
        self,
        config: ObjectiveConfig | None = None,
        load_policy: Callable[[str], nn.Module] | None = None,
        **settings: Any,
    ) -> None:
        """Prepare the objective, and its teacher where the settings name one.

        Args:
            config: its settings, `options` among them; or give them by name, such as `weight=0.5`.
            load_policy: gives the policy that a checkpoint or Hugging Face source holds, for the teacher.
        """
        self.config = config if config is not None else ObjectiveConfig(name=self.name, **settings)
        self.teacher: nn.Module | None = None
        if self.config.teacher is not None:
            assert load_policy is not None
            self.teacher = load_policy(self.config.teacher).eval().requires_grad_(requires_grad=False)

    @abstractmethod
    def loss(self, step: Step) -> ObjectiveLoss:
        """The loss of a window of each lane."""


class BehaviorCloning(Objective):
    """Do what the human did: minus the log-probability of the buttons, and of the camera where it moves."""

    name = "behavior_cloning"

    def loss(self, step: Step) -> ObjectiveLoss:
        logits, action, valid_BT = step.latents["pi_logits"], step.batch["action"], step.batch["valid"]
        losses = cloning_losses(logits, action, valid_BT)
        reduction = self.config.reduction
        buttons = step.scale.apply(losses.buttons, reduction)
        camera = step.scale.apply(losses.camera, reduction)
        with torch.no_grad():
            entropy_buttons_BT, entropy_camera_BT = entropies(logits)
            entropy_BT = counted(entropy_buttons_BT, valid_BT) + counted(
                entropy_camera_BT, camera_mask(action, valid_BT)
            )
            parts = {
                "loss_buttons": buttons.detach(),
                "loss_camera": camera.detach(),
                "entropy": step.scale.apply(entropy_BT, reduction),
            }
        return ObjectiveLoss(buttons + camera, parts, losses.total.detach())


class KlToTeacher(Objective):
    """Stay near a frozen policy: KL(teacher || policy), of the camera where the human moved it."""

    name = "kl_to_teacher"

    def loss(self, step: Step) -> ObjectiveLoss:
        assert step.teacher_latents is not None
        kl_BT = {}
        for head in ("buttons", "camera"):
            teacher, policy = (
                which["pi_logits"][head].squeeze(-2) for which in (step.teacher_latents, step.latents)
            )
            kl_BT[head] = (teacher.exp() * (teacher - policy)).sum(-1)
        valid_BT = step.batch["valid"]
        total_BT = counted(kl_BT["buttons"], valid_BT) + counted(
            kl_BT["camera"], camera_mask(step.batch["action"], valid_BT)
        )
        loss = step.scale.apply(total_BT, self.config.reduction)
        return ObjectiveLoss(loss, {"kl_to_teacher": loss.detach()}, total_BT.detach())


OBJECTIVES: dict[str, type[Objective]] = {
    objective.name: objective for objective in (BehaviorCloning, KlToTeacher)
}
ENTRY_POINTS = "rocket1.objectives"
"""Group of entry points by which an installed package offers objectives by name."""


def find_objective(name: str) -> type[Objective]:
    """The class of an objective: one of ours, of an installed package, or `package.module:Class`.

    Raises:
        SettingsError: there is none.
    """
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    offered = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    point = offered.get(name, EntryPoint(name, name, ENTRY_POINTS))
    try:
        found = point.load()
    except (ImportError, AttributeError, ValueError) as error:
        names = ", ".join([*OBJECTIVES, *offered])
        problem = f"objectives: no objective {name!r}, expected one of {names}, or package.module:Class ({error})."
        raise SettingsError([f"{problem} Check the name, and that its package is installed."]) from error
    if not (isinstance(found, type) and issubclass(found, Objective)):
        raise SettingsError([f"objectives: {name} is no subclass of trainer.learning.objectives.Objective."])
    return found


def build_objectives(configs: list[ObjectiveConfig], load_policy: Callable[[str], nn.Module]) -> list[Objective]:
    """The objectives of a run, in the order of its settings."""
    return [find_objective(config.name)(config, load_policy) for config in configs]
