"""Image files take no more memory or time than is documented: headers decide, and special files are not waited for."""

import io
import logging
import os
import signal
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from warm import run_warm

from maetool.data import ImageFolderDataset, SegmentationDataset
from maetool.data.codecs.encoded import EncodedImage, open_image
from maetool.data.codecs.image_size import MAX_PIXELS, photo_size
from maetool.data.codecs.images import UnreadableImage, decode_image, read_bytes
from maetool.data.datasets.segmentation import read_index_png
from maetool.data.prepare.prepare import Recipe, encode
from maetool.data.sources.file_index import index_files
from maetool.errors import UsageError
from maetool.inspection.statistics import measure

HUGE = 16_380  # what WebP can say; 16,380 x 16,380 are more than the limit below, and others say 60,000


def photo(height=40, width=60):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def encoded(form, **options):
    file = io.BytesIO()
    Image.fromarray(photo()).save(file, form, **options)
    return bytearray(file.getvalue())


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, body=b"", colours=2):
    head = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def jpeg(**options):
    data = encoded("JPEG", **options)
    place = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data[place + 5 : place + 9] = struct.pack(">HH", 60_000, 60_000)
    return data


def overwritten(form, place, layout, *numbers, **options):
    data = encoded(form, **options)
    struct.pack_into(layout, data, place, *numbers)
    return data


