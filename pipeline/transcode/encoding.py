"""Scaled frames in, clips out: the ffmpeg that encodes.

    good_frames (decode.py) -> FrameScaler (scaling.py): cursor, area scaling -> ClipEncoder: ffmpeg, libx264

Only frames that are kept are scaled, and only scaled frames go through the pipe: a fifth of the bytes that whole
frames would take. One ffmpeg encodes a whole episode and cuts it into clips at its key frames, so that starting it
costs nothing. All runs on one thread and without choices that depend on the processor: same frames, same bytes.
"""

import contextlib
import errno
import fcntl
import io
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import av.error
import ffmpeg

from pipeline.processes import die_with_parent
from pipeline.settings import BuildSettings
from pipeline.transcode.ffmpeg import ffmpeg_program
from shards.action_space import ACTION_SPACE
from shards.errors import RocketError

TIMEOUT_SECONDS = 300.0
"""An ffmpeg that takes no frame for so long is ended."""

_PIPE_BYTES = 1 << 20
_OTHER_PROGRAM = "Put another ffmpeg on PATH, or none, and run again: imageio-ffmpeg's is taken then."


class EncodingFailed(RocketError):
    """ffmpeg died, hung or could not write.

    Attributes:
        killed: something else ended it, so that trying again may help.
        disk_full: there is no room for its output.
    """

    def __init__(self, message: str, *, killed: bool = False, disk_full: bool = False) -> None:
        super().__init__(message)
        self.killed, self.disk_full = killed, disk_full


class EncoderProcess:
    """An ffmpeg that encodes raw frames from its standard input; `close` ends it.

    Attributes:
        num_frames: that it was given.
    """

    def __init__(
        self,
        command: Sequence[str],
        place: Path,
        *,
        where: str,
        again: str = "run again with --resume",
    ) -> None:
        """It waits for frames.

        Args:
            command: that starts it.
            place: what it writes.
            where: what is being encoded, for messages.
            again: what to do where a second try may help.
        """
        self.num_frames = 0
        self._place, self._where, self._again = place, where, again
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            bufsize=0,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 (only a system call, made with the GIL held)
        )
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        self._pipe = self._stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLOUT)
        # An unprivileged user's pipes stay small where many are open.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def write(self, planes: Sequence[memoryview]) -> None:
        """The frame is the next one.

        Raises:
            EncodingFailed: ffmpeg ended or took nothing for too long.
        """
        left = memoryview(b"".join(planes))
        while left:
            try:
                left = left[os.write(self._pipe, left) :]
            except BlockingIOError:
                if not self._poll.poll(TIMEOUT_SECONDS * 1000):
                    raise self._hung() from None
            except BrokenPipeError:
                raise self._died() from None
        self.num_frames += 1

    def end(self) -> None:
        """There are no more frames, and ffmpeg has ended well.

        Raises:
            EncodingFailed: it ended otherwise.
        """
        self._stdin.close()
        try:
            status = self._process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise self._hung() from None
        if status != 0:
            raise self._died()

    def _hung(self) -> EncodingFailed:
        self._process.kill()
        return EncodingFailed(
            f"{self._where}: ffmpeg took no frame for {TIMEOUT_SECONDS:g} s and was ended. "
            f"{self._again.capitalize()}.",
            killed=True,
        )

    def _died(self) -> EncodingFailed:
        try:
            status = self._process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return self._hung()
        self._log.seek(0)
        log = self._log.read().decode(errors="replace")
        if os.strerror(errno.ENOSPC) in log:
            return EncodingFailed(
                f"{self._place}: the disk is full while encoding {self._where}. Make room, then {self._again}.",
                disk_full=True,
            )
        lines = log.strip().splitlines()
        cause = signal.Signals(-status).name if status < 0 else f"status {status}"
        return EncodingFailed(
            f"{self._where}: ffmpeg ended early with {cause}{': ' + lines[-1] if lines else ''}. "
            f"{f'{self._again.capitalize()}.' if status < 0 else _OTHER_PROGRAM}",
            killed=status < 0,
        )

    def close(self) -> None:
        """No ffmpeg runs any more."""
        if self._process.poll() is None:
            self._process.kill()
        self._stdin.close()
        self._process.wait()
        self._log.close()


