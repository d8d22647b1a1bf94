"""The losses and one step of facebookresearch/msn (tests/data/README.md)."""

import pytest
import torch
from golden import close, load

from maetool.heads import DistillationHead
from maetool.registry import MODELS
from maetool.structures import MaskPlan, plan_of_all


@pytest.fixture
def golden(data_dir):
    return load(data_dir, "msn")[0]


@pytest.mark.parametrize(("case", "iterations"), [("plain", 0), ("sinkhorn", 3)])
def test_losses(golden, case, iterations):
    temperature = golden["temperature"].item()
    head = DistillationHead(
        16, temperature, temperature * golden["sharpening"].item(), None, 0, 20, None, iterations, 1.0
    )
    head.prototypes.weight.data.copy_(golden["prototypes"])
    anchors = golden["anchors"].clone().requires_grad_()
    target = golden["target_view"].repeat(golden["num_views"].item(), 1)
    losses = head(anchors[:, None], target[:, None], plan_of_all((1,), len(anchors)))
    close(losses["mean_entropy"], golden[f"{case}/me_max"])
    close(losses["loss"], golden[f"{case}/cross_entropy"] + golden[f"{case}/me_max"])
    losses["loss"].backward()
    close(anchors.grad, golden[f"{case}/grad_anchors"])
    close(head.prototypes.weight.grad, golden[f"{case}/grad_prototypes"])


def model_of(golden):
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "pos_embed": "learned"}
    config = {
        "type": "MaskedImageModel",
        "masker": {"type": "RandomMasker", "mask_ratio": golden["step/patch_drop"].item()},
        "encoder": {"type": "VisionTransformer", **options, "num_heads": golden["step/heads"].item()},
        "decoder": {"type": "ProjectionDecoder", "hidden_dim": 24, "norm": "batch"},
        "teacher": {"type": "MomentumTeacher"},
        "target": {"type": "TeacherPredictionTarget", "out_dim": 12},
        "head": {"type": "DistillationHead", "target_temperature": 0.025, "prototypes": 8, "mean_entropy": 1.0},
        "at": "image",
        "view": "anchor",
        "views": {"focal": {"masker": None, "use": "predicted"}, "target": {"masker": None, "use": "target"}},
    }
    model = MODELS.build(config)
    averaged = (model.teacher.encoder, model.teacher.decoders["main"])
    for prefix, (encoder, decoder) in {"state/": (model.encoder, model.decoder), "target/": averaged}.items():
        weights = {name.removeprefix(prefix): value for name, value in golden.items() if name.startswith(prefix)}
        encoder.load_state_dict({name: value for name, value in weights.items() if name[:3] != "fc."})
        inside = {name.removeprefix("fc."): value for name, value in weights.items() if name[:3] == "fc."}
        decoder.projector.mlp.load_state_dict(inside)
    model.head.prototypes.weight.data.copy_(golden["step/prototypes"])
    return model


def test_a_step_of_views_of_two_sizes(golden):
    model = model_of(golden)
    order = golden["step/permutation"]
    scores = torch.empty(len(order)).scatter(0, order, torch.arange(len(order)).float())
    plan = MaskPlan.from_scores(scores.expand(4, -1), model.masker.num_keep((4, 4)), (4, 4))
    crops = torch.stack([golden["step/focal_view_0"], golden["step/focal_view_1"]], dim=2)
    views = {"target": golden["step/target_view"], "anchor": golden["step/random_view"], "focal": crops}
    losses = model.train()(views, plan=plan)
    close(losses["mean_entropy"], golden["step/me_max"])
    close(losses["loss"], golden["step/cross_entropy"] + golden["step/me_max"])
    losses["loss"].backward()
    close(model.decoder.projector.mlp.bn1.running_mean, golden["step/running_mean_after"])
    for name in ("fc.bn1.weight", "fc.fc3.bias"):
        close(model.decoder.projector.mlp.get_parameter(name[3:]).grad, golden[f"step/grad/{name}"], 5e-5)
    for name in ("patch_embed.proj.weight", "cls_token", "blocks.0.attn.qkv.bias"):
        close(model.encoder.get_parameter(name).grad, golden[f"step/grad/{name}"], 5e-5)
    close(model.head.prototypes.weight.grad, golden["step/grad/prototypes"], 5e-5)
