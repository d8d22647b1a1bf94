"""The loss of mmpretrain's SimMIM on Swin (tests/data/README.md), and SimMIM's count of mask units."""

import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import LinearDecoder
from maetool.encoders import SwinTransformer
from maetool.heads import RegressionHead
from maetool.maskers import AlignedMasker
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget


def ours(name):
    name = name.replace("attn.w_msa.", "attn.").replace("ffn.layers.0.0", "mlp.fc1").replace("ffn.layers.1", "mlp.fc2")
    name = name.replace("backbone.stages.", "encoder.layers.").replace("patch_embed.projection", "patch_embed.proj")
    name = name.replace("backbone.norm3", "encoder.norm").replace("backbone.", "encoder.")
    stage, _, rest = name.removeprefix("encoder.layers.").partition(".downsample.")
    return f"encoder.layers.{int(stage) + 1}.downsample.{rest}" if rest else name  # timm merges at a stage's start


def merged_as_timm(value):
    """The inputs of patch merging from (channel, row, column) to timm's (column, row, channel)."""
    return value.unflatten(-1, (-1, 2, 2)).movedim((-3, -1), (-1, -3)).flatten(-3)


def predicted_as_ours(value):
    """Outputs of a 1x1 convolution before a pixel shuffle, (channel, row, column), as patches within a token."""
    value = value.view(3, 8, 4, 8, 4, *value.shape[1:])  # channel, patch row, row, patch column, column
    return value.movedim((1, 3, 2, 4, 0), (0, 1, 2, 3, 4)).flatten(0, 4)


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "simmim_swin")
    encoder = SwinTransformer(64, 4, embed_dim=8, depths=(2, 1, 1, 1), num_heads=(1, 2, 2, 4), window_size=2)
    target = PixelTarget(4, norm_pix_loss=False)
    decoder = LinearDecoder(64, target.out_dim, num_prefix_tokens=0, patches_per_token=8)
    model = MaskedImageModel(AlignedMasker(0.6, unit=8), encoder, decoder, target, RegressionHead("l1"))
    mine = {ours(k): merged_as_timm(v) if "downsample" in k else v for k, v in state.items() if "_index" not in k}
    mine["decoder.pred.weight"] = predicted_as_ours(mine.pop("neck.decoder.0.weight").flatten(1))
    mine["decoder.pred.bias"] = predicted_as_ours(mine.pop("neck.decoder.0.bias"))
    load_all(model, mine)
    return golden, model


def test_loss(case):
    golden, model = case
    masks = golden["mask"].flatten(1)
    # The samples hide different numbers of patches, so each is a batch of its own; the loss is a mean over all hidden.
    plans = [MaskPlan.from_mask(mask[None], (16, 16)) for mask in masks]
    losses = [model(image[None], plan=plan)["loss"] for image, plan in zip(golden["imgs"], plans, strict=True)]
    close(sum(loss * mask.sum() for loss, mask in zip(losses, masks, strict=True)) / masks.sum(), golden["loss"])


@pytest.mark.parametrize(("grid", "unit", "hidden"), [((48, 48), 8, 22), ((14, 14), 2, 30)])
def test_number_of_hidden_units(grid, unit, hidden):
    plan = AlignedMasker(0.6, unit=unit)(torch.zeros(3, 3, 1, 1), grid)
    assert plan.mask.sum(dim=1).tolist() == [hidden * unit * unit] * 3
