"""What the class bottleneck does beside the published numbers (tests/test_parity): choices, old checkpoints, errors."""

import pytest
import torch

from maetool.decoders import ClassBottleneckDecoder
from maetool.encoders import TimmEncoder
from maetool.errors import UsageError
from maetool.structures import MaskPlan
from maetool.testing import check_decoder

SIZES = {"encoder_dim": 24, "out_dim": 10, "num_layers": 4, "num_heads": 2}


def test_the_weights_of_earlier_checkpoints_keep_their_names():
    """A config of maetool 0.1.0 states none of the later options, and its checkpoints hold just these tensors."""
    names = set(ClassBottleneckDecoder(**SIZES, depth=1).state_dict())
    inside = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    parts = [f"blocks.0.{name}" for name in inside] + ["norm", "pred"]
    assert names == {f"{name}.{kind}" for name in parts for kind in ("weight", "bias")}


@pytest.mark.parametrize("block", ["vit", "beit"])
@pytest.mark.parametrize("layer_scale", [None, 0.1])
def test_every_kind_of_block_keeps_the_contract(block, layer_scale):
    check_decoder(ClassBottleneckDecoder(**SIZES, block=block, layer_scale=layer_scale), 24, 10, (2, 6))


def test_layer_scale_begins_where_it_is_told():
    for block in ("vit", "beit"):
        decoder = ClassBottleneckDecoder(**SIZES, block=block, layer_scale=1e-5)
        scales = [value for name, value in decoder.named_parameters() if "gamma" in name]
        assert len(scales) == 4
        assert all(torch.equal(scale, torch.full_like(scale, 1e-5)) for scale in scales)


def test_the_heads_begin_with_the_depth_at_which_they_stand():
    torch.manual_seed(0)
    wide = {"encoder_dim": 192, "out_dim": 10, "num_layers": 4, "num_heads": 2, "early_layer": 3, "depth": 2}
    decoder = ClassBottleneckDecoder(**wide, block="beit")
    for number, block in enumerate(decoder.blocks, start=4):
        assert block.attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
        for last in (block.attn.proj, block.mlp.fc2):
            assert last.weight.std().item() == pytest.approx(0.02 / (2 * number) ** 0.5, rel=0.05)


def test_drop_path_goes_on_where_the_early_layer_is():
    """Of 12 blocks and 0.11, the rates are 0, 0.01, ...: the two blocks after the ninth have 0.09 and 0.10."""
    wide = {"encoder_dim": 24, "out_dim": 10, "num_layers": 12, "num_heads": 2, "early_layer": 9, "depth": 2}
    drawn = torch.zeros(2)
    decoder = ClassBottleneckDecoder(**wide, block="beit", drop_path_rate=0.11).train()
    for number, block in enumerate(decoder.blocks):
        drawn[number] = (block.drop_path1(torch.ones(200_000, 1, 1)) == 0).float().mean()
    torch.testing.assert_close(drawn, torch.tensor([0.09, 0.10]), atol=0.003, rtol=0)


def test_bad_input():
    options = {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 3}
    encoder = TimmEncoder("beit_base_patch16_224", sees="all", options=options, **sizes)
    with pytest.raises(UsageError, match="num_heads is 2, but the relative positions of the encoder are of 3 heads"):
        ClassBottleneckDecoder(**SIZES, block="beit", encoder=encoder)
    with pytest.raises(UsageError, match="block is 'swin'"):
        ClassBottleneckDecoder(**SIZES, block="swin")
    with pytest.raises(UsageError, match="share_output takes the encoder's final norm and the linear map"):
        ClassBottleneckDecoder(**SIZES, share_output=True, encoder_norm=encoder.norm)


def test_relative_positions_of_the_encoder_count():
    options = {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 2}
    encoder = TimmEncoder("beit_base_patch16_224", sees="all", options=options, **sizes)
    decoder = ClassBottleneckDecoder(**SIZES, block="beit", encoder=encoder)
    latent, plan = [torch.randn(2, 5, 24) for _ in range(2)], MaskPlan.from_scores(torch.rand(2, 4), 1, (2, 2))
    before = decoder(latent, plan)
    with torch.no_grad():
        encoder.vit.rel_pos_bias.relative_position_bias_table.normal_()
    assert (decoder(latent, plan) - before).abs().max() > 1e-6
    assert not [name for name in decoder.state_dict() if "relative" in name]
