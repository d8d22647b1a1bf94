"""Every picture that can be read is found, whatever its ending; the others are counted aloud."""

import io
import logging
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.data import ImageFolderDataset, ResizeCenterCrop, ResizeRandomCrop
from maetool.data.codecs import endings, heif
from maetool.data.codecs.endings import ending_of
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.sources import file_index
from maetool.data.sources.file_index import index_files
from maetool.errors import UsageError, printable

PICTURE = np.stack(np.broadcast_arrays(*np.mgrid[0:12, 0:16], 7), -1).astype(np.uint8) * 12


def encoded(kind):
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, kind)
    return file.getvalue()


@pytest.fixture
def bare(monkeypatch):
    """As where no optional package is installed."""
    monkeypatch.setattr(endings, "_installed", lambda package: False)
    required = tuple(ending for ending in file_index.IMAGE_EXTENSIONS if ending not in endings.OPTIONAL)
    monkeypatch.setattr(file_index, "IMAGE_EXTENSIONS", required)


@pytest.fixture
def heard(caplog):
    logger = logging.getLogger("maetool")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


ENDINGS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".JPG", ".mpo"), "JPEG"),
    **dict.fromkeys((".png", ".apng", ".PNG", "", ".1"), "PNG"),
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".j2c"), "JPEG2000"),
    **dict.fromkeys((".pnm", ".ppm"), "PPM"),
    **dict.fromkeys((".tif", ".tiff", ".TIFF"), "TIFF"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **{".webp": "WEBP", ".avif": "AVIF", ".gif": "GIF", ".tga": "TGA", ".ico": "ICO"},
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_read(tmp_path, ending):
    (tmp_path / f"a{ending}").write_bytes(encoded(ENDINGS[ending]))
    image = ImageFolderDataset(tmp_path, index_cache=tmp_path.parent / f"{tmp_path.name} cache")[0]["inputs"]
    assert image.dtype == torch.uint8 and image.shape[0] == 3
    if ENDINGS[ending] != "ICO":
        assert (image.permute(1, 2, 0).int() - torch.from_numpy(PICTURE).int()).abs().float().mean() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "JPEG2000", "PPM", "AVIF"])
def test_no_ending_is_judged_by_the_first_bytes(tmp_path, kind):
    (tmp_path / "a").write_bytes(encoded(kind))
    (tmp_path / "README").write_text("Pictures of squares, made for a test. " * 20)
    os.mkfifo(tmp_path / "pipe")
    assert [index_files(tmp_path, tmp_path.parent / f"{tmp_path.name} cache").relative(0)] == ["a"]
    assert len(index_files(tmp_path, tmp_path.parent / f"{tmp_path.name} cache")) == 1


def test_others_are_counted_in_one_line_each_time(tmp_path, heard, bare):
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    for name in ("b.nii.gz", "c.heic", "d.heic", "e.tar", "f.txt", "g"):
        (tmp_path / name).write_bytes(bytes(400))
    for _ in range(2):  # the second time from the cache
        heard.clear()
        index_files(tmp_path, tmp_path.parent / f"{tmp_path.name} cache")
        (record,) = heard.records[:1]
        assert record.levelname == "WARNING" and record.getMessage().startswith("6 files in")
        assert (
            "2 x .heic (pip install pillow-heif), 1 x .nii.gz (pip install nibabel), 1 x .tar, 1 x .txt" in heard.text
        )


def test_texts_beside_images_are_no_warning(tmp_path, heard):
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    (tmp_path / "labels.csv").touch()
    with heard.at_level(logging.WARNING):
        index_files(tmp_path, tmp_path.parent / f"{tmp_path.name} cache")
    assert not [record for record in heard.records if record.levelname == "WARNING"]


def test_no_image_at_all_names_the_package(tmp_path, bare):
    (tmp_path / "a.dcm").write_bytes(bytes(400))
    with pytest.raises(UsageError, match="pip install pydicom"):
        index_files(tmp_path, tmp_path.parent / f"{tmp_path.name} cache")


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.JPG", ".jpg"), ("x/a.nii.gz", ".nii.gz"), ("a", ""), (".hidden", ""), ("1.2.840.113", ""), ("a.b/c", "")],
)
def test_ending_of(name, ending):
    assert ending_of(name) == ending


def test_heic_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(heif, "is_installed", lambda name: False)
    with pytest.raises(UnreadableImage, match="pip install pillow-heif"):
        decode_image(b"\0\0\0\x18ftypheic" + bytes(400))


def test_heic_is_read_and_turned_as_it_says():
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(PICTURE.repeat(8, 0).repeat(8, 1))).save(file, quality=95)
    assert decode_image(file.getvalue()).shape == (3, 96, 128)
    with pytest.raises(UnreadableImage, match="max_pixels"):
        decode_image(file.getvalue(), max_pixels=96 * 128 - 1)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_outside_of_utf8(tmp_path, heard):
    for folder in (b"caf\xe9", b"tea"):
        path = os.path.join(os.fsencode(tmp_path), folder)
        os.mkdir(path)
        with open(path + b"/n\xe9.png", "wb") as file:
            file.write(encoded("PNG"))
    data = ImageFolderDataset(tmp_path, with_labels=True, index_cache=tmp_path.parent / f"{tmp_path.name} cache")
    assert data.classes == ["caf\\xe9", "tea"] and data[0]["inputs"].shape == (3, 12, 16)
    "".join(data.classes).encode()
    assert printable("caf\udce9 \u00e9") == "caf\\xe9 \u00e9"


@pytest.mark.parametrize("crop", [ResizeCenterCrop, ResizeRandomCrop])
@pytest.mark.parametrize("shape", [(3, 8, 4000), (3, 4000, 8)])
def test_a_strip_is_bounded_work(monkeypatch, crop, shape):
    from maetool.data.transforms import crops

    sizes = []

    def noted(image, size, by_pillow=False):
        sizes.append(size)
        return image.new_zeros(image.shape[0], *size)

    monkeypatch.setattr(crops, "resize", noted)
    assert crop(32)(torch.zeros(shape, dtype=torch.uint8)).shape == (3, 32, 32)
    assert max(sizes[0]) <= 37 * 32
