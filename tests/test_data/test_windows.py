"""Windows of large pictures: equal to the whole to the bit, whatever the layout of the file, and read in part."""

import io
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from maetool.data import SegmentationDataset, SourceDataset
from maetool.data.codecs import tiff_windows
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.codecs.options import ReadOptions
from maetool.data.codecs.tiff_windows import TiffWindows, Window
from maetool.data.codecs.windows import open_windows
from maetool.data.sources import FolderSource, PairedSource, TableSource, WindowSource
from maetool.errors import UsageError
from maetool.testing import check_source

SIZE = (70, 90)
BOXES = [
    Window(0, 0, 70, 90),
    Window(0, 0, 16, 16),
    Window(13, 29, 32, 40),
    Window(69, 89, 1, 1),
    Window(50, 3, 20, 87),
]
LAYOUTS = {
    "tiles": {"tile": (16, 32)},
    "one strip": {"rowsperstrip": 70},
    "strips": {"rowsperstrip": 7},
    "deflate": {"tile": (32, 16), "compression": "zlib"},
    "deflate, strips": {"rowsperstrip": 9, "compression": "zlib"},
    "big": {"bigtiff": True, "tile": (16, 16)},
    "big endian": {"byteorder": ">", "rowsperstrip": 8},
    "packbits": {"compression": "packbits", "rowsperstrip": 5},
    "lzw": {"tile": (16, 16), "compression": "lzw", "predictor": True},
    "zstd": {"tile": (16, 16), "compression": "zstd"},
}


def picture(channels=3, kind=np.uint8, size=SIZE):
    values = np.random.default_rng(0).integers(0, 250, (*size, channels))
    return (values[..., 0] if channels == 1 else values).astype(kind) * (1 if kind == np.uint8 else kind(3))


def tiff_of(array, **options):
    if options.get("compression") in ("lzw", "zstd", "packbits") and find_spec("imagecodecs") is None:
        pytest.skip("imagecodecs is not installed")
    photometric = "rgb" if array.ndim == 3 and array.shape[-1] == 3 and array.dtype == np.uint8 else "minisblack"
    if array.ndim == 3:
        options = {"planarconfig": "contig", **options}
    tifffile.imwrite(file := io.BytesIO(), array, **{"photometric": photometric, "metadata": None, **options})
    return file.getvalue()


def crop(image, box):
    return image[(..., *box.slices)]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_are_those_of_the_whole(tmp_path, layout, channels, kind):
    data = tiff_of(picture(channels, kind), **LAYOUTS[layout])
    whole = decode_image(data, channels)
    (tmp_path / "a.tif").write_bytes(data)
    for place in (data, str(tmp_path / "a.tif")):
        windows = open_windows(place)
        assert windows.size == SIZE
        for box in BOXES:
            window = decode_image(windows.encode(box), channels)
            assert window.dtype == whole.dtype and torch.equal(window, crop(whole, box))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_bands_that_lie_apart(kind, tile):
    planes = np.moveaxis(picture(5, kind), -1, 0)
    for data in (
        tiff_of(planes, planarconfig="separate", tile=tile),
        tiff_of(planes, planarconfig=None, tile=tile),  # a page for each
    ):
        whole = decode_image(data, 5)
        assert torch.equal(whole, torch.from_numpy(planes.astype(whole.numpy().dtype)))
        for box in BOXES:
            assert torch.equal(decode_image(open_windows(data).encode(box), 5), crop(whole, box))


