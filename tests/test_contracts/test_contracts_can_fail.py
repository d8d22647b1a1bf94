"""A contract that cannot be broken proves nothing: each of these parts breaks one promise."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from maetool.corruptions.base import Corruption
from maetool.data.codecs.images import UnreadableImage
from maetool.data.sources import Labels, Source
from maetool.decoders import PredictorDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import Masker, RandomMasker
from maetool.stems import PatchStem
from maetool.structures import Layout
from maetool.targets import PixelTarget
from maetool.testing import (
    check_corruption,
    check_decoder,
    check_encoder,
    check_head,
    check_masker,
    check_source,
    check_stem,
    check_target,
    check_teacher,
)


class SameMask(Masker):
    def scores(self, rng, grid):
        return torch.arange(grid[0] * grid[1], dtype=torch.float32).expand(len(rng), -1)


class Forgetful(Masker):
    def scores(self, rng, grid):
        return torch.rand(len(rng), grid[0] * grid[1])


class BatchDependent(Masker):
    def scores(self, rng, grid):
        return rng.uniform(grid[0] * grid[1]).flip(0)


class Peeking(VisionTransformer):
    def forward(self, images, plan=None):
        return super().forward(images, plan) + images.mean()


class Misnamed(VisionTransformer):
    debug_arguments = {"dept": 1}


class Constant(RegressionHead):
    def forward(self, pred, target, plan):
        return {"loss": super().forward(pred, target, plan)["loss"] + 1}


@pytest.mark.parametrize(
    ("masker", "promise"),
    [
        (SameMask(), "another epoch"),
        (Forgetful(), "equal keys"),
        (BatchDependent(), "does not depend on its batch"),
    ],
)
def test_masker_contract_fails(masker, promise):
    with pytest.raises(AssertionError, match=promise):
        check_masker(masker)


def test_encoder_contract_fails():
    with pytest.raises(AssertionError, match="removed pixels"):
        check_encoder(Peeking(img_size=16, patch_size=4, embed_dim=16, depth=1, num_heads=2))


def test_a_small_form_of_arguments_that_there_are_not():
    with pytest.raises(AssertionError, match="debug_arguments names arguments of the class"):
        check_encoder(Misnamed(img_size=16, patch_size=4, embed_dim=16, depth=1, num_heads=2))


def test_head_contract_fails():
    with pytest.raises(AssertionError, match="costs nothing"):
        check_head(Constant())


class Stubborn(RandomMasker):
    def forward(self, images, grid, given=None, keys=None, weight=None, clues=None):
        return super().forward(images, grid, None, keys, weight, clues)


class Lopsided(RandomMasker):
    def num_keep(self, grid):
        return 3

    def counts(self, rng, grid):
        return {"num_keep": 4}


class Idle(RandomMasker):
    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def loss(self, plan, errors):
        return errors.mean().requires_grad_()


@pytest.mark.parametrize(
    ("masker", "promise"),
    [(Stubborn(), "a given mask wins"), (Lopsided(), "num_keep patches"), (Idle(), "unused have none")],
)
def test_further_promises_of_maskers_fail(masker, promise):
    with pytest.raises(AssertionError, match=promise):
        check_masker(masker)


class Padded(VisionTransformer):
    """Attends to padding."""

    def _embed(self, images, plan=None):
        x, _, rope = super()._embed(images, plan)
        return x, None, rope


class Blind(VisionTransformer):
    """Takes blank places, and shows what is there."""

    def forward(self, images, plan=None, layers=None):
        return super().forward(images, None if plan is None else replace(plan, blank=None), layers)


class Ordered(VisionTransformer):
    """Sorts what enters by where it came in."""

    def forward(self, images, plan=None, layers=None):
        x = super().forward(images, plan, layers)
        return x + torch.arange(x.shape[1])[:, None] * 0.1 if plan is not None else x


class Dropping(VisionTransformer):
    """Has another dropout in every pass."""

    def forward(self, images, plan=None, layers=None):
        return super().forward(images, plan, layers) + 0.01 * torch.randn(1)


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Padded, "do not depend on the padding"),
        (Blind, "pixels of blank places are not read"),
        (Ordered, "hides nothing|another order"),
        (Dropping, "deterministic"),
    ],
)
def test_further_promises_of_encoders_fail(kind, promise):
    sees = "blank" if kind is Blind else "visible"
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2, "sees": sees}
    check_encoder(VisionTransformer(**sizes))
    with pytest.raises(AssertionError, match=promise):
        check_encoder(kind(**sizes))


class Mixing(PatchStem):
    def forward(self, x, *rest, **more):
        return super().forward(x, *rest, **more) + x.mean()


class Short(PatchStem):
    def forward(self, x, *rest, **more):
        return super().forward(x, *rest, **more)[:, 1:]


class Elsewhere(PatchStem):
    def layout_of(self, x):
        return Layout.of((2, 8))


@pytest.mark.parametrize(
    ("kind", "promise"),
    [(Mixing, "does not depend on its batch|do not depend on its batch"), (Short, "each place"), (Elsewhere, "grid")],
)
def test_stem_contract_fails(kind, promise):
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 16}
    check_stem(PatchStem(**sizes), torch.randn(3, 3, 16, 16))
    with pytest.raises(AssertionError, match=promise):
        check_stem(kind(**sizes), torch.randn(3, 3, 16, 16))


class Averaging(PredictorDecoder):
    """Lets padding into its predictions."""

    def forward(self, latent, plan):
        return super().forward(latent, plan) + latent.mean()


class Leaking(PredictorDecoder):
    """Its values do not depend on padding, its gradients do."""

    def forward(self, latent, plan):
        tail = latent[:, 1:].mean()
        return super().forward(latent, plan) + tail - tail.detach()


class Everything(PredictorDecoder):
    def forward(self, latent, plan):
        return super().forward(latent, plan.predicting("all"))


class Deaf(PredictorDecoder):
    def forward(self, latent, plan):
        return super().forward(latent.detach(), plan)


class Spare(PredictorDecoder):
    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.spare = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Averaging, "do not depend on padding"),
        (Leaking, "no gradient reaches padding"),
        (Everything, "shape .B, M, P."),
        (Deaf, "reaches the encoder"),
        (Spare, "spare.weight, spare.bias have none"),
    ],
)
def test_decoder_contract_fails(kind, promise):
    sizes, small = (16, 12, (4, 4)), {"embed_dim": 16, "depth": 1, "num_heads": 2}
    check_decoder(PredictorDecoder(*sizes, **small), 16, 12, (4, 4))
    with pytest.raises(AssertionError, match=promise):
        check_decoder(kind(*sizes, **small), 16, 12, (4, 4))


class WithGradient(PixelTarget):
    def forward(self, images, plan):
        return super().forward(images, plan) + images.mean()


class OfTheBatch(PixelTarget):
    def forward(self, images, plan):
        return super().forward(images, plan) - images.detach().mean()


class Coarse(PixelTarget):
    def forward(self, images, plan):
        return super().forward(images, plan).double()


class Narrow(PixelTarget):
    def forward(self, images, plan):
        return super().forward(images, plan)[..., 1:]


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (WithGradient, "no gradient"),
        (OfTheBatch, "does not depend on its batch"),
        (Coarse, "float32"),
        (Narrow, "the target is .B, M, P."),
    ],
)
def test_target_contract_fails(kind, promise):
    images = torch.randn(3, 3, 16, 16)
    check_target(PixelTarget(4, 3), images, (4, 4))
    with pytest.raises(AssertionError, match=promise):
        check_target(kind(4, 3), images, (4, 4))


class Bright(nn.Module):
    """Says how bright each patch is."""

    gives = ("losses",)

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def train(self, mode=True):
        return super().train(False)

    def forward(self, batch, layout, names):
        return {"losses": self.scale * batch.flatten(1).mean(dim=1, keepdim=True).expand(-1, layout.length)}


class Learning(Bright):
    def __init__(self):
        super().__init__()
        self.scale.requires_grad_()


class Detached(Learning):
    def forward(self, batch, layout, names):
        return {name: value.detach() for name, value in super().forward(batch, layout, names).items()}


class Ranking(Bright):
    def forward(self, batch, layout, names):
        found = super().forward(batch, layout, names)["losses"]
        return {"losses": found - found.mean()}


class Moody(Bright):
    def forward(self, batch, layout, names):
        return {"losses": super().forward(batch, layout, names)["losses"] + torch.rand(1)}


class Awake(Bright):
    def train(self, mode=True):
        return nn.Module.train(self, mode)


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Learning, "losses has no gradient"),
        (Detached, "learns nothing by gradients"),
        (Ranking, "does not depend on its batch"),
        (Moody, "the same alone and with others"),
        (Awake, "evaluation mode"),
    ],
)
def test_teacher_contract_fails(kind, promise):
    images, layout = torch.randn(3, 3, 16, 16), Layout.of((4, 4))
    check_teacher(Bright(), images, layout)
    with pytest.raises(AssertionError, match=promise):
        check_teacher(kind(), images, layout)


class Shifting(Corruption):
    """Adds a random number to each image."""

    def forward(self, images, plan, rng):
        return images + rng.uniform(1)[:, :, None, None]


class InPlace(Shifting):
    def forward(self, images, plan, rng):
        return images.add_(rng.uniform(1)[:, :, None, None])


class Nothing(Shifting):
    def forward(self, images, plan, rng):
        return images.clone()


class Shared(Shifting):
    def forward(self, images, plan, rng):
        return super().forward(images, plan, rng) + len(images)


class Doubling(Shifting):
    def forward(self, images, plan, rng):
        return super().forward(images, plan, rng).double()


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (InPlace, "the images themselves stay"),
        (Nothing, "something changes"),
        (Shared, "does not depend on its batch"),
        (Doubling, "shape and type"),
    ],
)
def test_corruption_contract_fails(kind, promise):
    check_corruption(Shifting(), torch.randn(3, 3, 16, 16), (4, 4))
    with pytest.raises(AssertionError, match=promise):
        check_corruption(kind(), torch.randn(3, 3, 16, 16), (4, 4))


def test_a_masker_without_scores_says_what_to_write():
    class Empty(Masker, nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="write `scores`"):
        Empty()(torch.zeros(1, 3, 4, 4), (4, 4))


class Letters(Source):
    """Three images of one class each."""

    root, names = "letters", ("a/1", "b/2", "c/3")

    def __len__(self):
        return len(self.names)

    def relative(self, index):
        return self.names[index]

    def read(self, index, most=2**31):
        if most < 3:
            raise UnreadableImage(self.path(index), "too large")
        return self.path(index), self.relative(index).encode()


class Unlimited(Letters):
    def read(self, index, most=2**31):
        return super().read(index)


class Twins(Letters):
    names = ("a/1", "b/2", "a/1")


class Anonymous(Letters):
    def read(self, index, most=2**31):
        return "letters", super().read(index, most)[1]


class Reordered(Letters):
    def take(self, indices):
        return super().take(sorted(indices))


class Unpicklable(Letters):
    """A worker's copy begins anew, with other images."""

    def __reduce__(self):
        return Twins, ()


class Mislabelled(Letters):
    def labels(self):
        return Labels(["a", "b"], torch.arange(3))


@pytest.mark.parametrize(
    ("source", "promise"),
    [
        (Unlimited(), "more than `most` bytes"),
        (Twins(), "a name of its own"),
        (Anonymous(), "path\\(index\\) first"),
        (Reordered(), "take selects by index"),
        (Unpicklable(), "a worker's copy"),
        (Mislabelled(), "labels are int64"),
    ],
)
def test_source_contract_fails(source, promise):
    check_source(Letters())
    with pytest.raises(AssertionError, match=promise):
        check_source(source)
