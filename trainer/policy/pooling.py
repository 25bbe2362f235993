"""One vector a frame: a small transformer over the backbone's tokens, then their mean."""

# N frames, L tokens a frame, D width, H heads
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

NUM_LAYERS = 2
DROPOUT = 0.1


class PoolingLayer(nn.TransformerEncoderLayer):
    """Torch's post-norm encoder layer with its parameters and initial values, its attention without copies."""

    def forward(self, tokens_NLD: Tensor, *_: object, **__: object) -> Tensor:  # type: ignore[override]
        tokens_NLD = self.norm1(tokens_NLD + self.dropout1(self._attend(tokens_NLD)))
        hidden = self.dropout(functional.relu(self.linear1(tokens_NLD)))
        out_NLD: Tensor = self.norm2(tokens_NLD + self.dropout2(self.linear2(hidden)))
        return out_NLD

    def _attend(self, tokens_NLD: Tensor) -> Tensor:
        attention = self.self_attn
        projected = functional.linear(tokens_NLD, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = rearrange(
            projected, "N L (three H d) -> three N H L d", three=3, H=attention.num_heads
        )
        mixed = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=attention.dropout if self.training else 0.0
        )
        out_NLD: Tensor = attention.out_proj(rearrange(mixed, "N H L d -> N L (H d)"))
        return out_NLD


class Pooling(nn.Module):
    """Mean over the tokens that the encoder layers return."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            PoolingLayer(width, num_heads, dim_feedforward=2 * width, dropout=DROPOUT, batch_first=True)
            for _ in range(NUM_LAYERS)
        )
        # nn.TransformerEncoder starts all its layers from copies of one.
        for layer in self.layers[1:]:
            layer.load_state_dict(self.layers[0].state_dict())
        self.checkpointing = False

    def forward(self, tokens_NLD: Tensor) -> Tensor:
        """Vectors (N, D) of tokens (N, L, D)."""
        for layer in self.layers:
            if self.checkpointing and torch.is_grad_enabled():
                tokens_NLD = checkpoint(layer, tokens_NLD, use_reentrant=False)
            else:
                tokens_NLD = layer(tokens_NLD)
        return tokens_NLD.mean(dim=1)
