"""Which parts fit together, told when the model is built; and what a mask token does."""

import pytest
import torch

from maetool.decoders import LinearDecoder
from maetool.errors import UsageError
from maetool.maskers import RandomMasker
from maetool.models.pooling import pooling_of
from maetool.ops.prefix import has_class_token
from maetool.pretrained.frozen import features_of
from maetool.registry import MODELS
from maetool.structures import MaskPlan
from maetool.testing import tiny_batch, tiny_config, tiny_model

SEES_ALL = {"sees": "all"}
LINEAR = {"type": "LinearDecoder"}
INNER = {"type": "TransformerDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2}
CROSS = {"type": "CrossAttentionDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2}
FUSION = {"type": "LayerFusionDecoder", "layers": [1], "decoder": INNER}
SWIN = {
    "type": "SwinTransformer",
    "img_size": 64,
    "embed_dim": 8,
    "depths": (1, 1, 1, 1),
    "num_heads": (1, 1, 2, 2),
    "window_size": 2,
}
HYBRID = {"type": "HybridTransformer", "img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"encoder": SEES_ALL}, r"TransformerDecoder cannot read VisionTransformer, which sees every place.*Linear"),
        ({"decoder": LINEAR}, r"LinearDecoder cannot read VisionTransformer, which sees only the visible patches: use "
         r"the decoder.*Transformer.*or an encoder that fits LinearDecoder, .*VisionTransformer \(sees=\"all\"\)"),
        ({"decoder": CROSS}, r"CrossAttentionDecoder reads raw tokens, so that the norm of VisionTransformer "
         r"would never be trained: set encoder.final_norm=False"),
        ({"decoder": {**CROSS, "layers": [0, 3]}}, r"layers is \[0, 3\], but an encoder of 2 blocks has the layers 0"),
        ({"decoder": {**CROSS, "layers": []}}, r"layers is \[\]"),
        ({"decoder": {**FUSION, "layers": [-4]}}, r"layers is \[-4\], but an encoder of 2 blocks"),
        ({"encoder": SWIN, "decoder": INNER}, r"sees every place, .*in tokens of 32x32 pixels, patches being 4x4"),
        ({"encoder": SWIN, "decoder": CROSS}, r"cannot read SwinTransformer.*use the decoder LinearDecoder, or"),
        ({"encoder": HYBRID, "decoder": FUSION}, r"layers is \[1\], but this encoder gives its last tokens only: .*"),
        ({"encoder": SWIN, "decoder": LINEAR}, r"RandomMasker hides 1x1 patches at a time, but a token of "
         r"SwinTransformer covers 8x8 and is either seen or hidden: use the masker AlignedMasker, unit=8"),
        ({"encoder": {**SWIN, "img_size": 70}, "decoder": LINEAR}, r"70x70 pixels does not divide into patches of 4x4"),
        ({"encoder": {**SWIN, "img_size": (64, 80)}, "decoder": LINEAR},
         r"last tokens of the encoder cover 32x32 pixels, which does not divide an image of 64x80: .* 64x64"),
        ({"encoder": {"sees": "nothing"}}, r"sees is 'nothing', but must be 'visible' or 'all'"),
    ],
)  # fmt: skip
def test_wrong_pairings_name_the_right_ones(parts, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        tiny_model(**parts)
    assert "\n" not in str(info.value)


def test_a_masker_is_told_early_that_nobody_advises_it():
    class Attentive(RandomMasker):
        needs = ("attention",)

    with pytest.raises(UsageError, match=r"Attentive needs attention, but .* for nothing and no teacher: add"):
        tiny_model(masker={"type": Attentive})


UNITS = {"type": "AlignedMasker", "mask_ratio": 0.5, "unit": 8}


MIXED_UNITS = {"type": "MixedMasker", "maskers": [UNITS, UNITS]}


@pytest.mark.parametrize(
    "masker", [{"type": "GivenMasker"}, MIXED_UNITS, {"type": "ScheduledMasker", "maskers": [MIXED_UNITS]}]
)
def test_maskers_of_maskers_and_given_masks_fit_a_hierarchical_encoder(masker):
    tiny_model(encoder=SWIN, decoder=LINEAR, masker=masker)


def test_hierarchical_encoder_with_whole_tokens_hidden():
    model = tiny_model(encoder=SWIN, decoder=LINEAR, masker=UNITS)
    result = model(torch.randn(2, 3, 64, 64), mode="predict")
    assert result["reconstruction"].shape == (2, 3, 64, 64)
    assert result["pred"].shape == (2, 2 * 64, 48)
    model(torch.randn(2, 3, 64, 64))["loss"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_each_decoder_reads_its_own_layers_and_the_encoder_runs_once():
    head, target = {"type": "RegressionHead"}, {"type": "PixelTarget"}
    task = {"decoder": {**CROSS, "layers": [0, 2]}, "target": target, "head": head}
    model = tiny_model(tasks={"second": task})
    images = torch.randn(2, 3, 16, 32)
    plan = model.make_plan(images)
    last, some = model.read(images, plan)
    torch.testing.assert_close(last, model.encoder(images, plan))
    for ours, level in zip(some, model.encoder(images, plan, [0, 2]), strict=True):
        assert torch.equal(ours, level)
    passes = []
    model.encoder.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    losses = model(images, plan=plan)
    assert len(passes) == 1
    losses["loss"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_layers_are_counted_from_what_enters_the_first_block():
    encoder = tiny_model().encoder
    images = torch.randn(2, 3, 16, 32)
    first, again, last = encoder(images, layers=[0, -3, -1])
    assert torch.equal(first, again)
    torch.testing.assert_close(encoder.norm(last), encoder(images))
    torch.testing.assert_close(encoder.blocks[1](encoder.blocks[0](first)), last)


def test_mask_tokens_with_a_linear_decoder_train():
    model = tiny_model(encoder=SEES_ALL, decoder=LINEAR)
    model(**model.data_preprocessor(tiny_batch()))["loss"].backward()
    assert model.encoder.mask_token.grad.abs().sum() > 0
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_a_mask_token_is_what_enters_in_place_of_a_patch():
    """Hiding a patch equals showing everything and overwriting its embedding, before the position is added."""
    encoder = tiny_model(encoder=SEES_ALL, decoder=LINEAR).encoder
    images = torch.randn(2, 3, 16, 32)
    plan = MaskPlan.from_scores(torch.rand(2, 16), 5, (2, 8))
    embedded = torch.where(plan.mask[..., None], encoder.mask_token, encoder.patch_embed(images))
    encoder.patch_embed.register_forward_hook(lambda *_: embedded)
    whole = encoder(images)
    encoder.patch_embed._forward_hooks.clear()
    torch.testing.assert_close(encoder(images, plan), whole)


def test_a_linear_decoder_reads_each_patch_from_its_place_in_its_token():
    """A token of 2 x 3 patches predicts them row by row."""
    decoder = LinearDecoder(encoder_dim=6, out_dim=1, num_prefix_tokens=0, patches_per_token=(2, 3))
    decoder.pred.weight.data, decoder.pred.bias.data = torch.eye(6), torch.zeros(6)
    tokens = torch.arange(12.0).view(1, 2, 6)  # a grid of 1 x 2 tokens, so 2 x 6 patches
    everything = MaskPlan.from_scores(torch.arange(12.0)[None], 1, (2, 6), num_predict=11)
    pred = decoder(tokens, everything)[0, :, 0].tolist()
    assert [0.0, *pred] == [0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]


REGISTERS = {"type": "VisionTransformer", "img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
REGISTERS |= {"class_token": False, "num_registers": 2}
PROJECTION = {"decoder": {"type": "ProjectionDecoder"}, "teacher": {"type": "MomentumTeacher"}}
PROJECTION["target"] = {"type": "TeacherPredictionTarget", "out_dim": 4}


@pytest.mark.parametrize(
    "use",
    [
        lambda: MODELS.build({**tiny_config(encoder=REGISTERS, **PROJECTION), "at": "image"}),
        lambda: tiny_model(encoder=REGISTERS, decoder={"type": "TransformerDecoder", "fill": "cls"}),
        lambda: pooling_of("cls", tiny_model(encoder=REGISTERS).encoder, 1),
        lambda: features_of(tiny_model(encoder=REGISTERS), "cls"),
    ],
)
def test_a_register_is_not_taken_for_a_class_token(use):
    with pytest.raises(UsageError, match=r"[tT]he encoder has no class token"):
        use()


def test_an_encoder_that_does_not_say_so_has_a_class_token():
    assert not has_class_token(torch.nn.Identity())
    stranger = torch.nn.Identity()
    stranger.num_prefix_tokens = 1
    assert has_class_token(stranger) and has_class_token(tiny_model().encoder)
