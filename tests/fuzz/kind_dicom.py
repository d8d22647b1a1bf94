"""DICOM files of every usual kind: one frame, several, colours, compressed, and with values of a modality."""

import io
from functools import cache

import numpy as np
import pydicom
import torch
from damage import bytes_damaged
from pydicom.dataset import FileDataset, FileMetaDataset

from maetool.data.codecs.dicom import decode_dicom
from maetool.data.codecs.image_size import Refused
from maetool.data.codecs.images import UnreadableImage, decode_image

MAX_PIXELS = 2**16
MEMORY = 2**28
PIXELS = np.random.default_rng(0).integers(0, 4096, (13, 17)).astype(np.uint16)


def _file(pixels, photometric="MONOCHROME2", syntax=pydicom.uid.ExplicitVRLittleEndian, **elements):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3"
    head = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    head.SOPClassUID, head.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    colours = photometric in ("RGB", "YBR_FULL")
    head.SamplesPerPixel, head.PhotometricInterpretation = 3 if colours else 1, photometric
    head.Rows, head.Columns = pixels.shape[-3:-1] if colours else pixels.shape[-2:]
    head.PixelRepresentation = int(pixels.dtype.kind == "i")
    head.BitsAllocated = head.BitsStored = 8 * pixels.dtype.itemsize
    head.HighBit = head.BitsStored - 1
    for name, value in {**({"PlanarConfiguration": 0} if colours else {}), **elements}.items():
        setattr(head, name, value)
    head.PixelData = pixels.tobytes()
    file = io.BytesIO()
    head.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _run_length(data):
    head = pydicom.dcmread(io.BytesIO(data))
    head.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    file = io.BytesIO()
    head.save_as(file, enforce_file_format=True)
    return file.getvalue()


@cache
def samples():
    """Return name to (bytes, channels, frame, (C, H, W) that they hold; None where it is not compared)."""
    colours = np.random.default_rng(1).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    stack = np.stack([PIXELS, PIXELS[::-1]])
    plain, signed = _file(PIXELS), PIXELS.astype(np.int16) - 2048
    scaled = _file(signed, RescaleSlope=2, RescaleIntercept=-100)
    implicit = _file(PIXELS, syntax=pydicom.uid.ImplicitVRLittleEndian)
    deflated = _file(PIXELS, syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    return {
        "plain": (plain, 1, None, PIXELS[None]),
        "as three channels": (plain, 3, None, np.repeat(PIXELS[None], 3, axis=0)),
        "signed and scaled": (scaled, 1, None, signed[None] * 2.0 - 100),
        "low is bright": (_file(PIXELS, "MONOCHROME1"), 1, None, 65535.0 - PIXELS[None]),
        "implicit": (implicit, 1, None, PIXELS[None]),
        "deflated": (deflated, 1, None, PIXELS[None]),
        "run lengths": (_run_length(plain), 1, None, PIXELS[None]),
        "colours": (_file(colours, "RGB"), 3, None, colours.transpose(2, 0, 1)),
        "luma and chroma": (_file(colours, "YBR_FULL"), 3, None, None),
        "frames": (_file(stack, NumberOfFrames=2), 1, 1, stack[1][None]),
        "frames in run lengths": (_run_length(_file(stack, NumberOfFrames=2)), 1, 0, stack[0][None]),
    }


def make_case(rng, folder):
    name = rng.choice(list(samples()))
    data, channels, frame, expected = samples()[name]
    whole = rng.randrange(8) == 0
    if not whole and rng.random() < 0.5:  # the elements begin behind the preamble, which means nothing
        data = data[:128] + bytes_damaged(rng, data[128:])
    elif not whole:
        other = samples()[rng.choice(list(samples()))][0]
        data = bytes_damaged(rng, data[: rng.randrange(200, len(data))] + other[rng.randrange(200, len(other)) :])
    return data, channels, frame, expected if whole else None, whole


def try_case(case):
    data, channels, frame, expected, whole = case
    try:
        image = _read(data, channels, frame)
    except UnreadableImage:
        assert not whole
        raise
    assert np.isfinite(image).all() and image.shape[0] == channels and image[0].size <= MAX_PIXELS
    if expected is not None:
        assert np.array_equal(image, expected)
    return "right"


def _read(data, channels, frame):
    if frame is None:
        image = decode_image(data, channels, max_pixels=MAX_PIXELS)
        assert image.dtype in (torch.uint8, torch.float32)
        return image.numpy()
    try:
        return decode_dicom(data, channels, MAX_PIXELS, frame)[None]
    except Refused as error:
        raise UnreadableImage("x", error) from error
