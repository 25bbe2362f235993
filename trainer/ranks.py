"""Which of a run's processes this is, as far as its environment says."""

import os
import sys
from collections.abc import Callable
from typing import TextIO

_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""torchrun's, Lightning's (two) and SLURM's; all 0 in the main process, wherever they are set."""


def is_main_process() -> bool:
    """Whether this process speaks for the run."""
    names = ("RANK",) if "TORCHELASTIC_RUN_ID" in os.environ else _RANK_VARIABLES  # torchrun's wins over SLURM's
    return all(os.environ.get(name, "0") == "0" for name in names)


def line_printer(out: TextIO | None) -> Callable[[str], None]:
    """Writes a line at once, in the main process alone; to standard output if None."""
    stream = sys.stdout if out is None else out

    def print_line(line: str) -> None:
        if is_main_process():
            stream.write(line + "\n")
            stream.flush()

    return print_line
