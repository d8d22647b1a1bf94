"""timm's plain ViTs as encoders: its features, its weights, and patches dropped or replaced."""

import pytest
import timm
import torch

from maetool.encoders import TimmEncoder
from maetool.errors import UsageError
from maetool.structures import MaskPlan
from maetool.testing import check_encoder, tiny_model

SMALL = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
NAMES = [
    ("vit_base_patch16_224", {}),
    ("vit_small_patch14_reg4_dinov2", {}),
    ("deit3_base_patch16_224", {}),
    ("vit_base_patch16_clip_224", {}),
    ("beit_base_patch16_224", {}),
    ("beitv2_base_patch16_224", {"use_shared_rel_pos_bias": True}),
    ("eva02_base_patch14_224", {}),
    ("vit_base_patch16_rope_mixed_224", {}),
    ("vit_small_patch16_dinov3", {}),  # by default of any image size
]


def shaken(name, options, **arguments):
    torch.manual_seed(0)
    encoder = TimmEncoder(name, **SMALL, options=options, **arguments)
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder.eval()


@pytest.mark.parametrize(("name", "options"), NAMES)
@pytest.mark.parametrize("sees", ["visible", "all"])
def test_contract(name, options, sees):
    check_encoder(shaken(name, options, sees=sees))


@pytest.mark.parametrize(("name", "options"), NAMES)
def test_features_and_weights_are_timms(name, options):
    encoder = shaken(name, options)
    theirs = timm.create_model(name, num_classes=0, global_pool="", **SMALL, **options).eval()
    theirs.load_state_dict(encoder.state_dict())
    images = torch.randn(2, 3, 32, 48)
    torch.testing.assert_close(encoder(images), theirs.forward_features(images), atol=1e-5, rtol=1e-5)
    again = TimmEncoder(name, **SMALL, options=options).eval()
    again.load_state_dict(theirs.state_dict())
    assert torch.equal(again(images), encoder(images))


def attend_only_to(vit, images, seen):
    """The tokens of a whole picture, in which nothing may attend to tokens that are not `seen` (B, T + L)."""
    hidden = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)[:, None, None].expand(-1, -1, seen.shape[1], -1)
    x = vit.patch_embed(images)
    if isinstance(vit, timm.models.beit.Beit):
        x = torch.cat([vit.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x if vit.pos_embed is None else x + vit.pos_embed
        shared = 0 if vit.rel_pos_bias is None else vit.rel_pos_bias()
        for block in vit.blocks:
            x = block(x, shared_rel_pos_bias=shared + hidden)
        return vit.norm(x)
    x, ropes = vit._pos_embed(x), [None] * len(vit.blocks)
    if isinstance(vit, timm.models.eva.Eva):
        x, rope = x
        ropes = rope if vit.rope_mixed else [rope] * len(vit.blocks)
    x = vit.norm_pre(x)
    for block, rope in zip(vit.blocks, ropes, strict=True):
        x = block(x, attn_mask=hidden, **({} if rope is None else {"rope": rope}))
    return vit.norm(x)


@pytest.mark.parametrize(("name", "options"), NAMES)
def test_to_drop_a_patch_is_that_nothing_attends_to_it(name, options):
    encoder = shaken(name, options)
    theirs = timm.create_model(name, num_classes=0, global_pool="", **SMALL, **options).eval()
    theirs.load_state_dict(encoder.state_dict())
    images, plan = torch.randn(2, 3, 32, 48), MaskPlan.from_scores(torch.rand(2, 24), 7, (4, 6))
    prefix = encoder.num_prefix_tokens
    seen = torch.cat([torch.ones(2, prefix, dtype=torch.bool), ~plan.mask], dim=1)
    whole = attend_only_to(theirs, images, seen)
    expected = torch.cat([whole[:, :prefix], plan.keep(whole[:, prefix:])], dim=1)
    torch.testing.assert_close(encoder(images, plan), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "vit_bas_patch16_224"}, r"no model called 'vit_bas_patch16_224'; near names: vit_base_patch16_224"),
        ({"name": "resnet50"}, r"resnet50 is no plain ViT.*use a model such as vit_base_patch16_224"),
        ({"name": "swin_base_patch4_window7_224"}, r"is no plain ViT"),
        ({"name": "vit_base_r50_s16_224"}, r"is no plain ViT"),
        ({"name": "deit_base_distilled_patch16_224"}, r"is no plain ViT|cannot make"),
        ({"name": "vit_base_patch16_224", "options": {"colour": 1}}, r"timm cannot make .*colour.*correct these"),
        ({"name": "vit_base_patch16_224", "options": {"dynamic_img_size": True}}, r"images of one size, img_size"),
        ({"name": "vit_base_patch16_224", "img_size": 30}, r"30x30 pixels does not divide into patches of 8x8"),
        ({"name": "vit_base_patch16_224", "sees": "most"}, r"sees is 'most'"),
    ],
)
def test_bad_input(arguments, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        TimmEncoder(**{**SMALL, "in_chans": 3, **arguments})
    assert "\n" not in str(info.value)


def test_other_image_sizes_are_refused():
    encoder = TimmEncoder(**SMALL)
    with pytest.raises(UsageError, match=r"made for images of 32x48 pixels, but got 48x32: set encoder.img_size"):
        encoder(torch.zeros(1, 3, 48, 32))


def test_trains_in_a_model():
    encoder = {"type": "TimmEncoder", "name": "beit_base_patch16_224", "sees": "all", **SMALL}
    model = tiny_model(encoder=encoder, decoder={"type": "LinearDecoder"})
    model(torch.randn(2, 3, 32, 48))["loss"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "beitv2_base_patch16_224", "eva02_tiny_patch14_224"])
def test_attention_of_the_last_block(name, fused, monkeypatch):
    """It averages the values, whichever way timm computes it."""
    encoder = TimmEncoder(name, img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2).eval()
    torch.manual_seed(0)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    images, last = torch.randn(2, 3, 32, 32), encoder.vit.blocks[-1].attn
    last.fused_attn = fused
    p = encoder.attention(images)
    length = encoder.num_prefix_tokens + 16
    assert p.shape == (2, 2, length, length)
    torch.testing.assert_close(p.sum(dim=-1), torch.ones(2, 2, length))
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention
    last.fused_attn = True
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda q, k, v, **o: seen.append((v, attend(q, k, v, **o))) or seen[-1][1],
    )
    encoder(images)
    v, out = seen[-1]
    torch.testing.assert_close(p @ v, out, atol=1e-5, rtol=1e-5)
    assert encoder.tokens(images).shape == (2, 16, 24)
