"""Which files are images by their endings, and what the others need."""

import re
from collections import Counter

from maetool.compat import is_installed

ARRAY_EXTENSIONS = (".npy", ".tif", ".tiff", ".btf", ".tf8")
_PHOTOS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    *(".png", ".apng", ".webp", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".ico", ".tga", ".icb", ".vda", ".vst"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".pnm", ".ppm", ".pgm", ".pbm", ".pfm"),
)
# Ending to the package that reads it, an extra.
OPTIONAL = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "pillow-heif"),
    **dict.fromkeys((".dcm", ".dicom"), "pydicom"),
    **dict.fromkeys((".nii", ".nii.gz"), "nibabel"),
}


def _installed(package: str) -> bool:
    return is_installed(package.replace("-", "_"))


IMAGE_EXTENSIONS = (
    *_PHOTOS,
    *ARRAY_EXTENSIONS,
    *(ending for ending, package in OPTIONAL.items() if _installed(package)),
)


HEAD_BYTES = 400  # as far as NIfTI's mark
# Tables, texts and settings that usually lie beside images.
_SIDECARS = (".txt", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".md", ".html", ".ini", ".cfg", ".log", ".db")
_SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|BM.{4}\0\0\0\0|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]|\x93NUMPY"
    rb"|\0\0\0\x0cjP  |\xff\x4f\xff\x51|P[1-6]\s|.{4}ftyp(?:avif|avis)",
    re.DOTALL,
)


def looks_like_image(head: bytes) -> bool:
    """Return whether `head`, the first `HEAD_BYTES` of a file, are those of an image that can be read here."""
    if _SIGNATURES.match(head):
        return True
    if head[128:132] == b"DICM":
        return _installed("pydicom")
    return head[344:348] == b"n+1\0" and _installed("nibabel")


def describe_others(root: str, others: Counter[str]) -> tuple[str, bool]:
    """Describe the files that are no images by their endings.

    Args:
        root: folder of the images.
        others: how many files have each ending.

    Returns:
        The line, and whether there is more than tables and texts.
    """
    ordered = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{count} x {ending}{hint_for(ending)}" for ending, count in ordered[:8])
    more = f" and {len(others) - 8} more endings" if len(others) > 8 else ""
    matters = any(ending not in _SIDECARS for ending in others)
    return f"{sum(others.values()):,} files in {root} are passed over by their endings: {named}{more}.", matters


def ending_of(name: str) -> str:
    """Return the ending of a file's name in lower case, with that before `.gz`; "" for none or a number."""
    stem, dot, ending = name.rpartition("/")[2].lower().rpartition(".")
    if not dot or not stem or ending.isdigit():  # as of the instances of DICOM
        return ""
    if ending == "gz" and "." in stem:
        return f".{stem.rpartition('.')[2]}.gz"
    return f".{ending}"


def hint_for(ending: str) -> str:
    """Return how files of an ending can be read, in parentheses; "" where they cannot."""
    package = OPTIONAL.get(ending)
    return f" (pip install {package})" if package and not _installed(package) else ""
