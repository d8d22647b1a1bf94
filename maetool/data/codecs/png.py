"""The chunks of a PNG file (PNG specification, third edition, section 5)."""

from collections.abc import Iterator
from struct import Struct

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD = Struct(">I4s")  # length and kind of a chunk; its content and 4 bytes of a checksum follow
# Colour profiles, text, dates and EXIF, which do not change the pixels that OpenCV gives. libpng writes lines to the
# terminal about odd ones, and odd profiles are common in whole files.
_REMARKS = frozenset(
    b"iCCP sRGB cICP gAMA cHRM mDCV cLLI tEXt zTXt iTXt tIME pHYs oFFs eXIf bKGD hIST sPLT sBIT".split(),
) | frozenset((b"acTL", b"fcTL", b"fdAT"))  # of an animation, whose first frame OpenCV gives in place of the picture


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, beginning and end of each chunk of `data` up to IEND; the end is beyond a file that is cut off."""
    place = len(SIGNATURE)
    while place + HEAD.size <= len(data):
        length, kind = HEAD.unpack_from(data, place)
        end = place + HEAD.size + length + 4
        yield kind, place, end
        if kind == b"IEND":
            return
        place = end


def without_remarks(data: bytes) -> bytes:
    """Return `data`, a PNG file, without what does not change its pixels; other formats stay as they are."""
    if not data.startswith(SIGNATURE):
        return data
    parts, begin, view = [], 0, memoryview(data)
    for kind, start, end in chunks(data):
        if kind in _REMARKS:
            parts.append(view[begin:start])
            begin = end
    return b"".join([*parts, view[begin:]]) if parts else data
