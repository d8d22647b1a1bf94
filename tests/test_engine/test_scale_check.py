"""The first normalised batch is looked at, once."""

import logging

import pytest
import torch

from maetool.data import ImagePreprocessor
from maetool.engine.scale_check import describe_scale, watch_first_batch

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
FRACTIONS = tuple(tuple(value / 255 for value in values) for values in IMAGENET)
UNITS = {  # largest value of the data, mean and deviation of the channels, whether they are of the same units
    "photographs": (255, *IMAGENET, True),
    "photographs, means of fractions": (255, *FRACTIONS, False),
    "fractions, means of photographs": (1, *IMAGENET, False),
    "fractions": (1, *FRACTIONS, True),
    "sixteen bits, means of eight": (65535, *IMAGENET, False),
    "twelve bits, own means": (4095, (2048.0,) * 3, (1200.0,) * 3, True),
}


@pytest.mark.parametrize(("largest", "mean", "std", "right"), UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("named", [False, True])
def test_units_of_means_and_deviations(caplog, largest, mean, std, right, named):
    batch = {"inputs": torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * largest}
    means = ({"a": mean}, {"a": std}) if named else (mean, std)
    preprocessor = ImagePreprocessor(*means, in_chans={"a": 3} if named else 3)
    batch = {"inputs": {"a": batch["inputs"]}} if named else batch
    watch_first_batch(preprocessor, logging.getLogger("here"))
    for _ in range(2):
        preprocessor(batch)
    assert len(caplog.messages) == (not right)
    if not right:
        assert "is far from normalised: channel 0 has mean" in caplog.text
        assert not named or "first batch of a is" in caplog.text
    assert not preprocessor._forward_hooks


def test_one_channel_of_many_in_other_units():
    images = torch.randn(2, 7, 4, 4, generator=torch.Generator().manual_seed(0))
    assert describe_scale(images) is None
    images[:, 5] *= 100
    assert "channel 5 has mean" in describe_scale(images)


@pytest.mark.parametrize("images", [torch.zeros(2, 9, dtype=torch.long), torch.full((2, 3, 4, 4), 300)])
def test_ids_are_not_normalised(images):
    assert describe_scale(images) is None
