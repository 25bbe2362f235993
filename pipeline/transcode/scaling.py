"""Decoded frames of any size in, planes of the dataset's size out, with the cursor drawn where it belongs."""

from fractions import Fraction
from typing import Any

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from pipeline.transcode.cursor import draw_cursor
from shards.action_space import ACTION_SPACE

# Without the last two, rounding depends on the vector instructions that the processor has.
_AREA = "area+accurate_rnd+bitexact"
_ANY_TIME = Fraction(1, ACTION_SPACE.frames_per_second)  # frames are scaled one by one
# AVColorSpace numbers: BT.470BG and SMPTE 170M are BT.601; small untagged video is BT.601 by custom.
_BT601_COLORSPACES = (2, 5, 6)
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG


class FrameScaler:
    """Turns decoded frames of any size into planes of the dataset's size.

    Area averaging like cv2.INTER_AREA, plane by plane; the cursor is drawn before, at source size. Chroma counts
    as lying in the middle of its four luma pixels, which is where a conversion to RGB that repeats it puts it.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        self._size = (width_px, height_px)
        self._to_yuv = VideoReformatter()
        self._graph, self._graph_size = Graph(), (0, 0)

    def scale(self, frame: VideoFrame, cursor_xy: tuple[float, float] | None) -> list[memoryview]:
        """The three planes, u8, rows without padding; the cursor's tip is at this (x, y) in pixels of `frame`."""
        frame = self._as_bt601(frame)
        if cursor_xy is not None:
            frame.make_writable()  # a copy where the decoder predicts later frames from this one
            luma, blue, red = (_pixels(plane) for plane in frame.planes)
            draw_cursor(luma, blue, red, *cursor_xy)
        if self._graph_size != (frame.width, frame.height):
            self._graph, self._graph_size = self._new_graph(frame), (frame.width, frame.height)
        self._graph.vpush(frame)
        return [_rows(plane) for plane in self._graph.vpull().planes]

    def _new_graph(self, frame: VideoFrame) -> Graph:
        """Scales frames like this one; decoders tag chroma as lying left, so that its place has to be said."""
        width_px, height_px = self._size
        graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_ANY_TIME)
        how = f"flags={_AREA}:in_chroma_loc=center:out_chroma_loc=center"
        scale = graph.add("scale", f"{width_px}:{height_px}:{how}")
        sink = graph.add("buffersink")
        source.link_to(scale)
        scale.link_to(sink)
        graph.configure()
        return graph

    def _as_bt601(self, frame: VideoFrame) -> VideoFrame:
        """The frame as limited-range BT.601 yuv420p, as nearly every recording is from the start."""
        full_range = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
        is_rgb = not frame.format.name.startswith(("yuv", "nv", "gray"))
        if frame.format.name == "yuv420p" and not full_range and frame.colorspace in _BT601_COLORSPACES:
            return frame
        source_colors = Colorspace.ITU601 if frame.colorspace in _BT601_COLORSPACES else None
        return self._to_yuv.reformat(
            frame,
            frame.width,
            frame.height,
            "yuv420p",
            src_colorspace=source_colors,
            dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.JPEG if full_range or is_rgb else ColorRange.MPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT,
            threads=1,
        )


def _pixels(plane: Any) -> NDArray[np.uint8]:
    """The plane as an array (height, width) over its own memory."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def _rows(plane: Any) -> memoryview:
    """The plane's pixels row after row; without a copy where the rows have no padding."""
    if plane.line_size == plane.width:
        return memoryview(plane)[: plane.width * plane.height]
    return np.ascontiguousarray(_pixels(plane)).reshape(-1).data
