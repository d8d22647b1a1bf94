"""A contract that cannot be broken proves nothing: each of these parts breaks one promise."""

import pytest
import torch
from torch import nn

from maetool.data.codecs.images import UnreadableImage
from maetool.data.sources import Labels, Source
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import Masker
from maetool.testing import check_encoder, check_head, check_masker, check_source


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
