"""What the policy says: button and camera log-probabilities, and a value.

Source: MineStudio's vpt_lib action_head.py and scaled_mse_head.py, whose parameter names stay.
"""

# B lanes, T frames, A actions of a head
import torch
from torch import Tensor, nn
from torch.nn import functional

from shards.action_space import ACTION_SPACE


class CategoricalHead(nn.Module):
    """One categorical choice; its logits are log-probabilities (B, T, 1, A) in float32."""

    def __init__(self, width: int, num_actions: int, nucleus_prob: float | None) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(width, num_actions)
        self.nucleus_prob = nucleus_prob

    def forward(self, features_BTD: Tensor) -> Tensor:
        scores_BTA = self.linear_layer(features_BTD)
        return functional.log_softmax(scores_BTA.float(), dim=-1).unsqueeze(-2)

    def sample(self, logits_BT1A: Tensor, deterministic: bool = False) -> Tensor:
        """Actions (B, T, 1): the likeliest, or drawn from the nucleus.

        The nucleus is the smallest set of likeliest actions that reaches `nucleus_prob`.
        """
        if deterministic:
            return logits_BT1A.argmax(-1)
        probabilities, actions = logits_BT1A.exp().sort(dim=-1, descending=True)
        if self.nucleus_prob is not None:
            before = probabilities.cumsum(-1)[..., :-1]  # mass of the likelier actions
            probabilities[..., 1:].masked_fill_(before >= self.nucleus_prob, 0.0)
        drawn = torch.multinomial(probabilities.flatten(0, -2), 1)
        return actions.gather(-1, drawn.view(*actions.shape[:-1], 1)).squeeze(-1)


class PolicyHead(nn.ModuleDict):
    """The two choices, by name: `buttons` and `camera`."""

    def __init__(self, width: int, nucleus_prob: float | None = 0.85) -> None:
        sizes = {"buttons": ACTION_SPACE.num_button_actions, "camera": ACTION_SPACE.num_camera_actions}
        heads = {name: CategoricalHead(width, size, nucleus_prob) for name, size in sizes.items()}
        super().__init__(heads)

    def forward(self, features_BTD: Tensor) -> dict[str, Tensor]:
        return {name: head(features_BTD) for name, head in self.items()}

    def sample(self, logits: dict[str, Tensor], deterministic: bool = False) -> dict[str, Tensor]:
        """An action (B, T, 1) a head."""
        return {name: head.sample(logits[name], deterministic) for name, head in self.items()}  # type: ignore[operator]


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
