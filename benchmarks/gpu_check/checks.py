"""All checks in the order in which they run; what takes longest comes last."""

from benchmarks.gpu_check.bench import Check
from benchmarks.gpu_check.parity import BFLOAT16, FLOAT32, GRADIENTS, parity_bfloat16, parity_float32
from benchmarks.gpu_check.runs import LOSSES, checkpointing, compiled, one_rank, pinned_loading, resume, two_ranks
from benchmarks.gpu_check.speed import (
    LONGEST_WAIT,
    MEMORY_SHARE,
    SLOWEST_RATIO,
    against_minestudio,
    nvdec,
    peak_memory,
    whole_run,
)

CHECKS = (
    Check(
        "parity, float32",
        f"MineStudio's to {FLOAT32:.0e} (answers), {GRADIENTS:.0e} (gradients)",
        parity_float32,
    ),
    Check("parity, bfloat16", f"MineStudio's float32 to {BFLOAT16:.0e}", parity_bfloat16),
    Check("pinned loading", "as from plain memory, to the bit", pinned_loading),
    Check("DDP on one rank", f"losses as without, to {LOSSES:.0e}", one_rank),
    Check("two ranks", f"losses as on one, to {LOSSES:.0e}", two_ranks),
    Check("activation checkpointing", f"losses as without, to {LOSSES:.0e}", checkpointing),
    Check("resume in the middle", f"losses as of the whole run, to {LOSSES:.0e}", resume),
    Check(
        "step beside MineStudio's",
        f"on a GPU at least {SLOWEST_RATIO:g} times as fast (1.5 on an H100 is the aim)",
        against_minestudio,
    ),
    Check("whole run", f"on a GPU under {LONGEST_WAIT:.0%} waiting for data", whole_run),
    Check("peak memory", f"at most {MEMORY_SHARE:g} times what --dry-run computes", peak_memory),
    Check("NVDEC", "mean difference under 2 levels", nvdec),
    Check("compiled layers", f"losses as without, to {LOSSES:.0e}", compiled),
)
