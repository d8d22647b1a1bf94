"""Normalising: the numbers, and whose memory they lie in."""

import torch

from maetool.data import ImagePreprocessor


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
