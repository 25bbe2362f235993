"""What a policy's shape says, counted without computing anything and without fetching weights.

Counting takes seconds, most of them to load timm: too long for a dry run. The counts of the policies in configs/
come with the project, in policy_facts.json, which `python -m trainer.policy_facts` writes and a test holds to the
code. Those of other policies are kept in the user's cache folder, `$XDG_CACHE_HOME/rocket1` or `~/.cache/rocket1`.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainer.checkpoints.disk import write_atomically
from trainer.config import config_names, load_config
from trainer.plan import PolicyFacts
from trainer.settings import RunConfig

if TYPE_CHECKING:
    from trainer.policy import RocketPolicy


SHIPPED_FILE = Path(__file__).with_suffix(".json")


def policy_facts(config: RunConfig) -> PolicyFacts:
    """All facts of a run's policy: as counted before, else counted now.

    Raises:
        RocketError: no such backbone, or one that cannot be built.
    """
    key = policy_key(config)
    shipped = json.loads(SHIPPED_FILE.read_bytes())
    if key in shipped:
        return PolicyFacts(**shipped[key])
    with suppress(OSError, RuntimeError, ValueError, TypeError):  # none yet, no home, or a damaged one
        return PolicyFacts(**json.loads(_place(key).read_bytes()))
    facts = count_policy(config)
    with suppress(OSError, RuntimeError):
        write_atomically(_place(key), json.dumps(asdict(facts)).encode())
    return facts


def _place(key: str) -> Path:
    """Where the counts are kept; other code counts again."""
    code = hashlib.sha256()
    for source in [Path(__file__), *sorted((Path(__file__).parent / "policy").glob("*.py"))]:
        code.update(source.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "rocket1" / f"policy-{key}-{code.hexdigest()[:16]}.json"


def policy_key(config: RunConfig) -> str:
    """A hash of what the counts depend on beside the policy's code: settings and libraries."""
    counted = [
        config.policy_arguments(),
        [config.data.frame_height, config.data.frame_width],
        [config.trainer.activation_checkpointing, config.trainer.precision],
        [version(library).partition("+")[0] for library in ("torch", "torchvision", "timm")],  # without "+cpu"
    ]
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:16]


def count_weights(policy: RocketPolicy) -> PolicyFacts:
    """The facts of a policy without those of its forward pass, which take seconds."""
    num_parameters = sum(one.numel() for one in policy.parameters())
    return PolicyFacts(
        num_parameters=num_parameters,
        num_trained=num_parameters - sum(one.numel() for one in policy.value_head.parameters()),
        num_bytes=sum(tensor.numel() * tensor.element_size() for tensor in policy.state_dict().values()),
    )


def count_policy(config: RunConfig) -> PolicyFacts:
    """All facts of a run's policy, by a forward pass of tensors without content, which takes seconds.

    Layers that are checkpointed keep their inputs only; what one of them computes again comes on top.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    from trainer.policy import RocketPolicy  # loads timm

    with torch.device("meta"):
        policy = RocketPolicy(**config.policy_arguments(), pretrained=False).train()
    if config.trainer.activation_checkpointing:
        policy.enable_activation_checkpointing()
    kept: dict[int, tuple[torch.UntypedStorage, int]] = {}
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=config.trainer.precision == "bf16-mixed")
    with FakeTensorMode(allow_non_fake_inputs=True):
        tensors: dict[str, Tensor] = {
            name: torch.nn.Parameter(torch.empty(one.shape, dtype=one.dtype))
            for name, one in policy.named_parameters()
        }
        tensors |= {name: torch.empty(one.shape, dtype=one.dtype) for name, one in policy.named_buffers()}
        own = {one.untyped_storage()._cdata for one in tensors.values()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = (storage, storage.nbytes())  # the storage stays, so that its place does
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, mixed, FlopCounterMode(display=False) as flops:
            torch.func.functional_call(policy, tensors, (_window(config), None))
    return replace(
        count_weights(policy),
        flops_per_frame=flops.get_total_flops() / config.data.win_len,
        activation_bytes=sum(num_bytes for _, num_bytes in kept.values()),
    )


def _window(config: RunConfig) -> dict[str, Any]:
    """One lane's window, as the policy gets it."""
    frames, height, width = config.data.win_len, config.data.frame_height, config.data.frame_width
    return {
        "yuv": torch.empty(1, frames, height * 3 // 2, width, dtype=torch.uint8),
        "segment": {
            "obj_mask_bits": torch.empty(1, frames, -(-height * width // 8), dtype=torch.uint8),
            "obj_id": torch.zeros(1, frames, dtype=torch.long),
        },
        "first": torch.zeros(1, frames, dtype=torch.bool),
        "valid": torch.ones(1, frames, dtype=torch.bool),
        "has_padding": False,
    }


def count_shipped() -> dict[str, dict[str, Any]]:
    """The facts of each policy in configs/, by key."""
    configs = {policy_key(config): config for config in map(load_config, config_names())}
    return {key: asdict(count_policy(config)) for key, config in configs.items()}


if __name__ == "__main__":
    SHIPPED_FILE.write_text(json.dumps(count_shipped(), indent=2) + "\n", encoding="utf-8")
