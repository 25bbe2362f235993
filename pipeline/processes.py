"""Processes that never outlive the one that started them, and import nothing that it does not."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """What a new process must call to be killed when the thread that started it ends; None where that can't be.

    Only Linux has it. Elsewhere a child notices by its closed pipe.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: a forked child should do as little as it can
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)

    return bind


def clean_path() -> list[str]:
    """`sys.path` for a process of ours: this one's, without "the current folder", with these packages at its end.

    So a `random.py` where the user happens to be is not imported, and a package that is not installed is found.
    """
    return list(dict.fromkeys([*filter(None, sys.path), str(Path(__file__).resolve().parents[1])]))
