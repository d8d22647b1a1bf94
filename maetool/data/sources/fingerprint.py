"""What tells sets of images apart, so that parts of a work are joined only if all saw the same images."""

import hashlib

from maetool.data.codecs.images import UnreadableImage

from .base import Source

_CONTENTS = 16  # images whose bytes count; reading all would take as long as the work itself


def fingerprint(files: Source) -> dict[str, str | int]:
    """Return the number of images in `files`, a digest of their names in order, and one of the bytes of some."""
    names, contents = hashlib.sha256(), hashlib.sha256()
    for index in range(len(files)):
        names.update(files.relative(index).encode("utf-8", "surrogateescape") + b"\0")
    for number in range(min(_CONTENTS, len(files))):
        try:
            data = files.read(number * len(files) // min(_CONTENTS, len(files)))[1]
        except UnreadableImage:
            data = b""
        contents.update(hashlib.sha256(data).digest())
    return {"images": len(files), "names": names.hexdigest()[:16], "contents": contents.hexdigest()[:16]}
