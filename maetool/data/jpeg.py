"""What a JPEG file says about itself before it is decoded (ITU-T T.81, annex B)."""

from collections.abc import Iterator

_START, _END = b"\xff\xd8", b"\xff\xd9"
_APP1, _SOS, _EOI = 0xE1, 0xDA, 0xD9
# Start of frame, whatever the coding; C4, C8 and CC of that range are tables and extensions.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BASELINE, _RESTARTS = (0xC0, 0xC1), 0xDD
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return (height, width) of a JPEG file in pixels as stored, or None where the header does not tell."""
    for marker, start in _segments(data):
        if marker in _FRAMES and start + 7 <= len(data):
            height = int.from_bytes(data[start + 3 : start + 5], "big")
            width = int.from_bytes(data[start + 5 : start + 7], "big")
            return (height, width) if height and width else None  # a height of 0 comes only after the first scan
    return None


def has_exif(data: bytes) -> bool:
    """Return whether a JPEG file carries EXIF, and so perhaps a rotation."""
    return any(marker == _APP1 and data[start + 2 : start + 6] == b"Exif" for marker, start in _segments(data))


def first_rows(data: bytes, rows: int) -> bytes | None:
    """Return a JPEG file of at least the first `rows` rows, equal to those of the whole to the bit.

    The compressed data stays; the header's height is lowered, so that a decoder stops early. That also takes away the
    mark of the end: after the last row, decoders look for a mark, and libjpeg complains about what it finds before one.

    Returns:
        None where nothing would be saved, or where it cannot be done: progressive files, files with restart marks, and
        files without their end, which are truncated.
    """
    segments = dict(_segments(data))
    start = next((segments[marker] for marker in _BASELINE if marker in segments), None)
    if start is None or _RESTARTS in segments or data[-2:] != _END:
        return None
    # Whole blocks of at most 32 rows; the last row's colours are interpolated with those of the row after it.
    tallest = max(data[start + 9 + 3 * i] & 15 for i in range(data[start + 7]))
    height = -(-(rows + 2) // (8 * tallest)) * 8 * tallest
    if height >= int.from_bytes(data[start + 3 : start + 5], "big"):
        return None
    return data[: start + 3] + height.to_bytes(2, "big") + data[start + 5 : -2]


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and the place of the length of each segment before the first scan."""
    if data[:2] != _START:
        return
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        elif marker in (_SOS, _EOI):
            return
        else:
            yield marker, place + 2
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
