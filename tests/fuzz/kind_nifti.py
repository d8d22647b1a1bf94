"""NIfTI files of both versions, plain and compressed: volumes by their slices, and single slices."""

import gzip
from functools import cache

import nibabel
import numpy as np
from damage import bytes_damaged

from maetool.data.codecs.image_size import Refused
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.codecs.nifti import Volume

MAX_PIXELS = 2**16
MEMORY = 2**28
SHAPE = (9, 11, 7)
VALUES = np.random.default_rng(0).integers(-500, 500, SHAPE).astype(np.int16)


def _file(values, kind=nibabel.Nifti1Image, slope=None):
    image = kind(values, np.eye(4))
    if slope:
        image.header.set_slope_inter(slope, 3)
    return image.to_bytes()


@cache
def samples():
    """Return name to (bytes, expected middle slice across the last axis; rows from front to back)."""
    series = np.stack([VALUES, VALUES + 1], axis=-1)
    middle = np.flipud(VALUES[:, :, 3].T).astype(np.float32)
    single = np.flipud(VALUES[:, :, 2:3][:, :, 0].T).astype(np.float32)
    plain = _file(VALUES)
    return {
        "plain": (plain, middle),
        "gzip": (gzip.compress(plain, mtime=0), middle),
        "version 2": (_file(VALUES, nibabel.Nifti2Image), middle),
        "float": (_file(VALUES.astype(np.float32)), middle),
        "scaled": (_file(VALUES, slope=2.0), middle * 2 + 3),
        "series": (_file(series), middle),
        "slice": (_file(VALUES[:, :, 2:3].copy()), single),
        "compressed slice": (gzip.compress(_file(VALUES[:, :, 2:3].copy()), mtime=0), single),
    }


def make_case(rng, folder):
    name = rng.choice(list(samples()))
    data, expected = samples()[name]
    whole = rng.randrange(8) == 0
    if not whole and name in ("gzip", "compressed slice") and rng.random() < 0.5:
        data = gzip.compress(bytes_damaged(rng, gzip.decompress(data)), mtime=0)
    elif not whole:
        data = bytes_damaged(rng, data)
    return data, "slice" in name, expected if whole else None, rng.randrange(3), whole


def try_case(case):
    data, single, expected, axis, whole = case
    try:
        image = decode_image(data, 1, max_pixels=MAX_PIXELS)[0].numpy() if single else _slice(data, axis, whole)
    except Refused as error:
        assert not whole
        raise UnreadableImage("x", error) from error
    except UnreadableImage:
        assert not whole
        raise
    assert image.dtype == np.float32 and image.ndim == 2 and image.size <= MAX_PIXELS
    if expected is not None:
        assert np.allclose(image, expected)
    return "right"


def _slice(data, axis, whole):
    volume = Volume(data, MAX_PIXELS)
    axis = 2 if whole else axis
    return volume.slice(axis, volume.sides[axis] // 2, volume.times - 1 if not whole else 0)
