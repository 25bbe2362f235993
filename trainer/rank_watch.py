"""Watches that all ranks of a run live: if one ends, the main process says how, and none hangs in a collective.

Every rank keeps a connection to the main process, which the system closes however a process ends; those that the
main process has started itself are its children besides. A machine that loses its power, or a rank that hangs, is
noticed by the time limit of the collectives alone.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import torch.distributed as dist

from shards.errors import RocketError
from trainer.collectives import gather_objects
from trainer.learning.guard import AgreedStop
from trainer.ranks import is_main_process

GRACE_SECONDS = 5.0
"""How long the main process may take to notice by itself that another rank has ended, and that rank to say why."""
EXIT_SECONDS = 30.0
"""How long the main process may take to end once it has said so."""
_OVER = "over\n"
"""The last line of a process that ends as it should; another one says what went wrong."""


class RankWatch:
    """Use: `with RankWatch(...):` around all that ranks do together, in each of them; `connect` once they can."""

    def __init__(self, run_dir: Path, resume_command: str) -> None:
        """Watch nothing yet; tracebacks of ranks will be in `run_dir`, as rank-N.log."""
        self._run_dir, self._resume_command = run_dir, resume_command
        self._children: Mapping[int, subprocess.Popen[bytes]] = {}
        self._connections: list[socket.socket] = []
        self._connected: set[int] = set()
        self._cause: str | None = None
        self._is_connected = False
        self._cause_is_known, self._closed = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def follow(self, children: Mapping[int, subprocess.Popen[bytes]]) -> None:
        """Notice from now on if one of these ranks, which this process has started, fails."""
        self._children = children
        for rank, child in children.items() if is_main_process() else ():
            threading.Thread(target=self._follow_child, args=(rank, child), daemon=True).start()

    def connect(self) -> None:
        """Every rank is connected with the main process; all must call it together."""
        key = secrets.token_hex()
        address = os.environ["MASTER_ADDR"]
        port = 0
        if dist.get_rank() == 0:
            on_one_machine = address in ("127.0.0.1", "localhost")
            server = socket.create_server((address if on_one_machine else "", 0))
            port = server.getsockname()[1]
            threading.Thread(target=self._accept, args=(server, key), daemon=True).start()
        port, key = gather_objects((port, key))[0]
        problem = None
        if dist.get_rank() != 0:
            try:
                connection = socket.create_connection((address, port), timeout=60)
                connection.settimeout(None)
                connection.sendall(f"{json.dumps([key, dist.get_rank(), socket.gethostname()])}\n".encode())
                self._connections.append(connection)
                threading.Thread(target=self._follow_main, args=(connection,), daemon=True).start()
            except OSError as error:
                problem = f"{name_of_this_rank()} does not reach {address}:{port} ({error.strerror or error})"
        self._is_connected = True
        for line in filter(None, gather_objects(problem)):
            if is_main_process():
                sys.stderr.write(f"{line}, so the main process will not notice if it ends.\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say how this process ends, and in the main process, which rank's end was the cause.

        Raises:
            RocketError: in the main process, if another rank's was.
            SystemExit: in the others, which have told the main process what there is to say.
        """
        if error is None or isinstance(error, AgreedStop):
            self._send(_OVER)
            if self._is_connected:
                dist.destroy_process_group()
            self._end_children(GRACE_SECONDS)
            if error is not None and not is_main_process():
                raise SystemExit(0) from error  # the main process reports, and fails, for all
        elif not is_main_process():
            if isinstance(error, Exception):
                how = self._report(error)
                self._send(json.dumps(how) + "\n")
                if not self._is_connected:
                    sys.stderr.write(f"{name_of_this_rank()} ended {how}\n")
            self._end_children(0)
            raise SystemExit(1) from error
        else:
            is_known = isinstance(error, RocketError) or not isinstance(error, Exception)
            if self._is_connected and not is_known:
                self._cause_is_known.wait(GRACE_SECONDS)
            cause = None if is_known else self._cause
            self._end_children(0)
            if cause is not None:
                # A broken process group may hang when the interpreter ends.
                last_resort = threading.Timer(EXIT_SECONDS, os._exit, [1])
                last_resort.daemon = True
                last_resort.start()
                raise RocketError(cause) from error

    def _send(self, line: str) -> None:
        for connection in self._connections:
            try:
                connection.sendall(line.encode())
            except OSError:
                continue  # it is gone

    def _report(self, error: Exception) -> str:
        """What the main process says about this rank's error; the traceback goes into the run's folder."""
        if isinstance(error, RocketError):
            return f"with: {str(error).rstrip('.')}"
        path = self._run_dir / f"rank-{_rank()}.log"
        try:
            self._run_dir.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{name_of_this_rank()}, {datetime.now(UTC).isoformat(timespec='seconds')}\n")
                file.writelines(traceback.format_exception(error))
        except OSError:
            traceback.print_exception(error)
        summary = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
        return f"with {summary}; its traceback is in {path}"

    def _accept(self, server: socket.socket, key: str) -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=self._follow_rank, args=(connection, key), daemon=True).start()

    def _follow_rank(self, connection: socket.socket, key: str) -> None:
        """Read until the rank's connection closes; one that does not begin with the key is none of ours."""
        lines = connection.makefile()
        try:
            theirs, rank, host = json.loads(lines.readline())
        except (OSError, ValueError):
            return
        if theirs != key:
            return
        self._connections.append(connection)
        self._connected.add(rank)
        try:
            last = "".join(lines)
        except OSError:
            last = ""
        if last != _OVER:
            self._end_run(rank, host, json.loads(last) if last else self._how_ended(rank))

    def _follow_child(self, rank: int, child: subprocess.Popen[bytes]) -> None:
        """Notice that it fails before it is connected; from then on its connection says so."""
        if child.wait() and rank not in self._connected:
            self._end_run(rank, socket.gethostname(), self._how_ended(rank))

    def _how_ended(self, rank: int) -> str:
        """What is known of a rank that has ended without a last line."""
        if rank not in self._children:
            return "without a word, as after SIGKILL or for lack of memory"
        status = self._children[rank].wait()
        return f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"

    def _end_run(self, rank: int, host: str, how: str) -> None:
        """End the run because of this rank: the first that ends is the cause, and others follow it."""
        with self._lock:
            if self._cause is not None or self._closed.is_set():
                return
            self._cause = f"rank {rank} on {host} ended {how}. Continue with: {self._resume_command}"
        self._cause_is_known.set()
        if not self._closed.wait(GRACE_SECONDS):  # the main thread hangs in a collective
            self._end_children(0)
            sys.stderr.write(f"error: {self._cause}\n")
            sys.stderr.flush()
            os._exit(1)

    def _follow_main(self, connection: socket.socket) -> None:
        """Read until the main process ends, since without it this rank would hang."""
        try:
            last = "".join(connection.makefile())
        except OSError:
            last = ""
        if last != _OVER and not self._closed.wait(GRACE_SECONDS):
            os._exit(1)

    def _end_children(self, seconds: float) -> None:
        """The ranks that this process has started have ended, after so long by force; that is no failure now."""
        self._closed.set()
        if self._children:
            os.environ.pop("LOCAL_RANK", None)  # this process is none of several any more
        for child in self._children.values():
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def name_of_this_rank() -> str:
    """What messages call this process."""
    return f"rank {_rank()} on {socket.gethostname()}"


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("LOCAL_RANK", "0"))
