"""What the bytes of H.264 and H.265 packets tell before they are decoded: damage, and pictures that are missing.

A NAL unit's payload never holds three bytes 0 0 0, 0 0 1 or 0 0 2 (emulation prevention), so that a zeroed disk
page shows. H.264 numbers its reference pictures (`frame_num`) and all pictures in the order of display
(`pic_order_cnt_lsb`), so that a lost one leaves a hole in the numbers.

Source: ITU-T H.264, 7.3.2.1 (sequence parameters), 7.3.2.2, 7.3.3 (slice header), 7.4.1 (NAL units), 7.4.3; the
layouts of the decoder configuration: ISO/IEC 14496-15, 5.3.3.1.2 and 8.3.3.1.2.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FORBIDDEN = re.compile(rb"\0\0[\0\1\2]")
_HEADER_BYTES = 32  # enough for what is read of a slice header
_PROFILES_WITH_CHROMA = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))
_H264_SLICES, _H264_IDR, _H264_SPS, _H264_PPS = (1, 5), 5, 7, 8
_FIRST_HEVC_NON_SLICE = 32


class DamagedPacket(Exception):
    """A packet is not what its encoder wrote, or one before it is missing; the message says what was seen."""


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """Where an H.264 picture is shown among its neighbours.

    Attributes:
        sequence: counts the starts of new sequences (IDR pictures), at which the order begins again.
        lsb: the low bits of its place.
        modulus: how many values the low bits have.
    """

    sequence: int
    lsb: int
    modulus: int


class PacketCheck:
    """Looks at a stream's packets in the order of decoding."""

    def __init__(self, codec: str, configuration: bytes) -> None:
        """No packet was seen yet.

        Args:
            codec: libavcodec's name; of others than h264 and hevc nothing is checked.
            configuration: the decoder configuration (extradata); empty where packets hold it.
        """
        self._codec = codec if codec in ("h264", "hevc") else None
        self._length_bytes = 0  # 0: NAL units begin with start codes
        self._last = b""
        self._h264 = _H264Numbers()
        if configuration[:1] == b"\1" and self._codec is not None:
            at = 4 if self._codec == "h264" else 21
            self._length_bytes = (configuration[at] & 3) + 1 if len(configuration) > at else 4
            if self._codec == "h264":
                for unit in _configured_units(configuration):
                    self._h264.read(unit)
        elif self._codec == "h264":
            for start, stop in _units_by_start_code(configuration):
                self._h264.read(configuration[start:stop])

    def look(self, data: bytes) -> PictureOrder | None:
        """Where the packet's picture is shown; None where that is not known.

        Raises:
            DamagedPacket: the packet, or the lack of one before it, is proof of damage.
        """
        if self._codec is None:
            return None
        if self._codec == "h264" and data == self._last:  # no two H.264 pictures in turn have the same numbers
            raise DamagedPacket("the same packet as before")
        self._last = data
        order, num_slices = None, 0
        for start, stop in self._units(data):
            kind = data[start] & 31 if self._codec == "h264" else data[start] >> 1 & 63
            is_slice = kind in _H264_SLICES if self._codec == "h264" else kind < _FIRST_HEVC_NON_SLICE
            if is_slice and (bad := _FORBIDDEN.search(data, start, stop)):
                raise DamagedPacket(
                    f"bytes {bad[0].hex(' ')} at {bad.start()} of a packet, which no picture holds"
                )
            if self._codec != "h264" or not (is_slice or kind in (_H264_SPS, _H264_PPS)):
                continue
            if not is_slice:
                self._h264.read(data[start:stop])
            elif num_slices == 0:
                order = self._h264.begin_picture(data[start : min(stop, start + _HEADER_BYTES)])
            num_slices += is_slice
        return order

    def _units(self, data: bytes) -> Iterator[tuple[int, int]]:
        if not self._length_bytes:
            yield from _units_by_start_code(data)
            return
        at, end, length_bytes = 0, len(data), self._length_bytes
        while at < end:
            start = at + length_bytes
            at = start + int.from_bytes(data[at:start], "big")
            if at == start or at > end:
                raise DamagedPacket(f"a NAL unit of {at - start} bytes in a packet that has {end - start} left")
            yield start, at


class _Bits:
    """Reads a NAL unit's payload bit by bit; `ValueError` where it ends."""

    def __init__(self, payload: bytes) -> None:
        data = payload.replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, num_bits: int) -> int:
        if num_bits > self._left:
            raise ValueError("the payload ends")
        self._left -= num_bits
        number = self._value >> self._left
        self._value &= (1 << self._left) - 1
        return number

    def golomb(self) -> int:
        """The next number of the code ue(v), ITU-T H.264, 9.1."""
        return self.take(2 * (self._left - self._value.bit_length()) + 1) - 1

    def signed_golomb(self) -> int:
        """The next number of the code se(v)."""
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What of a sequence's parameters is needed to read a slice header."""

    frame_num_bits: int
    order_bits: int  # 0: the order is told otherwise
    may_skip_frame_nums: bool
    has_fields: bool
    has_colour_planes: bool


