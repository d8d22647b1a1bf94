"""What a user may choose about how photographs and arrays are read."""

from typing import NamedTuple


class ReadOptions(NamedTuple):
    """How images are read.

    Attributes:
        exif: turn and mirror a photograph as its EXIF says.
        eight_bit: take the upper eight bits of photographs of more, as maetool 0.1 did; else their values are kept.
        gaps: let NaN stand in float32 where an array has no data, see `decode_array`.
    """

    exif: bool = False
    eight_bit: bool = False
    gaps: bool = False


AS_STORED = ReadOptions()
