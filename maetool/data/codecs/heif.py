"""HEIC and HEIF, by pillow-heif, which Pillow then opens as any other format."""

from maetool.compat import is_installed

NEEDS = "HEIC needs pillow-heif, which is not installed: pip install pillow-heif, or save the pictures as JPEG"
_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")  # ISO/IEC 23008-12


def is_heif(data: bytes) -> bool:
    """Return whether the bytes `data` are an image of one of HEIF's brands; AVIF is not among them."""
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS and b"avif" not in data[8:64]


def register() -> bool:
    """Let Pillow read HEIF; it turns the pictures as they say. Return False where pillow-heif is not installed."""
    if not is_installed("pillow_heif"):
        return False
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return True
