import io

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from maetool.data.codecs.images import UnreadableImage, read_image
from maetool.data.codecs.options import ReadOptions


@pytest.fixture(scope="module")
def photo():
    """A smooth colour picture, so that lossy formats stay near it."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, 255 - x * 2 - y], axis=-1).clip(0, 255).astype(np.uint8)


def pil_rgb(path):
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def distance(a, b):
    return (a.float() - b.float()).abs().mean().item()


def reason_of(path, in_chans=3):
    with pytest.raises(UnreadableImage) as caught:
        read_image(path, in_chans)
    assert caught.value.path == str(path)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    assert "\n" not in caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.gif", "a.tif"])
def test_every_photo_format_equals_pillow(tmp_path, photo, name):
    Image.fromarray(photo).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.dtype == torch.uint8
    assert image.shape == (3, 48, 64)
    assert torch.equal(image, pil_rgb(tmp_path / name))
    assert distance(image, torch.from_numpy(photo).permute(2, 0, 1)) < 8  # also that RGB is not BGR


def test_one_channel_of_a_colour_photo_is_its_luma(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", in_chans=1)
    assert image.shape == (1, 48, 64)
    luma = torch.from_numpy(np.array(Image.fromarray(photo).convert("L")))
    assert distance(image[0], luma) < 1


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_grey_becomes_three_equal_channels(tmp_path, photo, name):
    Image.fromarray(photo[..., 0]).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.shape == (3, 48, 64)
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])
    assert torch.equal(image, pil_rgb(tmp_path / name))


def test_cmyk_jpeg(tmp_path, photo):
    Image.fromarray(photo).convert("CMYK").save(tmp_path / "a.jpg")
    assert distance(read_image(tmp_path / "a.jpg"), pil_rgb(tmp_path / "a.jpg")) < 2


def test_rgba_drops_alpha_and_keeps_colours(tmp_path, photo):
    alpha = np.arange(48 * 64).reshape(48, 64, 1).astype(np.uint8)
    for name in ("a.png", "a.tif"):
        Image.fromarray(np.concatenate([photo, alpha], axis=-1)).save(tmp_path / name)
        assert torch.equal(read_image(tmp_path / name), torch.from_numpy(photo).permute(2, 0, 1))


def test_palette_png(tmp_path, photo):
    Image.fromarray(photo).quantize(32).save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    assert torch.equal(read_image(tmp_path / "a.png"), pil_rgb(tmp_path / "a.png"))


def test_sixteen_bit_png_gives_its_upper_eight_bits_on_request(tmp_path):
    stored = (np.arange(48 * 64).reshape(48, 64) * 21).astype(np.uint16)
    Image.fromarray(stored).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", options=ReadOptions(eight_bit=True))
    assert image.dtype == torch.uint8
    assert distance(image[0], torch.from_numpy((stored / 257).astype(np.float32))) < 1


def test_name_does_not_decide_what_a_file_is(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "png", format="PNG")
    expected = torch.from_numpy(photo).permute(2, 0, 1)
    for name in ("a.jpg", "a.tif", "a.npy"):
        (tmp_path / name).write_bytes((tmp_path / "png").read_bytes())
        assert torch.equal(read_image(tmp_path / name), expected)


def test_exif_rotation_is_not_applied(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (3, 48, 64)
    assert read_image(tmp_path / "a.jpg", in_chans=1).shape == (1, 48, 64)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "gif", "tiff"])
def test_truncated(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole", format=kind)
    data = (tmp_path / "whole").read_bytes()
    for share in (0.3, 0.6, 0.95):
        (tmp_path / "cut.jpg").write_bytes(data[: int(len(data) * share)])
        assert reason_of(tmp_path / "cut.jpg")


def test_reasons(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert reason_of(tmp_path / "empty.jpg") == "the file is empty"
    (tmp_path / "text.jpg").write_text("<html>404 Not Found</html>")
    assert reason_of(tmp_path / "text.jpg") == "not an image of a known format"
    assert reason_of(tmp_path / "absent.jpg") == "no such file or directory"
    (tmp_path / "folder.jpg").mkdir()
    assert reason_of(tmp_path / "folder.jpg") == "is a directory"


def test_permission_denied(tmp_path, monkeypatch):
    def deny(path, *options, **more):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.open", deny)
    assert reason_of(tmp_path / "a.jpg") == "permission denied"


def test_photo_where_many_channels_are_expected(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "a.png")
    assert "5 channels were expected" in reason_of(tmp_path / "a.png", in_chans=5)


@pytest.fixture
def bands():
    return np.random.default_rng(0).integers(0, 60000, (5, 12, 14)).astype(np.uint16)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["chw", "hwc"])
def test_five_channels_in_npy(tmp_path, bands, layout, dtype):
    stored = (bands % 251).astype(dtype)
    np.save(tmp_path / "a.npy", stored if layout == "chw" else stored.transpose(1, 2, 0))
    image = read_image(tmp_path / "a.npy", in_chans=5)
    assert image.dtype == (torch.uint8 if dtype == "uint8" else torch.float32)
    assert torch.equal(image.float(), torch.from_numpy((bands % 251).astype(np.float32)))


@pytest.mark.parametrize("config", ["contig", "separate", "pages"])
@pytest.mark.parametrize("in_chans", [3, 5])
def test_bands_in_tiff(tmp_path, bands, config, in_chans):
    bands = bands[:in_chans]
    stored = bands.transpose(1, 2, 0) if config == "contig" else bands
    options = {} if config == "pages" else {"planarconfig": config}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", **options)
    image = read_image(tmp_path / "a.tif", in_chans)
    assert torch.equal(image, torch.from_numpy(bands.astype(np.float32)))


def test_sixteen_bit_tiff_keeps_its_values(tmp_path, bands):
    tifffile.imwrite(tmp_path / "a.tif", bands[0])
    assert torch.equal(read_image(tmp_path / "a.tif", 1)[0], torch.from_numpy(bands[0].astype(np.float32)))
    assert torch.equal(read_image(tmp_path / "a.tif", 3), torch.from_numpy(bands[:1].repeat(3, 0).astype(np.float32)))
    assert reason_of(tmp_path / "a.tif", 5) == "an array of shape (12, 14), but 5 channels were expected"


def test_lzw_photo_and_damaged_tiff(tmp_path, photo, bands):
    Image.fromarray(photo).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert torch.equal(read_image(tmp_path / "a.tif"), torch.from_numpy(photo).permute(2, 0, 1))
    tifffile.imwrite(tmp_path / "b.tif", bands)
    data = (tmp_path / "b.tif").read_bytes()
    for length in (4, 8, 40, 300, len(data) // 2):
        (tmp_path / "b.tif").write_bytes(data[:length])
        assert reason_of(tmp_path / "b.tif", 5)


def test_four_bands_are_not_taken_for_rgba(tmp_path, bands):
    stored = bands[:4].astype(np.uint8).transpose(1, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig="contig")
    assert read_image(tmp_path / "a.tif", 4).shape == (4, 12, 14)
    assert "(12, 14, 4)" in reason_of(tmp_path / "a.tif", 3)


def test_layout_of_arrays(tmp_path):
    ambiguous = np.arange(3 * 4 * 3, dtype=np.float32).reshape(3, 4, 3)
    np.save(tmp_path / "a.npy", ambiguous)
    assert torch.equal(read_image(tmp_path / "a.npy"), torch.from_numpy(ambiguous).permute(2, 0, 1))
    np.save(tmp_path / "flat.npy", ambiguous[0])
    assert read_image(tmp_path / "flat.npy", 1).shape == (1, 4, 3)
    np.save(tmp_path / "five.npy", np.zeros((5, 8, 9)))
    assert reason_of(tmp_path / "five.npy", 4) == "an array of shape (5, 8, 9), but 4 channels were expected"


def test_arrays_that_are_no_image(tmp_path):
    for name, array in {"nan": [[1.0, np.nan]], "inf": [[np.inf, 0.0]], "wide": [[1e300, 0.0]]}.items():
        np.save(tmp_path / f"{name}.npy", np.array(array))
        assert "NaN" in reason_of(tmp_path / f"{name}.npy", 1)
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    assert "no image" in reason_of(tmp_path / "text.npy", 1)
    np.save(tmp_path / "none.npy", np.zeros((0, 4)))
    assert "no image" in reason_of(tmp_path / "none.npy", 1)


class Bomb:
    def __reduce__(self):
        return open, ("opened_by_pickle", "w")


def test_pickled_objects_are_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    assert "can run code" in reason_of(tmp_path / "a.npy")
    assert not (tmp_path / "opened_by_pickle").exists()


def test_damaged_npy(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 8, 8)))
    data = buffer.getvalue()
    huge = data.replace(b"(3, 8, 8), }  ", b"(9999999999,)}")
    assert len(huge) == len(data)
    for damaged in (data[:7], data[:40], data[:-8], data.replace(b"(3,", b"((,"), huge):
        (tmp_path / "a.npy").write_bytes(damaged)
        assert "damaged" in reason_of(tmp_path / "a.npy")
