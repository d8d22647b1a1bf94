"""The numbers of facebookresearch/ijepa: a predictor that predicts each block apart."""

from dataclasses import replace

import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import PredictorDecoder
from maetool.encoders import VisionTransformer
from maetool.structures import Layout, MaskPlan


@pytest.fixture(params=[4, None])
def case(request, data_dir):
    golden, state = load(data_dir, "ijepa")
    encoder = VisionTransformer(48, 8, 3, 48, 2, 3, class_token=False)
    decoder = PredictorDecoder(48, 48, (6, 6), 0, 32, 2, 4, num_groups=request.param)
    load_all(encoder, {n.removeprefix("encoder."): v for n, v in state.items() if n.startswith("encoder.")})
    names = {"predictor_proj": "pred", "predictor_": ""}
    own = {}
    for name, value in state.items():
        if name.startswith("predictor."):
            new = name.removeprefix("predictor.")
            for old, mine in names.items():
                new = new.replace(old, mine)
            own[new] = value
    close(decoder.pos_embed, own["pos_embed"])
    load_all(decoder, own)
    return golden, encoder, decoder, plan_of(golden["context_ids"][0], golden["target_ids"])


def plan_of(context, targets):
    """Return the plan of contexts (B, V) and of blocks (blocks, B, m)."""
    blocks, batch, number = targets.shape
    mask = torch.ones(batch, 36, dtype=torch.bool).scatter(1, context, False)
    order = torch.cat([context, torch.stack([one.nonzero()[:, 0] for one in mask])], dim=1)
    group = torch.arange(blocks).repeat_interleave(number).expand(batch, -1)
    predict = targets.transpose(0, 1).flatten(1)
    return MaskPlan(Layout.of((6, 6)), context, predict, order.argsort(dim=1), mask, group=group).validate()


def test_latent_prediction_and_loss(case):
    golden, encoder, decoder, plan = case
    latent = encoder(golden["imgs"], plan)
    close(latent, golden["latent"])
    pred = decoder(latent, plan)
    of_blocks = pred.unflatten(1, (4, -1)).transpose(0, 1).flatten(0, 1)  # block after block, images inside
    close(of_blocks, golden["pred"])
    loss = torch.nn.functional.smooth_l1_loss(of_blocks, golden["target"])
    close(loss, golden["loss"])
    loss.backward()
    close(encoder.blocks[0].attn.qkv.bias.grad, golden["grad/encoder.blocks.0.attn.qkv.bias"])
    close(decoder.blocks[0].attn.qkv.bias.grad, golden["grad/predictor.predictor_blocks.0.attn.qkv.bias"])


def test_blocks_never_see_each_other(case):
    golden, encoder, decoder, plan = case
    latent = encoder(golden["imgs"], plan)
    alone = decoder(latent, replace(plan, ids_predict=plan.ids_predict[:, :6], group=None))
    close(decoder(latent, plan)[:, :6], alone)
    together = decoder(latent, replace(plan, group=None))
    assert (together[:, :6] - alone).abs().max() > 1e-3
