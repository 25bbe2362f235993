"""Runs commands (arguments joined by the unit separator), so many at a time; ends with the first that fails."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor


def main() -> None:
    at_a_time, *commands = sys.argv[1:]
    with ThreadPoolExecutor(int(at_a_time)) as threads:
        list(threads.map(lambda command: subprocess.run(command.split("\x1f"), check=True), commands))


if __name__ == "__main__":
    main()