class ClipEncoder(EncoderProcess):
    """An ffmpeg that turns one episode's frames into mp4 clips, each of which decodes alone.

    `close` removes `folder`, too.
    """

    def __init__(self, settings: BuildSettings, folder: Path, *, where: str) -> None:
        """It waits for frames; `folder`, in which clips lie until they are read, does not exist yet."""
        folder.mkdir(parents=True)
        super().__init__(encoder_command(settings, folder), folder, where=where)
        self._folder, self._clip_frames, self._num_taken = folder, settings.clip_frames, 0

    def take_finished(self) -> Iterator[bytes]:
        """The clips that are complete and were not taken yet, in order."""
        # ffmpeg closes a clip before it opens the next one.
        while self._path(self._num_taken + 1).exists():
            yield self._take()

    def finish(self) -> Iterator[bytes]:
        """The clips not taken yet, to the last one; ffmpeg has ended well, and they hold what was written.

        Raises:
            EncodingFailed: it ended otherwise, or the clips do not hold the frames that were written.
        """
        self.end()
        if self.num_frames == 0:
            return  # there is an empty file
        num_clips = -(-self.num_frames // self._clip_frames)
        while self._num_taken < num_clips:
            yield self._take()
        if self._path(num_clips).exists():
            raise EncodingFailed(f"{self._where}: ffmpeg wrote more than {num_clips} clips. Report this as a bug.")

    def close(self) -> None:
        """No ffmpeg runs any more, and the folder is gone."""
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, clip: int) -> Path:
        return self._folder / f"{clip:06d}.mp4"

    def _take(self) -> bytes:
        path = self._path(self._num_taken)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise EncodingFailed(
                f"{path}: a clip of {self._where} is not there ({error.strerror}). Run again with --resume."
            ) from error
        expected = min(self._clip_frames, self.num_frames - self._num_taken * self._clip_frames)
        if (found := num_samples(data)) != expected:
            raise EncodingFailed(
                f"{path}: a clip of {self._where} holds {found} frames, expected {expected}. {_OTHER_PROGRAM}"
            )
        path.unlink()
        self._num_taken += 1
        return data


def encoder_command(settings: BuildSettings, folder: Path) -> list[str]:
    """The command that encodes raw frames from its standard input as clips `folder/000000.mp4` and so on."""
    frames = ffmpeg.input(
        "pipe:",
        format="rawvideo",
        pix_fmt="yuv420p",
        video_size=(settings.frame_width, settings.frame_height),
        framerate=ACTION_SPACE.frames_per_second,
        threads=1,
        # Read a frame at a time: with the default of 32 KiB, encoding takes a twentieth more.
        blocksize=settings.frame_width * settings.frame_height * 3 // 2,
    )
    clips = ffmpeg.output(
        frames,
        str(folder.absolute()).replace("%", "%%") + "/%06d.mp4",
        **settings.codec_options(),
        format="segment",
        segment_format="mp4",
        # Key frames stand at fixed places, so that the first one at or after this time starts the next clip.
        segment_time=f"{settings.clip_frames / ACTION_SPACE.frames_per_second:.6f}",
        # Every clip's first frame is at time 0; without the second option, the first clip's is not.
        reset_timestamps=1,
        avoid_negative_ts="disabled",
        fflags="+bitexact",
    )
    program = [ffmpeg_program(), "-hide_banner", "-nostdin", "-loglevel", "error"]
    command: list[str] = ffmpeg.compile(clips, cmd=program)
    return command


def num_samples(mp4: bytes) -> int:
    """How many frames an mp4's index lists; 0 where it has none."""
    try:
        with av.open(io.BytesIO(mp4)) as container:
            return int(container.streams.video[0].frames)
    except (av.error.FFmpegError, IndexError):
        return 0
