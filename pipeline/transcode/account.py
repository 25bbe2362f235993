"""An account of a video's coded frames: which were sent to the decoder, which came back, and what is missing.

packets   0  1  2  3  4  5          in the order of decoding
frames    0  2  1  3  5             4 never came back: where it belongs tells what can be trusted before it
"""

from pipeline.transcode.bitstream import PictureOrder
from pipeline.transcode.probe import BadVideo
from shards.action_space import ACTION_SPACE

MAX_REORDERED = 16
"""H.264 allows no more frames between a frame's decoding and its display."""

_GAP = 1.5  # frame durations between two frames from which on one may be missing
_FEW_HOLES = 20  # at most one place in so many: an encoder that counts evenly but for lost pictures


class FrameAccount:
    """Packets have numbers in the order of decoding; their frames come back in the order of display.

    Attributes:
        shown: the numbers of the frames that came back, in order.
        waiting: the numbers of those that did not.
    """

    def __init__(self, tick_seconds: float, every: int) -> None:
        """Nothing was sent.

        Args:
            tick_seconds: the unit of the packets' times; 0 where they have none.
            every: how many times 20 frames per second the video should have.
        """
        self.shown: list[int] = []
        self.waiting: set[int] = set()
        self._times: list[int | None] = []  # by number
        self._orders: list[PictureOrder | None] = []
        self._tick_seconds = tick_seconds
        ticks_per_second = 1 / tick_seconds if tick_seconds else float("inf")
        self._gap_ticks = _GAP * ticks_per_second / (ACTION_SPACE.frames_per_second * every)
        self._in_time_order = True
        self._gaps: list[tuple[int, float]] = []  # (frame, seconds since the one before it)
        self._doubled: int | None = None  # the first frame in the place of the one before it
        self._holes: list[int] = []  # frames before which a place in the stream's own order is empty
        self._order_step = 0

    @property
    def num_sent(self) -> int:
        return len(self._times)

    def begin_at(self, dts: int | None, pts: int | None) -> None:
        """The first packet has these times: where it is not at 0, frames may be missing before it."""
        start = dts
        if start is None and pts is not None:
            start = round(pts - MAX_REORDERED * self._gap_ticks / _GAP)
        if start is not None and start > self._gap_ticks:
            self._gaps.append((0, (start if pts is None else pts) * self._tick_seconds))

    def send(self, time: int | None, order: PictureOrder | None, *, is_shown: bool) -> None:
        """The next packet is on its way to the decoder.

        Args:
            time: when its frame is shown, in ticks; None where the container does not say.
            order: its place among its neighbours, where the stream tells.
            is_shown: whether its frame should come back.
        """
        if is_shown:
            self.waiting.add(self.num_sent)
        self._times.append(time)
        self._orders.append(order)

    def receive(self, number: int) -> None:
        """The packet's frame is the next one that is shown."""
        self.waiting.discard(number)
        if self.shown:
            self._compare(self.shown[-1], number)
        self.shown.append(number)

    def _compare(self, before: int, number: int) -> None:
        """What lies between two frames that are shown one after the other is noted."""
        index = len(self.shown)
        earlier, time = self._times[before], self._times[number]
        place, place_before = self._orders[number], self._orders[before]
        if self._doubled is None and (
            place == place_before if place and place_before else time is not None and time == earlier
        ):
            self._doubled = index
        if earlier is None or time is None or time <= earlier:
            self._in_time_order = False
        elif time - earlier > self._gap_ticks:
            self._gaps.append((index, (time - earlier) * self._tick_seconds))
        step = self._step(before, number)
        if step and self._order_step and step > self._order_step:
            self._holes.append(index)
        else:
            self._order_step = step or self._order_step

    def _step(self, before: int, number: int) -> int:
        """From one frame to another in the stream's own order; 0 where that is not known."""
        last, order = self._orders[before], self._orders[number]
        if last is None or order is None or last.sequence != order.sequence:
            return 0
        return (order.lsb - last.lsb) % order.modulus

    def is_next(self, number: int) -> bool:
        """Whether nothing is missing between the last frame that was shown and this one, by the stream's order."""
        return bool(self.shown) and 0 < self._step(self.shown[-1], number) == self._order_step

    def num_before(self, number: int) -> int:
        """How many of the frames that were shown come before this damaged or lost one for certain.

        Those that were decoded after it may have been predicted from it.
        """
        time = self._times[number] if self._in_time_order else None
        num_frames = len(self.shown)
        for index, other in enumerate(self.shown):
            at = self._times[other]
            if other >= number or (time is not None and at is not None and at > time):
                num_frames = index
                break
        if number in self.waiting and time is None:
            num_frames -= MAX_REORDERED  # without times nobody knows where it belongs
        return max(0, num_frames)

    def num_sure(self) -> int:
        """How many of the frames that were shown come before all that did not come back."""
        return min((self.num_before(number) for number in self.waiting), default=len(self.shown))

    def check_gaps(self, num_lines: int | None, *, is_whole: bool) -> str | None:
        """A sentence about uneven times that do no harm; None if there are none.

        A pause is no loss where frames and lines are equally many, unless the stream's own order has a hole there.

        Args:
            num_lines: how many lines the log has; None without one.
            is_whole: whether these are all frames of the video.

        Raises:
            BadVideo: frames are missing between those that were shown.
        """
        num_frames = len(self.shown)
        if self._doubled is not None:
            detail = f"frame {self._doubled} has the place of the one before it"
            raise BadVideo("doubled_frames", detail, self._doubled)
        if self._holes and len(self._holes) * _FEW_HOLES <= num_frames:
            detail = f"the stream's own order of pictures has an empty place before frame {self._holes[0]}"
            raise BadVideo("missing_frames", detail, self._holes[0])
        # A late start is no loss where there are more frames than lines.
        gaps = [gap for gap in self._gaps if gap[0] or num_lines is None or num_frames <= num_lines + 1]
        if num_lines is None or not self._in_time_order or not gaps:
            return None
        frame, seconds = gaps[0]
        detail = f"frame {frame} comes {seconds:.3g} s after {'the one before it' if frame else 'the start'}"
        if len(gaps) > 1:
            detail += f" (and {len(gaps) - 1} more such places)"
        if num_frames in (num_lines, num_lines + 1):
            return f"{detail}; there are as many frames as lines"
        if frame >= num_lines:
            return None
        counts = f"{num_frames} {'' if is_whole else 'or more '}frames for {num_lines} lines"
        raise BadVideo("missing_frames", f"{detail}, and the video has {counts}", frame)
