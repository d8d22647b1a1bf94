"""Bounded reading of untrusted files: never blocks, limits bytes, and does not trust array headers."""

import errno
import io
import math
import os
import stat
import zipfile
from pathlib import Path

import numpy as np

from .errors import UsageError

MOST_BYTES = 2**31  # limit for a table, a list or an annotation file; the largest published ones have 1.3 GB
# Limit for unpacking an archive: DEFLATE reaches 1,032 times the file's size, but only on zeros.
_INFLATION, _FREE = 20, 2**24
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_file(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Args:
        path: of the file.
        most: bytes.

    Raises:
        OSError: the file is missing, not readable, larger, or a directory, named pipe, socket or device; opening it
            never blocks.
    """
    # Python's file objects make more system calls, which makes them a quarter slower.
    descriptor = _open(path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_regular(path, status.st_mode)
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"it has {status.st_size:,} bytes, more than the {most:,} that are read", path)
        data = os.read(descriptor, status.st_size)
        # A network file system may return it in parts.
        while len(data) < status.st_size and (more := os.read(descriptor, status.st_size - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def read_head(path: str | bytes | Path, most: int) -> bytes:
    """Return the first `most` bytes of the regular file `path`, or all where it has fewer; b"" for anything else."""
    try:
        descriptor = _open(path)
    except OSError:
        return b""
    try:
        return os.read(descriptor, most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _open(path: str | bytes | Path) -> int:
    # Without O_NONBLOCK a named pipe waits for a writer; Windows translates line ends without O_BINARY.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags)
    except ValueError as error:  # a zero byte in the name
        raise OSError(errno.EINVAL, f"no name of a file ({error})") from error
    except OSError as error:
        raise (_not_regular(path, 0) if error.errno == errno.ENXIO else error) from None  # a socket


def _not_regular(path: str | bytes | Path, mode: int) -> OSError:
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return OSError(errno.EINVAL, "it is not a regular file, but a named pipe, a socket or a device", path)


def read_text(path: str | Path, expected: str) -> str:
    """Return the content of a text file in UTF-8, without a byte order mark.

    Args:
        path: the file.
        expected: the expected content, for the message.

    Raises:
        UsageError: the file cannot be read, or is not in UTF-8.
    """
    try:
        return read_file(path).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}): expected {expected}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not text in UTF-8 (byte {error.start} is {error.object[error.start]:#04x}): save it in UTF-8; "
            f"expected {expected}."
        ) from error


def npy_header(data: bytes) -> tuple[tuple[int, ...], np.dtype, bool, int]:
    """Return shape, dtype, whether the order is Fortran's, and the offset of the values in `data`, a `.npy` file.

    Raises:
        ValueError: an invalid header, values that are Python objects, or fewer values than the header says.
    """
    file = io.BytesIO(data)
    try:
        shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except Exception as error:  # a damaged header raises ValueError, KeyError, TokenError, RecursionError ...
        raise ValueError(f"damaged header: {type(error).__name__} {error}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which can run code when they are loaded: save a plain array")
    needed, there = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    if min(shape, default=0) < 0 or needed > there:
        raise ValueError(f"damaged: the header says {shape} of {dtype}, {needed:,} bytes, but {there:,} bytes follow")
    return shape, dtype, fortran, file.tell()


def read_npy(data: bytes) -> np.ndarray:
    """Return the array in `data`, a `.npy` file; it is read-only, because it shares the bytes.

    Raises:
        ValueError: see `npy_header`.
    """
    shape, dtype, fortran, start = npy_header(data)
    try:
        return np.ndarray(shape, dtype, data, start, order="F" if fortran else "C")
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{shape} of {dtype} is not a valid array ({error})") from error


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of the `.npz` file `path` by name, after checking its checksums.

    Raises:
        OSError: see `read_file`.
        ValueError: see `arrays_in`.
    """
    return arrays_in(read_file(path))


def arrays_in(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in `data`, the content of a `.npz` file, by name, after checking its checksums.

    Raises:
        ValueError: it is damaged, or would unpack to far more than its size.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            total, most = sum(info.file_size for info in archive.infolist()), _INFLATION * len(data) + _FREE
            if total > most:
                raise ValueError(f"{len(data):,} bytes would become {total:,}, more than the {most:,} that are read")
            return {name.removesuffix(".npy"): read_npy(archive.read(name)) for name in archive.namelist()}
    except ValueError:
        raise
    except Exception as error:  # BadZipFile, NotImplementedError, zlib.error, EOFError, RuntimeError ...
        raise ValueError(f"not an archive of arrays: {type(error).__name__} {error}") from error
