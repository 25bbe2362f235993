"""What MineStudio's converter leaves out, so that `compat: minestudio` leaves out the same.

Source: CraftJarvis/MineStudio, tools/process_all_openai.py and callbacks/image.py.
"""

from typing import Any

from pipeline.recording import MINESTUDIO_FRAME_PX, WINDOW_HEIGHT_PX, VideoHeader
from shards.action_space import ACTION_SPACE

_CURSOR_PX = 16
_STATE_FIELDS = ("yaw", "pitch", "xpos", "ypos", "zpos", "hotbar", "inventory", "isGuiOpen")


def video_objection(header: VideoHeader, num_lines: int) -> str | None:
    """Why MineStudio leaves a recording out for its video, or None.

    A size other than 640x360 makes MineStudio's whole episode empty, not this recording alone.
    """
    rate, num_frames, size = header.frames_per_second, header.counts.coded, header.size_px
    if int(rate) != ACTION_SPACE.frames_per_second:
        return f"{rate:g} frames per second, cut to {int(rate)}, expected 20"
    if not num_lines <= num_frames <= num_lines + 1:
        return f"{num_frames} frames in the video's header, expected {num_lines} or {num_lines + 1}"
    if size != MINESTUDIO_FRAME_PX:
        return f"{size[0]}x{size[1]} pixels, expected 640x360"
    return None


def line_objection(line: dict[str, Any], *, new_buttons_read: bool) -> str | None:
    """Why MineStudio loses a recording over a line that we can read, or None.

    A line without `isGuiOpen` even ends its whole run.

    Args:
        line: the line.
        new_buttons_read: whether `mouse.newButtons` is looked at: in the first line, and while attack is stuck.
    """
    mouse, keyboard = line.get("mouse"), line.get("keyboard")
    if mouse is None or keyboard is None:
        return "mouse or keyboard is null"
    if new_buttons_read and "newButtons" not in mouse:
        return "no mouse.newButtons"
    for field in _STATE_FIELDS:
        if line.get(field) is None:
            return f"no {field}"
    if line["isGuiOpen"]:
        if "x" not in mouse or "y" not in mouse:
            return "no mouse.x or mouse.y in a menu"
        width, height = MINESTUDIO_FRAME_PX
        scale = height / WINDOW_HEIGHT_PX
        if _cursor_fails(int(mouse["x"] * scale), int(mouse["y"] * scale), width, height):
            return f"the cursor at x = {mouse['x']}, y = {mouse['y']} is left of or above the window"
    return None


def _cursor_fails(x: int, y: int, width: int, height: int) -> bool:
    """Whether blending a 16x16 cursor there raises in numpy, because the two slices have different sizes."""
    rows, columns = max(0, min(height - y, _CURSOR_PX)), max(0, min(width - x, _CURSOR_PX))
    if not rows or not columns:
        return False
    return (
        len(range(height)[y : y + rows]) != rows  # negative starts count from the end, as in numpy
        or len(range(width)[x : x + columns]) != columns
    )
