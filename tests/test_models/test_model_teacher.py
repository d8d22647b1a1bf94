"""The model's teacher speaks once a step, before the mask, and learns nothing by gradients."""

import pytest
import torch

from maetool.errors import UsageError
from maetool.maskers import Masker
from maetool.models import parts_after_step, start_parts
from maetool.registry import MODELS
from maetool.teachers import FrozenTeacher
from maetool.testing import tiny_batch, tiny_config, tiny_model

SHARED = {
    "teacher": {"type": "MomentumTeacher", "layers": [1, 2]},
    "target": {"type": "TeacherFeatureTarget", "normalise": "none"},
}


class AttendingMasker(Masker):
    needs = ("attention",)

    def scores(self, rng, grid, attention):
        return attention[:, :, 0, 1:].mean(dim=1)


def prepared(model):
    return model.data_preprocessor(tiny_batch(), True)


def test_masker_and_target_share_one_pass():
    model = tiny_model(**SHARED, masker={"type": AttendingMasker, "mask_ratio": 0.5})
    passes = []
    model.teacher.encoder.patch_embed.register_forward_hook(lambda *_: passes.append("teacher"))
    model.teacher.encoder.blocks[0].register_forward_hook(lambda *_: passes.append("block"))
    model(**prepared(model))
    assert passes == ["teacher", "block"]


def test_the_target_is_what_the_teacher_gives():
    model = tiny_model(**SHARED)
    batch = prepared(model)
    plan = model.make_plan(**batch)
    levels = model.encoder(batch["images"], None, [1, 2])
    expected = torch.stack([plan.take_predicted(level[:, 1:]) for level in levels]).mean(dim=0)
    seen = model.see(batch["images"], batch["data_samples"], plan)
    torch.testing.assert_close(model.target(batch["images"], plan, **seen.clues.of(model.target)), expected)


def test_attention_decides_the_mask_and_the_most_attended_go():
    model = tiny_model(**SHARED, masker={"type": AttendingMasker, "mask_ratio": 0.5})
    batch = prepared(model)
    attention = model.encoder.attention(batch["images"])[:, :, 0, 1:].mean(dim=1)
    assert torch.allclose(model.encoder.attention(batch["images"]).sum(dim=-1), torch.ones(()))
    mask = model.make_plan(**batch).mask
    assert (attention.masked_fill(~mask, 9).amin(dim=1) >= attention.masked_fill(mask, -9).amax(dim=1)).all()


