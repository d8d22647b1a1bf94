"""Images of every format that is read: decoded, cropped, prepared and measured."""

import io
from contextlib import suppress
from functools import cache

import cv2
import numpy as np
import tifffile
import torch
from damage import bytes_damaged, png_damaged
from PIL import Image

from maetool.data.codecs.encoded import EncodedImage, open_image
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.prepare.prepare import Recipe, encode
from maetool.inspection.pixels import channels_of

MAX_PIXELS = 2**20
MEMORY = 2**28  # 22 bytes a pixel are 23 MB; the rest is what the decoders' libraries take for themselves
HEIGHT, WIDTH = 43, 61


@cache
def photo():
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _by_pillow(form, image=None, **options):
    file = io.BytesIO()
    (image or Image.fromarray(photo())).save(file, form, **options)
    return file.getvalue()


def _tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def _by_opencv(ending, array, options=()):
    return cv2.imencode(ending, np.ascontiguousarray(array[..., ::-1]), list(options))[1].tobytes()


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@cache
def samples():
    """Return name to (bytes, channels, (C, H, W) that they hold; None where the format loses some)."""
    rgb, more = photo(), [Image.fromarray(photo()[::-1].copy())]
    chw, bands = rgb.transpose(2, 0, 1), np.random.default_rng(1).random((5, HEIGHT, WIDTH), np.float32)
    grey = Image.fromarray(rgb[..., 0])
    frames = {"save_all": True, "append_images": more}
    return {
        "jpeg": (_by_pillow("JPEG"), 3, None),
        "progressive": (_by_pillow("JPEG", progressive=True), 3, None),
        "grey jpeg": (_by_pillow("JPEG", grey), 1, None),
        "cmyk": (_by_pillow("JPEG", Image.fromarray(rgb).convert("CMYK")), 3, None),
        "png": (_by_pillow("PNG"), 3, chw),
        "grey png": (_by_pillow("PNG", grey), 1, chw[:1]),
        "palette png": (_by_pillow("PNG", Image.fromarray(rgb).convert("P")), 3, None),
        "16-bit png": (_by_pillow("PNG", Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)), 1, None),
        "16-bit colour png": (_by_opencv(".png", rgb.astype(np.uint16) * 257), 3, chw * 257.0),
        "pgm": (b"P5\n%d %d\n4095\n" % (WIDTH, HEIGHT) + rgb[..., 0].astype(">u2").tobytes(), 1, chw[:1] * 1.0),
        "pfm": (b"PF\n%d %d\n-1.0\n" % (WIDTH, HEIGHT) + rgb[::-1].astype("<f4").tobytes(), 3, chw * 1.0),
        "12-bit jpeg 2000": (
            _by_pillow("JPEG2000", Image.fromarray(rgb[..., 0].astype(np.uint16) * 16)),
            1,
            chw[:1] * 16.0,
        ),
        "avif": (_by_pillow("AVIF"), 3, None),
        "tga": (_by_pillow("TGA"), 3, chw),
        "lzw float tiff": (
            _by_opencv(".tiff", rgb.astype(np.float32), [cv2.IMWRITE_TIFF_COMPRESSION, 5]),
            3,
            chw * 1.0,
        ),
        "animated png": (_by_pillow("PNG", **frames), 3, chw),
        "webp": (_by_pillow("WEBP"), 3, None),
        "lossless webp": (_by_pillow("WEBP", lossless=True), 3, chw),
        "animated webp": (_by_pillow("WEBP", lossless=True, **frames), 3, None),
        "bmp": (_by_pillow("BMP"), 3, chw),
        "gif": (_by_pillow("GIF", **frames), 3, None),
        "rgb tiff": (_tiff(rgb, photometric="rgb"), 3, chw),
        "lzw tiff": (_by_pillow("TIFF", compression="tiff_lzw"), 3, chw),
        "float tiff": (_tiff(bands, photometric="minisblack"), 5, bands),
        "deflated tiff": (_tiff(bands, photometric="minisblack", compression="zlib", rowsperstrip=7), 5, bands),
        "tiled tiff": (_tiff(bands[0], tile=(16, 16), bigtiff=True), 1, bands[:1]),
        "lzma tiff": (_tiff(bands[0], compression="lzma"), 1, bands[:1]),
        "npy": (_npy(rgb), 3, chw),
        "float npy": (_npy(np.asfortranarray(bands.astype(np.float64))), 5, bands),
        "jpeg 2000": (_by_pillow("JPEG2000"), 3, None),
    }


def make_case(rng, folder):
    name = rng.choice(list(samples()))
    data, channels, expected = samples()[name]
    how = rng.randrange(10)
    if how == 0:
        pass
    elif how < 4 and "png" in name:
        data = png_damaged(rng, data)
    elif how == 5:
        other = samples()[rng.choice(list(samples()))][0]
        data = data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]
    else:
        data = bytes_damaged(rng, data)
    whole = how == 0
    in_chans = channels if whole or rng.random() < 0.8 else rng.choice((1, 3, 4))
    return data, in_chans, rng.choice(("cv2", "pillow")), expected if whole else None, whole


def try_case(case):
    data, in_chans, backend, expected, whole = case
    try:
        image = decode_image(data, in_chans, backend, max_pixels=MAX_PIXELS)
    except UnreadableImage:
        assert not whole
        _use_in_other_ways(data, in_chans, backend)
        raise
    assert image.shape[0] == in_chans and image.shape[1] * image.shape[2] <= MAX_PIXELS
    assert image.dtype in (torch.uint8, torch.float32) and image.isfinite().all()
    if whole:
        assert image.shape[1:] == (HEIGHT, WIDTH)
    if expected is not None:
        assert np.array_equal(image.numpy(), expected)
    _use_in_other_ways(data, in_chans, backend)
    channels_of(data, "x")
    return "right"


def _use_in_other_ways(data, in_chans, backend):
    for use in (_crop, lambda *args: encode(data, Recipe(short_side=16), "x", MAX_PIXELS)):
        with suppress(UnreadableImage):
            use(data, in_chans, backend)


def _crop(data, in_chans, backend):
    image = open_image(data, "x", in_chans, backend, MAX_PIXELS)
    if isinstance(image, EncodedImage):
        height, width = image.size
        assert height * width <= MAX_PIXELS
        part = image.crop((0, 0, max(1, height // 2), max(1, width // 2)), (8, 8))
        assert part.shape == (in_chans, 8, 8)
