"""The files inside of zip and tar archives: where each lies, so that it is read in place."""

import os
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from struct import Struct
from typing import Any, NamedTuple

from maetool.data.codecs.image_size import RAISE_LIMIT
from maetool.data.codecs.images import UnreadableImage
from maetool.errors import UsageError

from .open_files import ReadsAtPlaces

TAR_ENDINGS, ZIP_ENDINGS = (".tar",), (".zip", ".cbz")
ARCHIVE_ENDINGS = (*TAR_ENDINGS, *ZIP_ENDINGS)
TAR, STORED, DEFLATED = range(3)
_LOCAL = Struct("<4s22xHH")  # signature, then the lengths of the name and of what follows it (APPNOTE, 4.3.7)
_SMALL = 64  # bytes of a label; on another machine each would cost a request of its own later
_FIELDS = 64  # bytes of extra fields that most archives stay below: sizes of 64 bits and times have 60
_ERRORS = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError),
    *(ValueError, ArithmeticError, LookupError, RecursionError),
)


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: its path inside, with slashes.
        kind: TAR, STORED or DEFLATED.
        offset: where its bytes (TAR) or its local header (zip) begin.
        packed: bytes that it takes in the archive.
        size: bytes that it has.
        crc: CRC-32 of the content, -1 where the archive does not tell.
        content: of a small file in a tar file, such as a label, read on the way; else empty.
    """

    name: str
    kind: int
    offset: int
    packed: int
    size: int
    crc: int
    content: bytes = b""


def members_in(path: str, file: Any = None) -> list[Member]:
    """Return the regular files of an archive in its order; hidden ones are left out, and of one name the last counts.

    Args:
        path: where it is.
        file: the archive opened, where it is not on a disk.

    Raises:
        UsageError: no archive, a damaged one, or one that must be unpacked: encrypted, or of another compression.
    """
    try:
        if file is None and not os.path.isfile(path):  # a named pipe would be waited for
            raise OSError("it is not a regular file")
        read = _of_zip if path.lower().endswith(ZIP_ENDINGS) else _of_tar
        members = {member.name: member for member in read(path, file) if not _is_hidden(member.name)}
    except UsageError:
        raise
    except _ERRORS as error:
        raise UsageError(
            f"{path} cannot be read as an archive ({error}): expected a zip file, or a tar file that is not "
            "compressed; copy it again, or unpack it."
        ) from error
    return list(members.values())


def _of_tar(path: str, file: Any) -> Iterator[Member]:
    with tarfile.open(None if file else path, "r:", file) as archive:
        for entry in archive:
            if entry.isfile() and not entry.issparse():
                stored = archive.extractfile(entry) if entry.size <= _SMALL else None
                content = stored.read() if stored else b""
                yield Member(_cleaned(entry.name), TAR, entry.offset_data, entry.size, entry.size, -1, content)


def _of_zip(path: str, file: Any) -> Iterator[Member]:
    with zipfile.ZipFile(file or path) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            kind = {zipfile.ZIP_STORED: STORED, zipfile.ZIP_DEFLATED: DEFLATED}.get(entry.compress_type)
            if kind is None or entry.flag_bits & 1:
                what = "is encrypted" if entry.flag_bits & 1 else f"has compression {entry.compress_type}"
                raise UsageError(
                    f"{path}: {entry.filename} {what}, which is not read in place: unpack the archive, or pack it "
                    "again without a password and with deflate."
                )
            yield Member(
                _cleaned(entry.filename), kind, entry.header_offset, entry.compress_size, entry.file_size, entry.CRC
            )


def _cleaned(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/")).lstrip("/")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def read_member(files: ReadsAtPlaces, number: int, member: Member, path: str, most: int) -> bytes:
    """Return the content of a member of archive `number`.

    Args:
        files: the archives.
        number: which of them.
        member: the file in it.
        path: what to call it.
        most: bytes that it may have.

    Raises:
        UnreadableImage: it has more than `most` bytes, is damaged, or the archive changed.
    """
    if member.content:
        return member.content
    if member.size > most:
        raise UnreadableImage(
            path, f"it has {member.size:,} bytes, more than the {most:,} that are read: {RAISE_LIMIT}"
        )
    try:
        data = _packed(files, number, member, min(member.packed, most + 2**16))
        if member.kind == DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
    except UnreadableImage as error:
        raise UnreadableImage(path, error.reason) from error
    except (OSError, zlib.error, ValueError) as error:
        raise UnreadableImage(path, (getattr(error, "strerror", None) or str(error)).lower()) from error
    if len(data) != member.size or (member.crc >= 0 and zlib.crc32(data) != member.crc):
        raise UnreadableImage(path, "damaged, or the archive changed since it was opened")
    if not data:
        raise UnreadableImage(path, "the file is empty")
    return data


def _packed(files: ReadsAtPlaces, number: int, member: Member, count: int) -> bytes:
    """Return up to `count` bytes of a member as they lie in the archive."""
    if member.kind == TAR:
        return files.read(number, count, member.offset)
    # One read as a rule: the header has the name and a few fields more, whose lengths only it tells.
    guess = _LOCAL.size + len(member.name.encode(errors="surrogateescape")) + _FIELDS
    block = files.read(number, guess + count, member.offset)
    signature, name, extra = _LOCAL.unpack(block[: _LOCAL.size]) if len(block) >= _LOCAL.size else (b"", 0, 0)
    if signature != b"PK\3\4":
        raise ValueError("damaged, or the archive changed since it was opened")
    start = _LOCAL.size + name + extra
    if start <= guess:
        return block[start : start + count]
    return files.read(number, count, member.offset + start)
