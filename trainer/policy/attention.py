"""Attention over a lane's past: the window's frames and the memory before them.

A frame sees itself and at most `mem_len - 1` frames before it, all of its own episode ("clipped causal").
Scores are scaled by one over the head's width (muP) and get a bias that depends on the query and the age of
the key. Source: openai/Video-Pre-Training, lib/xf.py and lib/masked_attention.py, as MineStudio uses them.
"""

# B lanes, T frames in the window, M frames in memory, S = M + T keys, D width, H heads
import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

MASKED = -1e9
"""Added to scores that don't count; finite, so that no kernel meets a row of infinities."""
NUM_BASIS = 10
"""Functions of age that a query mixes into its bias."""


def visibility(
    first_BT: Tensor, valid_BT: Tensor, seen_BM: Tensor, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """The additive mask (B, T, S) of a window and the memory's flags after it.

    Args:
        first_BT: true where an episode starts; nothing before it in the lane is visible from there on.
        valid_BT: false for padding, which no other frame sees, in this window or later.
        seen_BM: which frames in memory count.

    Returns:
        0 where a frame sees a key, `MASKED` elsewhere; and flags (B, M) of the M newest frames.
    """
    length, mem_len = first_BT.shape[1], seen_BM.shape[1]
    episode_BT = first_BT.long().cumsum(1)
    device = first_BT.device
    #            memory    window            age of a key: its distance from the query
    #   key      0 .. M-1  M .. M+T-1        0 = the frame itself
    #   query              M .. M+T-1        M and more = out of reach
    queries_T1 = torch.arange(mem_len, mem_len + length, device=device)[:, None]
    age_TS = queries_T1 - torch.arange(mem_len + length, device=device)
    in_memory_BTM = seen_BM[:, None] & (episode_BT == 0)[:, :, None]
    in_window_BTT = (episode_BT[:, :, None] == episode_BT[:, None]) & valid_BT[:, None]
    visible_BTS = torch.cat([in_memory_BTM, in_window_BTT], dim=2) & (age_TS >= 0) & (age_TS < mem_len)
    visible_BTS = visible_BTS | (age_TS == 0)  # a padded frame sees itself, else its row would be empty
    mask_BTS = torch.zeros(visible_BTS.shape, dtype=dtype, device=device).masked_fill_(~visible_BTS, MASKED)

    last_B1 = episode_BT[:, -1:]
    kept_BS = torch.cat([seen_BM & (last_B1 == 0), valid_BT & (episode_BT == last_B1)], dim=1)
    return mask_BTS, kept_BS[:, length:]


def by_age_to_by_key(scores_BHTM: Tensor) -> Tensor:
    """Scores by age, oldest first (B, H, T, M), laid out by key (B, H, T, S), 0 where there is no score.

    Row t holds the ages M-1 .. 0 and they belong to the keys t+1 .. t+M: each row one place further right.
    Rows one element too long, read as rows of the right length, are shifted just so:

        0 a b . .          0 a b .
        0 c d . .   ->     . 0 c d        (M = 2, T = 2)
    """
    *_, length, mem_len = scores_BHTM.shape
    padded = functional.pad(scores_BHTM, (1, length)).flatten(-2)
    num_keys = mem_len + length
    return padded[..., : length * num_keys].view(*padded.shape[:-1], length, num_keys)


class MemoryAttention(nn.Module):
    """Multi-head attention of a window's frames to themselves and to the memory, with the residual added."""

    def __init__(self, width: int, num_heads: int, mem_len: int, init_scale: float) -> None:
        super().__init__()
        scale = math.sqrt(init_scale)
        self.num_heads, self.mem_len = num_heads, mem_len
        self.q_layer = scaled_linear(width, width, 0.1)
        self.k_layer = scaled_linear(width, width, 0.2, bias=False)
        self.v_layer = scaled_linear(width, width, scale, bias=False)
        self.proj_layer = scaled_linear(width, width, scale)
        self.r_layer = scaled_linear(width, NUM_BASIS * num_heads, 0.1)
        self.b_nd = nn.Parameter(torch.randn(NUM_BASIS, mem_len) * 0.2)

    def forward(
        self, x_BTD: Tensor, keys_BMD: Tensor, values_BMD: Tensor, mask_BTS: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features plus what they attend to; keys and values of the M newest frames, without gradient."""
        query_BTD, key_BTD, value_BTD = self.q_layer(x_BTD), self.k_layer(x_BTD), self.v_layer(x_BTD)
        key_BSD = torch.cat([keys_BMD.to(key_BTD.dtype), key_BTD], dim=1)
        value_BSD = torch.cat([values_BMD.to(value_BTD.dtype), value_BTD], dim=1)
        bias_BHTS = self.relative_bias(x_BTD) + mask_BTS[:, None]
        mixed_BHTd = functional.scaled_dot_product_attention(
            self.split_heads(query_BTD),
            self.split_heads(key_BSD),
            self.split_heads(value_BSD),
            attn_mask=bias_BHTS.to(query_BTD.dtype),
            scale=self.num_heads / query_BTD.shape[-1],
        )
        mixed_BTD = rearrange(mixed_BHTd, "B H T d -> B T (H d)")
        new_keys = self.newest(key_BTD, keys_BMD)
        new_values = self.newest(value_BTD, values_BMD)
        out_BTD: Tensor = x_BTD + self.proj_layer(mixed_BTD)
        return out_BTD, new_keys, new_values

    def relative_bias(self, x_BTD: Tensor) -> Tensor:
        """What each frame adds to its score of each key, by the key's age (B, H, T, S)."""
        mixture_BHTn = self.split_heads(self.r_layer(x_BTD))
        return by_age_to_by_key(mixture_BHTn @ self.b_nd.flip(1))

    def split_heads(self, x_BTD: Tensor) -> Tensor:
        return rearrange(x_BTD, "B T (H d) -> B H T d", H=self.num_heads)

    def newest(self, window_BTD: Tensor, memory_BMD: Tensor) -> Tensor:
        """The last M of memory and window, in the memory's dtype."""
        window_BTD = window_BTD.detach().to(memory_BMD.dtype)
        length = window_BTD.shape[1]
        if length >= self.mem_len:
            return window_BTD[:, length - self.mem_len :]
        return torch.cat([memory_BMD[:, length:], window_BTD], dim=1)


def scaled_linear(num_in: int, num_out: int, scale: float, bias: bool = True) -> nn.Linear:
    """A linear layer whose weight rows have the norm `scale`, its bias zero."""
    layer = nn.Linear(num_in, num_out, bias=bias)
    with torch.no_grad():
        layer.weight *= scale / layer.weight.norm(dim=1, keepdim=True)
        if bias:
            layer.bias.zero_()
    return layer
