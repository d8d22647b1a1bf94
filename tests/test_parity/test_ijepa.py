"""The numbers of facebookresearch/ijepa: a predictor that predicts each block apart."""

from dataclasses import replace

import pytest
import torch
from golden import close, load, load_all
from ijepa_model import by_block, published, weights_of

from maetool import load_encoder
from maetool.maskers import MultiBlockMasker
from maetool.ops.random import KeyedRandom, sample_keys
from maetool.structures import Layout
from maetool.targets import MomentumFeatureTarget


@pytest.fixture(params=[4, None])
def case(request, data_dir):
    return published(data_dir, "ijepa", num_groups=request.param)


def test_latent_prediction_and_loss(case):
    golden, encoder, decoder, plan = case
    latent = encoder(golden["imgs"], plan)
    close(latent, golden["latent"])
    pred = decoder(latent, plan)
    of_blocks = by_block(pred, 4)
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


def test_the_target_is_that_of_the_averaged_encoder(case):
    golden, encoder, _, plan = case
    target = MomentumFeatureTarget(encoder, normalise="layer", schedule="linear")
    state = {name: value for name, value in golden.items() if name.startswith("state/target_encoder.")}
    load_all(target.teacher, weights_of(state, "state/target_encoder."))
    close(by_block(target(golden["imgs"], plan), 4), golden["target"])


def test_the_port_to_transformers_loads(data_dir, tmp_path):
    golden, state = load(data_dir, "ijepa_transformers")
    torch.save(state, tmp_path / "ijepa.pth")
    encoder = load_encoder(str(tmp_path / "ijepa.pth"), num_heads=3).encoder
    assert encoder.num_prefix_tokens == 0
    close(encoder(golden["imgs"]), golden["latent"])
    close(encoder(golden["imgs"], None, [1])[0], golden["after_block_0"])


def test_the_published_target_encoder_loads_once_it_is_saved_alone(data_dir, tmp_path):
    golden, state = load(data_dir, "ijepa")
    own = {f"module.{name}": value for name, value in weights_of(state, "target_encoder.").items()}
    torch.save(own, tmp_path / "target.pth")
    tokens = load_encoder(str(tmp_path / "target.pth"), num_heads=3)(golden["imgs"])
    close(tokens, golden["target_full"])


@pytest.mark.parametrize("grid", [(14, 14), (16, 16), (12, 20)])
def test_blocks_have_the_published_sizes(grid, data_dir):
    """The number for the size is drawn by another generator, so that distributions are compared."""
    drawn = load(data_dir, "ijepa")[0][f"sizes/{grid[0]}x{grid[1]}"][:, :2]
    keys = sample_keys(0, 0, torch.arange(2000))
    plan = MultiBlockMasker(per="sample").plan(KeyedRandom(keys), Layout.of(grid))
    cells = plan.ids_predict[:, plan.group[0] == 0]
    rows = [own[counts] // grid[1] for own, counts in zip(cells, _counted(plan), strict=True)]
    heights = [int(own.max() - own.min()) + 1 for own in rows]
    sizes = [(height, len(own) // height) for height, own in zip(heights, rows, strict=True)]
    assert {tuple(size) for size in drawn.tolist()} == set(sizes)
    assert torch.allclose(torch.tensor(sizes).float().mean(dim=0), drawn.float().mean(dim=0), atol=0.25)


def _counted(plan):
    """Return which predictions of the first block are no padding, bool (B, m)."""
    own = plan.weight[:, plan.group[0] == 0]
    return own > 0
