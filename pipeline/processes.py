"""Processes that never outlive the one that started them, whatever ends it."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Callable

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


def import_without_torch(name: str) -> None:
    """The module is imported without torch, if torch is not there already.

    webdataset imports torch if it can, for parts that nobody needs who only writes tars: that takes seconds and
    300 MB a process. Only for processes that are ours from the start: torch's users would miss those parts.
    """
    if "torch" in sys.modules:
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        importlib.import_module(name)
    finally:
        del sys.modules["torch"]
