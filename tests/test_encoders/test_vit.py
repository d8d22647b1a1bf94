"""The plain transformer on 1, 2 and 3 axes: positions, prefix tokens, and what of a plan it heeds."""

import math

import pytest
import torch

from maetool.decoders import PredictorDecoder, TransformerDecoder
from maetool.encoders import VisionTransformer, WindowedTransformer
from maetool.errors import UsageError
from maetool.ops.pos_embed import resize_pos_embed, sincos_pos_embed
from maetool.positions import fit_positions
from maetool.structures import MaskPlan
from maetool.testing import check_encoder

RANKS = {1: ((32,), (4,)), 2: ((16, 24), (8, 4)), 3: ((4, 16, 24), (2, 8, 4))}
SMALL = {"embed_dim": 24, "depth": 2, "num_heads": 2, "in_chans": 2}
KINDS = ("sincos", "learned", "flat", "separable", "rotary", "none")


def encoder_of(rank=2, **options):
    torch.manual_seed(0)
    img_size, patch_size = RANKS[rank]
    encoder = VisionTransformer(img_size, patch_size, **{**SMALL, **options}).eval()
    for token in (encoder.cls_token, encoder.reg_token):
        if token is not None:
            torch.nn.init.normal_(token)
    return encoder


def images_of(encoder, batch_size=3):
    return torch.randn(batch_size, 2, *encoder.img_size, generator=torch.Generator().manual_seed(1))


def plan_of(encoder, keep=3, **options):
    scores = torch.rand(3, math.prod(encoder.grid), generator=torch.Generator().manual_seed(2))
    return MaskPlan.from_scores(scores, keep, encoder.grid, **options)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("pos_embed", KINDS)
def test_every_rank_with_every_kind_of_positions(rank, pos_embed):
    if rank == 1 and pos_embed == "separable":
        with pytest.raises(UsageError, match="a grid of one axis has nothing to separate"):
            encoder_of(rank, pos_embed=pos_embed)
        return
    encoder = encoder_of(rank, pos_embed=pos_embed, sees="blank")
    check_encoder(encoder)
    larger = torch.randn(2, 2, *(2 * side for side in encoder.img_size))
    out = encoder(larger)
    assert out.shape == (2, 1 + 2**rank * math.prod(encoder.grid), 24) and out.isfinite().all()
    assert encoder.grid_of(larger) == tuple(2 * side for side in encoder.grid) == encoder.layout_of(larger).grid


@pytest.mark.parametrize("pos_embed", [kind for kind in KINDS if kind != "none"])
@pytest.mark.parametrize("rank", [2, 3])
def test_positions_tell_where_a_patch_lies(rank, pos_embed):
    """Equal patches in all places have other tokens, and a permutation of the image other ones than its own."""
    encoder = encoder_of(rank, pos_embed=pos_embed)
    images = images_of(encoder)
    moved = images.roll(encoder.patch_size[-1], dims=-1)
    out, other = encoder(images)[:, 1:], encoder(moved)[:, 1:].unflatten(1, encoder.grid).roll(-1, dims=rank)
    assert (out - other.flatten(1, rank)).abs().max() > 1e-3
    without = encoder_of(rank, pos_embed="none")
    out, other = without(images)[:, 1:], without(moved)[:, 1:].unflatten(1, encoder.grid).roll(-1, dims=rank)
    torch.testing.assert_close(out, other.flatten(1, rank), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("class_token", "registers"), [(True, 0), (False, 0), (True, 3), (False, 2)])
@pytest.mark.parametrize("pos_embed", ["learned", "separable", "rotary"])
def test_prefix_of_any_length(class_token, registers, pos_embed):
    encoder = encoder_of(class_token=class_token, num_registers=registers, pos_embed=pos_embed)
    number = class_token + registers
    assert encoder.num_prefix_tokens == number
    check_encoder(encoder)
    assert encoder(images_of(encoder), plan_of(encoder)).shape == (3, number + 3, 24)
    assert encoder.attention(images_of(encoder)).shape == (3, 2, number + 12, number + 12)
    encoder(images_of(encoder)).square().mean().backward()
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)


