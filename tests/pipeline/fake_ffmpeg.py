"""An ffmpeg that misbehaves as a test wants, so that nothing hangs on when the test looks."""

from pathlib import Path

from pipeline.transcode.ffmpeg import ffmpeg_program


def fake_ffmpeg(folder: Path, encoder: str) -> Path:
    """The new `folder`, for PATH, with a program that answers like ffmpeg but encodes as the shell script says.

    In the script, `$real "$@"` encodes as it should.
    """
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(
        f'#!/bin/sh\nreal="{ffmpeg_program()}"\ncase "$*" in *libx264*) {encoder} ;; *) exec $real "$@" ;; esac\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return folder
