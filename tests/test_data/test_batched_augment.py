"""Erasing and mixing at once, as accelerators do it, is what timm does sample by sample."""

import pytest
import torch
from timm.data.mixup import Mixup

from maetool.data.keys import keyed_rng
from maetool.data.transforms.batched import erased, mixed
from maetool.ops.random import sample_keys


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_mixing_is_timms(mode):
    images, kinds = torch.randn(8, 3, 16, 24, generator=torch.Generator().manual_seed(0)), set()
    mixer = Mixup(0.8, 1.0, prob=0.9, switch_prob=0.5, mode=mode, label_smoothing=0.0, num_classes=8)
    for key in range(12):
        with keyed_rng(key):
            expected, shares = mixer(images.clone(), torch.arange(8))
        with keyed_rng(key):
            actual, own = mixed(mixer, images)
        torch.testing.assert_close(actual, expected)
        torch.testing.assert_close(own, shares.diagonal())
        kinds |= {bool((expected[i] == images[7 - i]).any()) for i in range(8)}
    assert kinds == {True, False}  # pasted and blended


def test_erasing_replaces_rectangles_by_noise_whatever_the_batch():
    plain, keys = torch.full((512, 3, 16, 32), 9.0), sample_keys(0, 0, torch.arange(512))
    changed = (erased(plain, keys, 0.25) != plain).any(dim=1)  # (B, H, W)
    some = changed.any(dim=(1, 2))
    assert 100 < some.sum() < 156
    rows, columns = changed.any(dim=2).sum(dim=1), changed.any(dim=1).sum(dim=1)
    assert torch.equal(changed.sum(dim=(1, 2)), rows * columns)
    shares = changed[some].float().mean(dim=(1, 2))
    assert 0.01 < shares.min() < 0.05 and 0.25 < shares.max() < 0.4 and shares.mean() == pytest.approx(0.167, abs=0.02)
    noise = erased(plain, keys, 0.25)[changed[:, None].expand(-1, 3, -1, -1)]
    assert noise.mean().abs() < 0.05 and noise.std().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(erased(plain, keys, 0.25)[100:110], erased(plain[100:110], keys[100:110], 0.25))
