"""What a run comes to, said before it starts. Lightning is not needed for it, and takes seconds to load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

import torch

from trainer.gpu_memory import gpu_memory, memory_lines
from trainer.plan import PolicyFacts, plan_lines
from trainer.policy_facts import policy_facts
from trainer.prepare import Start, prepare
from trainer.ranks import line_printer
from trainer.settings import RunConfig
from trainer.watch_out import this_machine, watch_out


def dry_run(config: RunConfig, resume: str | None = None, out: TextIO | None = None) -> int:
    """Print the plan of a run and take nothing; the process's exit status."""
    start = prepare(config, resume, dry_run=True)
    print_line = line_printer(out)
    num_lanes = start.config.data.batch_size * start.num_ranks
    gpus = [torch.cuda.get_device_properties(gpu).total_memory for gpu in range(torch.cuda.device_count())]
    policy = policy_facts(start.config)
    needs = memory_lines(gpu_memory(start.config, policy), num_lanes, gpus)
    for line in [*start.notes, *start_lines(start, policy), *needs]:
        print_line(line)
    print_line("Nothing was started (--dry-run).")
    return 0


def start_lines(start: Start, policy: PolicyFacts) -> list[str]:
    """The plan of a run, what to watch out for, where it goes on and with what changes."""
    lines = plan_lines(start.config, start.num_ranks, policy, start.data)
    found = watch_out(start.config, start.num_ranks, this_machine(start.config.run_dir), policy, start.data)
    lines += _under("watch out", found)
    if start.position is not None:
        lines.append(
            f"resume       from {start.checkpoint}: {start.position.global_step:,} steps done, "
            f"at epoch {start.position.epoch}, step {start.position.step}"
        )
    return lines + _under("changed", [str(change) for change in start.changes])


def _under(title: str, lines: Sequence[str]) -> list[str]:
    """The lines with the title in front of the first."""
    return [f"{'' if index else title:<13}{line}" for index, line in enumerate(lines)]
