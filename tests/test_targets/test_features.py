import math

import pytest
import torch
from torch import nn

from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.ops.patches import patchify
from maetool.ops.pos_embed import resize_pos_embed
from maetool.registry import MODELS
from maetool.structures import MaskPlan, plan_of_predicted
from maetool.targets import FeatureTarget, MomentumFeatureTarget
from maetool.targets.features import TeacherTarget
from maetool.testing import tiny_batch, tiny_config, tiny_model

GRID, PATCH = (2, 8), (8, 4)
SIZES = {"img_size": (16, 32), "patch_size": PATCH, "embed_dim": 24, "depth": 2, "num_heads": 3}
TEACHER = {"type": "VisionTransformer", **SIZES}


def plan_of(batch_size=2):
    return MaskPlan.from_scores(torch.rand(batch_size, 16), 4, GRID)


def target(**options):
    torch.manual_seed(0)
    return FeatureTarget(**{"teacher": TEACHER, "grid": GRID, "patch_size": PATCH, **options})


def test_features_are_the_teachers_of_the_whole_image():
    images, plan = torch.randn(2, 3, 16, 32), plan_of()
    raw = target(normalise="none")
    assert torch.equal(raw(images, plan), plan.take_predicted(raw.teacher(images)[:, 1:]))
    assert raw.out_dim == 24
    changed = torch.where(plan.mask_at((16, 32))[:, None], images, torch.zeros_like(images))
    assert not torch.allclose(raw(images, plan), raw(changed, plan))  # visible patches matter too


def test_tokens_of_one_number_cannot_be_normalised():
    teacher = {**TEACHER, "embed_dim": 4, "num_heads": 1}  # the narrowest with positions in two dimensions
    assert target(teacher=teacher).out_dim == 4
    narrow = nn.Module()
    narrow.embed_dim, narrow.num_prefix_tokens = 1, 1
    with pytest.raises(UsageError, match=r"normalise=\"token\" subtracts the mean .* set target.normalise=\"none\""):
        TeacherTarget(narrow, None, "token")
    assert TeacherTarget(narrow, None, "length").out_dim == 1


@pytest.mark.parametrize("deviation", [0.0, -1.0, math.nan])
def test_deviations_of_the_teacher_are_positive(deviation):
    numbers = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "teacher_mean": (0.0,) * 3}
    with pytest.raises(UsageError, match=r"teacher_std\) are .*, but must be positive"):
        target(**numbers, teacher_std=(1.0, deviation, 1.0))