def tiff(shape=(40, 60), dtype=np.float32, **options):
    """A TIFF whose tags for height and width say 60,000."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros(shape, dtype), **options)
    data = bytearray(file.getvalue())
    (place,) = struct.unpack_from("<I", data, 4)
    for entry in range(place + 2, place + 2 + 12 * struct.unpack_from("<H", data, place)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] in (256, 257):
            struct.pack_into("<HII", data, entry + 2, 4, 1, 60_000)
    return data


def extended_webp():
    data = encoded("WEBP")
    return data[:12] + b"VP8X" + struct.pack("<II", 10, 2) + (59_999).to_bytes(3, "little") * 2 + data[12:]


BOMBS = {
    "png": lambda: png(60_000, 60_000),
    "png of two headers": lambda: png(10, 10)[:33] + png(60_000, 60_000)[8:],
    "jpeg": jpeg,
    "progressive jpeg": lambda: jpeg(progressive=True),
    "jpeg with bytes before a marker": lambda: jpeg().replace(b"\xff\xdb", b"other\xff\xdb", 1),
    "gif": lambda: overwritten("GIF", 6, "<HH", 60_000, 60_000),
    "bmp": lambda: overwritten("BMP", 18, "<ii", 60_000, -60_000),
    "webp": lambda: overwritten("WEBP", 26, "<HH", HUGE, HUGE),
    "lossless webp": lambda: overwritten("WEBP", 21, "<I", 0x0FFFFFFF, lossless=True),
    "extended webp": extended_webp,
    "ppm": lambda: encoded("PPM").replace(b"60 40", b"60000 60000"),
    "tiff": tiff,
    "rgb tiff": lambda: tiff((40, 60, 3), np.uint8, photometric="rgb"),
    "tiff of tiles": lambda: tiff((64, 64), np.uint8, tile=(16, 16)),
}
LIMIT = 2**27


@pytest.fixture
def in_time():
    """Ten seconds, after which the test fails instead of waiting for ever."""

    def end(*_):
        raise TimeoutError("waited for a file")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refuse_to_decode(monkeypatch):

    def fail(*args, **options):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(cv2, "imdecode", fail)
    monkeypatch.setattr(Image.Image, "convert", fail)
    monkeypatch.setattr(tifffile.TiffFile, "asarray", fail)


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_header_of_too_many_pixels_is_refused_before_decoding(name, backend, monkeypatch):
    data = bytes(BOMBS[name]())
    refuse_to_decode(monkeypatch)
    for in_chans in (1, 3):
        with pytest.raises(UnreadableImage, match=r"x: .* more than max_pixels=134,217,728 allows.* raise dataset"):
            decode_image(data, in_chans, backend, name="x", max_pixels=LIMIT)
    with pytest.raises(UnreadableImage, match="max_pixels"):
        encode(data, Recipe(), "x", LIMIT)


def test_a_crop_of_a_huge_jpeg_is_refused_too():
    with pytest.raises(UnreadableImage, match="60,000 x 60,000 pixels"):
        open_image(bytes(jpeg()), "x")
    assert EncodedImage(bytes(encoded("JPEG")), "x").crop((0, 0, 20, 20), (8, 8)).shape == (3, 8, 8)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_the_limit_itself_is_allowed(form):
    data = bytes(encoded(form))
    assert decode_image(data, max_pixels=40 * 60).shape == (3, 40, 60)
    with pytest.raises(UnreadableImage, match="max_pixels=2,399 allows"):
        decode_image(data, max_pixels=40 * 60 - 1)


@pytest.mark.parametrize(
    ("shape", "dtype", "fits"),
    [
        ((40, 60), np.uint8, 2400),
        ((40, 60, 3), np.uint8, 2400),
        ((5, 40, 60), np.uint8, 3000),  # 12,000 bytes
        ((5, 40, 60), np.float32, 12_000),
        ((5, 40, 60), np.uint16, 12_000),  # they become float32
        ((5, 40, 60), np.float64, 24_000),
    ],
)
@pytest.mark.parametrize("form", ["npy", "tiff"])
def test_channels_and_types_count(form, shape, dtype, fits):
    file, channels = io.BytesIO(), 1 if len(shape) == 2 else 3 if shape[-1] == 3 else 5
    np.save(file, np.zeros(shape, dtype)) if form == "npy" else tifffile.imwrite(file, np.zeros(shape, dtype))
    assert decode_image(file.getvalue(), channels, max_pixels=fits).shape == (channels, 40, 60)
    with pytest.raises(UnreadableImage, match="max_pixels"):
        decode_image(file.getvalue(), channels, max_pixels=fits - 1)


def test_sizes_of_all_kinds_of_webp_and_bmp():
    for options in ({}, {"lossless": True}, {"exif": b"Exif\0\0" + bytes(8)}):
        assert photo_size(bytes(encoded("WEBP", **options))) == (40, 60)
    assert photo_size(bytes(encoded("BMP"))) == (40, 60)
    old = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 60, 40, 1, 24) + bytes(99)  # OS/2
    assert photo_size(old) == (40, 60)


def test_parts_of_files_cannot_be_larger_than_the_file():
    header = png(10, 10)[:33]
    with pytest.raises(UnreadableImage, match=r"its chunk b'IDAT' should have 2,147,483,643 bytes"):
        decode_image(header + struct.pack(">I", 2**31 - 5) + b"IDAT" + bytes(11_000))
    file = io.BytesIO()
    np.save(file, np.zeros((4, 4), np.float32))
    lie = file.getvalue().replace(b"(4, 4), }       ", b"(4000, 40000), }")
    with pytest.raises(
        UnreadableImage, match=r"says \(4000, 40000\) of float32, 640,000,000 bytes, but 64 bytes follow"
    ):
        decode_image(lie, 1)


def test_parts_of_a_tiff_that_become_too_large():
    file = io.BytesIO()
    data = np.zeros((2000, 2000), np.float32)
    tifffile.imwrite(file, data, compression="zlib", rowsperstrip=2000)
    assert decode_image(file.getvalue(), 1, max_pixels=data.size).shape == (1, 2000, 2000)
    small = bytearray(file.getvalue())
    (place,) = struct.unpack_from("<I", small, 4)
    for entry in range(place + 2, place + 2 + 12 * struct.unpack_from("<H", small, place)[0], 12):
        if struct.unpack_from("<H", small, entry)[0] in (256, 257, 278):
            struct.pack_into("<HII", small, entry + 2, 4, 1, 40)
    with pytest.raises(UnreadableImage, match=r"a part of this TIFF becomes more than 6,400 bytes"):
        decode_image(bytes(small), 1, max_pixels=1600)


def test_a_jpeg_of_very_many_scans():
    data = bytes(encoded("JPEG", progressive=True))
    scan = data.rindex(b"\xff\xda")
    many = data[:-2] + data[scan:-2] * 2000 + b"\xff\xd9"
    with pytest.raises(UnreadableImage, match="scans, which would keep a decoder busy"):
        decode_image(many, max_pixels=2400)
    assert decode_image(data, max_pixels=2400).shape == (3, 40, 60)


def test_programs_are_not_started_for_images():
    file = io.BytesIO()
    Image.fromarray(photo()).save(file, "EPS")  # Pillow hands it to Ghostscript
    with pytest.raises(UnreadableImage, match="not an image of a known format"):
        decode_image(file.getvalue())


def test_pillow_keeps_its_own_limit(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    Image.fromarray(photo()[..., 0]).save(tmp_path / "a.png")
    try:
        Image.MAX_IMAGE_PIXELS = 100
        assert read_index_png(tmp_path / "a.png").shape == (40, 60)
        assert decode_image((tmp_path / "a.png").read_bytes(), backend="pillow").shape == (3, 40, 60)
        assert Image.MAX_IMAGE_PIXELS == 100
    finally:
        Image.MAX_IMAGE_PIXELS = before


def test_bombs_are_counted_as_broken_files(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.png").write_bytes(encoded("PNG"))
    (tmp_path / "5.png").write_bytes(png(60_000, 60_000))
    dataset = ImageFolderDataset(tmp_path, max_broken=0.2, index_cache=tmp_path / "cache")
    assert "5.png: it has 60,000 x 60,000 pixels, more than max_pixels=268,435,456" in dataset.load(5)["skipped"]
    assert len(measure(dataset.files, range(9)).broken) == 1
    with pytest.raises(UsageError, match=r"9 of 9 files .* more than max_pixels=2,000 allows"):
        ImageFolderDataset(tmp_path, max_pixels=2000, index_cache=tmp_path / "cache")
    for wrong in (0, -1, 2.5, "many", True):
        with pytest.raises(UsageError, match=r"max_pixels is .*: give the most pixels"):
            ImageFolderDataset(tmp_path, max_pixels=wrong, index_cache=tmp_path / "cache")


def segments(tmp_path, truth, **options):
    for name, data in (("images/a.png", encoded("PNG")), ("annotations/a.png", truth)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    places = {"images": "images", "annotations": "annotations", "image_suffix": ".png", "classes": ["a", "b"]}
    return SegmentationDataset(tmp_path, **places, **options)


def test_masks_have_the_same_limit(tmp_path):
    with pytest.raises(UsageError, match=r"annotations/a.png: it has 60,000 x 60,000 pixels, more than max_pixels"):
        segments(tmp_path, png(60_000, 60_000, colours=0))
    zeros = png(60, 40, bytes(61 * 40), colours=0)
    assert segments(tmp_path, zeros, max_pixels=2400).load(0)["semantic"].shape == (40, 60)
    with pytest.raises(UsageError, match="max_pixels=2,399"):
        segments(tmp_path, zeros, max_pixels=2399).load(0)


def test_an_honest_mask_beyond_the_limit_of_pillow(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 2,400 are more than twice as many
    assert segments(tmp_path, png(60, 40, bytes(61 * 40), colours=0)).load(0)["semantic"].eq(0).all()
    assert MAX_PIXELS >= 16_000**2


@pytest.mark.parametrize("text", ["Stra\xdfe\nB\xe4ume\n".encode("latin-1"), "a\nb\n".encode("utf-16")])
def test_classes_in_another_encoding(tmp_path, text):
    (tmp_path / "classes.txt").write_bytes(text)
    with pytest.raises(UsageError, match=r"classes.txt is not text in UTF-8 \(byte \d+ is 0x.*\): save it in UTF-8"):
        SegmentationDataset(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_first_class(tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\n", encoding="utf-8-sig")
    from maetool.data.datasets.segmentation import read_classes

    assert read_classes(tmp_path) == ["a", "b"]


def test_a_missing_list_of_classes_is_not_called_an_empty_one(tmp_path):
    with pytest.raises(UsageError, match=r"classes.txt does not exist, but the names of two"):
        SegmentationDataset(tmp_path)
    (tmp_path / "classes.txt").write_text("a\n")
    with pytest.raises(UsageError, match=r"classes.txt lists 1 class, but"):
        SegmentationDataset(tmp_path)


def test_a_list_in_utf_16_is_told(tmp_path):
    (tmp_path / "list.txt").write_text("a.png\n", encoding="utf-16")
    with pytest.raises(UsageError, match="is not text in UTF-8"):
        index_files(tmp_path / "list.txt", tmp_path / "cache")


def special(folder):
    """Entries that are no images, all of them named so."""
    os.mkfifo(folder / "pipe.png")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "dangling.png").symlink_to("nowhere")
    with open(folder / "sparse.png", "wb") as file:
        file.truncate(2**42)


def test_special_files_are_neither_waited_for_nor_read(tmp_path, in_time):
    special(tmp_path)
    (tmp_path / "folder.png").mkdir()
    for name, reason in {
        "pipe.png": "not a regular file",
        "device.png": "not a regular file",
        "circle.png": "symbolic links",
        "dangling.png": "no such file",
        "sparse.png": "4,398,046,511,104 bytes, more than the 2,164,260,864 that are read: read it by windows",
        "folder.png": "is a directory",
        "zero\0byte": "no name of a file",
    }.items():
        with pytest.raises(UnreadableImage, match=reason):
            read_bytes(tmp_path / name)


def test_folders_with_special_files(tmp_path, in_time):
    special(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    for number in range(7):
        (tmp_path / f"{number}.png").write_bytes(encoded("PNG"))
    dataset = ImageFolderDataset(tmp_path, max_broken=0.6, index_cache=tmp_path / "cache")
    assert sum(bool(dataset.load(index)["skipped"]) for index in range(len(dataset))) == 5
    (tmp_path / "list.txt").symlink_to("list.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UsageError, match="There is no data"):
        index_files(tmp_path / "list.txt")
    with pytest.raises(UsageError, match="cannot be read"):
        index_files(tmp_path / "pipe.txt")


def test_a_damaged_cache_is_written_anew(tmp_path):
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / "data" / f"{name}.png").touch()
    index_files(tmp_path / "data", tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    good = dict(np.load(cache))
    old = {**good, "began_ns": good["began_ns"] + 10**13}  # so that the folder counts as quiet
    wrong = [
        {"name_offsets": np.array([0, 99, 10])},
        {"name_offsets": np.zeros((2, 2), np.int64)},
        {"name_blob": np.zeros(3)},
        {"states": np.zeros(7, np.int64)},
        {"states": np.zeros((0, 2), np.int64)},
        {"began_ns": np.array("yesterday")},
        {"began_ns": old["began_ns"][None]},
    ]
    for changed in wrong:
        np.savez(cache, **{**old, **changed})
        assert len(index_files(tmp_path / "data", tmp_path / "cache")) == 2
        assert np.load(cache)["name_offsets"].tolist() == good["name_offsets"].tolist()
    whole = cache.read_bytes()
    flag = whole.rindex(b"PK\x01\x02") + 10  # how the last array is compressed: NotImplementedError
    cache.write_bytes(whole[:flag] + b"\x63" + whole[flag + 1 :])
    assert len(index_files(tmp_path / "data", tmp_path / "cache")) == 2


def test_broken_files_write_nothing_to_the_terminal(capfd):
    data = bytes(encoded("PNG"))
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((40, 60), np.uint16))
    odd = bytearray(file.getvalue())
    odd[60:120] = bytes(60)
    for broken in (bytes(damaged), data[:-100], bytes(odd), bytes(tiff())):
        with pytest.raises(UnreadableImage):
            decode_image(broken, 1)
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("tifffile").isEnabledFor(logging.ERROR)


@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "I;16", "1"])
def test_odd_remarks_in_a_png_write_nothing_and_change_no_pixel(capfd, mode, in_chans):
    """libpng writes a line about each; profiles like these are in many published pictures."""
    image = Image.fromarray(photo()).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.array(image).astype(np.uint16) * 257)
    file = io.BytesIO()
    image.save(file, "PNG")
    data = file.getvalue()
    kinds = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"oFFs", b"eXIf")
    kinds += (b"bKGD", b"hIST", b"sPLT", b"sBIT", b"cICP", b"mDCV", b"cLLI")
    odd = b"".join(chunk(kind, body) for kind in kinds for body in (b"", b"x\0\0" + zlib.compress(b"y" * 200)))
    odd += chunk(b"gAMA", struct.pack(">I", 220_000)) * 2
    found = decode_image(data[:33] + odd + data[33:], in_chans)
    assert torch.equal(found, decode_image(data, in_chans))
    assert capfd.readouterr() == ("", "")


def test_pillow_warns_of_nothing_unless_the_user_wants_it(tmp_path):
    """In a process of its own, because pytest has filters of its own."""
    file = io.BytesIO()
    tifffile.imwrite(file, photo(), photometric="rgb", description="x" * 300)
    data = file.getvalue().replace(struct.pack("<HHI", 270, 2, 301), struct.pack("<HHI", 270, 2, 2**30))
    assert data != file.getvalue()
    (tmp_path / "odd.tiff").write_bytes(data)
    code = "from maetool.data.codecs.images import decode_image\n"
    code += "try: decode_image(open('odd.tiff', 'rb').read(), 3)\nexcept Exception as e: print(type(e).__name__)"
    wanted = [sys.executable, "-W", "always", "-c", code]
    for done, lines in (
        (run_warm(["-c", code], tmp_path, bare=True), 0),
        (subprocess.run(wanted, cwd=tmp_path, capture_output=True, text=True), 2),
    ):
        told = [line for line in done.stderr.splitlines() if "PIL" in line or "warn(" in line]
        assert len(told) >= lines and bool(told) == bool(lines), done.stderr


def test_damage_that_is_not_needed_is_passed_over():
    """As libpng does: a comment with a wrong checksum does not make the pixels wrong."""
    data = bytes(encoded("PNG"))
    comment = bytearray(chunk(b"tEXt", b"a\0b"))
    comment[-1] ^= 1
    with_comment = data[:33] + bytes(comment) + data[33:]
    assert torch.equal(decode_image(with_comment), decode_image(data))
