"""Runs `benchmarks.programs.load` as two processes of one group; answers with both of their answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

from benchmarks.measure import answer


def main() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    processes = []
    for rank in ("0", "1"):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0", "GROUP_RANK": "0"}
        command = [sys.executable, "-m", "benchmarks.programs.load", *sys.argv[1:]]
        environment = {**os.environ, **place, **group}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(1)
    answers = [next(line for line in reversed(text.splitlines()) if line.startswith("{")) for text in outputs]
    answer(ranks=[json.loads(line) for line in answers])


if __name__ == "__main__":
    main()
