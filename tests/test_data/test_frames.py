"""Files of several frames: each frame is the picture that a file of it alone would be, by every backend."""

import io

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from maetool.data import SourceDataset
from maetool.data.codecs import frames
from maetool.data.codecs.frames import open_frames
from maetool.data.codecs.image_size import Refused
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.codecs.options import ReadOptions
from maetool.data.codecs.windows import open_windows
from maetool.data.sources import FolderSource, FrameSource
from maetool.data.sources.file_index import IMAGE_EXTENSIONS

RNG = np.random.default_rng(0)
SIZE = (12, 9)
MOST = 2**20


def pictures(mode, number=3):
    """Frames of a mode of Pillow, each with other parts that do not change."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = RNG.integers(0, 256, (number, *SIZE, channels), np.uint8)
    values[:, :4] = values[0, :4]
    values = values[..., 0] if channels == 1 else values
    return [Image.fromarray(each if mode != "P" else each % 64) for each in values]


def palettes(number=3):
    found = []
    for _ in range(number):
        picture = Image.fromarray(RNG.integers(0, 64, SIZE, np.uint8), "P")
        picture.putpalette(RNG.integers(0, 256, 3 * 64, np.uint8).tobytes())
        found.append(picture)
    return found


def saved(images, kind, **options):
    images[0].save(file := io.BytesIO(), kind, save_all=True, append_images=images[1:], **options)
    return file.getvalue()


ANIMATED = {
    "grey GIF": lambda: (saved(pictures("L"), "GIF"), "L"),
    "GIF of palettes": lambda: (saved(palettes(), "GIF"), "RGB"),
    "GIF whose frames are drawn over others": lambda: (saved(palettes(), "GIF", disposal=1), "RGB"),
    "GIF with transparency": lambda: (saved(palettes(), "GIF", transparency=3, disposal=2), "RGB"),
    "APNG": lambda: (saved(pictures("RGB"), "PNG"), "RGB"),
    "grey APNG": lambda: (saved(pictures("L"), "PNG"), "L"),
    "APNG with a picture before the animation": lambda: (saved(pictures("RGB"), "PNG", default_image=True), "RGB"),
    "WebP": lambda: (saved(pictures("RGB"), "WEBP", lossless=True), "RGB"),
    "MPO": lambda: (saved(pictures("RGB"), "MPO"), "RGB"),
}


@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize("kind", ANIMATED)
def test_frames_of_animations(kind, in_chans):
    data, mode = ANIMATED[kind]()
    found = open_frames(data, 0, MOST)
    with Image.open(io.BytesIO(data)) as picture:
        assert found.count == picture.n_frames >= 3 if kind != "MPO" else found.count > 1
        for number in (*range(found.count), 0, found.count - 1):  # back and forth
            picture.seek(number)
            expected = np.array(picture.convert(mode).convert("L" if in_chans == 1 else "RGB"))
            image = decode_image(found.encode(number), in_chans)
            assert np.array_equal(image.permute(1, 2, 0).numpy().squeeze(), expected)


@pytest.mark.parametrize("kind", sorted(ANIMATED.keys() - {"GIF with transparency"}))
def test_the_first_frame_is_the_picture_by_every_backend(kind):
    data, _ = ANIMATED[kind]()
    first = decode_image(open_frames(data, 0, MOST).encode(0))
    for backend in ("cv2", "pillow"):
        assert torch.equal(decode_image(data, backend=backend), first), backend


PAGES = {
    "grey": lambda: (pictures("L"), {}),
    "colours": lambda: (pictures("RGB"), {}),
    "alpha": lambda: (pictures("RGBA"), {}),
    "palettes": lambda: (palettes(), {}),
    "CMYK": lambda: (pictures("CMYK"), {}),
    "one bit": lambda: ([each.convert("1") for each in pictures("L")], {}),
    "deflate": lambda: (pictures("RGB"), {"compression": "tiff_adobe_deflate"}),
}


@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize("kind", PAGES)
def test_pages_are_what_files_of_one_page_are(kind, in_chans):
    images, options = PAGES[kind]()
    found = open_frames(saved(images, "TIFF", **options), 0, MOST)
    assert found.count == 3
    for number in (0, 2, 1):
        alone = decode_image(saved(images[number : number + 1], "TIFF", **options), in_chans)
        assert torch.equal(decode_image(found.encode(number), in_chans), alone)
        for backend in ("cv2", "pillow"):
            assert torch.equal(decode_image(found.encode(number), in_chans, backend), alone)


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.int16])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_pages_of_other_types(kind, channels):
    values = (RNG.random((3, *SIZE, channels)) * 1000).astype(kind)
    values = values[..., 0] if channels == 1 else values
    with tifffile.TiffWriter(file := io.BytesIO()) as writer:
        for each in values:
            more = {} if channels == 1 else {"planarconfig": "contig"}
            writer.write(each, photometric="minisblack", metadata=None, **more)
    found = open_frames(file.getvalue(), 0, MOST)
    for number, each in enumerate(values):
        image = decode_image(found.encode(number), channels)
        assert np.array_equal(image.permute(1, 2, 0).numpy().squeeze(), each.astype(np.float32))


@pytest.mark.parametrize("place", ["behind", "within"])
def test_smaller_copies_and_masks_are_no_frames(place):
    values = RNG.integers(0, 256, (32, 32, 3), np.uint8)
    with tifffile.TiffWriter(file := io.BytesIO()) as writer:
        for page in (values, values[::-1]):
            more = {"subifds": 1} if place == "within" else {}
            writer.write(page, photometric="rgb", tile=(16, 16), metadata=None, **more)
            writer.write(page[::2, ::2], photometric="rgb", tile=(16, 16), metadata=None, subfiletype=1)
        if place == "behind":
            writer.write(values[..., 0] > 9, photometric="mask", metadata=None, subfiletype=4)
    found = open_frames(file.getvalue(), 0, MOST)
    assert found.count == 2
    for number, page in enumerate((values, values[::-1])):
        assert np.array_equal(decode_image(found.encode(number)).permute(1, 2, 0).numpy(), page)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, ">f4"])
def test_frames_behind_a_single_page(channels, kind):
    values = (RNG.random((5, *SIZE, channels)) * 200).astype(kind)
    values = values[..., 0] if channels == 1 else values
    photometric = "minisblack" if channels == 1 else "rgb"
    order = ">" if kind == ">f4" else "<"
    tifffile.imwrite(file := io.BytesIO(), values, truncate=True, photometric=photometric, byteorder=order)
    found = open_frames(file.getvalue(), 0, MOST)
    assert found.count == 5
    for number, each in enumerate(values):
        image = decode_image(found.encode(number), channels)
        assert np.array_equal(image.permute(1, 2, 0).numpy().squeeze(), each.astype(np.float32))
    with pytest.raises(Refused, match="wrap the source in a FrameSource"):
        open_windows(file.getvalue())
    with pytest.raises(Exception, match="max_pixels"):
        open_frames(file.getvalue(), 0, 50).encode(0)


def sixteen_bits():
    values = (RNG.random(SIZE) * 60000).astype(np.uint16)
    Image.fromarray(values).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


SINGLE = {
    "16-bit PNG": (".png", sixteen_bits),
    "MPO": (".mpo", lambda: saved(pictures("RGB", 1), "MPO")),
    "WebP with loss": (".webp", lambda: saved(pictures("RGB", 1), "WEBP")),
    "TIFF": (".tif", lambda: saved(pictures("RGBA", 1), "TIFF")),
}


@pytest.mark.parametrize("kind", SINGLE)
def test_a_file_of_one_frame_is_read_as_it_is(tmp_path, kind):
    ending, make = SINGLE[kind]
    (tmp_path / f"a{ending}").write_bytes(make())
    files = FolderSource(tmp_path, index_cache=tmp_path.parent)
    assert FrameSource(files).read(0) == (f"{files.path(0)}#0", files.read(0)[1])
    whole, frame = SourceDataset(files), SourceDataset(FrameSource(files))
    assert torch.equal(whole[0]["inputs"], frame[0]["inputs"])
    assert SourceDataset(FrameSource(files), eight_bit=True)[0]["inputs"].dtype == torch.uint8


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_frames_are_turned_on_request(kind):
    exif = Image.Exif()
    exif[274] = 6
    images = pictures("RGB")
    options = {"exif": exif, **({"lossless": True} if kind == "WEBP" else {})}
    found = open_frames(saved(images, kind, **options), 0, MOST)
    turn = ReadOptions(exif=True)
    for number in (0, 1, 2) if kind != "TIFF" else (0,):  # Pillow writes it to the first page
        stored = torch.from_numpy(np.array(images[number])).permute(2, 0, 1)
        assert torch.equal(decode_image(found.encode(number)), stored)
        assert torch.equal(decode_image(found.encode(number), options=turn), stored.rot90(-1, (1, 2)))


def test_very_many_frames_and_deep_ones_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.gif").write_bytes(saved(pictures("L"), "GIF"))
    monkeypatch.setattr(frames, "_MOST_FRAMES", 2)
    source = FrameSource(FolderSource(tmp_path, index_cache=tmp_path.parent))
    with pytest.raises(UnreadableImage, match="it has 3 frames, more than the 2 that are read"):
        source.read(0)
    monkeypatch.setattr(frames, "_MOST_FRAMES", 9)
    monkeypatch.setattr(frames, "is_deep", lambda data: True)
    with pytest.raises(UnreadableImage, match="frames of more than 8 bits"):
        source.read(0)


def test_large_files_of_pages_are_not_read_as_a_whole(tmp_path, monkeypatch):
    values = RNG.integers(0, 256, (4, *SIZE), np.uint8)
    tifffile.imwrite(tmp_path / "pages.tif", values, photometric="minisblack")
    tifffile.imwrite(tmp_path / "stack.tif", values, photometric="minisblack", truncate=True)
    files = FolderSource(tmp_path, index_cache=tmp_path.parent)
    monkeypatch.setattr(FolderSource, "read", lambda *arguments: pytest.fail("read as a whole"))
    source = FrameSource(files)
    assert len(source) == 8
    for index in range(8):
        assert np.array_equal(decode_image(source.read(index)[1], 1)[0].numpy(), values[index % 4])


def test_the_limits_hold_for_frames(tmp_path):
    pixels = SIZE[0] * SIZE[1]
    for kind, ending in (("GIF", ".gif"), ("TIFF", ".tif")):
        data = saved(pictures("L"), kind)
        open_frames(data, 0, pixels).encode(2)
        with pytest.raises(Exception, match="max_pixels"):
            open_frames(data, 0, pixels - 1).encode(2)
        (tmp_path / f"a{ending}").write_bytes(data)
    assert {".gif", ".tif", ".webp", ".png", ".mpo"} <= set(IMAGE_EXTENSIONS)
    source = FrameSource(FolderSource(tmp_path, index_cache=tmp_path.parent))
    with pytest.raises(UnreadableImage, match="more than the 50 that are read"):
        source.read(0, 50)
