"""Augmentation of fine-tuning, by timm: RandAugment in the workers, erasing and mixing on normalised batches."""

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import RandAugment as TimmRandAugment
from timm.data.auto_augment import posterize, rand_augment_transform
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torch.nn import functional

from maetool.annotations import Count
from maetool.data.keys import keyed_rng
from maetool.errors import UsageError
from maetool.ops import device
from maetool.ops.random import mix
from maetool.registry import MODELS, TRANSFORMS

from . import batched
from .preprocessor import IMAGENET_MEAN, IMAGENET_STD, ImagePreprocessor

# Counters that make other keys of a sample's, so that what is drawn here has nothing to do with its crop.
_ERASE, _MIX = -(2**20), -(2**20) - 1


@TRANSFORMS.register_module()
class RandAugment:
    """Two random changes of colour or geometry (Cubuk et al., 2020), as timm makes them on Pillow images.

    Args:
        policy: timm's description; that of MAE's fine-tuning is magnitude 9 with deviation 0.5, changes that all grow
            with the magnitude.
        fill: grey levels (R, G, B) of what a geometric change uncovers.

    Raises:
        UsageError: a policy that timm does not know.
    """

    def __init__(
        self, policy: str = "rand-m9-mstd0.5-inc1", fill: Sequence[int] = tuple(round(v) for v in IMAGENET_MEAN)
    ) -> None:
        self.policy, self.fill = policy, tuple(fill)
        try:
            _rand_augment(policy, self.fill, 224)
        except (AssertionError, ValueError, AttributeError) as error:
            raise UsageError(
                f'policy is {policy!r}, which timm does not know: write for example "rand-m9-n2".'
            ) from error

    def __call__(self, image: Tensor) -> Tensor:
        """Return the changed image, uint8 (3, H, W).

        Raises:
            UsageError: other than an 8-bit image of three channels.
        """
        if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3:
            raise UsageError(
                f"RandAugment got {str(image.dtype).removeprefix('torch.')} of the shape {tuple(image.shape)}, but "
                "changes 8-bit pictures in red, green and blue: take it out of the pipeline."
            )
        picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
        changed = _rand_augment(self.policy, self.fill, min(image.shape[1:]))(picture)
        return torch.from_numpy(np.array(changed)).permute(2, 0, 1).contiguous()  # (3, H, W)


@lru_cache(maxsize=16)
def _rand_augment(policy: str, fill: tuple[int, ...], side: int) -> TimmRandAugment:
    # The shift of 0.45 of the short side is timm's `create_transform`.
    hparams = {"translate_const": int(side * 0.45), "img_mean": fill, "interpolation": Image.Resampling.BICUBIC}
    transform = rand_augment_transform(policy, hparams)
    for change in transform.ops:
        change.aug_fn = _posterize if change.aug_fn is posterize else change.aug_fn
    return transform


def _posterize(picture: Image.Image, bits: int, **unused: Any) -> Image.Image:
    """Keep the highest bits of each grey level; none are left of black, as in Pillow before 13, which refuses 0."""
    return posterize(picture, bits) if bits > 0 else Image.new(picture.mode, picture.size)


