"""Positions of CAPI and Latent MIM on other grids than those of the published numbers."""

from inspect import signature

import pytest
import torch

from maetool.decoders import TransformerDecoder
from maetool.encoders import StreamTransformer, VisionTransformer
from maetool.errors import UsageError
from maetool.layers.drop_path import drop_path_rates
from maetool.layers.positions import ROTARY
from maetool.ops.pos_embed import sincos_pos_embed
from maetool.ops.rotary import boxed_coords
from maetool.registry import DECODERS, build_part
from maetool.structures import MaskPlan


def test_the_prefix_lies_on_the_edge_of_the_box_around_what_is_visible():
    hidden = torch.ones(1, 3, 5, dtype=torch.bool)
    hidden[0, 0, 1] = hidden[0, 1, 3] = False
    coords = boxed_coords((3, 5), 8, hidden.flatten(1))
    assert coords.shape == (1, 8 + 15, 2)
    box = [[0, 0.25], [0.25, 0.25], [0.5, 0.25], [0.5, 0.5], [0.5, 0.75], [0.25, 0.75], [0, 0.75], [0, 0.5]]
    torch.testing.assert_close(coords[0, :8], torch.tensor(box))
    torch.testing.assert_close(coords[0, 8 + 9], torch.tensor([0.5, 1.0]))  # the last cell of the second row
    whole = boxed_coords((1, 4), 4)  # one row lies at 0
    torch.testing.assert_close(whole[0, :4], torch.tensor([[0.0, 0], [0, 0], [0, 1], [0, 1]]))


def test_padding_of_a_batch_does_not_widen_the_box():
    encoder = VisionTransformer((8, 12), 2, embed_dim=16, depth=1, num_heads=2, pos_embed="rotary_box", num_registers=3)
    images, scores = torch.randn(2, 3, 8, 12), torch.rand(2, 24)
    both = MaskPlan.from_scores(scores, torch.tensor([2, 7]), (4, 6))
    alone = MaskPlan.from_scores(scores[:1], 2, (4, 6))
    torch.testing.assert_close(encoder(images, both)[:1, : 4 + 2], encoder(images[:1], alone))


def test_a_box_is_for_pictures():
    with pytest.raises(UsageError, match="Positions in a box are for pictures, but the grid has 3 axes"):
        VisionTransformer((2, 8, 8), (1, 4, 4), embed_dim=24, depth=1, num_heads=2, pos_embed="rotary_box")
    stem = {"type": "PatchStem", "img_size": 8, "patch_size": 4}
    with pytest.raises(UsageError, match="'rotary_box', which places one picture in a box"):
        StreamTransformer({"a": stem}, embed_dim=24, depth=1, num_heads=2, pos_embed="rotary_box")
    decoder = TransformerDecoder(16, 5, (4, 6), embed_dim=16, depth=1, num_heads=2, pos_embed="rotary_box")
    plan = MaskPlan.from_scores(torch.rand(2, 24), 5, (4, 6))
    assert decoder(torch.randn(2, 6, 16), plan).shape == (2, 19, 5)


def test_stretched_positions_reach_the_number_of_cells():
    table, plain = sincos_pos_embed(8, (3, 5), 1, stretched=True), sincos_pos_embed(8, (4, 6), 1)
    assert table.shape == (1, 16, 8) and not table[0, 0].any()
    torch.testing.assert_close(table[0, -1], plain[0, -1])  # row 3 of 3 and column 5 of 5
    torch.testing.assert_close(table[0, 1], plain[0, 1])
    encoder = VisionTransformer((12, 20), 4, embed_dim=8, depth=1, num_heads=2, pos_embed="stretched")
    torch.testing.assert_close(encoder.pos_embed, table)


def test_drop_path_of_the_first_and_the_last_block():
    assert drop_path_rates(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert drop_path_rates((0.2, 0.2), 3) == pytest.approx([0.2, 0.2, 0.2])
    with pytest.raises(UsageError, match=r"drop_path_rate is \(0.1,\), but must be"):
        drop_path_rates((0.1,), 3)


def test_an_encoder_without_biases_and_with_a_projection():
    options = {"embed_dim": 16, "depth": 2, "num_heads": 2}
    bare = VisionTransformer(8, 4, **options, bias=False, qkv_bias=False, norm_layer="rms", final_norm="fixed")
    assert {name for name, _ in bare.named_parameters() if name.endswith("bias")} == {"patch_embed.proj.bias"}
    encoder = VisionTransformer(8, 4, **options, projection=(24, 12))
    images, plan = torch.randn(2, 3, 8, 8), MaskPlan.from_scores(torch.rand(2, 4), 2, (2, 2))
    plain = VisionTransformer(8, 4, **options)
    plain.load_state_dict(encoder.state_dict(), strict=False)
    torch.testing.assert_close(encoder(images), plain(images))  # features come without it
    torch.testing.assert_close(encoder(images, plan), encoder.projection(plain(images, plan)))
    assert [part.weight.shape[0] for part in encoder.projection if isinstance(part, torch.nn.Linear)] == [24, 12, 16]
    assert encoder.pretraining_only == ("projection",) and encoder.layer_of("projection.0.weight") == -1
    with pytest.raises(UsageError, match="the encoder has a projection after its last one"):
        encoder(images, plan, [1])


DECODERS.import_from_location()
PLACED = [name for name, part in sorted(DECODERS.module_dict.items()) if "pos_embed" in signature(part).parameters]


@pytest.mark.parametrize("kind", ROTARY)
@pytest.mark.parametrize("name", PLACED)
def test_each_decoder_takes_a_kind_of_rotary_positions_or_refuses_it(name, kind):
    """Where it is taken, what is predicted depends on the place, although nothing is added."""
    facts = {"encoder_dim": 16, "out_dim": 5, "grid": (3, 4), "num_prefix_tokens": 2, "num_heads": 2, "depth": 1}
    facts |= {"embed_dim": 16} if "embed_dim" in signature(DECODERS.module_dict[name]).parameters else {}
    if name == "RegressorDecoder" or (name, kind) == ("CrossViewDecoder", "rotary_box"):
        with pytest.raises(UsageError, match=f"pos_embed is '{kind}'"):
            build_part({"type": name, "pos_embed": kind}, DECODERS, facts)
        return
    torch.manual_seed(0)
    decoder = build_part({"type": name, "pos_embed": kind}, DECODERS, facts).eval()
    plan = MaskPlan.from_scores(torch.rand(1, 12), 4, (3, 4))
    width = plan.ids_predict.shape[1] if "predicted" in decoder.reads else 2 + 4
    latent, memory = torch.randn(1, width, 16), torch.randn(1, 2 + 12, 16)
    options = {"memory": memory} if getattr(decoder, "takes_memory", False) else {}
    pred = decoder(latent, plan, **options)
    assert pred.isfinite().all() and not torch.allclose(pred[:, :1], pred[:, 1:], atol=1e-4)
