"""The numbers of Cakeyan/CCViT_Public (tests/data/README.md)."""

import pytest
import torch
from golden import beit_encoder, close, gradients, load, load_all

from maetool.corruptions import NearestCodeCorruption
from maetool.decoders import LinearDecoder
from maetool.heads import ClassificationHead, RegressionHead
from maetool.maskers import AlsoVisibleMasker, BlockMasker
from maetool.models import MaskedImageModel
from maetool.ops.patches import patchify
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget, TokenTarget

UNITS = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
DECODER = {"type": "ClassBottleneckDecoder", "block": "beit", "num_heads": 3, "depth": 2, "layer_scale": 0.1}
NAMES = {
    "cls_pt_layers.": "tasks.pixels.decoder.blocks.",
    "cls_pt_norm.": "tasks.pixels.decoder.norm.",
    "cls_pt_lm_head.": "tasks.pixels.decoder.pred.",
    "lm_head.": "decoder.pred.",
}


def channels_last(values):
    """Return rows (768, ...) ordered (channel, row, column) as ours, (row, column, channel)."""
    return values.unflatten(0, (3, 16, 16)).movedim(0, 2).flatten(0, 2)


def ours(state):
    """Return published weights, or gradients, under our names and in our order of the pixels of a patch."""
    mine = {}
    for name, value in state.items():
        prefix = next((prefix for prefix in NAMES if name.startswith(prefix)), "")
        value = channels_last(value) if prefix == "cls_pt_lm_head." else value
        mine[NAMES.get(prefix, "encoder.") + name.removeprefix(prefix)] = value
    return mine


@pytest.fixture
def case(data_dir, tmp_path):
    golden, state = load(data_dir, "ccvit")
    path = tmp_path / "centroids.pth"
    torch.save({"codebook": channels_last(golden["centroids"].T).T.contiguous()}, path)
    encoder = beit_encoder(img_size=224, patch_size=16, embed_dim=24, depth=3, num_heads=3)
    source = {"type": "PictureTarget", "norm_pix_loss": False}
    target = TokenTarget(str(path), source, patch_size=16, **UNITS)
    pixels = {
        "decoder": {**DECODER, "early_layer": golden["early_layers"].item()},
        "target": {"type": "PictureTarget", **UNITS},
        "head": RegressionHead(),
    }
    model = MaskedImageModel(
        AlsoVisibleMasker(BlockMasker(75 / 196), 20),
        encoder,
        LinearDecoder(24, 24),
        target,
        ClassificationHead(),
        tasks={"pixels": pixels},
        corruption=NearestCodeCorruption(str(path), patch_size=16, **UNITS),
    )
    load_all(model, ours(state) | {"target.codebook": target.codebook})
    return golden, model, plan_of(golden)


def plan_of(golden):
    """Return the plan: 75 patches are removed, and predicted like 20 visible ones."""
    plan = MaskPlan.from_mask(golden["mask"], (14, 14))
    ids = (golden["mask"] | golden["replaced"]).nonzero()[:, 1][None]
    return MaskPlan(**{**vars(plan), "ids_predict": ids}).validate()


def normalised(pictures):
    mean, std = (torch.tensor(UNITS[name]).view(3, 1, 1) / 255 for name in ("mean", "std"))
    return (pictures - mean) / std


def with_centroids(golden, model, plan):
    """Return normalised pictures in which the replaced patches are their centroids."""
    return model.corruption(normalised(golden["imgs_uint8"].float() / 255), plan, None)


def test_tokens(case):
    golden, model, plan = case
    images = normalised(golden["imgs_uint8"].float() / 255)
    assert torch.equal(model.target(images, plan.predicting("all")), golden["tokens"])


def test_pixel_target(case):
    golden, model, plan = case
    images = normalised(golden["imgs_uint8"].float() / 255)
    target = model.tasks["pixels"].target(images, plan)[0]
    close(target, channels_last(golden["target_pixels"].float().T).T, tolerance=2e-3)  # of half precision
    other = PixelTarget(16)(images, plan)[0]
    assert (other - target).abs().max() > 0.1  # patches of the normalised image are another target


def test_encoder_images(case):
    golden, model, plan = case
    patches = patchify(with_centroids(golden, model, plan), (16, 16))[golden["replaced"]]
    close(patches, channels_last(golden["encoder_imgs_replaced_patches"].T).T)


def losses_of(case):
    golden, model, plan = case
    clean = normalised(golden["imgs_uint8"].float() / 255)
    main, levels = model.read(with_centroids(golden, model, plan), plan)
    task = model.tasks["pixels"]
    pred, pixels = model.decoder(main, plan), task.decoder(levels, plan)
    tokens = model.head(pred, model.target(clean, plan), plan)["loss"]
    return pred, pixels, tokens, task.head(pixels, task.target(clean, plan), plan)["loss"]


def test_predictions_and_losses(case):
    golden, _, _ = case
    pred, pixels, loss_tokens, loss_pixels = losses_of(case)
    close(pred[0], golden["logits"])
    close(pixels[0], channels_last(golden["pred_pixels"].float().T).T, tolerance=2e-3)  # of half precision
    close(loss_tokens, golden["loss_tokens"])
    close(loss_pixels, golden["loss_pixels"])
    close(loss_tokens + loss_pixels, golden["loss"])


def test_the_whole_step(case):
    golden, model, plan = case
    losses = model(normalised(golden["imgs_uint8"].float() / 255), plan=plan)
    close(losses["loss"], golden["loss"])


def test_gradients(case):
    golden, model, _ = case
    sum(losses_of(case)[2:]).backward()
    mine = gradients(model)
    theirs = ours({name.removeprefix("grad/"): v for name, v in golden.items() if name.startswith("grad/")})
    assert len(theirs) == 6
    for name, gradient in theirs.items():
        close(mine[name], gradient)
