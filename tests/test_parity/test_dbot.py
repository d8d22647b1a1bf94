"""The numbers of liuxingbin/dbot (tests/data/README.md)."""

from pathlib import Path

import pytest
import torch
from golden import close, load, load_all
from mmengine import Config

from maetool.decoders import TransformerDecoder
from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan
from maetool.targets import FeatureTarget, PixelTarget
from maetool.weights.formats.mae import from_published, to_published

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}


def published(state):
    return {name.replace("decoder_predp", "decoder_pred"): value for name, value in state.items()}


def dbot(predict_prefix):
    encoder = VisionTransformer(**SIZES)
    target = FeatureTarget(VisionTransformer(**SIZES), (4, 4), (8, 8), layers=[-1], predict_prefix=predict_prefix)
    decoder = TransformerDecoder(
        48, 48, encoder.grid, embed_dim=32, depth=2, num_heads=4, drop_path_rate=0.2, predict_prefix=predict_prefix
    )
    head = RegressionHead("smooth_l1", beta=2.0)
    return MaskedImageModel(RandomMasker(0.75), encoder, decoder, target, head)


def case_of(data_dir, predict_prefix):
    golden, state = load(data_dir, "dbot")
    model = dbot(predict_prefix).eval()  # drop path is off in the published numbers
    teacher = {f"target.{name}": value for name, value in golden.items() if name.startswith("teacher/")}
    teacher = {name.replace("teacher/", "teacher."): value for name, value in teacher.items()}
    norm = {name: value for name, value in model.state_dict().items() if name.startswith("target.teacher.norm.")}
    load_all(model, norm | teacher | from_published(published(state)))
    return golden, model, MaskPlan.from_scores(golden["noise"], 4, (4, 4))


def with_prefix(values, plan):
    """Return what values (B, 1 + L, P) have for the class token and the predicted patches."""
    return torch.cat([values[:, :1], plan.take_predicted(values[:, 1:])], dim=1)


def test_latent_prediction_target_and_loss(data_dir):
    golden, model, plan = case_of(data_dir, predict_prefix=True)
    latent = model.encoder(golden["imgs"], plan)
    close(latent, golden["latent"])
    close(model.decoder(latent, plan), with_prefix(golden["pred"], plan))
    close(model.target(golden["imgs"], plan), with_prefix(golden["target"], plan))
    (feature,) = model.target.teacher(golden["imgs"], layers=[-1])
    close(feature, golden["teacher_feature"])
    pred, target = with_prefix(golden["pred"], plan), with_prefix(golden["target"], plan)
    close(model.head._each(pred, target), with_prefix(golden["loss_per_token"][..., None], plan)[..., 0])
    close(model(golden["imgs"], plan=plan)["loss"], golden["loss"])


def test_loss_of_patches_only(data_dir):
    golden, model, plan = case_of(data_dir, predict_prefix=False)
    close(model(golden["imgs"], plan=plan)["loss"], golden["loss_patches_only"])


def test_weights_are_of_patches_and_the_class_token_counts_as_one(data_dir):
    golden, model, _ = case_of(data_dir, predict_prefix=True)
    weight = torch.rand(3, 16)
    weighted = MaskPlan.from_scores(golden["noise"], 4, (4, 4), weight=weight)
    weights = torch.cat([torch.ones(3, 1), weight * golden["mask_with_cls"][:, 1:]], dim=1)
    errors = golden["loss_per_token"]
    close(model(golden["imgs"], plan=weighted)["loss"], (errors * weights).sum() / weights.sum())


def test_gradients(data_dir):
    golden, model, plan = case_of(data_dir, predict_prefix=True)
    model(golden["imgs"], plan=plan)["loss"].backward()
    ours = to_published({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    theirs = published({k.removeprefix("grad/"): v for k, v in golden.items() if k.startswith("grad/")})
    assert len(theirs) == 5
    for name, gradient in theirs.items():
        close(ours[name], gradient)


def test_drop_path_of_the_decoder():
    cfg = Config.fromfile(Path(__file__).parents[2] / "configs/dbot/vit-b_800e.py")
    assert cfg.model.encoder.drop_path_rate == cfg.model.decoder.drop_path_rate == 0.2
    decoder = TransformerDecoder(48, 48, (4, 4), embed_dim=32, depth=3, num_heads=4, drop_path_rate=0.9)
    plan = MaskPlan.from_scores(torch.rand(1, 16).expand(64, -1), 4, (4, 4))
    latent = torch.randn(1, 5, 48).expand(64, -1, -1)
    one = decoder.eval()(latent, plan)
    assert len(decoder.train()(latent, plan).unique(dim=0)) > 1  # equal samples lose different branches
    torch.testing.assert_close(one, one[:1].expand_as(one))


def test_decoder_and_target_agree_on_the_class_token():
    encoder, parts = VisionTransformer(**SIZES), dbot(predict_prefix=True)
    with pytest.raises(UsageError, match="predicts 1 tokens of the prefix, but PixelTarget gives 0"):
        MaskedImageModel(RandomMasker(), encoder, parts.decoder, PixelTarget(8), RegressionHead())
    with pytest.raises(UsageError, match="no class token"):
        TransformerDecoder(48, 48, (4, 4), num_prefix_tokens=0, predict_prefix=True)
