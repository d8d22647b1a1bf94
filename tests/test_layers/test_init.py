"""How weights begin."""

import pytest
import torch

from maetool.decoders import PredictorDecoder
from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.registry import DECODERS, build_part


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_weights_that_end_a_branch_begin_smaller_with_their_depth(part):
    torch.manual_seed(0)
    built = VisionTransformer(32, 8, embed_dim=96, depth=4, num_heads=3, init="beit")
    built = built if part == "encoder" else PredictorDecoder(96, 96, 4, embed_dim=96, depth=4, num_heads=3, init="beit")
    for number, block in enumerate(built.blocks, start=1):
        for linear in (block.attn.proj, block.mlp.fc2):
            assert linear.weight.std().item() == pytest.approx(0.02 / (2 * number) ** 0.5, rel=0.05)
        assert block.attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05) and not block.attn.qkv.bias.any()
    if part == "encoder":
        assert built.patch_embed.proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not built.patch_embed.proj.bias.any() and built.cls_token.std().item() == pytest.approx(0.02, rel=0.3)


def test_an_unknown_beginning_is_refused():
    with pytest.raises(UsageError, match="init is 'zero', but must be"):
        build_part({"type": "PredictorDecoder", "encoder_dim": 8, "out_dim": 8, "grid": 2, "init": "zero"}, DECODERS)
