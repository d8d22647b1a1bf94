"""The numbers of OpenDriveLab/maskalign (tests/data/README.md)."""

import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import AlignmentDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import PartsHead
from maetool.maskers import AttentionMasker
from maetool.models import MaskedImageModel
from maetool.ops.random import sample_keys
from maetool.structures import MaskPlan
from maetool.targets import TeacherFeatureTarget
from maetool.teachers import Teacher
from maetool.teachers.frozen import TeacherImages

CLIP = {"teacher_mean": (122.7709383, 116.7460125, 104.0936115), "teacher_std": (68.5005327, 66.6321579, 70.3231668)}
IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


class PublishedTeacher(Teacher):
    """Gives the published layers instead of computing them."""

    def features(self, batch, layout):
        return [self.published[layer] for layer in self.layers]


def maskalign(golden, state, levels):
    encoder = VisionTransformer(32, 8, embed_dim=36, depth=4, num_heads=int(golden["heads"]), final_norm=False)
    teacher = PublishedTeacher(VisionTransformer(32, 8, embed_dim=32, depth=4, num_heads=4), levels)
    teacher.published = golden["teacher_hidden"]
    width = 32 * len(levels)
    decoder = AlignmentDecoder(36, width, 4, levels, predict_prefix=True)
    close(decoder.mix.weight, golden["distill_weights_at_init"][[level - 1 for level in levels]])
    target = TeacherFeatureTarget(teacher, "layer", predict_prefix=True, combine="concatenate")
    head = PartsHead(width, [2 / len(levels)] * len(levels), "smooth_l1")
    masker = AttentionMasker((0.7, 0.7), 0.0, choose="draw", round_up=True)
    model = MaskedImageModel(masker, encoder, decoder, target, head, teacher=teacher, at="visible")
    own = {f"encoder.{n}": v for n, v in state.items() if not n.startswith(("distill_", "norm."))}
    own["decoder.mix.weight"] = state["distill_weights"][[level - 1 for level in levels]]
    for number, level in enumerate(levels):
        for kind in ("weight", "bias"):
            own[f"decoder.preds.{number}.{kind}"] = state[f"distill_heads.{level - 1}.{kind}"]
    load_all(model, own | {n: v for n, v in model.state_dict().items() if n.startswith("teacher.")})
    return model


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "maskalign")
    others = torch.ones(3, 16).scatter(1, golden["ids_keep"], 0)
    scores = others.scatter_add(1, golden["ids_keep"], torch.arange(4.0).expand(3, -1) / 8)
    plan = MaskPlan.from_scores(scores, 4, (4, 4))
    assert plan.ids_keep.equal(golden["ids_keep"])
    return golden, state, plan


def in_order(values, plan):
    """Return published values (levels, B, cls and kept, C) in our order: (B, cls and visible, levels * C)."""
    order = torch.cat([torch.zeros(3, 1, dtype=torch.int64), plan.ids_keep.argsort(dim=1) + 1], dim=1)
    values = values.permute(1, 2, 0, 3).flatten(2)
    return values.gather(1, order[..., None].expand_as(values))


def test_layers_predictions_and_targets(case):
    golden, state, plan = case
    model, seen = maskalign(golden, state, [1, 2, 3, 4]), plan.predicting("visible")
    levels = model.encoder(golden["imgs"], plan, [1, 2, 3, 4])
    close(torch.stack(levels), golden["hidden"])
    close(model.decoder(levels, seen), in_order(golden["student"], plan))
    clues = model.teacher(golden["imgs"], plan.layout, ["features"])
    close(model.target(golden["imgs"], seen, **clues), in_order(golden["target"], plan))


@pytest.mark.parametrize(("levels", "name"), [([1, 2, 3, 4], "mean"), ([3, 4], "top2"), ([2], None)])
def test_losses(case, levels, name):
    golden, state, plan = case
    loss = maskalign(golden, state, levels)(golden["imgs"], plan=plan)["loss"]
    close(loss, golden["loss_each_level"][[level - 1 for level in levels]].mean())
    if name:
        close(loss, golden[f"loss_{name}"])


def test_gradients(case):
    golden, state, plan = case
    model = maskalign(golden, state, [3, 4])
    model(golden["imgs"], plan=plan)["loss"].backward()
    close(model.decoder.mix.weight.grad, golden["grad/distill_weights"][2:])
    assert not golden["grad/distill_weights"][:2].any()
    close(model.decoder.preds[1].weight.grad, golden["grad/distill_heads.3.weight"])
    for name in ("patch_embed.proj.weight", "cls_token", "blocks.0.attn.qkv.bias"):
        close(model.encoder.get_parameter(name).grad, golden[f"grad/{name}"])


def test_images_of_the_teacher(case):
    close(TeacherImages(**IMAGENET, **CLIP)(case[0]["imgs"]), case[0]["teacher_imgs"])


def test_what_is_attended_to_is_drawn(case):
    """The first of a draw is by its weight, and each pair by the weights that are left, as torch.multinomial draws."""
    weights = case[0]["importance"][:1]
    number = 20000
    attention = torch.zeros(number, 1, 17, 17)
    attention[:, 0, 0, 1:] = weights
    masker = AttentionMasker((0.7, 0.7), 0.0, choose="draw", round_up=True)
    keys = sample_keys(0, 0, torch.arange(number))
    plan = masker(torch.zeros(number, 3, 1, 1), (4, 4), keys=keys, clues={"attention": attention})
    assert plan.num_keep == case[0]["ids_keep"].shape[1] == 4 and plan.keep_valid is None and plan.weight is None
    share = weights[0] / weights.sum()
    first = torch.bincount(plan.ids_keep[:, 0], minlength=16) / number
    close(first, share, 0.01)
    second = torch.zeros(16, 16).index_put(
        (plan.ids_keep[:, 0], plan.ids_keep[:, 1]), torch.tensor(1 / number), accumulate=True
    )
    close(second, (share[:, None] * share / (1 - share[:, None])).fill_diagonal_(0), 0.005)
