"""The numbers of TonyLianLong/CrossMAE (tests/data/README.md)."""

import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import CrossAttentionDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget

_NAMES = {
    "dec_norms.0": "decoder.blocks.0.memory_norm",
    "dec_norms.1": "decoder.blocks.1.memory_norm",
    "wfm.linear": "decoder.mix",
    "decoder_": "decoder.",
    "mask_token": "decoder.mask_token",
}


def ours(name):
    for theirs, mine in _NAMES.items():
        if name.startswith(theirs):
            return mine + name.removeprefix(theirs)
    return f"encoder.{name}"


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "crossmae")
    encoder = VisionTransformer(32, 8, embed_dim=48, depth=2, num_heads=3, final_norm=False)
    target = PixelTarget(8)
    decoder = CrossAttentionDecoder(48, target.out_dim, encoder.grid, num_layers=2, embed_dim=32, depth=2, num_heads=4)
    model = MaskedImageModel(RandomMasker(0.75, predict_ratio=0.25), encoder, decoder, target, RegressionHead())
    state.pop("decoder_pos_embed")
    load_all(model, {ours(name): value for name, value in state.items()})
    masker = model.masker
    plan = MaskPlan.from_scores(golden["noise"], masker.num_keep((4, 4)), (4, 4), masker.num_predict((4, 4)))
    return golden, model, plan


def test_predicted_patches(case):
    golden, _, plan = case
    predicted = torch.zeros(3, 16).scatter(1, plan.ids_predict, 1)
    close(predicted, golden["mask"])
    assert torch.equal(plan.ids_restore, golden["ids_restore"])


def test_layers_pred_target_and_loss(case):
    golden, model, plan = case
    (latent,) = model.read(golden["imgs"], plan)
    for number, tokens in enumerate(latent):
        close(tokens, golden[f"feature/{number}"])
    close(model.decoder(latent, plan), golden["pred"])
    close(model(golden["imgs"], plan=plan)["loss"], golden["loss"])
    close(model.target(golden["imgs"], plan), golden["target"])