def test_registers_stand_after_the_class_token_as_in_timm():
    import timm

    encoder = encoder_of(num_registers=2, pos_embed="learned", in_chans=2)
    options = {"img_size": (16, 24), "patch_size": (8, 4), "in_chans": 2, "num_classes": 0, "global_pool": ""}
    vit = timm.models.VisionTransformer(**options, embed_dim=24, depth=2, num_heads=2, reg_tokens=2).eval()
    vit.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(vit.forward_features(images_of(encoder)), encoder(images_of(encoder)))


def test_blank_places_enter_as_mask_tokens_and_their_pixels_are_not_read():
    encoder = encoder_of(sees="blank", pos_embed="learned")
    images, plan = images_of(encoder), plan_of(encoder, num_blank=4)
    out = encoder(images, plan)
    assert out.shape == (3, 1 + 3 + 4, 24)
    hidden = plan.mask_at(images.shape[2:])[:, None]
    poisoned = torch.where(hidden, torch.full_like(images, math.nan), images)
    assert torch.equal(encoder(poisoned, plan), out)
    encoder(poisoned, plan).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)
    everything = plan_of(encoder, num_blank=9)
    places = encoder_of(sees="all", pos_embed="learned")
    places.load_state_dict(encoder.state_dict())
    seen = places(images, everything)[:, 1:].gather(1, everything.ids_keep[..., None].expand(-1, -1, 24))
    torch.testing.assert_close(seen, encoder(images, everything)[:, 1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pos_embed", ["sincos", "rotary"])
def test_padding_changes_nothing(pos_embed):
    encoder = encoder_of(pos_embed=pos_embed)
    images, counts = images_of(encoder), torch.tensor([2, 5, 3])
    scores = torch.rand(3, 12, generator=torch.Generator().manual_seed(2))
    plan = MaskPlan.from_scores(scores, counts, encoder.grid)
    hidden = plan.mask_at(images.shape[2:])[:, None]
    out = encoder(torch.where(hidden, torch.full_like(images, math.nan), images), plan)
    for sample, count in enumerate(counts.tolist()):
        alone = MaskPlan.from_scores(scores[sample : sample + 1], count, encoder.grid)
        expected = encoder(images[sample : sample + 1], alone)
        torch.testing.assert_close(out[sample : sample + 1, : 1 + count], expected, atol=1e-5, rtol=1e-5)


def test_what_an_encoder_does_not_heed_is_refused():
    blank, ragged = plan_of(encoder_of(), num_blank=2), plan_of(encoder_of(), keep=torch.tensor([2, 5, 3]))
    windowed = WindowedTransformer((16, 24), (8, 4), 2, 24, 1, 2, window_size=2, global_blocks=(0,))
    for encoder, plan, sentence in (
        (encoder_of(), blank, "leaves places blank, which this encoder would treat as visible"),
        (windowed, blank, "leaves places blank"),
        (windowed, ragged, "this encoder would treat the padding as visible"),
    ):
        with pytest.raises(UsageError, match=sentence):
            encoder(images_of(encoder), plan)


def test_attention_of_the_last_block():
    encoder = encoder_of(pos_embed="rotary", num_registers=1)
    images = images_of(encoder)
    p = encoder.attention(images)
    torch.testing.assert_close(p.sum(dim=-1), torch.ones(3, 2, 14))
    (before,) = encoder(images, layers=[1])
    last, seen = encoder.blocks[1], []
    handle = last.attn.qkv.register_forward_hook(lambda module, inputs, out: seen.append(out))
    (after,) = encoder(images, layers=[2])
    handle.remove()
    v = seen[0].unflatten(2, (3, 2, -1))[:, :, 2].transpose(1, 2)
    x = before + last.attn.proj((p @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(x + last.mlp(last.norm2(x)), after, atol=1e-5, rtol=1e-5)


def test_tokens_are_those_before_positions():
    encoder = encoder_of(rank=3)
    images = images_of(encoder)
    torch.testing.assert_close(encoder.tokens(images), encoder.patch_embed(images))
    encoder.tokens(images).sum().backward()
    assert encoder.patch_embed.proj.weight.grad is not None


def test_a_rank_that_does_not_fit_is_told():
    for images, sentence in (
        (torch.zeros(1, 2, 16, 24), r"\(batch, 2, frames, height, width\), but got \(1, 2, 16, 24\)"),
        ({"a": torch.zeros(1), "b": torch.zeros(1)}, "takes one tensor of images, but got a, b"),
    ):
        with pytest.raises(UsageError, match=sentence):
            encoder_of(3)(images)
    with pytest.raises(UsageError, match="but must be a positive integer or 3 of them"):
        VisionTransformer((16, 16), (2, 8, 8), **SMALL)
    with pytest.raises(UsageError, match="must have 1, 2 or 3 axes"):
        VisionTransformer(16, (2, 2, 2, 2), **SMALL)
    assert VisionTransformer(16, (2, 8, 8), **SMALL).grid == (8, 2, 2)
    with pytest.raises(UsageError, match="on 2 axes need heads of at least 4 channels, but they have 2"):
        encoder_of(pos_embed="rotary", num_heads=12)
    with pytest.raises(UsageError, match="pos_embed is 'sine', but must be one of 'sincos', 'sincos_rows', "):
        encoder_of(pos_embed="sine")


@pytest.mark.parametrize("pos_embed", ["learned", "separable"])
def test_weights_of_shorter_and_smaller_clips(pos_embed):
    small, large = (
        encoder_of(3, pos_embed=pos_embed),
        VisionTransformer((8, 16, 24), (2, 8, 4), pos_embed=pos_embed, **SMALL),
    )
    fitted = fit_positions(large, large.state_dict(), small.state_dict(), recorded=small.grid)
    large.eval().load_state_dict(fitted.weights)
    assert len(fitted.resized) == 1 and "to 4" in fitted.resized[0]
    clip = torch.randn(1, 2, 8, 16, 24)
    torch.testing.assert_close(large(clip), small(clip), atol=1e-5, rtol=1e-5)


def test_sizes_of_two_axes_are_as_they_were():
    encoder = encoder_of()
    assert torch.equal(encoder.pos_embed, sincos_pos_embed(24, (2, 6), 1)) and not encoder.pos_embed.requires_grad
    assert encoder.no_weight_decay() == {"pos_embed"}
    assert not [name for name in encoder.state_dict() if "norm_pre" in name or "reg" in name or "mask" in name]
    resized = resize_pos_embed(encoder.pos_embed, (2, 6), (4, 12), 1)
    x = torch.randn(1, 2, 32, 48)
    tokens = torch.cat([encoder.cls_token, encoder.patch_embed(x)], dim=1) + resized
    torch.testing.assert_close(encoder(x, layers=[0])[0], tokens)


@pytest.mark.parametrize("pos_embed", KINDS)
def test_blocks_add_to_tokens_in_the_precision_of_the_weights(pos_embed):
    """Also where nothing wide is added to what autocast made narrow; and in a narrow model they stay narrow."""
    encoder = encoder_of(pos_embed=pos_embed, class_token=False)
    decoder = TransformerDecoder(24, 8, encoder.grid, 0, 16, 1, 2, pos_embed=pos_embed)
    predictor = PredictorDecoder(24, 8, encoder.grid, 0, 16, 1, 2, pos_embed=pos_embed)
    plan, images, seen = plan_of(encoder), images_of(encoder), []
    for part in (encoder, decoder, predictor):
        part.blocks[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        latent = encoder(images, plan)
        for part in (decoder, predictor):
            part(latent, plan)
    assert seen == [torch.float32] * 3
    narrow = encoder.bfloat16()
    assert narrow(images.bfloat16(), plan).dtype is torch.bfloat16 and seen[-1] is torch.bfloat16
