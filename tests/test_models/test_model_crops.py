"""Views of several crops, maskers of views, and images that are compared as a whole."""

import pytest
import torch
from torch import nn

from maetool.errors import UsageError
from maetool.models import parts_after_step
from maetool.models.seen import Views
from maetool.ops.random import sample_keys
from maetool.registry import MODELS
from maetool.structures import plan_of_all
from maetool.testing import tiny_config

KEYS = sample_keys(0, 0, torch.arange(2))
TARGET = {"type": "TeacherPredictionTarget", "out_dim": 6}
HEAD = {"type": "DistillationHead"}
PROJECTOR = {"type": "ProjectionDecoder", "hidden_dim": 12, "bottleneck": 4}
PATCHES = {
    "decoder": {"type": "ProjectionDecoder", "of": "patches", "share": True},
    "target": {**TARGET, "of": "patches"},
    "head": HEAD,
}
CROSSED = {"large": {"use": "target"}, "small": {"masker": None, "use": "predicted"}}


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "large": torch.randn(2, 3, 2, 16, 32, generator=generator),  # two crops of each sample
        "small": torch.randn(2, 3, 3, 8, 16, generator=generator),
    }


def model_of(views=CROSSED, tasks=None, **options):
    parts = {"teacher": {"type": "MomentumTeacher"}, "decoder": PROJECTOR, "target": TARGET, "head": HEAD}
    config = {**tiny_config(encoder={"sees": "all"}), **parts, "at": "image", "view": "large", "views": views}
    torch.manual_seed(0)
    model = MODELS.build({**config, "tasks": tasks or {}, **options})
    for parameter in model.encoder.parameters():  # so that the teacher is another one
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def crops_of(images):
    return [images[:, :, number] for number in range(images.shape[2])]


def test_crops_learn_those_of_others_and_none_itself():
    """The loss is that of iBOT's class tokens: the mean over pairs of a crop and another, large, crop."""
    model, views = model_of({**CROSSED, "large": {"use": "target", "masker": None}}), batch()
    soft = [model.teacher.decoders["main"](model.teacher.encoder(crop), None) for crop in crops_of(views["large"])]
    crops = [*crops_of(views["large"]), *crops_of(views["small"])]
    preds = [model.decoder(model.encoder(crop), None) for crop in crops]
    pairs = [(pred, target) for i, pred in enumerate(preds) for k, target in enumerate(soft) if i != k]
    expected = [-((target / 0.04).softmax(-1) * (pred / 0.1).log_softmax(-1)).sum(-1).mean() for pred, target in pairs]
    assert len(expected) == 2 + 6
    torch.testing.assert_close(model(views, {"key": KEYS})["loss"], torch.stack(expected).mean())


def test_patches_and_images_share_a_projector_which_is_averaged_once():
    model = model_of(tasks={"patches": PATCHES})
    assert model.tasks["patches"].decoder.projector is model.decoder.projector
    averaged = model.teacher.decoders
    assert averaged["main"].projector is averaged["patches"].projector is not model.decoder.projector
    before = averaged["main"].projector.mlp.fc1.weight.clone()
    model.decoder.projector.mlp.fc1.weight.data += 1
    model.teacher.momentum, model.teacher.schedule = 0.75, "constant"
    parts_after_step(model, 0.5)
    torch.testing.assert_close(averaged["main"].projector.mlp.fc1.weight, before + 0.25)


def test_the_patches_of_a_crop_learn_its_own():
    model, views = model_of(tasks={"patches": PATCHES}), batch()
    seen = Views(model, views, {"key": KEYS}, None)
    plan, images = seen.plan("large"), torch.cat(crops_of(views["large"]))
    target = plan.take_predicted(model.teacher.decoders["patches"].projector(model.teacher.encoder(images)[:, 1:]))
    pred = plan.take_predicted(model.decoder.projector(model.encoder(images, plan)[:, 1:]))
    expected = -((target / 0.04).softmax(-1) * (pred / 0.1).log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(model(views, {"key": KEYS})["patches"], expected)


def test_each_crop_has_masks_of_its_own_and_a_view_may_have_none():
    model, views = model_of(), batch()
    seen = Views(model, views, {"key": KEYS}, None)
    masks = seen.plan("large").mask
    assert masks.shape == (4, 16) and not masks[:2].equal(masks[2:]) and masks.sum(dim=1).eq(12).all()
    assert masks.equal(Views(model, batch(1), {"key": KEYS}, None).plan("large").mask)
    assert not seen.plan("small").mask.any() and seen.plan("small").validate().ids_keep.shape == (6, 4)
    one = Views(model, {**views, "large": views["large"][:, :, :1]}, {"key": KEYS}, None)
    assert one.plan("large").mask.equal(masks[:2])  # the first crop is masked as an image alone


def test_a_view_may_have_a_masker_of_its_own():
    model = model_of({**CROSSED, "small": {"masker": {"type": "RandomMasker", "mask_ratio": 0.5}, "use": "predicted"}})
    assert Views(model, batch(), {"key": KEYS}, None).plan("small").mask.sum(dim=1).eq(2).all()


def test_a_given_mask_is_for_every_crop():
    mask = torch.zeros(2, 16)
    mask[:, 3:] = 1
    plan = Views(model_of(), batch(), {"key": KEYS, "mask": mask}, None).plan("large")
    assert plan.mask.equal(mask.bool().repeat(2, 1))


def test_the_mean_of_patches_leaves_out_padding():
    model = model_of(decoder={**PROJECTOR, "pool": "mean"})
    tokens = torch.randn(3, 1 + 16, 24)
    expected = model.decoder.projector(tokens[:, 1:].mean(dim=1, keepdim=True))
    torch.testing.assert_close(model.decoder(tokens, plan_of_all((2, 8), 3)), expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"views": {"large": {"use": "twice"}}}, "The view large has use='twice', but it must be"),
        ({"views": {"large": {"use": "target"}, "small": {"use": "target"}}}, 'large and small have use="target"'),
        ({"views": {"large": {"maskers": None}}}, "The view large has no argument `maskers`"),
        ({"views": {"small": {"use": "predicted"}}}, "there is no target_view that they learn from"),
        ({"at": "planned", "decoder": PATCHES["decoder"] | {"share": False}}, 'use at="image"'),
        ({"at": "planned"}, "ProjectionDecoder is for the image as a whole only"),
        ({"decoder": {"type": "LinearDecoder"}}, 'LinearDecoder is for patches, but is used at="image"'),
        ({"teacher": None}, "there is none, or one that averages no decoder"),
        ({"target": {**TARGET, "of": "other"}}, "to average the decoder of 'other', but the model predicts main"),
        ({"decoder": {**PROJECTOR, "share": True}}, "the model's own decoder has no projector"),
    ],
)
def test_bad_input(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        model_of(**options)


def test_one_crop_has_no_other_to_learn():
    views = {**batch(), "large": torch.randn(2, 3, 16, 32)}
    with pytest.raises(UsageError, match="The crops of the view 'large' are compared with each other, but it has one"):
        model_of()(views, {"key": KEYS})


def test_batch_norms_of_the_average_normalise_by_the_batch_in_training():
    model = model_of(decoder={"type": "ProjectionDecoder", "hidden_dim": 12, "norm": "batch"})
    norms = [one for one in model.train().teacher.modules() if isinstance(one, nn.BatchNorm1d)]
    assert len(norms) == 2 and all(one.training for one in norms) and not model.teacher.encoder.training
    assert not any(one.training for one in model.eval().teacher.modules())
