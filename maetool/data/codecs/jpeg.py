"""What a JPEG file says about itself before it is decoded (ITU-T T.81, annex B)."""

from struct import Struct
from typing import NamedTuple

SCAN = b"\xff\xda"
_START, _END = b"\xff\xd8", b"\xff\xd9"
_APP1, _SOS, _EOI = 0xE1, 0xDA, 0xD9
# Start of frame, whatever the coding; C4, C8 and CC of that range are tables and extensions.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BASELINE, _PROGRESSIVE, _RESTARTS = (0xC0, 0xC1), (0xC2, 0xC6, 0xCA, 0xCE), 0xDD
_SEGMENT = Struct(">BBH")  # 255, marker, length
_SIZE = Struct(">HHB")  # height, width, components
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


class JpegHeader(NamedTuple):
    """What stands before the first scan of a JPEG file.

    Attributes:
        height, width: in pixels as stored.
        height_at: place of the height's two bytes in the file.
        step: rows of a block of the file, 8 to 32, where its scan can be decoded in part; else 0.
        has_exif: it carries EXIF, and so perhaps a rotation.
        progressive: its scans refine each other.
    """

    height: int
    width: int
    height_at: int
    step: int
    has_exif: bool
    progressive: bool


def read_header(data: bytes) -> JpegHeader | None:
    """Return the header of `data`, a JPEG file; None where it is no such file or does not tell the size."""
    segments, has_exif = _segments(data)
    coding = next((marker for marker in segments if marker in _FRAMES), None)
    if coding is None or (frame := segments[coding]) + 8 > len(data):
        return None
    height, width, components = _SIZE.unpack_from(data, frame + 3)
    if not height or not width:
        return None  # a height of 0 comes only after the first scan
    scan = segments.get(_SOS, len(data))
    # In files of several scans each holds all rows, and restart marks are counted.
    divisible = coding in _BASELINE and _RESTARTS not in segments and data[scan + 2 : scan + 3] == bytes([components])
    tallest = max([sampling & 15 for sampling in data[frame + 9 : frame + 8 + 3 * components : 3]], default=0)
    return JpegHeader(height, width, frame + 3, 8 * tallest if divisible else 0, has_exif, coding in _PROGRESSIVE)


def first_rows(data: bytes, header: JpegHeader, rows: int) -> bytearray | None:
    """Return a JPEG file of at least the first `rows` rows, equal to those of the whole to the bit.

    The compressed data stays; the header's height is lowered, so that a decoder stops early. That also takes away the
    mark of the end: after the last row, decoders look for a mark, and libjpeg complains about what it finds before one.

    Returns:
        None where nothing would be saved, or where it cannot be done: for progressive files, files with restart marks,
        and files without their end, which are truncated.
    """
    # Whole blocks; the last row's colours are interpolated with those of the row after it.
    height = header.step and -(-(rows + 1) // header.step) * header.step
    if not height or height >= header.height or not data.endswith(_END):
        return None
    part, at = bytearray(memoryview(data)[: -len(_END)]), header.height_at
    part[at : at + 2] = height.to_bytes(2, "big")
    return part


def _segments(data: bytes) -> tuple[dict[int, int], bool]:
    """Return the place of the length of each segment up to the first scan by its marker, and whether one holds EXIF."""
    places, has_exif, place = {}, False, 2
    if not data.startswith(_START):
        return places, has_exif
    while place + _SEGMENT.size <= len(data):
        start, marker, length = _SEGMENT.unpack_from(data, place)
        if marker == _EOI:
            break
        if start != 0xFF or marker in (0, 0xFF):  # decoders pass over bytes before a marker
            place = data.find(b"\xff", place + 1)
            if place < 0:
                break
        elif marker in _WITHOUT_LENGTH:
            place += 2
        else:
            places[marker] = place + 2
            if marker == _SOS:
                break
            has_exif |= marker == _APP1 and data[place + 4 : place + 8] == b"Exif"
            place += 2 + length
    return places, has_exif
