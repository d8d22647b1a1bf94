"""Augmentation of fine-tuning is timm's, and a function of the keys."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.mixup import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

from maetool.data import AugmentingPreprocessor, RandAugment, SingleDrawCrop
from maetool.data.keys import keyed_rng
from maetool.data.transforms.augment import _mixed
from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.models import ImageClassifier
from maetool.ops.random import sample_keys
from maetool.testing import tiny_batch


def batch_of(size=8, classes=5, epoch=0):
    batch = tiny_batch(size)
    return {**batch, "label": torch.arange(size) % classes, "key": sample_keys(0, epoch, torch.arange(size))}


def augmented(batch, **options):
    out = AugmentingPreprocessor(5, **options)(batch, training=True)
    return out["images"], out["data_samples"].get("target")


def photograph():
    return torch.randint(0, 256, (3, 64, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_rand_augment_is_timms():
    image = photograph()
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    options = {"translate_const": 21, "img_mean": (124, 116, 104), "interpolation": Image.Resampling.BICUBIC}
    theirs = rand_augment_transform("rand-m9-mstd0.5-inc1", options)
    changed = 0
    for key in range(20):
        with keyed_rng(key):
            ours = RandAugment()(image)
        with keyed_rng(key):
            expected = theirs(picture)
        assert np.array_equal(ours.permute(1, 2, 0).numpy(), np.asarray(expected))
        changed += not torch.equal(ours, image)
    assert changed > 8


def test_no_bit_that_is_kept_is_black():
    """The recipe's magnitude of 9 with deviation 0.5 comes to 10 in one of fifty draws, which keeps no bit."""
    augment, black = RandAugment("rand-m10-n1-inc1"), 0
    for key in range(60):
        with keyed_rng(key):
            black += not augment(photograph()).any()
    assert 1 <= black < 20


@pytest.mark.parametrize("image", [torch.zeros(1, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8)])
def test_rand_augment_refuses(image):
    with pytest.raises(UsageError, match=r"changes 8-bit pictures in red, green and blue"):
        RandAugment()(image)


@pytest.mark.parametrize("policy", ["random", "rand-x9", "augmix-m5"])
def test_unknown_policies(policy):
    with pytest.raises(UsageError, match="timm does not know"):
        RandAugment(policy)


def test_validation_changes_nothing():
    batch = batch_of()
    out = AugmentingPreprocessor(5)(batch, training=False)
    expected = (batch["inputs"] - AugmentingPreprocessor(5).mean) / AugmentingPreprocessor(5).std
    torch.testing.assert_close(out["images"], expected)
    assert "target" not in out["data_samples"]


@pytest.mark.parametrize("options", [{}, {"mix_mode": "elem"}, {"mix_mode": "pair"}, {"cutmix_alpha": 0.0}])
def test_equal_keys_give_equal_batches(options):
    (images, target), (again, same) = augmented(batch_of(), **options), augmented(batch_of(), **options)
    assert torch.equal(images, again) and torch.equal(target, same)
    others, other = augmented(batch_of(epoch=1), **options)
    assert not torch.equal(images, others) and not torch.equal(target, other)


def test_generators_stay_as_they_are():
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    augmented(batch_of())
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])


def test_erasing_replaces_a_rectangle_by_noise_in_the_stated_share():
    plain, _ = augmented(batch_of(512), erase_prob=0.0, mix_prob=0.0)
    erased, _ = augmented(batch_of(512), erase_prob=0.25, mix_prob=0.0)
    changed = (plain != erased).any(dim=1)  # (B, H, W)
    assert 100 < changed.any(dim=(1, 2)).sum() < 156
    for mask in changed[changed.any(dim=(1, 2))]:
        rows, columns = mask.any(dim=1).sum(), mask.any(dim=0).sum()
        assert mask.sum() == rows * columns
        assert 0.01 < mask.float().mean() < 0.4
    noise = erased[:, 0][changed]
    assert noise.std().item() == pytest.approx(1, abs=0.1)


def test_erasing_does_not_depend_on_the_batch():
    batch = batch_of(16)
    whole, _ = augmented(batch, erase_prob=0.5, mix_prob=0.0)
    part, _ = augmented({name: value[4:8] for name, value in batch.items()}, erase_prob=0.5, mix_prob=0.0)
    assert torch.equal(whole[4:8], part)


