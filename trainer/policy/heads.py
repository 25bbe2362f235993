"""What the policy says: button and camera log-probabilities, and a value.

Source: MineStudio's vpt_lib action_head.py and scaled_mse_head.py, whose parameter names stay.
"""

# B lanes, T frames, A actions of a head
import torch
from torch import Tensor, nn
from torch.nn import functional

from shards.action_space import ACTION_SPACE


def drop_action_axis(action: Tensor, logits_BT1A: Tensor) -> Tensor:
    """Actions (B, T), whether they came as (B, T) or with MineStudio's last axis of one."""
    return action.squeeze(-1) if action.ndim == logits_BT1A.ndim - 1 else action


class CategoricalHead(nn.Module):
    """One categorical choice; its logits are log-probabilities (B, T, 1, A) in float32."""

    def __init__(self, width: int, num_actions: int, temperature: float, nucleus_prob: float | None) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(width, num_actions)
        self.temperature, self.nucleus_prob = temperature, nucleus_prob

    def forward(self, features_BTD: Tensor) -> Tensor:
        scores_BTA = self.linear_layer(features_BTD)
        if self.temperature != 1.0:
            scores_BTA = scores_BTA / self.temperature
        return functional.log_softmax(scores_BTA.float(), dim=-1).unsqueeze(-2)

    def logprob(self, action: Tensor, logits_BT1A: Tensor) -> Tensor:
        """Log-probability (B, T) of the actions."""
        index_BT1 = drop_action_axis(action, logits_BT1A).long().unsqueeze(-1)
        return logits_BT1A.squeeze(-2).gather(-1, index_BT1).squeeze(-1)

    def entropy(self, logits_BT1A: Tensor) -> Tensor:
        """Entropy in nats (B, T)."""
        return -(logits_BT1A.exp() * logits_BT1A).sum(-1).squeeze(-1)

    def sample(
        self, logits_BT1A: Tensor, deterministic: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        """Actions (B, T, 1): the likeliest, or drawn from the nucleus.

        The nucleus is the smallest set of likeliest actions that reaches `nucleus_prob`.
        """
        if deterministic:
            return logits_BT1A.argmax(-1)
        probabilities, actions = logits_BT1A.exp().sort(dim=-1, descending=True)
        if self.nucleus_prob is not None:
            before = probabilities.cumsum(-1)[..., :-1]  # mass of the likelier actions
            probabilities[..., 1:].masked_fill_(before >= self.nucleus_prob, 0.0)
        drawn = torch.multinomial(probabilities.flatten(0, -2), 1, generator=generator)
        return actions.gather(-1, drawn.view(*actions.shape[:-1], 1)).squeeze(-1)


class PolicyHead(nn.ModuleDict):
    """The two choices, by name: `buttons` and `camera`."""

    def __init__(self, width: int, temperature: float = 1.0, nucleus_prob: float | None = 0.85) -> None:
        sizes = {"buttons": ACTION_SPACE.num_button_actions, "camera": ACTION_SPACE.num_camera_actions}
        heads = {name: CategoricalHead(width, size, temperature, nucleus_prob) for name, size in sizes.items()}
        super().__init__(heads)

    def forward(self, features_BTD: Tensor) -> dict[str, Tensor]:
        return {name: head(features_BTD) for name, head in self.items()}

    def logprob(
        self, actions: dict[str, Tensor], logits: dict[str, Tensor], return_dict: bool = False
    ) -> dict[str, Tensor] | Tensor:
        """Log-probabilities (B, T) by head, or their sum."""
        parts = {name: head.logprob(actions[name], logits[name]) for name, head in self._heads()}
        return self._reduce(parts, return_dict)

    def entropy(self, logits: dict[str, Tensor], return_dict: bool = False) -> dict[str, Tensor] | Tensor:
        """Entropies (B, T) by head, or their sum."""
        return self._reduce({name: head.entropy(logits[name]) for name, head in self._heads()}, return_dict)

    def sample(
        self, logits: dict[str, Tensor], deterministic: bool = False, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """An action (B, T, 1) a head."""
        return {name: head.sample(logits[name], deterministic, generator) for name, head in self._heads()}

    def _heads(self) -> list[tuple[str, CategoricalHead]]:
        return list(self.items())  # type: ignore[arg-type]

    @staticmethod
    def _reduce(parts: dict[str, Tensor], return_dict: bool) -> dict[str, Tensor] | Tensor:
        return parts if return_dict else torch.stack(list(parts.values())).sum(0)


class ValueNormalizer(nn.Module):
    """Running moments of value targets; kept for MineStudio's checkpoints, unused by behaviour cloning."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.running_mean = nn.Parameter(torch.zeros(size), requires_grad=False)
        self.running_mean_sq = nn.Parameter(torch.zeros(size), requires_grad=False)
        self.debiasing_term = nn.Parameter(torch.tensor(0.0), requires_grad=False)


class ValueHead(nn.Module):
    """A value (B, T, 1), in the normalised scale of its targets."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        self.normalizer = ValueNormalizer(1)

    def forward(self, features_BTD: Tensor) -> Tensor:
        value_BT1: Tensor = self.linear(features_BTD)
        return value_BT1