def test_no_gradient_reaches_the_teacher():
    model = tiny_model(**SHARED)
    model.train()
    assert not model.teacher.training and not model.teacher.encoder.training
    model(**prepared(model))["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())


@pytest.mark.parametrize(("schedule", "stays"), [("cosine", 0.75), ("linear", 0.75), ("constant", 0.5)])
def test_the_average_starts_as_the_model_and_follows_it(schedule, stays):
    model = tiny_model(**{**SHARED, "teacher": {"type": "MomentumTeacher", "momentum": 0.5, "schedule": schedule}})
    with torch.no_grad():
        model.encoder.norm.weight.fill_(3.0)
    start_parts(model)
    assert torch.equal(model.teacher.encoder.norm.weight, model.encoder.norm.weight)
    with torch.no_grad():
        model.encoder.norm.weight.fill_(5.0)
    parts_after_step(model, 0.5)
    assert torch.allclose(model.teacher.encoder.norm.weight, torch.tensor(3.0 + 2.0 * (1 - stays)))


def test_a_momentum_may_arrive_early_and_below_1():
    teacher = {"type": "MomentumTeacher", "momentum": 0.5, "schedule": "linear", "final_momentum": 0.75, "until": 0.5}
    for progress, stays in ((0.25, 0.625), (0.5, 0.75), (0.9, 0.75)):
        model = tiny_model(**{**SHARED, "teacher": teacher})
        start_parts(model)
        with torch.no_grad():
            model.encoder.norm.weight.fill_(2.0)
        parts_after_step(model, progress)
        assert torch.allclose(model.teacher.encoder.norm.weight, torch.tensor(2.0 - stays))


HARD = {
    "decoder": {"type": "TransformerDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2},
    "target": {"type": "ErrorTarget"},
    "head": {"type": "RegressionHead"},
}


class HardMasker(Masker):
    needs = ("losses",)

    def scores(self, rng, grid, losses):
        return losses


def test_a_decoder_that_predicts_the_errors_is_averaged_and_hides_what_is_hard():
    model = tiny_model(
        teacher={"type": "MomentumTeacher", "predicts": "hard", "momentum": 0.0, "schedule": "constant"},
        masker={"type": HardMasker, "mask_ratio": 0.5},
        tasks={"hard": HARD},
    )
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    batch = prepared(model)
    for step in range(3):
        optimizer.zero_grad()
        losses = model(**batch)
        losses["loss"].backward()
        optimizer.step()
        parts_after_step(model, step / 3)
    assert torch.equal(model.teacher.decoder.pred.weight, model.tasks["hard"].decoder.pred.weight)
    assert losses["hard"] > 0 and not model.teacher.decoder.pred.weight.requires_grad
    plan = model.make_plan(**batch)
    predicted = model.teacher(batch["images"], plan.layout, ["losses"])["losses"]
    assert predicted.shape == (4, 16)
    assert (predicted.masked_fill(~plan.mask, 9).amin(1) >= predicted.masked_fill(plan.mask, -9).amax(1)).all()


def test_copies_of_decoders_use_what_is_copied_with_them():
    """What a decoder uses of the encoder, or of the model's decoder, is the average's in its copy."""
    fused = {"type": "LayerFusionDecoder", "layers": [1, 2], "decoder": HARD["decoder"]}
    model = tiny_model(teacher={"type": "MomentumTeacher", "predicts": "main"}, decoder=fused)
    assert model.teacher.decoder.encoder_norm is model.teacher.encoder.norm
    branch = {**HARD, "decoder": {"type": "BranchDecoder", "depth": 1}, "head": {"type": "RankingHead"}}
    parts = {"teacher": {"type": "MomentumTeacher", "predicts": "hard", "momentum": 0.5, "schedule": "constant"}}
    model = tiny_model(**parts, masker={"type": "HardPatchMasker"}, tasks={"hard": branch})
    start_parts(model)
    assert model.teacher.decoder.main_decoder is model.teacher.decoders["main"]
    with torch.no_grad():
        model.teacher.decoders["main"].embed.bias.fill_(1.0)
        model.decoder.embed.bias.fill_(3.0)
    parts_after_step(model, 0.5)
    assert model.teacher.decoder.main_decoder.embed.bias.eq(2.0).all()
    model(**prepared(model))["loss"].backward()
    assert model.decoder.embed.weight.grad.abs().sum() > 0


def test_errors_of_the_prefix_are_no_errors_of_patches():
    model = tiny_model(
        teacher={"type": "MomentumTeacher"},
        decoder={"predict_prefix": True},
        target={"type": "TeacherFeatureTarget", "predict_prefix": True},
        tasks={"hard": {**HARD, "decoder": {"type": "BranchDecoder", "depth": 1}}},
    )
    batch = prepared(model)
    plan = model.make_plan(**batch)
    losses = torch.rand(4, 1 + plan.ids_predict.shape[1])
    target = model.tasks["hard"].target(batch["images"], plan, losses)[..., 0]
    assert target.argsort(dim=1).equal(losses[:, 1:].argsort(dim=1))
    model(**batch)["loss"].backward()


def test_a_frozen_teacher_sees_images_as_it_was_trained():
    encoder = {**tiny_config()["encoder"], "img_size": (32, 64), "patch_size": (16, 8)}
    stats = {"teacher_mean": (0.0,) * 3, "teacher_std": (255.0,) * 3}
    model = tiny_model(
        teacher={"type": "FrozenTeacher", "teacher": encoder, "resize": True, **stats}, target=SHARED["target"]
    )
    seen = model.teacher.prepare(prepared(model)["images"])
    assert isinstance(model.teacher, FrozenTeacher) and seen.shape == (4, 3, 32, 64)
    assert seen.mean() == pytest.approx(tiny_batch()["inputs"].float().mean().item() / 255, abs=1e-3)
    model(**prepared(model))["loss"].backward()


def test_weights_of_the_teacher_travel():
    model, other = tiny_model(**SHARED), MODELS.build(tiny_config(**SHARED))
    with torch.no_grad():
        model.teacher.encoder.norm.bias.fill_(2.0)
    other.load_state_dict(model.state_dict())
    assert other.teacher.encoder.norm.bias.eq(2.0).all()
    assert start_parts(other, filled=model.state_dict()) == []  # loaded, so that it does not begin anew


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"target": SHARED["target"]}, r"takes the features of model.teacher, but the model has none"),
        ({"masker": {"type": HardMasker}, "teacher": SHARED["teacher"]}, "a teacher that gives features, attention"),
        ({"teacher": {"type": "MomentumTeacher", "momentum": 1.5}}, "momentum is 1.5"),
        ({"teacher": {"type": "MomentumTeacher", "schedule": "step"}}, "schedule is 'step'"),
        ({"teacher": {"type": "MomentumTeacher", "final_momentum": 0.9}}, "ends at 0.9 when 1.0 of training is over"),
        (
            {"teacher": {"type": "MomentumTeacher", "schedule": "constant", "until": 0.5}},
            ".constant. momentum has no end",
        ),
        ({"decoder": {"type": "BranchDecoder"}}, "which is NoneType: use it in one of model.tasks"),
        ({"tasks": {"hard": {**HARD, "decoder": {"type": "BranchDecoder", "num_heads": 3}}}}, "3 heads"),
        ({"masker": {"type": "HardPatchMasker", "hard_share": (0.0, 1.5)}}, "hard_share is .0.0, 1.5."),
        ({"masker": {"type": "HardPatchMasker"}}, "needs losses"),
        ({"teacher": {"type": "MomentumTeacher", "predicts": "hard"}}, "the model predicts main"),
        ({"teacher": {"type": "MomentumTeacher", "layers": [9]}}, "has the layers 0"),
        ({"target": {"type": "ErrorTarget"}}, "ErrorTarget needs errors"),
    ],
)
def test_bad_input(parts, words):
    with pytest.raises(UsageError, match=words):
        tiny_model(**parts)
