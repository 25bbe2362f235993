"""Real servers on loopback: nginx, Python's own with byte ranges, and an S3-compatible one."""

import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Somebody listens on that port of this machine."""

    def answers() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    wait_until(answers, f"a server on port {port}")


class Nginx:
    """An nginx that serves a folder; it can be killed and started again."""

    def __init__(self, root: Path, work: Path) -> None:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            if os.environ.get("CI"):
                pytest.fail("nginx is not installed; continuous integration needs it")
            pytest.skip("nginx is not installed")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        work.mkdir(parents=True, exist_ok=True)
        config = work / "nginx.conf"
        temporary = "".join(
            f"{kind}_temp_path {work}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config.write_text(
            f"""
            {"user root;" if os.geteuid() == 0 else ""}
            daemon off; pid {work}/pid; error_log {work}/error.log; worker_processes 1;
            events {{ worker_connections 64; }}
            http {{ access_log {work}/access.log; {temporary}
              server {{ listen 127.0.0.1:{self.port}; root {root}; }} }}
            """
        )
        self.access_log = work / "access.log"
        # A group of its own, so that its worker goes with it.
        self._command = [program, "-e", f"{work}/error.log", "-c", str(config)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, process_group=0)
        wait_for(self.port)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Byte ranges, and faults on demand: `faults` is a list of what to do with the next requests for shards."""

    faults: list[str]
    ranges: bool
    requests: list[str]

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path))
        if not data.is_file():
            self.send_error(404)
            return
        content = data.read_bytes()
        is_shard = self.path.endswith(".tar")
        fault = self.faults.pop(0) if is_shard and self.faults else None
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if is_shard:
            self.requests.append(self.headers.get("Range", ""))
        if fault == "close":
            self.close_connection = True
            return
        if fault == "silent":
            time.sleep(1)
            self.close_connection = True
            return
        if fault is not None and fault.isdigit():
            self.send_error(int(fault))
            return
        if asked and self.ranges:
            start, stop = int(asked[1]), min(int(asked[2]) + 1, len(content))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
            content = content[start:stop]
        else:
            self.send_response(200)
        if fault == "flip":
            content = content[:100] + bytes([content[100] ^ 0xFF]) + content[101:]
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
        if fault == "cut":
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def http_server(root: Path, *, ranges: bool = True) -> Iterator[tuple[str, type[RangeHandler]]]:
    """The address of a server for the folder, and its handler, whose `faults` may be set."""
    handler = type(
        "Handler",
        (RangeHandler,),
        {"faults": [], "ranges": ranges, "requests": [], "protocol_version": "HTTP/1.1"},
    )

    def make(*args: object) -> RangeHandler:
        return handler(*args, directory=str(root))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), make)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
