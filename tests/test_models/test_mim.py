"""The masked image model and its parts together."""

import pytest
import timm
import torch

from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.ops.patches import patchify
from maetool.registry import MASKERS, MODELS
from maetool.structures import MaskPlan
from maetool.testing import check_encoder, tiny_batch, tiny_config, tiny_model


def prepared(model, **options):
    return model.data_preprocessor(tiny_batch(**options))


def test_a_given_plan_repeats_a_result_exactly():
    model = tiny_model()
    batch = prepared(model)
    plan = model.make_plan(**batch)
    first = model(**batch, plan=plan)["loss"]
    assert torch.equal(first, model(**batch)["loss"])  # the keys of the batch give the same plan
    batch["data_samples"].pop("key")
    assert torch.equal(first, model(batch["images"], plan=plan)["loss"])
    assert not torch.equal(first, model(batch["images"])["loss"])  # without keys, masks are drawn anew


def test_masks_without_keys_follow_torch_seed():
    model = tiny_model()
    images = torch.randn(4, 3, 16, 32)
    torch.manual_seed(5)
    first = model(images)["loss"]
    torch.manual_seed(5)
    assert torch.equal(first, model(images)["loss"])


def test_the_loss_of_a_sample_does_not_depend_on_its_batch():
    model = tiny_model()
    batch = prepared(model, batch_size=6)
    whole = model(**batch)["loss"]
    parts = [
        model(batch["images"][i : i + 2], {"key": batch["data_samples"]["key"][i : i + 2]})["loss"] for i in (0, 2, 4)
    ]
    assert torch.allclose(whole, torch.stack(parts).mean(), atol=1e-6)


@pytest.mark.parametrize("pos_embed", ["sincos", "learned"])
def test_encoder_loads_in_timm_and_gives_its_features(pos_embed):
    encoder = VisionTransformer(
        img_size=(16, 32), patch_size=(8, 4), embed_dim=24, depth=2, num_heads=3, pos_embed=pos_embed
    )
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    theirs = timm.models.VisionTransformer(
        img_size=(16, 32), patch_size=(8, 4), embed_dim=24, depth=2, num_heads=3, num_classes=0
    )
    theirs.load_state_dict(encoder.state_dict(), strict=True)
    images = torch.randn(2, 3, 16, 32)
    assert torch.allclose(encoder(images), theirs.forward_features(images), atol=1e-5)


@pytest.mark.parametrize("pos_embed", ["sincos", "learned"])
def test_other_image_sizes(pos_embed):
    model = tiny_model(encoder={"pos_embed": pos_embed})
    for size in ((16, 32), (32, 16), (24, 40)):
        result = model(**prepared(model, size=size), mode="predict")
        assert result["reconstruction"].shape == (4, 3, *size)
        assert model(**prepared(model, size=size))["loss"].isfinite()


@pytest.mark.parametrize("in_chans", [1, 2, 5, 13])
def test_any_number_of_channels_is_stated_once(in_chans):
    preprocessor = {"mean": [0.0] * in_chans, "std": [1.0] * in_chans}
    model = tiny_model(encoder={"in_chans": in_chans}, data_preprocessor=preprocessor)
    batch = prepared(model, in_chans=in_chans)
    model(**batch)["loss"].backward()
    assert model(**batch, mode="predict")["reconstruction"].shape == (4, in_chans, 16, 32)
    check_encoder(model.encoder)


def test_reconstruction_keeps_visible_pixels_and_inverts_a_perfect_prediction():
    for norm_pix_loss in (True, False):
        model = tiny_model(target={"norm_pix_loss": norm_pix_loss})
        images = prepared(model)["images"]
        plan = model.make_plan(images)
        hidden = plan.mask_at((16, 32))[:, None]
        drawn = model(images, mode="predict", plan=plan)["reconstruction"]
        assert torch.equal(drawn.masked_fill(hidden, 0), images.masked_fill(hidden, 0))
        perfect = model.reconstruct(images, model.target(images, plan), plan)["reconstruction"]
        assert torch.allclose(perfect, images, atol=1e-4)


