"""Crops of photographs that are decoded only as far and as finely as needed."""

import importlib.util
import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as published

from maetool.data import ImageFolderDataset, RandomHorizontalFlip, RandomResizedCrop, ResizeCenterCrop, SampleKey
from maetool.data.codecs import resize as resize_module
from maetool.data.codecs.encoded import EncodedImage
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.codecs.jpeg import first_rows, read_header
from maetool.data.codecs.resize import resize
from maetool.data.keys import keyed_rng
from maetool.errors import UsageError


@pytest.fixture(scope="module")
def photo():
    from skimage import data

    return Image.fromarray(data.astronaut()).resize((500, 375))


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def large(photo):
    return jpeg(photo.resize((2050, 1537), Image.Resampling.BICUBIC))


CODINGS = {
    "4:2:0": {},
    "4:2:2": {"subsampling": 1},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("options", CODINGS.values(), ids=CODINGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("reduction", [1, 2, 8])
def test_rows_decoded_alone_equal_those_of_the_whole(photo, options, mode, reduction, capfd):
    data = jpeg(photo.convert(mode), **options)
    whole = EncodedImage(data, "whole").pixels(reduction)
    for bottom in (1, 7, 100, 170, 300, 350, 373, 375):
        part = EncodedImage(data, "part")._down_to(bottom // reduction, reduction)
        assert torch.equal(part[:, : bottom // reduction], whole[:, : bottom // reduction])
    assert capfd.readouterr().err == ""  # libjpeg says there what it finds odd


def part_of(data: bytes, rows: int) -> bytes | None:
    return first_rows(data, read_header(data), rows)


def test_fewer_rows_are_decoded_where_that_is_possible(photo):
    data = jpeg(photo)
    assert read_header(data)[:2] == (375, 500)
    assert read_header(part_of(data, 100))[:2] == (112, 500)
    assert part_of(data, 370) is None
    assert part_of(data[:-200], 100) is None  # truncated
    assert part_of(jpeg(photo, progressive=True), 100) is None
    with_restarts = cv2.imencode(".jpg", np.asarray(photo), [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[1].tobytes()
    assert part_of(with_restarts, 100) is None
    scan = data.index(b"\xff\xda") + 4  # its number of components
    assert part_of(data[:scan] + b"\1" + data[scan + 1 :], 100) is None  # other scans follow
    assert EncodedImage(data, "part")._down_to(100, 1).shape[-2] < 120
    several = EncodedImage(data, "several")
    several.shared = True
    assert several._down_to(100, 1).shape[-2] == 375


def test_header_of_files_that_are_none(photo):
    data = jpeg(photo)
    assert not read_header(data).has_exif
    for other in (
        b"",
        b"\xff",
        b"\xff\xd8",
        b"GIF89a",
        data[:30],
        data[:2] + b"\xff" * 50,
        b"\xff\xd8\xff\xe0\0\0" * 9,
    ):
        assert read_header(other) is None
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker of cameras"
    assert read_header(jpeg(photo, exif=exif)).has_exif
    assert read_header(jpeg(photo, exif=exif))[:2] == (375, 500)
    assert read_header(data[:2] + b"\xff\xff" + data[2:])[:2] == (375, 500)  # fill bytes


def test_large_boxes_are_cut_from_a_reduced_image_with_snapped_corners(photo):
    image = EncodedImage(large(photo), "large")
    for box, reduction in (
        ((3, 5, 440, 700), 1),
        ((3, 5, 460, 700), 2),
        ((100, 201, 1200, 920), 4),
        ((0, 0, 1537, 2050), 4),
    ):
        found, edges = image._reduced(box, (224, 224))
        assert found == reduction
        top, left, bottom, right = (edge * reduction for edge in edges)
        moved = np.abs(np.subtract((top, left, bottom, right), (box[0], box[1], box[0] + box[2], box[1] + box[3])))
        assert moved.max() <= reduction / 2
        exact = resize(image.pixels()[:, top:bottom, left:right], (224, 224))
        assert (image.crop(box, (224, 224)).float() - exact.float()).abs().mean() < 1.0


def test_one_channel_is_reduced_too(photo):
    image = EncodedImage(large(photo), "large", in_chans=1)
    assert image.crop((0, 0, 1537, 2050), (224, 224)).shape == (1, 224, 224)


def test_the_backend_for_parity_never_decodes_less(photo):
    image = EncodedImage(large(photo), "large", backend="pillow")
    assert image._reduced((0, 0, 1537, 2050), (224, 224))[0] == 1


@pytest.fixture
def folder(tmp_path, photo):
    files = {
        "a.jpg": jpeg(photo),
        "b.jpg": jpeg(photo, progressive=True),
        "c.jpg": jpeg(photo.convert("L")),
        "d.jpg": jpeg(photo.convert("CMYK")),
        "e.jpg": large(photo),
    }
    (tmp_path / "set").mkdir()
    for name, data in files.items():
        (tmp_path / "set" / name).write_bytes(data)
    photo.convert("RGBA").save(tmp_path / "set" / "f.png")
    photo.save(tmp_path / "set" / "g.webp")
    return tmp_path / "set"


PIPELINE = [RandomResizedCrop(224), RandomHorizontalFlip()]


def test_the_pillow_backend_is_the_published_pipeline_to_the_bit(folder, tmp_path):
    data = ImageFolderDataset(folder, pipeline=PIPELINE, backend="pillow", index_cache=tmp_path)
    reference = published.Compose(
        [
            published.RandomResizedCrop(224, scale=(0.2, 1.0), interpolation=published.InterpolationMode.BICUBIC),
            published.RandomHorizontalFlip(),
        ]
    )
    for i in range(len(data)):
        for key in range(4):
            with keyed_rng(key), Image.open(data.files.path(i)) as image:
                expected = torch.from_numpy(np.array(reference(image.convert("RGB")))).permute(2, 0, 1)
            assert torch.equal(data[SampleKey(i, key)]["inputs"], expected), (data.files.path(i), key)


def test_the_pillow_backend_evaluates_as_published_to_the_bit(folder, tmp_path):
    data = ImageFolderDataset(folder, pipeline=[ResizeCenterCrop(224)], backend="pillow", index_cache=tmp_path)
    bicubic = published.InterpolationMode.BICUBIC
    reference = published.Compose([published.Resize(256, bicubic), published.CenterCrop(224)])
    for i in range(len(data)):
        with Image.open(data.files.path(i)) as image:
            expected = torch.from_numpy(np.array(reference(image.convert("RGB")))).permute(2, 0, 1)
        assert torch.equal(data[i]["inputs"], expected)


def test_the_default_backend_is_near_the_published_pipeline(folder, tmp_path):
    fast, exact = (
        ImageFolderDataset(folder, pipeline=PIPELINE, backend=backend, index_cache=tmp_path)
        for backend in ("cv2", "pillow")
    )
    for i in (0, 1, 2, 5, 6):
        for key in range(8):
            a, b = (data[SampleKey(i, key)]["inputs"].float() for data in (fast, exact))
            # One box alone can come to 0.3, just above the size of the output.
            assert (a - b).abs().mean() < 0.4
    errors = [
        (fast[SampleKey(0, key)]["inputs"].float() - exact[SampleKey(0, key)]["inputs"].float()).abs().mean()
        for key in range(30)
    ]
    assert sum(errors) / 30 < 0.1


def test_crops_of_one_decode_equal_crops_alone(folder, tmp_path, monkeypatch):
    data = ImageFolderDataset(folder, pipeline=PIPELINE, index_cache=tmp_path)
    for i in range(len(data)):
        alone = [data[SampleKey(i, key)] for key in range(4)]
        decoded = []
        real = cv2.imdecode
        with monkeypatch.context() as patch:
            patch.setattr(cv2, "imdecode", lambda *a, seen=decoded, real=real: seen.append(1) or real(*a))
            together = data.__getitems__([SampleKey(i, key) for key in range(4)])
        assert len(decoded) <= (3 if data.files.path(i).endswith("e.jpg") else 1)
        for a, b in zip(alone, together, strict=True):
            assert torch.equal(a["inputs"], b["inputs"])
            assert a["key"] == b["key"]


def test_a_transform_that_works_in_place_does_not_reach_the_other_crops(folder, tmp_path):
    data = ImageFolderDataset(folder, pipeline=[lambda image: image.zero_() if torch.rand(1) < 0.5 else image])
    samples = data.__getitems__([SampleKey(0, key) for key in range(12)])
    assert {bool(sample["inputs"].any()) for sample in samples} == {True, False}
    assert len({sample["inputs"].sum().item() for sample in samples}) == 2


def test_a_file_that_breaks_while_its_crop_is_cut_is_passed_over(folder, tmp_path):
    data = ImageFolderDataset(folder, pipeline=PIPELINE, index_cache=tmp_path)
    whole = (folder / "a.jpg").read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:300], whole[:160] + b"\0" * 500):
        (folder / "a.jpg").write_bytes(damaged)
        for keys in ([1], [1, 2, 3]):
            for sample in data.__getitems__([SampleKey(0, key) for key in keys]):
                assert "a.jpg: " in sample["skipped"]
                assert sample["inputs"].shape == (3, 224, 224)
                assert sample["index"] == 0


def test_a_decoder_that_disagrees_with_the_header_is_named(photo, monkeypatch):
    wrong = torch.zeros(3, 500, 375, dtype=torch.uint8)
    monkeypatch.setattr("maetool.data.codecs.encoded.decode_jpeg", lambda *args: wrong)
    with pytest.raises(UnreadableImage, match="its header says 375 x 500 pixels, but it holds 500 x 375"):
        EncodedImage(jpeg(photo), "turned").crop((0, 0, 375, 300), (64, 64))


def test_without_vector_instructions_pillow_resizes(photo, monkeypatch):
    image = decode_image(jpeg(photo))
    expected = resize(image, (224, 224), by_pillow=True)
    by_torch = resize(image, (224, 224))
    monkeypatch.setattr(resize_module, "cpu_resizes_uint8", lambda: False)
    assert torch.equal(resize(image, (224, 224)), expected)
    assert (by_torch.float() - expected.float()).abs().mean() < 0.1
    assert torch.equal(resize(image[:1], (50, 60)), resize(image, (50, 60))[:1])
    five = torch.cat([image, image[:2]])
    assert torch.equal(resize(five, (50, 60))[3:], resize(image, (50, 60))[:2])


def test_backends_that_cannot_be(folder, monkeypatch):
    with pytest.raises(UsageError, match="must be one of cv2, pillow, torchcodec"):
        ImageFolderDataset(folder, backend="opencv")
    monkeypatch.setattr("maetool.data.codecs.images.is_installed", lambda name: False)
    with pytest.raises(UsageError, match="pip install torchcodec"):
        ImageFolderDataset(folder, backend="torchcodec")


@pytest.mark.skipif(importlib.util.find_spec("torchcodec") is None, reason="torchcodec is optional")
def test_torchcodec_gives_what_opencv_gives(folder, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "h.jpg").write_bytes(jpeg(photo, exif=exif))
    for path in sorted(folder.iterdir()):
        ours, theirs = (decode_image(path.read_bytes(), backend=backend) for backend in ("cv2", "torchcodec"))
        assert ours.shape == theirs.shape
        assert (ours.float() - theirs.float()).abs().mean() < 1.5  # CMYK; the others are equal
