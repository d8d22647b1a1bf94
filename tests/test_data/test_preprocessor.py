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
    with pytest.raises(UsageError, match=r"erases and mixes pictures .* use ImagePreprocessor for series and clips"):
        augment(data, training=True)
    with pytest.raises(UsageError, match=r"got uint8 of the shape \(3, 4, 8, 8\), but changes 8-bit pictures"):
        RandAugment()(data["inputs"][0])


def views(size=2):
    """Two views of one shape, as the loader gives them."""
    pixels = torch.arange(size * 60, dtype=torch.uint8).view(size, 3, 4, 5)
    return {"inputs": {"first": pixels, "second": pixels + 7}, "label": torch.arange(size)}


def test_each_of_several_inputs_is_normalised_by_the_common_numbers():
    normalise, data = ImagePreprocessor(mean=(10, 20, 30), std=(2, 4, 5)), views()
    for training in (True, False):
        out = normalise(data, training)
        assert list(out["images"]) == ["first", "second"] and list(out["data_samples"]) == ["label"]
        for name in ("first", "second"):
            alone = normalise({"inputs": data["inputs"][name]}, training)["images"]
            assert torch.equal(out["images"][name], alone) and alone.dtype == torch.float32
    back = normalise.denormalise(out["images"])
    assert torch.allclose(back["second"], data["inputs"]["second"].float(), atol=1e-4)


def test_each_of_several_inputs_has_memory_of_its_own():
    normalise = ImagePreprocessor()
    first = normalise(views(), True)["images"]
    kept = {name: x.data_ptr() for name, x in first.items()}
    assert len(set(kept.values())) == 2
    for size in (2, 5, 2):
        images = normalise(views(size), True)["images"]
        expected = normalise(views(size), False)["images"]
        assert all(torch.equal(images[name], expected[name]) for name in ("first", "second"))
    again = normalise(views(), True)["images"]
    assert {name: again[name].data_ptr() for name in ("first", "second")} == {
        name: images[name].data_ptr() for name in ("first", "second")
    }


def test_numbers_by_name():
    numbers = {"rgb.left": (10, 20, 30), "depth": (100,)}
    normalise = ImagePreprocessor(numbers, {"rgb.left": (1, 2, 3), "depth": (50,)}, {"rgb.left": 3, "depth": 1})
    inputs = {"depth": torch.full((2, 1, 3, 4), 200.0), "rgb.left": torch.full((2, 3, 3, 4), 40, dtype=torch.uint8)}
    images = normalise({"inputs": inputs})["images"]
    assert list(images) == ["depth", "rgb.left"]
    assert images["depth"].unique().tolist() == [2]
    assert images["rgb.left"][0, :, 0, 0].tolist() == pytest.approx([30, 10, 10 / 3])
    back = normalise.denormalise(images["rgb.left"], "rgb.left")
    assert back[0, :, 0, 0].tolist() == pytest.approx([40, 40, 40])
    assert {name: x.dtype for name, x in normalise.denormalise(images).items()} == dict.fromkeys(images, torch.float32)
    assert normalise.state_dict() == {}
    assert {x.dtype for x in normalise.double().buffers()} == {torch.float64}


def test_ids_have_no_means_and_are_passed_on():
    ids = torch.randint(0, 512, (2, 7, 9))
    alone = ImagePreprocessor(mean=None, std=None, in_chans=3)
    assert torch.equal(alone({"inputs": ids, "key": torch.arange(2)}, True)["images"], ids)
    assert torch.equal(alone.denormalise(ids), ids) and not hasattr(alone, "mean")
    beside = ImagePreprocessor({"rgb": (10, 20, 30)}, {"rgb": (1, 1, 1)})
    images = beside({"inputs": {"rgb": torch.full((2, 3, 4, 4), 40), "ids": ids}})["images"]
    assert torch.equal(images["ids"], ids) and torch.equal(beside.denormalise(images)["ids"], ids)
    assert images["rgb"][0, :, 0, 0].tolist() == [30, 20, 10]  # int64 too, because it has means
    assert ImagePreprocessor((10, 20, 30))({"inputs": torch.full((2, 3, 4, 4), 40)})["images"].dtype == torch.float32
    with pytest.raises(UsageError, match=r"of 7 channels, but the model takes 3: .* Ids of codes have no means: set"):
        ImagePreprocessor()({"inputs": ids})


def test_what_does_not_fit_the_names_is_refused():
    by_name = ImagePreprocessor({"rgb": (1, 2, 3)}, {"rgb": (1, 2, 3)})
    with pytest.raises(UsageError, match="has means of rgb, but gets images 'depth' that are no ids"):
        by_name({"inputs": {"rgb": torch.zeros(1, 3, 2, 2), "depth": torch.zeros(1, 1, 2, 2)}})
    with pytest.raises(UsageError, match="has means of rgb, but gets images that are no ids"):
        by_name({"inputs": torch.zeros(1, 3, 2, 2)})
    with pytest.raises(UsageError, match="has means of nothing, but gets images that are no ids"):
        ImagePreprocessor(None, None)({"inputs": torch.zeros(1, 3, 2, 2)})
    with pytest.raises(UsageError, match="images 'second' of 1 channels, but the model takes 3"):
        ImagePreprocessor()({"inputs": {"first": torch.zeros(1, 3, 2, 2), "second": torch.zeros(1, 1, 2, 2)}})
    for inputs in ({}, {"first": [torch.zeros(3, 2, 2)]}, [torch.zeros(3, 2, 2)]):
        with pytest.raises(UsageError, match=r"The loader gives a (dict|list) of images"):
            ImagePreprocessor()({"inputs": inputs})


def test_numbers_of_other_names_or_channels_are_refused():
    with pytest.raises(UsageError, match="means of rgb and deviations of depth"):
        ImagePreprocessor({"rgb": (1,)}, {"depth": (1,)})
    with pytest.raises(UsageError, match="means of nothing and deviations of image"):
        ImagePreprocessor(None, (1,))
    with pytest.raises(UsageError, match=r"The images 'depth' have 2 channels, but data_preprocessor gives 1 means"):
        ImagePreprocessor({"depth": (1,)}, {"depth": (1,)}, {"depth": 2})
    with pytest.raises(UsageError, match="must be positive"):
        ImagePreprocessor({"depth": (1,)}, {"depth": (0,)})


def test_views_are_not_mixed():
    augment = AugmentingPreprocessor(num_classes=2)
    data = {"inputs": {"a": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, "key": torch.arange(2)}
    assert augment(data, training=False)["images"]["a"].shape == (2, 3, 8, 8)
    with pytest.raises(UsageError, match=r"erases and mixes pictures .* but got a: use ImagePreprocessor"):
        augment(data, training=True)
