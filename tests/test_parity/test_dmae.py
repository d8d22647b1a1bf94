"""The numbers of UCSC-VLAA/DMAE (tests/data/README.md)."""

import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import TransformerDecoder, VisibleDecoder
from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget
from maetool.weights.formats.mae import from_published, to_published

IMAGE = {"img_size": 32, "patch_size": 8}
PROJECTION = "aligned_feature_projection_heads.0."  # the published name of the map to the teacher's width


def dmae(golden):
    encoder = VisionTransformer(**IMAGE, embed_dim=36, depth=2, num_heads=int(golden["heads"]))
    teacher = VisionTransformer(**IMAGE, embed_dim=48, depth=3, num_heads=int(golden["teacher_heads"]))
    decoder = TransformerDecoder(36, 192, encoder.grid, embed_dim=32, depth=1, num_heads=int(golden["decoder_heads"]))
    blocks = {name: int(golden[f"{name}_block"]) + 1 for name in ("student", "teacher")}  # counted from 1
    target = {"type": "FeatureTarget", "teacher": teacher, "layers": [blocks["teacher"]]}
    align = {
        "at": "visible",
        "decoder": {"type": "VisibleDecoder", "layer": blocks["student"], "predict_prefix": True},
        "target": {**target, "sees": "visible", "normalise": "length", "predict_prefix": True},
        "head": {"type": "RegressionHead", "loss": "l1", "normalise": "length"},
    }
    target = PixelTarget(8, norm_pix_loss=False)
    return MaskedImageModel(RandomMasker(0.75), encoder, decoder, target, RegressionHead(), tasks={"align": align})


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "dmae")
    model = dmae(golden).eval()
    projection = {n.replace(PROJECTION, "tasks.align.decoder.pred."): v for n, v in state.items() if PROJECTION in n}
    teacher = {n.replace("teacher/", "tasks.align.target.teacher."): v for n, v in golden.items() if "teacher/" in n}
    student = from_published({name: value for name, value in state.items() if PROJECTION not in name})
    load_all(model, projection | teacher | student)
    return golden, model, MaskPlan.from_scores(golden["noise"], 4, (4, 4))


def test_both_losses(case):
    golden, model, plan = case
    losses = model(golden["imgs"], plan=plan)
    close(losses["main"], golden["loss_pixels"])
    close(losses["align"], golden["loss_align"])
    close(losses["loss"], golden["loss"])


def test_teacher_and_student_see_the_same_patches(case):
    golden, model, plan = case
    seen, task = plan.predicting("visible"), model.tasks["align"]
    (feature,) = model.encoder(golden["imgs"], plan, [int(golden["student_block"]) + 1])
    close(feature, golden["student_feature"])
    (feature,) = task.target.teacher(golden["imgs"], plan, [int(golden["teacher_block"]) + 1])
    close(feature, golden["teacher_feature"])
    order = plan.ids_restore.gather(1, seen.ids_predict) + 1
    order = torch.cat([torch.zeros_like(order[:, :1]), order], dim=1)
    expected = torch.nn.functional.normalize(golden["teacher_feature"], dim=-1)
    close(task.target(golden["imgs"], seen), expected.gather(1, order[..., None].expand(-1, -1, 48)))


def test_gradients(case):
    golden, model, plan = case
    model(golden["imgs"], plan=plan)["loss"].backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    projection = gradients.pop("tasks.align.decoder.pred.weight")
    ours = to_published({n: g for n, g in gradients.items() if not n.startswith("tasks.")})
    ours[f"{PROJECTION}weight"] = projection
    theirs = {name.removeprefix("grad/"): value for name, value in golden.items() if name.startswith("grad/")}
    assert len(theirs) == 6
    for name, gradient in theirs.items():
        close(ours[name], gradient)


def test_what_cannot_be_aligned_is_refused():
    with pytest.raises(UsageError, match="predict_prefix is True, but the encoder has no class token"):
        VisibleDecoder(16, 16, num_prefix_tokens=0, predict_prefix=True)
    with pytest.raises(UsageError, match="normalise is 'token'"):
        RegressionHead("l1", normalise="token")


def test_lengths_make_no_difference_to_a_normalised_loss():
    plan = MaskPlan.from_scores(torch.rand(2, 6), 2, (2, 3))
    pred, target = torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    head = RegressionHead("l1", normalise="length")
    close(head(7 * pred, target / 3, plan)["loss"], head(pred, target, plan)["loss"])
    assert head(target, 2 * target, plan)["loss"] < 1e-6
