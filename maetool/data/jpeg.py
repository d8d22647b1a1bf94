"""What a JPEG file says about itself before it is decoded (ITU-T T.81, annex B)."""

_SOI, _APP1, _SOS, _EOI = 0xD8, 0xE1, 0xDA, 0xD9
# Start of frame, whatever the coding; C4, C8 and CC of that range are tables and extensions.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
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


def _segments(data: bytes):
    """Yield marker and the place of the length of each segment before the first scan."""
    if data[:2] != bytes((0xFF, _SOI)):
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
