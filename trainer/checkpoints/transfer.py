"""Weights from and to MineStudio, as files."""

import shlex
from pathlib import Path

import torch

from trainer.checkpoints.checkpoint import checkpoint_in, policy_state, read_checkpoint, write_weights
from trainer.config import parse_config
from trainer.policy import RocketPolicy
from trainer.settings import RunConfig
from trainer.weights import export_weights, load_weights, read_weights


def import_policy(source: str, out: Path, config: RunConfig) -> list[str]:
    """`out` holds the source's weights as a checkpoint with settings; what to say about it.

    The settings are for everything that the source does not say; its architecture wins where it says.

    Raises:
        RocketError: unreadable weights, or weights of another architecture.
    """
    weights = read_weights(source)
    content = config.model_dump()
    content["policy"] |= {"pretrained": False, **weights.settings}
    content["data"]["win_len"] = content["policy"]["timesteps"] or content["data"]["win_len"]
    config = parse_config(content, source)
    with torch.device("meta"):
        policy = RocketPolicy(**config.policy_arguments(), pretrained=False)
    policy.to_empty(device="cpu")
    load_weights(policy, weights)
    write_weights(out, policy.state_dict(), config)
    architecture = " ".join(f"policy.{name}={value}" for name, value in config.policy_arguments().items())
    return [
        f"written: {out}",
        f"next: rocket-train CONFIG {shlex.quote(f'policy.init_from={out}')} {architecture}",
    ]


def export_policy(checkpoint: Path, out: Path, averaged: bool = False) -> list[str]:
    """`out` holds the checkpoint's policy for MineStudio; what to say about it.

    Raises:
        RocketError: no such checkpoint, or no average in it.
    """
    checkpoint = checkpoint_in(checkpoint)
    content = read_checkpoint(checkpoint)
    state = policy_state(checkpoint, content, averaged)
    path = export_weights(state, out, content.get("hyper_parameters", {}).get("model"))
    return [
        f"written: {path}",
        f"next, in MineStudio: RocketPolicy.from_pretrained({str(out)!r})"
        if path != out
        else "next, in MineStudio: policy.load_state_dict(safetensors.torch.load_file(...), strict=True)",
    ]
