"""Many names in two arrays: tens of megabytes for a million, and nothing to copy to a worker by hand."""

import os
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Names:
    """Many file names in two arrays.

    Attributes:
        blob: uint8, all names one after the other, in the file system's encoding.
        offsets: int64 (N + 1), where each name begins.
    """

    blob: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, names: list[bytes]) -> "Names":
        """Pack `names`."""
        offsets = np.zeros(len(names) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, names), np.int64, len(names)), out=offsets[1:])
        return cls(np.frombuffer(b"".join(names), np.uint8), offsets)

    @classmethod
    def checked(cls, blob: np.ndarray, offsets: np.ndarray) -> "Names":
        """Return the names in two arrays of a file.

        Args:
            blob: uint8 (bytes,), the names one after the other.
            offsets: int64 (N + 1,), where each begins, and the end.

        Raises:
            ValueError: arrays of another kind, or places outside of the blob.
        """
        if (blob.ndim, offsets.ndim) != (1, 1) or blob.dtype != np.uint8 or offsets.dtype != np.int64:
            raise ValueError("the names are of another shape or type")
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(blob) or (np.diff(offsets) < 0).any():
            raise ValueError("the names point outside of their text")
        return cls(blob, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(self.blob[self.offsets[index] : self.offsets[index + 1]].tobytes())
