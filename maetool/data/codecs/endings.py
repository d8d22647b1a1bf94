"""Which files are images by their endings, and what the others need."""

from importlib.util import find_spec

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
    return find_spec(package.replace("-", "_")) is not None


IMAGE_EXTENSIONS = (
    *_PHOTOS,
    *ARRAY_EXTENSIONS,
    *(ending for ending, package in OPTIONAL.items() if _installed(package)),
)


def ending_of(name: str) -> str:
    """Return the ending of a file's name in lower case, with the one before `.gz`; "" where there is none."""
    stem, dot, ending = name.rpartition("/")[2].lower().rpartition(".")
    if not dot or not stem:
        return ""
    if ending == "gz" and "." in stem:
        return f".{stem.rpartition('.')[2]}.gz"
    return f".{ending}"


def hint_for(ending: str) -> str:
    """Return how files of an ending can be read, in parentheses; "" where they cannot."""
    package = OPTIONAL.get(ending)
    return f" (pip install {package})" if package and not _installed(package) else ""