@pytest.mark.parametrize("mode", ["batch", "elem", "pair"])
def test_images_and_targets_are_mixed_alike(mode):
    batch = batch_of(64)
    batch["inputs"] = batch["label"][:, None, None, None].expand(-1, 3, 10, 10).to(torch.uint8)
    options = {"erase_prob": 0.0, "mix_mode": mode, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    images, target = augmented(batch, **options)
    classes = torch.arange(5, dtype=torch.float32)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(images.mean(dim=(1, 2, 3)), target @ classes, atol=1e-4, rtol=1e-4)
    assert ((target > 0).sum(dim=1) == 2).float().mean() > 0.3


def test_labels_of_several_classes_are_mixed():
    batch = batch_of()
    batch["label"] = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]] * 4 + [[0.0, 0.0, 0.0, 0.0, 1.0]] * 4)
    _, target = augmented(batch, erase_prob=0.0)
    assert target.shape == (8, 5)
    torch.testing.assert_close(target[:, 0], target[:, 1])
    torch.testing.assert_close(target[:, 0] + target[:, 4], torch.ones(8))


def test_loss_of_mixed_and_smoothed_labels_is_timms():
    encoder = VisionTransformer(img_size=(16, 32), patch_size=8, embed_dim=24, depth=1, num_heads=3)
    model = ImageClassifier(encoder, 5, head_std=1.0, label_smoothing=0.1).eval()
    images, label = torch.randn(8, 3, 16, 32, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 5
    logits = model(images, mode="predict")
    torch.testing.assert_close(model(images, {"label": label})["loss"], LabelSmoothingCrossEntropy(0.1)(logits, label))
    with keyed_rng(5):
        _, mixed = Mixup(0.8, 1.0, label_smoothing=0.0, num_classes=5)(images.clone(), label)
    with keyed_rng(5):
        _, expected = Mixup(0.8, 1.0, label_smoothing=0.1, num_classes=5)(images.clone(), label)
    ours = model(images, {"label": label, "target": mixed})["loss"]
    torch.testing.assert_close(ours, SoftTargetCrossEntropy()(logits, expected))


def test_an_odd_batch_cannot_be_mixed():
    with pytest.raises(UsageError, match="batch of 7 images cannot be mixed in pairs"):
        augmented({name: value[:7] for name, value in batch_of().items()})


@pytest.mark.parametrize(
    "options", [{"mixup_alpha": -1}, {"mix_prob": 1.5}, {"erase_prob": -0.1}, {"mix_mode": "half"}]
)
def test_nonsense_is_refused(options):
    name, value = next(iter(options.items()))
    with pytest.raises(UsageError, match=f"AugmentingPreprocessor got {name}={value!r}: give"):
        AugmentingPreprocessor(5, **options)


def test_single_draws_cover_the_stated_range_and_stay_inside():
    crop = SingleDrawCrop(8, scale=(0.08, 1.0))
    with keyed_rng(3):
        boxes = torch.tensor([crop.draw_box(60, 90) for _ in range(2000)]).float()
    top, left, height, width = boxes.unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 60).all() and (left + width <= 90).all()
    area, ratio = height * width / 5400, width / height
    assert area.min() > 0.07 and area.max() > 0.85
    whole = (height < 60) & (width < 90)  # those that were not cut
    assert ratio[whole].log().mean().item() == pytest.approx(0, abs=0.03)
    assert 0.7 < ratio[whole].min() < 0.8 and 1.25 < ratio[whole].max() < 1.4
    assert (height == 60).any()  # what does not fit is cut, not drawn again
    assert crop(photograph()).shape == (3, 8, 8)


def test_mixing_keeps_unknown_labels_to_the_images_that_hold_them():
    shares = torch.tensor([[0.7, 0.0, 0.3], [0.0, 1.0, 0.0], [0.3, 0.0, 0.7]])
    mixed = _mixed(shares, torch.tensor([[1.0, torch.nan], [0.0, 1.0], [0.0, 0.0]]))
    assert mixed[:, 0].tolist() == pytest.approx([0.7, 0, 0.3])
    assert mixed[:, 1].isnan().tolist() == [True, False, True] and mixed[1, 1] == 1