PHOTOS = {
    "rgb": lambda: picture(3),
    "alpha": lambda: (picture(4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "grey, low means white": lambda: (picture(1), {"photometric": "miniswhite"}),
    "palette": lambda: (picture(1) // 2, {"photometric": "palette", "colormap": picture(3, np.uint16, (256,)).T}),
    "one bit": lambda: (picture(1) > 100, {}),
    "CMYK": lambda: (picture(4), {"photometric": "separated"}),
}


@pytest.mark.parametrize("kind", PHOTOS)
@pytest.mark.parametrize("in_chans", [1, 3])
def test_photographs_keep_their_colours(kind, in_chans):
    made = PHOTOS[kind]()
    array, options = made if isinstance(made, tuple) else (made, {})
    data = tiff_of(array, rowsperstrip=8, **options)
    whole = decode_image(data, in_chans)
    for box in BOXES:
        assert torch.equal(decode_image(open_windows(data).encode(box), in_chans), crop(whole, box))


def test_little_is_read(tmp_path, monkeypatch):
    scene = np.zeros((2000, 2000, 4), np.uint16)
    for name, options in {
        "tiles": {"tile": (256, 256)},
        "deflate": {"tile": (256, 256), "compression": "zlib"},
        "one strip": {"rowsperstrip": 2000},
    }.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", scene, photometric="minisblack", planarconfig="contig", **options)
        read = []

        def counted(file, count, offset, read=read, real=tiff_windows.read_at):
            read.append(count)
            return real(file, count, offset)

        windows = open_windows(str(tmp_path / f"{name}.tif"))
        with monkeypatch.context() as patch:
            patch.setattr(tiff_windows, "read_at", counted)
            windows.encode(Window(900, 900, 224, 224))
        assert 0 < sum(read) <= 4 * 256 * 256 * 8 < 0.1 * scene.nbytes


GEO = {
    33550: (10.0, 10.0, 0.0),
    33922: (0.0, 0.0, 0.0, 500000.0, 4600000.0, 0.0),
    34735: (1, 1, 0, 2, 1025, 0, 1, 1, 3072, 0, 1, 32633),
}
KINDS = {33550: 12, 33922: 12, 34264: 12, 34735: 3}


def tags(values, nodata=None):
    found = [(number, KINDS[number], len(value), value, True) for number, value in values.items()]
    return found if nodata is None else [*found, (42113, 2, None, nodata, True)]


def place_of(data, column, row):
    """Where the corner of a pixel lies, by the tags of a TIFF."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        found = {tag.code: tag.value for tag in tiff.pages[0].tags}
    if 34264 in found:
        x, y, *_ = np.array(found[34264]).reshape(4, 4) @ (column, row, 0, 1)
        return x, y
    (i, j, _, x, y, _), scale = found[33922], found[33550]
    return x + (column - i) * scale[0], y - (row - j) * scale[1]


@pytest.mark.parametrize(
    "geo", [GEO, {34264: (10.0, 2.0, 0, 5e5, -1.0, -10.0, 0, 46e5, 0, 0, 0, 0, 0, 0, 0, 1.0), 34735: GEO[34735]}]
)
def test_windows_lie_where_they_lie(geo):
    data = tiff_of(picture(3, np.uint16), tile=(16, 16), extratags=tags(geo))
    for box in BOXES:
        window = open_windows(data).encode(box)
        for column, row in ((0, 0), (3, 2)):
            assert np.allclose(place_of(window, column, row), place_of(data, box.left + column, box.top + row))
        with tifffile.TiffFile(io.BytesIO(window)) as tiff:
            assert tiff.pages[0].tags[34735].value == GEO[34735]


def pyramid(point=False):
    scene, keys = picture(3, size=(64, 96)), {**GEO, 34735: (*GEO[34735][:7], 2 if point else 1, *GEO[34735][8:])}
    with tifffile.TiffWriter(file := io.BytesIO()) as writer:
        for level in range(3):
            options = {"extratags": tags(keys)} if level == 0 else {"subfiletype": 1}
            step = 2**level
            writer.write(scene[::step, ::step], tile=(16, 16), photometric="rgb", metadata=None, **options)
    return file.getvalue(), scene


@pytest.mark.parametrize("level", [0, 1, 2])
def test_levels_of_a_pyramid(level):
    data, scene = pyramid()
    windows = open_windows(data, level)
    assert windows.size == (64 >> level, 96 >> level)
    expected = torch.from_numpy(scene[:: 2**level, :: 2**level].copy()).permute(2, 0, 1)
    window = windows.encode(Window(4, 8, 12, 16))
    assert torch.equal(decode_image(window), expected[:, 4:16, 8:24])
    assert np.allclose(place_of(window, 3, 2), place_of(data, (8 + 3) << level, (4 + 2) << level))
    # The centre of a pixel of a level is between those of the full size.
    pointed = open_windows(pyramid(True)[0], level).encode(Window(4, 8, 12, 16))
    half = (2**level - 1) / 2
    assert np.allclose(place_of(pointed, 0, 0), place_of(data, (8 << level) + half, (4 << level) + half))


def test_levels_of_a_whole_slide():
    scene = picture(3, size=(64, 96))
    with tifffile.TiffWriter(file := io.BytesIO()) as writer:
        for text, step in (("v12.0.16\n96x64 [0,0 96x64] (16x16)|AppMag = 20", 1), ("thumbnail", 8), ("4", 4)):
            options = {"rowsperstrip": 8} if text == "thumbnail" else {"tile": (16, 16)}
            text = f"Aperio Image Library {text}"
            writer.write(scene[::step, ::step], photometric="rgb", metadata=None, description=text, **options)
    assert open_windows(file.getvalue(), 0).size == (64, 96)
    assert torch.equal(
        decode_image(open_windows(file.getvalue(), 1).encode(Window(0, 0, 16, 24))),
        torch.from_numpy(scene[::4, ::4].copy()).permute(2, 0, 1),
    )


@pytest.mark.parametrize("layout", ["tiles", "one strip", "deflate"])
def test_gaps_stay_gaps(tmp_path, layout):
    scene = picture(2, np.float32)
    scene[10:20, 30:50, :] = -9999
    scene[40, 41, 0] = np.nan
    (tmp_path / "a.tif").write_bytes(tiff_of(scene, extratags=tags({}, "-9999"), **LAYOUTS[layout]))
    whole = SourceDataset(FolderSource(tmp_path), in_chans=2, nodata="auto")
    cut = SourceDataset(WindowSource(FolderSource(tmp_path), (32, 32)), in_chans=2, nodata="auto")
    weight = whole.load(0)["weight"]
    for index in range(len(cut)):
        window, sample = cut.files.window_of(index), cut.load(index)
        assert torch.equal(sample["weight"], crop(weight, window))
        valid = sample["weight"]
        assert torch.equal(sample["inputs"][:, valid], crop(whole.load(0)["inputs"], window)[:, valid])
    assert "nodata" in " ".join(
        SourceDataset(WindowSource(FolderSource(tmp_path), 20), 2, max_broken=0.5)._remarks.lines()
    )


def corners(source):
    return [(w.top, w.left, w.height, w.width) for w in map(source.window_of, range(len(source)))]


@pytest.mark.parametrize(
    ("size", "stride", "edges", "rows", "columns"),
    [
        (32, None, "shift", [0, 32, 38], [0, 32, 58]),
        (32, None, "drop", [0, 32], [0, 32]),
        (35, None, "shift", [0, 35], [0, 35, 55]),
        ((70, 45), None, "shift", [0], [0, 45]),
        ((30, 60), (20, 15), "shift", [0, 20, 40], [0, 15, 30]),
        ((30, 60), (25, 20), "drop", [0, 25], [0, 20]),
        (200, None, "shift", [0], [0]),
        ((1, 90), None, "drop", list(range(70)), [0]),
    ],
)
def test_the_grid(tmp_path, size, stride, edges, rows, columns):
    (tmp_path / "a.tif").write_bytes(tiff_of(picture()))
    source = WindowSource(FolderSource(tmp_path), size, stride, edges=edges)
    height, width = (
        min(side, whole) for side, whole in zip((size, size) if type(size) is int else size, SIZE, strict=True)
    )
    assert corners(source) == [(top, left, height, width) for top in rows for left in columns]
    if edges == "shift" and stride is None:
        covered = np.zeros(SIZE, bool)
        for index in range(len(source)):
            covered[source.window_of(index).slices] = True
        assert covered.all()


def test_a_set_of_several_pictures(tmp_path):
    pictures = {name: picture(3, size=size) for name, size in (("a", (40, 50)), ("b", (20, 20)), ("c", (33, 64)))}
    for name, array in pictures.items():
        (tmp_path / f"{name}.tif").write_bytes(tiff_of(array))
    (tmp_path / "bad.tif").write_bytes(b"II*\0 and no more")
    (tmp_path / "t.csv").write_text("path,label\nc.tif,1\na.tif,0\nb.tif,1\n")
    source = WindowSource(TableSource(tmp_path / "t.csv"), 20)
    assert [source.relative(i) for i in (0, 7, 8, 14)] == ["c.tif#y0x0", "c.tif#y13x44", "a.tif#y0x0", "b.tif#y0x0"]
    assert source.labels().values.tolist() == [1] * 8 + [0] * 6 + [1]
    assert source.groups().tolist() == [0] * 8 + [1] * 6 + [2]
    check_source(source)
    data = SourceDataset(source)
    for index in np.random.default_rng(0).permutation(len(data)).tolist():
        name, window = source.relative(index)[0], source.window_of(index)
        assert np.array_equal(data[index]["inputs"].permute(1, 2, 0).numpy(), pictures[name][window.slices])
    with_bad = SourceDataset(WindowSource(FolderSource(tmp_path), 20), max_broken=0.5)
    assert len(with_bad) == 16 and "bad.tif#y0x0" in with_bad[7]["skipped"]


def test_windows_of_one_picture_stay_on_one_side(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.tif").write_bytes(tiff_of(picture(size=(20, 30))))
    source = {"type": "WindowSource", "size": 10, "source": {"type": "FolderSource", "root": str(tmp_path)}}
    sides = [SourceDataset(source, part=part) for part in ("train", "val")]
    names = [{side.files.relative(i).partition("#")[0] for i in range(len(side))} for side in sides]
    assert names[0] and names[1] and not names[0] & names[1] and len(names[0] | names[1]) == 10


def test_pictures_and_maps_of_them_are_paired(tmp_path):
    for folder, channels, ending in (("rgb", 3, "tif"), ("depth", 1, "tiff")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"a#1.{ending}").write_bytes(tiff_of(picture(channels)))
    windows = [WindowSource(FolderSource(tmp_path / folder), 32) for folder in ("rgb", "depth")]
    source = PairedSource(windows, [3, 1])
    image = decode_image(source.read(4)[1], 4)
    box = windows[0].window_of(4)
    assert np.array_equal(image[:3].permute(1, 2, 0).numpy(), picture(3)[box.slices])
    assert np.array_equal(image[3].numpy(), picture(1)[box.slices])


def encoded(array, ending, *options):
    return cv2.imencode(ending, array[..., ::-1] if array.ndim == 3 else array, list(options))[1].tobytes()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ending", "kind"),
    [(".png", np.uint8), (".png", np.uint16), (".jpg", np.uint8), (".bmp", np.uint8), (".pgm", np.uint16)],
)
def test_other_photographs(ending, kind, channels):
    if ending == ".pgm":
        ending = ".ppm" if channels == 3 else ending
    data = encoded(picture(channels, kind), ending)
    whole = decode_image(data, channels)
    for box in BOXES:
        window = decode_image(open_windows(data).encode(box), channels)
        assert window.dtype == whole.dtype and torch.equal(window, crop(whole, box))


@pytest.mark.parametrize("level", [1, 2, 3])
def test_reduced_jpeg(level):
    data = encoded(picture(size=(75, 93)), ".jpg")
    reduced = decode_image(data, reduction=2**level)
    windows = open_windows(data, level, max_pixels=reduced[0].numel())
    assert windows.size == reduced.shape[1:]
    box = Window(3, 2, 5, 7)
    assert torch.equal(decode_image(windows.encode(box)), crop(reduced, box))
    with pytest.raises(Exception, match="max_pixels"):
        open_windows(data, level, max_pixels=reduced[0].numel() - 1)


@pytest.mark.parametrize("layout", ["hwc", "chw", "hw", "fortran"])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_arrays(tmp_path, layout, kind):
    array = picture(1 if layout == "hw" else 13, kind)
    stored = {"chw": lambda: np.moveaxis(array, -1, 0), "fortran": lambda: np.asfortranarray(array)}
    np.save(
        tmp_path / "a.npy",
        np.ascontiguousarray(stored["chw"]()) if layout == "chw" else stored.get(layout, lambda: array)(),
    )
    expected = torch.from_numpy(array[None] if layout == "hw" else np.moveaxis(array, -1, 0).copy())
    for place in (str(tmp_path / "a.npy"), (tmp_path / "a.npy").read_bytes()):
        for box in BOXES:
            window = decode_image(open_windows(place).encode(box), 1 if layout == "hw" else 13)
            assert torch.equal(window, crop(expected, box))


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_orientation_stays(ending):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(picture()).save(file := io.BytesIO(), "JPEG" if ending == "jpg" else "TIFF", exif=exif)
    turn = ReadOptions(exif=True)
    window = open_windows(file.getvalue()).encode(Window(10, 20, 8, 12))
    whole = decode_image(file.getvalue(), options=turn)
    assert torch.equal(decode_image(window, options=turn), whole[:, 20:32, 70 - 18 : 70 - 10])


REFUSED = {
    "level": (lambda: pyramid()[0], {"level": 3}, r"no level 3, but 3, of 64 x 96, 32 x 48, 16 x 24 pixels"),
    "level of PNG": (lambda: encoded(picture(), ".png"), {"level": 1}, "only TIFF and JPEG have levels"),
    "level of JPEG": (lambda: encoded(picture(), ".jpg"), {"level": 4}, "a JPEG file has the levels 0 to 3"),
    "a large PNG": (lambda: encoded(picture(), ".png"), {"max_pixels": 6299}, "more than max_pixels=6,299 allows"),
    "a large strip": (
        lambda: tiff_of(picture(), rowsperstrip=70, compression="zlib"),
        {"max_pixels": 4000},
        "save it with tiles",
    ),
    "text": (lambda: b"no picture at all", {}, "not an image of a known format"),
    "DICOM": (lambda: b"\0" * 128 + b"DICM", {}, "wrap the source in a FrameSource"),
    "cut off": (lambda: tiff_of(picture(), rowsperstrip=7)[:-3000], {}, "cut off"),
    "objects": (
        lambda: (
            b"\x93NUMPY\x01\0"
            + b"\x76\0"
            + b"{'descr': '|O', 'fortran_order': False, 'shape': (3, 3), }".ljust(117)
            + b"\n"
        ),
        {},
        "objects",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_windows_is_said(case, tmp_path):
    make, options, reason = REFUSED[case]
    (tmp_path / "a.tif").write_bytes(make())
    source = WindowSource({"type": "FolderSource", "root": str(tmp_path)}, 32, **options)
    with pytest.raises(UnreadableImage, match=reason):
        source.read(len(source) - 1)


def test_a_bomb_in_a_tile(tmp_path):
    data = bytearray(tiff_of(np.zeros((64, 64), np.uint8), tile=(64, 64), compression="zlib"))
    import zlib

    bomb = zlib.compress(bytes(10**6))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tiff:
        count = tiff.pages[0].tags[325]
        start = tiff.pages[0].tags[324].valueoffset
        data[count.valueoffset : count.valueoffset + 2] = len(bomb).to_bytes(2, "little")
    data[start : start + 4] = len(data).to_bytes(4, "little")
    with pytest.raises(Exception, match=r"becomes more than|reshape|cannot"):
        TiffWindows(bytes(data) + bomb, 0, 4096).encode(Window(0, 0, 8, 8))


@pytest.mark.parametrize("missing", ["jpeg", "lzw", "zstd"])
def test_without_imagecodecs_it_is_said(tmp_path, monkeypatch, missing):
    data = bytearray(tiff_of(picture()))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tiff:
        place = tiff.pages[0].tags[259].valueoffset
    data[place : place + 2] = {"jpeg": 7, "lzw": 5, "zstd": 50000}[missing].to_bytes(2, "little")
    monkeypatch.setattr(tiff_windows, "is_installed", lambda name: False)
    with pytest.raises(Exception, match="needs imagecodecs, which is not installed: pip install imagecodecs"):
        open_windows(bytes(data))


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"size": (3,)}, {"size": "large"}, {"stride": 0}, {"level": -1}, {"edges": "pad"}]
)
def test_odd_arguments(tmp_path, options):
    (tmp_path / "a.tif").write_bytes(tiff_of(picture()))
    with pytest.raises(UsageError, match=f"WindowSource got .*{next(iter(options))}"):
        WindowSource(FolderSource(tmp_path), **{"size": 8, **options})


def test_the_limit_of_pixels_names_the_windows():
    with pytest.raises(UnreadableImage, match="read it by windows"):
        decode_image(encoded(picture(), ".png"), max_pixels=100)
    with pytest.raises(UnreadableImage, match="read it by windows"):
        decode_image(tiff_of(picture(13)), 13, max_pixels=100)


MASKS = {
    ".png": lambda values: encoded(values, ".png"),
    ".tif": lambda values: tiff_of(values, tile=(16, 16)),
    "palette.png": lambda values: by_pillow(values, "PNG", "P"),
    "palette.tif": lambda values: by_pillow(values, "TIFF", "P"),
    "16 bits.png": lambda values: encoded(values.astype(np.uint16), ".png"),
    "one bit.png": lambda values: by_pillow(values == 1, "PNG"),
}


def by_pillow(values, kind, mode=None):
    image = Image.fromarray(values)
    if mode:
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    image.save(file := io.BytesIO(), kind)
    return file.getvalue()


def scenes(root, kind=".tif", sizes=(SIZE, (20, 30), (64, 64))):
    """Scenes with masks of the classes 0 to 2, and 255."""
    found = {}
    for number, size in enumerate(sizes):
        mask = np.random.default_rng(number).choice(np.array([0, 1, 2, 255], np.uint8), size)
        found[str(number)] = (picture(size=size), mask)
        for place, content, ending in (
            ("images", tiff_of(found[str(number)][0], tile=(16, 16)), ".tif"),
            ("masks", MASKS[kind](mask), "." + kind.rpartition(".")[2]),
        ):
            (root / place).mkdir(parents=True, exist_ok=True)
            (root / place / f"{number}{ending}").write_bytes(content)
    return found


def segmentation(root, kind=".tif", **options):
    places = {"images": "images", "annotations": "masks", "image_suffix": ".tif"}
    places |= {"annotation_suffix": "." + kind.rpartition(".")[2], "classes": ["a", "b", "c"]}
    return SegmentationDataset(root, **places, **options)


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("limit", [None, 5])
def test_windows_of_scenes_and_their_masks(tmp_path, kind, limit):
    expected = scenes(tmp_path, kind)
    data = segmentation(tmp_path, kind, window=(24, 32), stride=(16, 32), limit=limit)
    assert len(data) == (limit or 4 * 3 + 1 + 4 * 2)
    assert len(set(data.names)) == len(data)
    whole = segmentation(tmp_path, kind)
    for index, name in enumerate(data.names):
        file, corner = name.split("#y")
        top, left = map(int, corner.split("x"))
        box = (slice(top, top + 24), slice(left, left + 32))
        assert np.array_equal(data[index]["inputs"].permute(1, 2, 0).numpy(), expected[file][0][box])
        assert torch.equal(data[index]["semantic"], whole[int(file)]["semantic"][box])
    if kind != "one bit.png" and limit is None:
        assert np.array_equal(data[0]["semantic"].numpy(), expected["0"][1][:24, :32])


def test_what_windows_of_masks_refuse(tmp_path):
    scenes(tmp_path)
    (tmp_path / "masks/1.tif").write_bytes(tiff_of(np.zeros((20, 31), np.uint8)))
    data = segmentation(tmp_path, window=32, max_broken=0.5)
    broken = data.names.index("1#y0x0")
    assert "has 20x31 pixels, but its image" in data[broken]["skipped"]
    (tmp_path / "masks/1.tif").write_bytes(encoded(picture(size=(20, 30)), ".jpg"))
    with pytest.raises(UsageError, match="JPEG or lossy WebP"):
        segmentation(tmp_path, window=32, max_broken=0.5)[broken]
    with pytest.raises(UsageError, match=r"set dataset\.window, too"):
        segmentation(tmp_path, stride=32)
    with pytest.raises(UsageError, match="WindowSource got size=0"):
        segmentation(tmp_path, window=0)
