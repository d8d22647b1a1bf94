"""Windows and frames: TIFF by tiles, strips, levels and pages, arrays, photographs and animations."""

import io
from functools import cache

import numpy as np
import tifffile
from damage import bytes_damaged
from PIL import Image

from maetool.data.codecs.images import decode_image
from maetool.data.sources import FolderSource, FrameSource, WindowSource

MAX_PIXELS = 2**16
MEMORY = 2**28
SIDE = 48
VALUES = np.random.default_rng(0).integers(0, 250, (SIDE, SIDE, 3), np.uint8)
FRAMES = [VALUES, VALUES[::-1].copy(), VALUES[:, ::-1].copy()]


def _tiff(values=VALUES, **options):
    facts = {"photometric": "rgb" if values.dtype == np.uint8 else "minisblack", "metadata": None}
    tifffile.imwrite(file := io.BytesIO(), values, **{"planarconfig": "contig", **facts, **options})
    return file.getvalue()


def _levels(**options):
    with tifffile.TiffWriter(file := io.BytesIO()) as writer:
        for step in (1, 2):
            writer.write(VALUES[::step, ::step], photometric="rgb", tile=(16, 16), metadata=None, subfiletype=step // 2)
    return file.getvalue()


def _by_pillow(kind, several=False, **options):
    first, *others = map(Image.fromarray, FRAMES)
    more = {"save_all": True, "append_images": others} if several else {}
    first.save(file := io.BytesIO(), kind, **more, **options)
    return file.getvalue()


def _npy():
    np.save(file := io.BytesIO(), VALUES)
    return file.getvalue()


@cache
def samples():
    """Return name to (bytes, ending, whether it has frames, pictures of these or of the whole; None if lossy)."""
    planes = np.moveaxis(VALUES, -1, 0)
    return {
        "tiles": (_tiff(tile=(16, 32)), ".tif", False, [VALUES]),
        "strips": (_tiff(rowsperstrip=7), ".tif", False, [VALUES]),
        "deflate": (_tiff(tile=(32, 16), compression="zlib"), ".tif", False, [VALUES]),
        "planes": (_tiff(planes, planarconfig="separate", tile=(16, 16)), ".tif", False, [VALUES]),
        "floats": (_tiff(VALUES.astype(np.float32), tile=(16, 16)), ".tif", False, [VALUES]),
        "big": (_tiff(bigtiff=True, tile=(16, 16)), ".tif", False, [VALUES]),
        "levels": (_levels(), ".tif", False, [VALUES]),
        "array": (_npy(), ".npy", False, [VALUES]),
        "png": (_by_pillow("PNG"), ".png", False, [VALUES]),
        "jpeg": (_by_pillow("JPEG"), ".jpg", False, None),
        "pages": (_by_pillow("TIFF", True), ".tif", True, FRAMES),
        "gif": (_by_pillow("GIF", True), ".gif", True, None),
        "apng": (_by_pillow("PNG", True), ".png", True, FRAMES),
        "webp": (_by_pillow("WEBP", True, lossless=True), ".webp", True, FRAMES),
    }


def make_case(rng, folder):
    data, ending, of_frames, pictures = samples()[rng.choice(list(samples()))]
    whole = rng.randrange(8) == 0
    (folder / f"a{ending}").write_bytes(data if whole else bytes_damaged(rng, data))
    return folder, of_frames, pictures if whole else None, whole, rng.random()


def try_case(case):
    folder, of_frames, pictures, whole, place = case
    files = FolderSource(folder, index_cache=folder / "cache")
    if of_frames:
        source = FrameSource(files, max_pixels=MAX_PIXELS)
    else:
        source = WindowSource(files, (20, 24), (16, 20), max_pixels=MAX_PIXELS)
    index = int(place * len(source))
    assert not whole or len(source) == (3 if of_frames else 9)
    _, data = source.read(index)
    image = decode_image(data, 3, max_pixels=MAX_PIXELS).permute(1, 2, 0).numpy()
    assert image.shape[0] * image.shape[1] <= MAX_PIXELS
    if pictures:
        expected = pictures[index] if of_frames else pictures[0][source.window_of(index).slices]
        assert np.array_equal(image, expected)
    return "right"