def test_visible_statistics_do_not_look_at_hidden_pixels():
    model = tiny_model()
    images = prepared(model)["images"]
    plan = model.make_plan(images)
    changed = images + 10 * plan.mask_at((16, 32))[:, None]
    pred = torch.randn(4, 12, 96)
    for statistics, same in (("visible", True), ("true", False)):
        pixels = [model.target.invert(pred, x, plan, statistics) for x in (images, changed)]
        assert torch.equal(*pixels) is same


def test_only_predicted_patches_are_computed():
    model = tiny_model()
    images = prepared(model)["images"]
    plan = MaskPlan.from_scores(torch.rand(4, 16), 4, (2, 8), num_predict=3)
    seen = []
    model.decoder.pred.register_forward_hook(lambda _, inputs, output: seen.append(output.shape))
    model.encoder.blocks[0].register_forward_hook(lambda _, inputs, output: seen.append(output.shape))
    model(images, plan=plan)
    assert seen == [(4, 1 + 4, 24), (4, 3, 96)]


def test_weight_zero_means_no_loss():
    model = tiny_model()
    images = prepared(model)["images"]
    scores = torch.rand(4, 16)
    weight = torch.ones(4, 16)
    weight[:, 8:] = 0
    plan = MaskPlan.from_scores(scores, 4, (2, 8), weight=weight)
    pred, target = torch.randn(4, 12, 96), model.target(images, plan)
    loss = RegressionHead()(pred, target, plan)["loss"]
    pred[plan.weight == 0] += 100
    assert torch.equal(loss, RegressionHead()(pred, target, plan)["loss"])


@pytest.mark.parametrize("loss", ["l1", "l2", "smooth_l1"])
def test_losses_by_hand(loss):
    plan = MaskPlan.from_scores(torch.rand(1, 16), 4, (2, 8))
    pred, target = torch.zeros(1, 12, 5), torch.full((1, 12, 5), 2.0)
    assert RegressionHead(loss)(pred, target, plan)["loss"].item() == {"l1": 2.0, "l2": 4.0, "smooth_l1": 1.5}[loss]


def test_constant_predictor_is_the_variance_of_the_target():
    model = tiny_model(target={"norm_pix_loss": False})
    images = prepared(model, batch_size=16)["images"]
    plan = model.make_plan(images)
    target = plan.take_predicted(patchify(images, (8, 4)))
    expected = target.var(dim=(0, 1), correction=0).mean()
    assert torch.allclose(model(images, plan=plan)["constant_predictor"], expected, atol=1e-5)


def test_bfloat16_stays_finite_on_constant_patches():
    model = tiny_model()
    batch = model.data_preprocessor({"inputs": torch.full((4, 3, 16, 32), 200, dtype=torch.uint8)})
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**batch)["loss"]
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_a_new_masker_is_ten_lines():
    from maetool.maskers import Masker

    class StripeMasker(Masker):
        """Hides neighbouring columns, from a random one on."""

        def scores(self, rng, grid):
            h, w = grid
            start = rng.integers(w, 1)  # (B, 1)
            column = torch.arange(w, device=rng.device)
            return ((column - start) % w).float()[:, None].expand(-1, h, -1).flatten(1)

    MASKERS.register_module(module=StripeMasker)
    try:
        model = MODELS.build(tiny_config(masker={"type": "StripeMasker", "mask_ratio": 0.5}))
        mask = model.make_plan(**prepared(model)).validate().mask.view(4, 2, 8)
        assert torch.equal(mask[:, 0], mask[:, 1])
        assert (mask.sum((1, 2)) == 8).all()
    finally:
        MASKERS.module_dict.pop("StripeMasker")


def test_preprocessor_normalises_once_and_back():
    model = tiny_model()
    batch = tiny_batch()
    images = model.data_preprocessor(batch)["images"]
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    assert torch.allclose(images, ((batch["inputs"].float().movedim(1, -1) - mean) / std).movedim(-1, 1), atol=1e-5)
    assert torch.allclose(model.data_preprocessor.denormalise(images), batch["inputs"].float(), atol=1e-3)
    assert batch["inputs"].dtype is torch.uint8
