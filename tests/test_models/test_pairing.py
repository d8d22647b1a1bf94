"""Which parts fit together, told when the model is built; and what a mask token does."""

import pytest
import torch

from maetool.decoders import LinearDecoder
from maetool.errors import UsageError
from maetool.structures import MaskPlan
from maetool.testing import tiny_batch, tiny_model

SEES_ALL = {"sees": "all"}
LINEAR = {"type": "LinearDecoder"}


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"encoder": SEES_ALL}, r"TransformerDecoder cannot read VisionTransformer, which sees every place.*Linear"),
        ({"decoder": LINEAR}, r"LinearDecoder cannot read VisionTransformer, which sees only the visible patches: take "
         r"the decoder.*Transformer.*or an encoder that fits LinearDecoder, .*VisionTransformer \(sees=\"all\"\)"),
        ({"encoder": {"sees": "nothing"}}, r"sees is 'nothing', but must be 'visible' or 'all'"),
    ],
)  # fmt: skip
def test_wrong_pairings_name_the_right_ones(parts, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        tiny_model(**parts)
    assert "\n" not in str(info.value)


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
