"""The header that stands before an image in a shard: its name, its size and its CRC-32."""

import os
import tarfile
import zlib

BLOCK = 512  # tar's unit
# tar has no place for a checksum of a file's content. The name of the owner, which an image does not have, holds it.
_CHECKSUM, _CHECKSUM_AT = "crc32:{:08x}", slice(265, 279)


def header_of(name: str, data: bytes) -> bytes:
    """Return the blocks before the file `name` of content `data` in a tar file, in GNU tar's format, for any name."""
    member = tarfile.TarInfo(name)
    member.size, member.uname = len(data), _CHECKSUM.format(zlib.crc32(data))
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def is_of(block: bytes, name: str, size: int) -> bool:
    """Return whether the last block of a header is that of an image with this name and size in bytes."""
    return block[:100].rstrip(b"\0") == os.fsencode(name)[:100] and block[124:135] == b"%011o" % size


def is_damaged(block: bytes, data: bytes) -> bool:
    """Return whether `block`, the last of a header, has another checksum than `data`; False without one."""
    stored = block[_CHECKSUM_AT]
    return stored.startswith(b"crc32:") and stored != _CHECKSUM.format(zlib.crc32(data)).encode()
