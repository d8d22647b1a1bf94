"""The numbers of the published MAE implementation (tests/data/README.md says where they come from)."""

import numpy as np
import pytest
import torch

from maetool.decoders import TransformerDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.ops.patches import patchify
from maetool.ops.pos_embed import resize_pos_embed, sincos_pos_embed
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget
from maetool.weights.formats.mae import from_published, to_published


def load(data_dir, name):
    return {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(data_dir / f"{name}.npz").items()}


def small_mae(norm_pix_loss):
    encoder = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3)
    target = PixelTarget(8, norm_pix_loss=norm_pix_loss)
    decoder = TransformerDecoder(48, target.out_dim, encoder.grid, embed_dim=32, depth=2, num_heads=4)
    return MaskedImageModel(RandomMasker(0.75), encoder, decoder, target, RegressionHead())


@pytest.fixture(params=["mae_norm_pixel", "mae_pixel"])
def case(request, data_dir):
    golden = load(data_dir, request.param)
    model = small_mae(norm_pix_loss="norm" in request.param)
    state = {key.removeprefix("state/"): value for key, value in golden.items() if key.startswith("state/")}
    missing, unexpected = model.load_state_dict(from_published(state), strict=False)
    assert not missing and not unexpected
    plan = MaskPlan.from_scores(golden["noise"], num_keep=4, grid=(4, 4)).validate()
    return golden, model, plan, state


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5, check_dtype=False)


def test_plan(case):
    golden, _, plan, _ = case
    close(plan.mask.float(), golden["mask"])
    assert torch.equal(plan.ids_restore, golden["ids_restore"])


def test_latent_pred_target_and_loss(case):
    golden, model, plan, _ = case
    latent = model.encoder(golden["imgs"], plan)
    close(latent, golden["latent"])
    close(model.decoder(latent, plan), plan.take_predicted(golden["pred"]))
    close(patchify(golden["imgs"], (8, 8)), golden["target"])
    close(model(golden["imgs"], plan=plan)["loss"], golden["loss"])


def test_gradients(case):
    golden, model, plan, _ = case
    model(golden["imgs"], plan=plan)["loss"].backward()
    ours = to_published({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    theirs = {key.removeprefix("grad/"): value for key, value in golden.items() if key.startswith("grad/")}
    assert len(theirs) >= 5
    for name, gradient in theirs.items():
        close(ours[name], gradient)


def test_names_round_trip(case):
    _, model, _, state = case
    published = to_published(model.state_dict())
    assert set(published) == set(state)
    close(published["decoder_pos_embed"], state["decoder_pos_embed"])


def test_decoder_positions(case):
    _, model, _, state = case
    close(model.decoder.pos_embed, state["decoder_pos_embed"])


def test_sincos_tables(data_dir):
    for name, table in load(data_dir, "sincos_pos_embed").items():
        width, side = (int(part[1:]) for part in name.split("_"))
        close(sincos_pos_embed(width, (side, side), num_prefix_tokens=1)[0], table)


@pytest.mark.parametrize(("width", "total"), [(768, 69594.4939), (512, 46340.3303)])
def test_sincos_checksum(width, total):
    assert sincos_pos_embed(width, (14, 14)).double().sum().item() == pytest.approx(total, rel=1e-6)


def test_resized_positions(data_dir):
    golden = load(data_dir, "pos_embed_resize_4_to_6")
    close(resize_pos_embed(golden["before"], (4, 4), (6, 6), num_prefix_tokens=1), golden["after"])


def test_parameter_count_of_vit_b():
    encoder = VisionTransformer()
    decoder = TransformerDecoder(768, 768, encoder.grid)
    count = sum(p.numel() for part in (encoder, decoder) for p in part.parameters()) + decoder.pos_embed.numel()
    assert count == 111_907_840
