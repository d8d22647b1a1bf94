"""Resizing, flips and colours on the device are those of the workers within the error that is documented."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.transforms.v2.functional import adjust_hue

from maetool.data import AugmentingPreprocessor, ImageFolderDataset, ImagePreprocessor
from maetool.data.collate import collate_samples
from maetool.data.transforms.on_device import ResizeOnDevice, finish_on_device
from maetool.errors import UsageError
from maetool.models.operations import operations_per_sample
from maetool.ops.resampling import bicubic_weights, recoloured, resampled
from maetool.testing import tiny_model
from maetool.testing.waits import waits_of

SIZES = [(40, 61), (33, 400), (300, 45), (128, 128), (500, 375), (20, 17), (64, 64), (65, 200)]
JITTER = {"type": "torchvision.transforms.v2.ColorJitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4}
PIPELINE = [{"type": "RandomResizedCrop", "size": (32, 48)}, {"type": "RandomHorizontalFlip"}]
ON_DEVICE = {"type": "ResizeOnDevice", "size": (32, 48), "pipeline": PIPELINE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number, (height, width) in enumerate(SIZES):
        coarse = generator.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / f"{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return root


def images_of(folder, pipeline, in_chans=3, epochs=4):
    """Return the images of some epochs, in units of the files, and the batch as the loader gives it."""
    dataset = ImageFolderDataset(folder, pipeline=pipeline, in_chans=in_chans)
    batch = collate_samples([dataset[dataset.key_of(i, epoch)] for epoch in range(epochs) for i in range(len(dataset))])
    part = ImagePreprocessor(mean=[0.0] * in_chans, std=[1.0] * in_chans)
    return part(dict(batch))["images"], batch


@pytest.mark.parametrize(
    ("changes", "in_chans", "largest", "mean"),
    [
        ([], 3, 1, 0.01),
        ([], 1, 1, 0.01),
        ([JITTER], 3, 6, 0.01),
        ([JITTER], 1, 6, 0.01),
        ([{**JITTER, "hue": 0.5}], 3, 6, 0.01),
    ],
)
def test_images_are_those_of_the_workers(folder, changes, in_chans, largest, mean):
    pipeline = [*PIPELINE, *changes]
    ours, batch = images_of(folder, [{"type": "ResizeOnDevice", "size": (32, 48), "pipeline": pipeline}], in_chans)
    theirs, _ = images_of(folder, pipeline, in_chans)
    assert ours.shape == theirs.shape == (32, in_chans, 32, 48)
    error = (ours - theirs).abs()
    assert error.max() <= largest and error.mean() <= mean
    assert batch["inputs"]["pixels"].shape == (32, in_chans, 64, 96)
    mirrored = batch["inputs"]["placed"][:, 2]
    assert 0 < mirrored.sum() < len(mirrored)
    if changes:
        assert (theirs - images_of(folder, PIPELINE)[0]).abs().mean() > 5  # colours do change


def test_weights_are_those_of_interpolate():
    lengths = torch.tensor([3, 32, 48, 7, 96])
    weights = bicubic_weights(lengths, 32, 96)
    assert weights.sum(dim=2).sub(1).abs().max() < 1e-5
    for length, own in zip(lengths.tolist(), weights, strict=True):
        line = torch.eye(length)[:, None, None]  # (length, 1, 1, length)
        expected = functional.interpolate(line, (1, 32), mode="bicubic", antialias=True)[:, 0, 0]
        torch.testing.assert_close(own[:, :length].T, expected, atol=1e-5, rtol=0)
        assert own[:, length:].eq(0).all()


def test_what_lies_beside_a_part_is_not_looked_at():
    pixels = torch.randint(256, (70, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    extents, mirrored = torch.tensor([[9, 24], [20, 11]]).repeat(35, 1), torch.arange(70) % 3 == 0
    images = resampled(pixels, extents, mirrored, (8, 8))
    for i, (rows, columns) in enumerate(extents.tolist()):
        part = pixels[i : i + 1, :, :rows, :columns]
        part = part.flip(3) if mirrored[i] else part
        expected = functional.interpolate(part, (8, 8), mode="bicubic", antialias=True)[0]
        assert (images[i] - expected).abs().max() <= 1.0
    pixels[0, :, 9:] = 0
    assert torch.equal(resampled(pixels, extents, mirrored, (8, 8))[0], images[0])


def test_nobody_waits_for_the_device(folder):
    pipeline = [{"type": "ResizeOnDevice", "size": (32, 48), "pipeline": [*PIPELINE, {**JITTER, "hue": 0.1}]}]
    _, batch = images_of(folder, pipeline, epochs=1)
    assert not waits_of(finish_on_device, batch["inputs"])


def test_erasing_and_mixing_follow(folder):
    batches = [images_of(folder, each, epochs=1)[1] for each in ([ON_DEVICE], PIPELINE)]
    part = AugmentingPreprocessor(5, erase_prob=0.5)
    ours, theirs = (part({**batch, "label": torch.arange(8) % 5}, training=True) for batch in batches)
    torch.testing.assert_close(ours["images"], theirs["images"], atol=0.03, rtol=0)
    assert torch.equal(ours["data_samples"]["target"], theirs["data_samples"]["target"])


def test_its_products_are_not_counted_as_the_models(folder):
    batches = [images_of(folder, each, epochs=1)[1] for each in ([ON_DEVICE], PIPELINE)]
    model = tiny_model(encoder={"img_size": (32, 48)})
    numbers = [operations_per_sample(model, batch) for batch in batches]
    assert numbers[0] == numbers[1] > 0


@pytest.mark.parametrize(
    "pipeline",
    [
        [{"type": "RandomHorizontalFlip"}],
        PIPELINE[::-1],
        [*PIPELINE, {"type": "RandAugment"}],
        [{"type": "ResizeCenterCrop"}],
    ],
)
def test_other_transforms_are_refused(pipeline):
    with pytest.raises(UsageError, match="ResizeOnDevice takes a RandomResizedCrop, and perhaps"):
        ResizeOnDevice(32, pipeline)


def test_what_cannot_be_resized_is_refused():
    with pytest.raises(UsageError, match=r"got canvas=16, but must be at least its size, \(32, 48\)"):
        ResizeOnDevice(32, PIPELINE, 16)
    with pytest.raises(UsageError, match="got float32 of the shape"):
        ResizeOnDevice(32, PIPELINE)(torch.rand(3, 40, 40))
    with pytest.raises(UsageError, match="an image of 4 channels, but ColorJitter changes the colours of 1 or 3"):
        ResizeOnDevice(32, [*PIPELINE, JITTER])(torch.zeros(4, 40, 40, dtype=torch.uint8))


@pytest.mark.parametrize("hue", [-0.5, -0.31, 0.0, 0.07, 0.5])
def test_hues_are_turned_as_torchvision_does(hue):
    pixels = torch.randint(256, (4, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[0], pixels[1, 1:] = pixels[0, :1], 0  # grey, and red
    expected = adjust_hue(pixels, hue)
    turned = recoloured(pixels.float(), torch.full((4, 1), 3), torch.tensor([[1.0, 1.0, 1.0, hue]] * 4))
    error = (turned - expected).abs()
    assert error.max() <= 1 and (error > 0).float().mean() < 0.001
    others = torch.tensor([[0.0, 0.0, 0.0, hue]] * 4)
    assert torch.equal(recoloured(pixels.float(), torch.full((4, 1), 4), others), pixels.float())
