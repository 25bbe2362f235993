"""The recurrent part: transformer blocks with memory, each told the goal by FiLM."""

# B lanes, T frames in the window, M frames in memory, S = M + T keys, D width, E interaction types
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trainer.policy.attention import MemoryAttention, scaled_linear, visibility
from trainer.policy.memory import TENSORS_PER_LAYER, Memory

POINTWISE_RATIO = 4


class FanInLinear(nn.Module):
    """Linear layer after an optional LayerNorm; its bias is left to the norm where there is one."""

    def __init__(self, num_in: int, num_out: int, scale: float = 1.0, norm: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_in) if norm else None
        self.layer = scaled_linear(num_in, num_out, scale, bias=not norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x if self.norm is None else self.norm(x))
        return out


class Film(nn.Module):
    """Scales and shifts features by the interaction type, then normalises them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 2 * width)
        self.ff = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width, bias=False),
            nn.GELU(),
            nn.Linear(2 * width, width, bias=False),
        )
        self.norm = nn.LayerNorm(width)

    def table(self, embeddings_ED: Tensor) -> Tensor:
        """Gain and shift (E, 2D) of every interaction type: ten rows instead of every frame."""
        table_E2D: Tensor = self.fc(self.ff(embeddings_ED) + embeddings_ED)
        return table_E2D

    def forward(self, x_BTD: Tensor, film_BT2D: Tensor) -> Tensor:
        gain_BTD, shift_BTD = film_BT2D.chunk(2, dim=-1)
        out_BTD: Tensor = self.norm(x_BTD * (1 + gain_BTD) + shift_BTD)
        return out_BTD


class RecurrentBlock(nn.Module):
    """Norm, FiLM, attention over the lane's past, pointwise layers."""

    def __init__(self, width: int, num_heads: int, mem_len: int, init_scale: float) -> None:
        super().__init__()
        scale = init_scale * 2**-0.5  # two residual branches a block
        self.mlp0 = FanInLinear(width, POINTWISE_RATIO * width, norm=True)
        self.mlp1 = FanInLinear(POINTWISE_RATIO * width, width, scale=scale)
        self.pre_r_ln = nn.LayerNorm(width)
        self.r = nn.ModuleDict({"orc_block": MemoryAttention(width, num_heads, mem_len, scale)})
        self.injection = Film(width)

    def forward(
        self,
        x_BTD: Tensor,
        embeddings_ED: Tensor,
        type_BT: Tensor,
        mask_BTS: Tensor,
        keys_BMD: Tensor,
        values_BMD: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x_BTD = self.pre_r_ln(x_BTD)
        film_BT2D = functional.embedding(type_BT, self.injection.table(embeddings_ED).to(x_BTD.dtype))
        x_BTD = self.injection(x_BTD, film_BT2D)
        x_BTD, keys_BMD, values_BMD = self.r["orc_block"](x_BTD, keys_BMD, values_BMD, mask_BTS)
        x_BTD = x_BTD + self.mlp1(functional.relu(self.mlp0(x_BTD)))
        return x_BTD, keys_BMD, values_BMD


class Recurrent(nn.Module):
    """The blocks in order; what they remember is passed in and out, never kept here."""

    def __init__(self, width: int, num_heads: int, num_layers: int, mem_len: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            RecurrentBlock(width, num_heads, mem_len, init_scale=num_layers**-0.5) for _ in range(num_layers)
        )
        self.checkpointing = False

    def forward(
        self,
        x_BTD: Tensor,
        embeddings_ED: Tensor,
        type_BT: Tensor,
        first_BT: Tensor,
        valid_BT: Tensor,
        memory: Memory,
    ) -> tuple[Tensor, Memory]:
        """Features after all blocks, and the memory after this window."""
        # Every layer's flags are the same, by construction; the first layer's stand for all.
        mask_BTS, seen_BM = visibility(first_BT, valid_BT, memory[0][:, 0], x_BTD.dtype)
        after: Memory = []
        for index, block in enumerate(self.blocks):
            _, keys_BMD, values_BMD = memory[TENSORS_PER_LAYER * index : TENSORS_PER_LAYER * (index + 1)]
            arguments = (x_BTD, embeddings_ED, type_BT, mask_BTS, keys_BMD, values_BMD)
            if self.checkpointing and torch.is_grad_enabled():
                x_BTD, keys_BMD, values_BMD = checkpoint(block, *arguments, use_reentrant=False)
            else:
                x_BTD, keys_BMD, values_BMD = block(*arguments)
            after += [seen_BM[:, None], keys_BMD, values_BMD]
        return x_BTD, after
