"""A contract that cannot be broken proves nothing: each of these parts breaks one promise."""

import pytest
import torch
from torch import nn

from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import Masker
from maetool.testing import check_encoder, check_head, check_masker


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
