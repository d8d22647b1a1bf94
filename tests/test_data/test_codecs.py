"""One answer for the same picture, whatever the ending and the backend; bits, EXIF and gaps are kept or asked for."""

import io
import logging

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from maetool.data import CocoDataset, ImageFolderDataset
from maetool.data.codecs import tiff
from maetool.data.codecs.encoded import EncodedImage, open_image
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.codecs.options import ReadOptions
from maetool.data.codecs.orientation import turned
from maetool.data.prepare.prepare import Recipe, encode, prepare
from maetool.data.transforms.crops import RandomResizedCrop
from maetool.errors import UsageError

TURN = ReadOptions(exif=True)


def by_pillow(array, kind, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def by_opencv(array, ending, *options):
    picture = array[..., ::-1] if array.ndim == 3 else array
    return cv2.imencode(ending, np.ascontiguousarray(picture), list(options))[1].tobytes()


def by_tifffile(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric="rgb" if array.ndim == 3 else "minisblack", **options)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def values(channels=1, high=4095, size=(14, 11)):
    return (np.random.default_rng(0).random((*size, channels)) * high).astype(np.uint16).squeeze()


GREY = {
    "png": lambda a: by_pillow(a, "PNG"),
    "jpeg 2000": lambda a: by_pillow(a, "JPEG2000"),
    "tiff": lambda a: by_pillow(a, "TIFF"),
    "tiff, LZW": lambda a: by_opencv(a, ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 5),
    "tiff, deflate": lambda a: by_tifffile(a, compression="zlib"),
    "tiff, tiles": lambda a: by_tifffile(a, tile=(16, 16)),
    "big tiff": lambda a: by_tifffile(a, bigtiff=True),
    "npy": npy,
    "pgm": lambda a: b"P5 # comment\n%d %d\n4095\n" % a.shape[::-1] + a.astype(">u2").tobytes(),
    "pfm": lambda a: b"Pf\n%d %d\n-1.0\n" % a.shape[::-1] + a[::-1].astype("<f4").tobytes(),
}
COLOUR = {
    "png": lambda a: by_opencv(a, ".png"),
    "tiff": lambda a: by_tifffile(a),
    "tiff, LZW": lambda a: by_opencv(a, ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 5),
    "npy": npy,
    "ppm": lambda a: b"P6\n11 14\n4095\n" + a.astype(">u2").tobytes(),
}


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize("kind", GREY)
def test_grey_values_of_more_than_8_bits_are_kept(kind, in_chans, backend):
    data = GREY[kind](values())
    expected = torch.from_numpy(values().astype(np.float32)).expand(in_chans, -1, -1)
    assert torch.equal(decode_image(data, in_chans, backend), expected)
    assert torch.equal(open_image(data, "x", in_chans, backend), expected)


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("kind", COLOUR)
def test_colours_of_more_than_8_bits_are_kept(kind, backend):
    image = decode_image(COLOUR[kind](values(3)), backend=backend)
    assert torch.equal(image, torch.from_numpy(values(3).astype(np.float32)).permute(2, 0, 1))


def test_upper_eight_bits_on_request():
    for backend in ("cv2", "pillow"):
        image = decode_image(GREY["png"](values(high=65535)), 1, backend, options=ReadOptions(eight_bit=True))
        assert image.dtype == torch.uint8
        assert (image[0].numpy().astype(int) - values(high=65535) // 256).__abs__().max() <= 1


@pytest.mark.parametrize("kind", ["png", "jpeg 2000", "pgm", "pfm"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_deep_photographs_that_are_cut_off(kind, share):
    data = GREY[kind](values(size=(140, 110)))
    with pytest.raises(UnreadableImage):
        decode_image(data[: int(share * len(data))], 1)


@pytest.mark.parametrize("kind", ["png", "jpeg 2000", "pgm", "pfm"])
def test_the_limit_of_pixels_holds_for_deep_photographs(kind):
    data = GREY[kind](values())
    decode_image(data, 1, max_pixels=14 * 11)
    with pytest.raises(UnreadableImage, match="max_pixels"):
        decode_image(data, 1, max_pixels=14 * 11 - 1)
    with pytest.raises(UnreadableImage, match="max_pixels"):
        decode_image(data, 3, max_pixels=14 * 11)  # as float32 of three channels has it


@pytest.mark.parametrize("compression", ["lzw", "zstd", "packbits", "jpeg", "webp", "jpeg2000"])
@pytest.mark.parametrize("predictor", [None, True])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_compressed_tiff_by_imagecodecs(compression, predictor, planar):
    pytest.importorskip("imagecodecs")
    if compression in ("jpeg", "webp", "jpeg2000") and (predictor or planar == "separate"):
        pytest.skip("there is no such file")
    bands = values(5).astype(np.uint16)
    if compression in ("jpeg", "webp", "jpeg2000"):
        y, x = np.mgrid[0:32, 0:48]
        bands = np.stack([x * 4, y * 5, x + y], -1).astype(np.uint8)
    stored = bands if planar == "contig" else bands.transpose(2, 0, 1)
    file = io.BytesIO()
    kind = {"photometric": "rgb" if bands.shape[2] == 3 else "minisblack"}
    tifffile.imwrite(file, stored, compression=compression, predictor=predictor, planarconfig=planar, **kind)
    image = decode_image(file.getvalue(), bands.shape[2]).permute(1, 2, 0).numpy()
    assert abs(image.astype(int) - bands).max() <= (20 if compression in ("jpeg", "webp") else 0)


def test_tiff_that_needs_a_package_says_which(monkeypatch):
    file = io.BytesIO()
    tifffile.imwrite(file, values(), compression="zlib")
    monkeypatch.setattr(tiff, "is_installed", lambda name: False)
    monkeypatch.setattr(tiff, "PLAIN", ())
    with pytest.raises(UnreadableImage, match="pip install imagecodecs"):
        decode_image(file.getvalue(), 1)


def test_a_bomb_of_zstd_is_refused():
    imagecodecs = pytest.importorskip("imagecodecs")
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((64, 64), np.uint16), compression="zstd")
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as opened:
        start = opened.pages[0].dataoffsets[0]
    bomb = imagecodecs.zstd_encode(bytes(10**7), level=1)
    data = bytearray(file.getvalue()[:start]) + bomb
    for entry in range(8, start, 2):  # StripByteCounts, of type LONG or SHORT, count 1
        if data[entry : entry + 2] == b"\x17\x01":
            width = {3: 2, 4: 4}[int.from_bytes(data[entry + 2 : entry + 4], "little")]
            data[entry + 8 : entry + 8 + width] = len(bomb).to_bytes(width, "little")
    with pytest.raises(UnreadableImage, match="becomes more than"):
        decode_image(bytes(data), 1, max_pixels=64 * 64)


ORIENTATIONS = range(1, 9)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_turns_as_pillow_does(orientation, kind):
    from PIL import ImageOps

    y, x = np.mgrid[0:16, 0:24]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = by_pillow(np.stack([x * 9, y * 12, x + y], -1).astype(np.uint8), kind, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as opened:
        expected = torch.from_numpy(np.array(ImageOps.exif_transpose(opened).convert("RGB"))).permute(2, 0, 1)
    assert (decode_image(data, options=TURN).int() - expected.int()).abs().max() <= 3
    encoded = EncodedImage(data, "x", options=TURN)
    assert encoded.size == tuple(expected.shape[1:])
    torch.manual_seed(0)
    crop = RandomResizedCrop(8)(encoded)
    torch.manual_seed(0)
    assert (crop.int() - RandomResizedCrop(8)(expected).int()).abs().float().mean() < 2
    assert decode_image(data).shape == (3, 16, 24)


def test_turning_twice_by_its_opposite_is_nothing():
    image = torch.arange(24).reshape(1, 4, 6)
    for there, back in ((2, 2), (3, 3), (4, 4), (5, 5), (6, 8), (7, 7), (8, 6)):
        assert torch.equal(turned(turned(image, there), back), image)


@pytest.fixture
def heard(caplog):
    logger = logging.getLogger("maetool")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def turned_set(folder):
    """Write square photographs that EXIF turns, with a red square at the left as people see them."""
    images, annotations = [], []
    for i in range(4):
        seen = np.full((48, 48, 3), 40, np.uint8)
        seen[8:18, 4:18] = (220, 60, 60)
        exif = Image.Exif()
        exif[0x0112] = 6
        (folder / f"{i}.jpg").write_bytes(by_pillow(np.ascontiguousarray(np.rot90(seen)), "JPEG", exif=exif))
        images.append({"id": i + 1, "file_name": f"{i}.jpg", "width": 48, "height": 48})
        place = {"bbox": [4, 8, 14, 10], "area": 140, "segmentation": [[4, 8, 18, 8, 18, 18, 4, 18]]}
        annotations.append({"id": i + 1, "image_id": i + 1, "category_id": 1 + i % 2, "iscrowd": 0, **place})
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def test_boxes_lie_on_objects_where_exif_turns_the_pictures(tmp_path, heard):
    import json

    (tmp_path / "annotations.json").write_text(json.dumps(turned_set(tmp_path)))
    for exif in (False, True):
        heard.clear()
        data = CocoDataset(tmp_path, tmp_path / "annotations.json", exif=exif)
        sample = data[0]
        left, top, right, bottom = sample["objects"].boxes[0].int().tolist()
        inside = sample["inputs"][0, top:bottom, left:right].float().mean()
        assert (inside > 200) == exif
        assert ("dataset.exif=True" in heard.text) != exif


def test_what_nobody_chose_is_said(tmp_path, heard):
    cache, tmp_path = tmp_path / "cache", tmp_path / "images"
    tmp_path.mkdir()
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(GREY["png"](values()))
    data = ImageFolderDataset(tmp_path, in_chans=1, index_cache=cache)
    assert data[0]["inputs"].max() > 255
    assert "more than 8 bits" in heard.text and "up to 4" in heard.text
    heard.clear()
    assert ImageFolderDataset(tmp_path, in_chans=1, index_cache=cache, eight_bit=True)[0]["inputs"].max() < 16
    assert not heard.text
    (tmp_path / "3.png").write_bytes(by_pillow(np.zeros((14, 11), np.uint8), "PNG"))
    assert ImageFolderDataset(tmp_path, in_chans=1, index_cache=cache)[3]["inputs"].dtype == torch.float32
    assert "in two units" in heard.text


def gdal(array, nodata):
    return by_tifffile(array, extratags=[(42113, "s", 0, str(nodata), True)])


@pytest.mark.parametrize("ending", ["tif", "npy"])
@pytest.mark.parametrize("hole", [np.nan, np.inf, -9999])
def test_gaps_count_nothing(tmp_path, heard, ending, hole):
    array = values().astype(np.float32)
    array[2:5, 3:6] = hole
    for i in range(3):
        content = npy(array) if ending == "npy" else gdal(array, -9999)
        (tmp_path / f"{i}.{ending}").write_bytes(content)
    nodata = -9999 if ending == "npy" and hole == -9999 else "auto"
    sample = ImageFolderDataset(tmp_path, in_chans=1, index_cache=tmp_path.parent, nodata=nodata)[0]
    expected = torch.ones(14, 11)
    expected[2:5, 3:6] = 0
    assert torch.equal(sample["weight"], expected) and sample["inputs"].isfinite().all()
    if hole == -9999 and ending == "tif":
        ImageFolderDataset(tmp_path, in_chans=1, index_cache=tmp_path.parent)
        assert 'dataset.nodata="auto"' in heard.text


@pytest.mark.parametrize("short_side", [8, 100])
def test_prepared_photographs_are_turned_on_request(short_side):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = by_pillow(np.zeros((16, 24, 3), np.uint8), "JPEG", exif=exif)
    prepared = encode(data, Recipe(short_side=short_side, exif=True), "x")
    assert decode_image(prepared).shape == ((3, 24, 16) if short_side == 100 else (3, 12, 8))
    assert decode_image(prepared, options=TURN).shape == decode_image(prepared).shape  # once
    assert encode(data, Recipe(short_side=100), "x") == data


def test_a_prepared_set_is_not_continued_with_another_choice_of_exif(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(by_pillow(np.zeros((8, 9, 3), np.uint8), "PNG"))
    ways = [Recipe(layout="folder", exif=exif) for exif in (True, False)]
    prepare(str(tmp_path / "in"), str(tmp_path / "out"), ways[0], 1, lambda done: None)
    with pytest.raises(UsageError, match="exif True instead of False"):
        prepare(str(tmp_path / "in"), str(tmp_path / "out"), ways[1], 1, lambda done: None)


def oriented(orientation, kind=np.uint8):
    """A TIFF that states an orientation."""
    array = (np.arange(14 * 11 * 3).reshape(14, 11, 3) % 250).astype(kind)
    tag = (274, 3, 1, orientation, True)
    tifffile.imwrite(file := io.BytesIO(), array, photometric="rgb", extratags=[tag], metadata=None)
    return file.getvalue(), torch.from_numpy(array).permute(2, 0, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_tiff_is_turned_once_and_on_request_only(orientation, kind):
    data, stored = oriented(orientation, kind)
    assert torch.equal(decode_image(data), stored)
    assert torch.equal(decode_image(data, options=TURN), turned(stored, orientation))