class _H264Numbers:
    """Follows the numbers of an H.264 stream's pictures."""

    def __init__(self) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._sequence_of: dict[int, int] = {}  # picture parameters -> sequence parameters
        self._frame_num: int | None = None  # of the last reference picture
        self._num_sequences = 0

    def read(self, unit: bytes) -> None:
        """Parameters that the unit holds are known; other units are skipped."""
        bits = _Bits(unit[1:])
        try:
            if unit[0] & 31 == _H264_SPS:
                number, sequence = _read_sequence(bits)
                self._sequences[number] = sequence
            elif unit[0] & 31 == _H264_PPS:
                number = bits.golomb()
                self._sequence_of[number] = bits.golomb()
        except (ValueError, IndexError):
            return  # the decoder complains where it matters

    def begin_picture(self, slice_: bytes) -> PictureOrder | None:
        """The order of the picture that begins with this slice; None where it is not known."""
        is_reference, is_idr = bool(slice_[0] & 0x60), slice_[0] & 31 == _H264_IDR
        bits = _Bits(slice_[1:])
        try:
            first_macroblock = bits.golomb()
            bits.golomb()  # its type
            sequence = self._sequences[self._sequence_of[bits.golomb()]]
            if first_macroblock:
                raise DamagedPacket(f"a picture that begins with macroblock {first_macroblock}, expected 0")
            if sequence.has_colour_planes:
                bits.take(2)
            frame_num = bits.take(sequence.frame_num_bits)
            if sequence.has_fields and bits.take(1):
                self._frame_num = None
                return None
            if is_idr:
                bits.golomb()
            lsb = bits.take(sequence.order_bits) if sequence.order_bits else None
        except (KeyError, ValueError):
            return None  # the decoder complains where it matters
        self._check_frame_num(0 if is_idr else frame_num, sequence, is_idr=is_idr)
        if is_reference:
            self._frame_num = frame_num
        if is_idr:
            self._num_sequences += 1
        return None if lsb is None else PictureOrder(self._num_sequences, lsb, 1 << sequence.order_bits)

    def _check_frame_num(self, frame_num: int, sequence: _Sequence, *, is_idr: bool) -> None:
        last = self._frame_num
        if last is None or is_idr or sequence.may_skip_frame_nums:
            return
        following = (last + 1) % (1 << sequence.frame_num_bits)
        if frame_num not in (last, following):
            raise DamagedPacket(f"frame_num {frame_num} after {last}, expected {following}: a picture is missing")


def _read_sequence(bits: _Bits) -> tuple[int, _Sequence]:
    profile = bits.take(8)
    bits.take(16)
    number = bits.golomb()
    has_colour_planes, chroma = False, 1
    if profile in _PROFILES_WITH_CHROMA:
        chroma = bits.golomb()
        if chroma == 3:
            has_colour_planes = bool(bits.take(1))
        bits.golomb()
        bits.golomb()
        bits.take(1)
        if bits.take(1):
            for index in range(8 if chroma != 3 else 12):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    frame_num_bits = bits.golomb() + 4
    order_type, order_bits = bits.golomb(), 0
    if order_type == 0:
        order_bits = bits.golomb() + 4
    elif order_type == 1:
        bits.take(1)
        bits.signed_golomb()
        bits.signed_golomb()
        for _ in range(bits.golomb()):
            bits.signed_golomb()
    bits.golomb()
    may_skip = bool(bits.take(1))
    bits.golomb()
    bits.golomb()
    return number, _Sequence(frame_num_bits, order_bits, may_skip, not bits.take(1), has_colour_planes)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last


def _configured_units(configuration: bytes) -> Iterator[bytes]:
    """The parameter sets in an H.264 decoder configuration."""
    at = 5
    for mask in (31, 255):
        if at >= len(configuration):
            return
        num_units = configuration[at] & mask
        at += 1
        for _ in range(num_units):
            size = int.from_bytes(configuration[at : at + 2], "big")
            if size == 0:
                return
            yield configuration[at + 2 : at + 2 + size]
            at += 2 + size


def _units_by_start_code(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and stop of the NAL units between start codes 0 0 1; zeros before a start code belong to none."""
    start = data.find(b"\0\0\1")
    while start >= 0:
        start += 3
        following = data.find(b"\0\0\1", start)
        stop = following if following >= 0 else len(data)
        while stop > start and data[stop - 1] == 0:
            stop -= 1
        if stop > start:
            yield start, stop
        start = following
