"""A process that has imported everything and forks a build whenever it is told to: builds start in no time.

Reads lines of JSON from stdin, {"source", "out", "workers", "path"}, where "path" goes in front of PATH; writes
"pid N" when the build begins and "status N" when it has ended, with the build's exit status (negative: the signal
that killed it).
"""

import json
import os
import sys
from pathlib import Path

from pipeline.build.engines.local import LocalEngine
from pipeline.build.job import build_shards
from shards.errors import RocketError
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import TINY


def build(job):
    os.environ["PATH"] = job["path"] + os.environ["PATH"]
    engine = LocalEngine(job["workers"]) if job["workers"] else InlineEngine()
    try:
        build_shards([Path(job["source"])], Path(job["out"]), TINY, engine, resume=True)
    except RocketError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def main():
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(build(job))
        print(f"pid {pid}", flush=True)
        print(f"status {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}", flush=True)


if __name__ == "__main__":
    main()
