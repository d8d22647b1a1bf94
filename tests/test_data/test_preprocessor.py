"""Normalising: the numbers, and whose memory they lie in."""

import pytest
import torch

from maetool.data import AugmentingPreprocessor, ImagePreprocessor
from maetool.data.transforms.augment import RandAugment
from maetool.errors import UsageError


def batch(value, size=2):
    return {"inputs": torch.full((size, 3, 4, 5), value, dtype=torch.uint8), "index": torch.arange(size)}


def test_images_are_normalised_and_the_rest_travels():
    normalise = ImagePreprocessor(mean=(10, 20, 30), std=(2, 4, 5))
    for training in (True, False):
        out = normalise(batch(50), training)
        assert out["images"][0, :, 0, 0].tolist() == [20, 7.5, 4]
        assert out["data_samples"]["index"].tolist() == [0, 1]


def test_training_reuses_its_memory_and_evaluation_does_not():
    normalise = ImagePreprocessor()
    first = normalise(batch(1), True)["images"]
    assert normalise(batch(2), True)["images"].data_ptr() == first.data_ptr()
    kept = normalise(batch(1), False)["images"]
    before = kept.clone()
    normalise(batch(9), False), normalise(batch(9), True)
    assert torch.equal(kept, before)


def test_a_batch_of_another_size_is_no_problem():
    normalise = ImagePreprocessor()
    for size in (2, 5, 2):
        for value in (0, 255):
            images = normalise(batch(value, size), True)["images"]
            assert torch.equal(images, normalise(batch(value, size), False)["images"])


def test_float_inputs_stay_as_they_are():
    inputs = torch.rand(2, 3, 4, 4)
    before = inputs.clone()
    ImagePreprocessor(mean=(1, 1, 1), std=(2, 2, 2))({"inputs": inputs}, True)
    assert torch.equal(inputs, before)


@pytest.mark.parametrize("size", [(3,), (7,), (3, 3), (4, 5), (3, 4, 5), (16, 4, 5), (3, 3, 3), (2, 3, 4, 5)])
def test_channels_are_axis_1_whatever_the_rank(size):
    normalise = ImagePreprocessor(mean=(10, 20, 30), std=(2, 4, 5))
    inputs = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    for training in (True, False):
        images = normalise({"inputs": inputs}, training)["images"]
        for channel, (mean, std) in enumerate(((10, 2), (20, 4), (30, 5))):
            assert torch.allclose(images[:, channel], (inputs[:, channel].float() - mean) / std)
        assert torch.allclose(normalise.denormalise(images), inputs.float(), atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 16, 3, 4, 5), (2, 4, 5, 3), (2, 3), (3,), (2, 1, 4, 5)])
def test_channels_elsewhere_are_refused(shape):
    with pytest.raises(UsageError, match=r"channels, but the model takes 3: .* channels first"):
        ImagePreprocessor()({"inputs": torch.zeros(shape, dtype=torch.uint8)})
    with pytest.raises(UsageError, match="must have 3 channels along axis 1"):
        ImagePreprocessor().denormalise(torch.zeros((2, 5, 3)))


def test_augmentation_is_for_pictures():
    augment = AugmentingPreprocessor(num_classes=2)
    data = {"inputs": torch.zeros(2, 3, 4, 8, 8, dtype=torch.uint8), "key": torch.arange(2), "label": torch.arange(2)}
    assert augment(data, training=False)["images"].shape == (2, 3, 4, 8, 8)
    with pytest.raises(UsageError, match=r"erases and mixes pictures .* take ImagePreprocessor for series and clips"):
        augment(data, training=True)
    with pytest.raises(UsageError, match=r"got uint8 of the shape \(3, 4, 8, 8\), but changes 8-bit pictures"):
        RandAugment()(data["inputs"][0])