@MODELS.register_module()
class AugmentingPreprocessor(ImagePreprocessor):
    """An `ImagePreprocessor` that in training also erases a rectangle of some images and mixes pairs of images.

    Both are timm's, on normalised images as in `engine_finetune.py` of facebookresearch/mae. What is erased is a
    function of the key of the sample; how a batch is mixed, of the key of its first sample. On an accelerator the
    complete batch is erased at once, with the same distribution but other draws than on a CPU.

    Args:
        num_classes: K; the model's when it is left out.
        mixup_alpha: of the Beta distribution of the share of the first image; 0 for no mixup (Zhang et al., 2018).
        cutmix_alpha: of the Beta distribution of the area that is pasted; 0 for no cutmix (Yun et al., 2019).
        mix_prob: share of the batches, or images, that are mixed.
        switch_prob: share of those that get cutmix, where both are on.
        mix_mode: "batch", "pair" or "elem": who shares a draw.
        erase_prob: share of the images of which a rectangle is replaced by noise (Zhong et al., 2020).
        mean, std, in_chans: see `ImagePreprocessor`.

    Raises:
        UsageError: a number out of range.
    """

    def __init__(
        self,
        num_classes: int,
        mixup_alpha: float = 0.8,
        cutmix_alpha: float = 1.0,
        mix_prob: float = 1.0,
        switch_prob: float = 0.5,
        mix_mode: Literal["batch", "pair", "elem"] = "batch",
        erase_prob: float = 0.25,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        in_chans: Count | None = None,
    ) -> None:
        super().__init__(mean, std, in_chans)
        shares = {"mix_prob": mix_prob, "switch_prob": switch_prob, "erase_prob": erase_prob}
        wrong = [f"{name}={value!r}" for name, value in shares.items() if not 0 <= value <= 1]
        alphas = {"mixup_alpha": mixup_alpha, "cutmix_alpha": cutmix_alpha}
        wrong += [f"{name}={value!r}" for name, value in alphas.items() if not value >= 0]
        wrong += [] if mix_mode in ("batch", "pair", "elem") else [f"mix_mode={mix_mode!r}"]
        if wrong:
            raise UsageError(
                f"AugmentingPreprocessor got {', '.join(wrong)}: give shares from 0 to 1, alphas of at least 0, and "
                '"batch", "pair" or "elem" for mix_mode.'
            )
        self.num_classes = num_classes
        self._eraser = RandomErasing(erase_prob, mode="pixel", max_count=1, device="cpu") if erase_prob else None
        options = {"prob": mix_prob, "switch_prob": switch_prob, "mode": mix_mode, "label_smoothing": 0.0}
        mixes = mix_prob and (mixup_alpha or cutmix_alpha)
        self._mixer = Mixup(mixup_alpha, cutmix_alpha, **options) if mixes else None

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return what `ImagePreprocessor` does; in training `images` are augmented, and mixed labels are `target`.

        `target` is float32 (B, K), without label smoothing, which is the model's.

        Raises:
            UsageError: an odd number of images cannot be mixed, or images of another number of channels or, in
                training, of another rank.
        """
        first = data.get("key")  # read here, because on an accelerator it would have to be copied back
        batch = super().forward(data, training)
        if not training:
            return batch
        images, samples = batch["images"], batch["data_samples"]
        if not isinstance(images, Tensor) or images.ndim != 4:
            actual = f"the shape {tuple(images.shape)}" if isinstance(images, Tensor) else ", ".join(images)
            raise UsageError(
                f"AugmentingPreprocessor erases and mixes pictures (batch, channels, height, width), but got {actual}: "
                "use ImagePreprocessor for series and clips, views and streams."
            )
        if self._eraser:
            images = self._erase(images, samples["key"])
        if self._mixer and "label" in samples:
            images, shares = self._mix(images, samples["key"] if first is None else first)  # and (B, B)
            samples["target"] = _mixed(shares, self._dense(samples["label"]))
        return {**batch, "images": images}

    def _erase(self, images: Tensor, keys: Tensor) -> Tensor:
        if not device.reading_is_free(images):
            return batched.erased(images, mix(keys, _ERASE), self._eraser.probability)
        with keyed_rng(0):  # puts the states back once, which takes longer than the seeding
            for image, key in zip(images, mix(keys, _ERASE).tolist(), strict=True):
                random.seed(key)
                torch.random.default_generator.manual_seed(key)
                self._eraser(image)
        return images

    def _mix(self, images: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed images, and how much of each image every image of the batch holds, float32 (B, B)."""
        if len(images) % 2:
            raise UsageError(f"A batch of {len(images)} images cannot be mixed in pairs: use an even batch_size.")
        self._mixer.num_classes = len(images)
        with keyed_rng(int(mix(keys[:1], _MIX))):
            if not device.reading_is_free(images):
                mixed, own = batched.mixed(self._mixer, images)
                once = torch.eye(len(images), device=images.device)
                return mixed, once * own[:, None] + once.flip(0) * (1 - own[:, None])
            _, shares = self._mixer(images, torch.arange(len(images), device=images.device))
        return images, shares

    def _dense(self, label: Tensor) -> Tensor:
        return label.float() if label.ndim == 2 else functional.one_hot(label, self.num_classes).float()


def _mixed(shares: Tensor, labels: Tensor) -> Tensor:
    """Return the labels (B, K) of mixed images; NaN where one of an image's parts is unknown, and nowhere else."""
    unknown = labels.isnan()
    mixed = shares @ labels.masked_fill(unknown, 0)
    return mixed.masked_fill(shares @ unknown.to(shares.dtype) > 0, torch.nan)