def test_normalisations_by_hand():
    images, plan = torch.randn(2, 3, 16, 32), plan_of()
    raw = target(normalise="none")(images, plan).double()
    token = (raw - raw.mean(-1, keepdim=True)) / (raw.var(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(target(normalise="token")(images, plan).double(), token, atol=1e-5, rtol=0)
    length = raw / raw.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(target(normalise="length")(images, plan).double(), length, atol=1e-5, rtol=0)
    layer = (raw - raw.mean(-1, keepdim=True)) / (raw.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(target(normalise="layer")(images, plan).double(), layer, atol=1e-5, rtol=0)


def test_layers_are_normalised_and_averaged():
    images, plan = torch.randn(2, 3, 16, 32), plan_of()
    both, first, last = (target(layers=layers)(images, plan) for layers in ([1, -1], [1], [2]))
    assert torch.allclose(both, (first + last) / 2, atol=1e-6)
    raw = target(layers=[-1], normalise="none")
    assert torch.allclose(raw.teacher.norm(raw(images, plan)), target(normalise="none")(images, plan), atol=1e-6)


def test_the_teacher_learns_nothing_and_stays_in_evaluation():
    model = tiny_model(
        target={"type": "FeatureTarget", "teacher": {**TEACHER, "drop_path_rate": 0.5}}, head={"loss": "smooth_l1"}
    ).train()
    assert not any(module.training for module in model.target.teacher.modules())
    model(**model.data_preprocessor(tiny_batch()))["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in model.target.parameters())
    assert any(name.startswith("target.teacher.") for name in model.state_dict())


def test_the_teacher_gets_images_of_its_own_statistics():
    mean, std, other_mean, other_std = (10.0, 20.0, 30.0), (2.0, 3.0, 4.0), (127.5,) * 3, (127.5,) * 3
    asked = target(mean=mean, std=std, teacher_mean=other_mean, teacher_std=other_std)
    stored = torch.rand(2, 3, 16, 32) * 255
    normalised = (stored - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    assert torch.allclose(asked.prepare(normalised), stored / 127.5 - 1, atol=1e-4)
    model = tiny_model(
        target={"type": "FeatureTarget", "teacher": TEACHER, "teacher_mean": (0.0,) * 3, "teacher_std": (1.0,) * 3}
    )
    batch = model.data_preprocessor(tiny_batch())  # whose statistics the model tells the target
    assert torch.allclose(model.target.prepare(batch["images"]), tiny_batch()["inputs"].float(), atol=1e-3)


def test_other_patches_at_another_size_make_the_same_grid():
    larger = {**TEACHER, "img_size": (32, 32), "patch_size": (16, 4)}
    images, plan = torch.randn(2, 3, 16, 32), plan_of()
    resized = target(teacher=larger, resize=True)
    assert resized.prepare(images).shape == (2, 3, 32, 32)
    assert resized(images, plan).shape == (2, 12, 24)
    assert resized.prepare(torch.randn(2, 3, 32, 16)).shape == (2, 3, 64, 16)  # images of another size too


def test_an_own_checkpoint_is_a_teacher(tmp_path):
    model = tiny_model()
    for name, weights in (
        ("run", model.state_dict()),
        ("exported", model.encoder.state_dict()),
    ):
        torch.save({"state_dict": weights}, tmp_path / f"{name}.pth")
        loaded = target(checkpoint=str(tmp_path / f"{name}.pth"))
        for key, value in model.encoder.state_dict().items():
            assert torch.equal(loaded.teacher.state_dict()[key], value)
    torch.save({"model": model.encoder.state_dict()}, tmp_path / "published.pth")
    seen = target(teacher={**TEACHER, "sees": "all"}, checkpoint=str(tmp_path / "published.pth"))  # no mask token in it
    assert torch.equal(seen.teacher.cls_token, model.encoder.cls_token)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"teacher": {**TEACHER, "patch_size": (4, 4)}}, r"teacher has patches of 4x4 pixels and the encoder of 8x4"),
        (
            {"teacher": {**TEACHER, "patch_size": 4}, "resize": True},
            r"4x8 patches.*the encoder 2x8.*img_size of .* to 8x32",
        ),
        ({"layers": [3]}, r"layers is \[3\], but an encoder of 2 blocks has the layers 0"),
        ({"layers": []}, r"layers is \[\]"),
        ({"normalise": "batch"}, r"normalise is 'batch', but must be"),
        ({"teacher_mean": (0.5,) * 3}, r"the teacher wants \(0.5, 0.5, 0.5\) and None"),
        ({"checkpoint": "no/such.pth"}, r"no checkpoint no/such.pth"),
        ({"checkpoint": "no.pth", "made_by": "a tool"}, r"no teacher no.pth: make it with a tool, or name another"),
    ],
)
def test_bad_input(options, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        target(**options)
    assert "\n" not in str(info.value)


def test_a_checkpoint_of_another_width_is_refused(tmp_path):
    path = tmp_path / "wide.pth"
    torch.save({"state_dict": VisionTransformer(**{**SIZES, "embed_dim": 48}).state_dict()}, path)
    with pytest.raises(
        UsageError, match=r"another architecture.*of another shape \(first cls_token \(1, 1, 48\) instead of"
    ):
        target(checkpoint=str(path))
    torch.save({"state_dict": nn.Linear(2, 2).state_dict()}, path)
    with pytest.raises(UsageError, match=r"missing in the file"):
        target(checkpoint=str(path))


def test_the_average_follows_the_encoder_by_the_schedule():
    torch.manual_seed(0)
    encoder = VisionTransformer(**SIZES)
    teacher = MomentumFeatureTarget(encoder, momentum=0.9)
    before = teacher.teacher.cls_token.clone()
    assert torch.equal(before, encoder.cls_token)
    encoder.cls_token.data += 1
    assert torch.equal(teacher.teacher.cls_token, before)  # a copy of its own
    for progress in (0.0, 0.5, 1.0):
        moved = (1 - 0.9) * (1 + math.cos(math.pi * progress)) / 2
        wanted = teacher.teacher.cls_token + moved * (encoder.cls_token - teacher.teacher.cls_token)
        teacher.follow(encoder, progress)
        assert torch.allclose(teacher.teacher.cls_token, wanted, atol=1e-6)
    with pytest.raises(UsageError, match=r"momentum is 1\.5"):
        MomentumFeatureTarget(encoder, momentum=1.5)


@pytest.mark.parametrize(("schedule", "stays"), [("linear", 0.75), ("constant", 0.5)])
def test_the_average_may_rise_linearly_or_not_at_all(schedule, stays):
    encoder = VisionTransformer(**SIZES)
    teacher = MomentumFeatureTarget(encoder, momentum=0.5, schedule=schedule)
    before = teacher.teacher.cls_token.clone()
    encoder.cls_token.data += 1
    teacher.follow(encoder, 0.5)
    assert torch.allclose(teacher.teacher.cls_token, before + (1 - stays), atol=1e-6)


def test_a_teacher_may_see_only_what_is_predicted():
    images, plan = torch.randn(2, 3, 16, 32), plan_of()
    own = target(sees="predicted", normalise="none")
    alone = MaskPlan.from_scores((~plan.mask).float(), plan.ids_predict.shape[1], plan.layout)  # the complement
    tokens = own.teacher(images, alone)[:, 1:]  # ascending, as the removed are
    assert torch.allclose(own(images, plan), tokens, atol=1e-6)
    pixels = images.clone().requires_grad_()
    tokens = own.teacher(pixels, plan_of_predicted(plan))
    tokens.sum().backward()
    seen = patchify(pixels.grad, PATCH).abs().sum(dim=2) > 0
    assert torch.equal(seen, plan.mask)
    padded = MaskPlan.from_scores(torch.rand(2, 16), torch.tensor([4, 9]), plan.layout)
    assert torch.allclose(
        own(images, padded)[1, padded.weight[1] > 0],
        own(images[1:], MaskPlan.from_mask(padded.mask[1:], plan.layout))[0],
        atol=1e-5,
    )


def test_any_timm_model_with_its_own_weights_is_a_teacher(tmp_path):
    import timm

    torch.manual_seed(0)
    sizes = {"img_size": (16, 32), "patch_size": PATCH, "embed_dim": 24, "depth": 2, "num_heads": 3}
    theirs = timm.create_model("vit_base_patch16_clip_224", **sizes).eval()  # a norm in front, a head behind
    torch.save(theirs.state_dict(), tmp_path / "clip.pth")
    teacher = {"type": "TimmEncoder", "name": "vit_base_patch16_clip_224", **sizes}
    ours = target(teacher=teacher, checkpoint=str(tmp_path / "clip.pth"), normalise="none")
    images, plan = torch.randn(2, 3, 16, 32), plan_of()
    with torch.no_grad():
        assert torch.allclose(
            ours(images, plan), plan.take_predicted(theirs.forward_features(images)[:, 1:]), atol=1e-5
        )


def test_a_teacher_may_see_what_the_encoder_sees():
    images, plan = torch.randn(2, 3, 16, 32), plan_of().predicting("visible")
    ours = target(sees="visible", layers=[1], normalise="none")
    tokens = ours.teacher(images, plan, [1])[0][:, 1:]  # in the order of ids_keep
    order = plan.ids_keep.argsort(dim=1)[..., None].expand(-1, -1, 24)
    assert torch.equal(ours(images, plan), tokens.gather(1, order))
    mimic = {"at": "visible", "decoder": {"type": "VisibleDecoder", "layer": 1}, "head": {"type": "RegressionHead"}}
    mimic["target"] = {"type": "FeatureTarget", "teacher": TEACHER, "sees": "visible", "layers": [1]}
    model = MODELS.build({**tiny_config(), "tasks": {"mimic": mimic}})
    model(**model.data_preprocessor(tiny_batch()))["loss"].backward()
    with pytest.raises(
        UsageError, match='FeatureTarget is for visible patches only, but is used for those that are "planned"'
    ):
        tiny_model(target=mimic["target"])
    with pytest.raises(UsageError, match="with a teacher whose own `sees`"):
        target(teacher={**TEACHER, "sees": "all"}, sees="visible")


@pytest.mark.parametrize("exported", [True, False])
def test_learned_positions_of_another_grid_are_resized_from_the_recorded_one(tmp_path, exported):
    recorded = {**TEACHER, "img_size": (32, 16), "pos_embed": "learned"}  # 4x4 patches, as many as 2x8
    source = VisionTransformer(**{name: value for name, value in recorded.items() if name != "type"})
    nn.init.normal_(source.pos_embed)
    meta = {"encoder": recorded} if exported else {"cfg": f"model = dict(encoder={recorded!r})"}
    path = tmp_path / "teacher.pth"
    torch.save({"meta": meta, "state_dict": source.state_dict()}, path)
    loaded = target(teacher={**TEACHER, "pos_embed": "learned"}, checkpoint=str(path)).teacher
    assert torch.equal(loaded.pos_embed, resize_pos_embed(source.pos_embed, (4, 4), GRID, 1))
    assert not torch.equal(loaded.pos_embed, source.pos_embed)


def test_what_becomes_of_a_teachers_positions_is_logged(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr("maetool.teachers.weights.print_log", lambda line: lines.append(line))
    source = VisionTransformer(**{**SIZES, "img_size": (32, 16)}, pos_embed="learned")
    nn.init.normal_(source.pos_embed)
    path = tmp_path / "teacher.pth"
    torch.save({"meta": {"encoder": {**TEACHER, "img_size": (32, 16)}}, "state_dict": source.state_dict()}, path)
    target(teacher={**TEACHER, "pos_embed": "learned"}, checkpoint=str(path))
    assert lines == [f"The teacher {path}: resized: pos_embed from 4x4 to 2x8."]
    torch.save({"state_dict": source.state_dict()}, path)
    target(teacher={**TEACHER, "pos_embed": "learned"}, checkpoint=str(path))
    assert lines[1:] == [f"The teacher {path}: taken for the same grid, which it does not say: pos_embed of 2x8."]
