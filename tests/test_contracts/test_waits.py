"""No part makes a program wait for its accelerator; counted on tensors that pretend to be on one."""

from math import prod

import pytest
import torch
from test_builtin_parts import (
    CODES,
    FACTS,
    INPUTS,
    MASKER_GRIDS,
    NEEDED,
    SMALL_ENCODER,
    STREAMS,
    TARGET_CASES,
    TARGET_OPTIONS,
    VIEWS,
    build,
    masker_config,
    parts,
)
from torch import nn

from maetool.data import ImagePreprocessor
from maetool.decoders import ProjectionDecoder
from maetool.maskers import GivenMasker
from maetool.maskers.predicting import _largest, _sides
from maetool.models import ImageClassifier, ImageRegressor, Segmentor
from maetool.models.pairing import layout_of
from maetool.ops import device
from maetool.ops.random import KeyedRandom, sample_keys
from maetool.registry import CORRUPTIONS, DECODERS, ENCODERS, HEADS, MASKERS, STEMS, TARGETS, TEACHERS, build_part
from maetool.structures import Layout, MaskPlan
from maetool.teachers import MomentumTeacher
from maetool.testing import check_no_waits, tiny_batch, tiny_config, tiny_model
from maetool.testing.decoding import _latent, _memory
from maetool.testing.masking import _clues
from maetool.testing.targets import _target_clues
from maetool.testing.waits import waits_of

KEYS, GRID = sample_keys(0, 0, torch.arange(3)), (2, 6)


def plan_of(grid, **counts):
    layout = Layout.of(grid)
    scores = torch.rand(3, layout.length, generator=torch.Generator().manual_seed(1))
    return MaskPlan.from_scores(scores, **{"num_keep": max(1, layout.length // 4), **counts}, grid=layout)


@pytest.mark.parametrize("name", [name for name in parts(MASKERS) if name.id != "GivenMasker"])
def test_masker(name):
    grids = MASKER_GRIDS.get(name, ((7, 5),))
    for grid in (grids[0], *(grid for grid in grids if isinstance(grid, dict))):
        masker, layout = build_part(masker_config(name, 0.75), MASKERS), Layout.of(grid)
        for part in masker.modules():
            part.attempts = 2  # those of rectangles are alike
        clues = _clues(masker, layout, 3)
        check_no_waits(
            lambda part, *x, layout=layout: part(x[0], layout, keys=x[1], clues=x[2]), masker, KEYS, KEYS, clues
        )


@pytest.mark.parametrize(("name", "sees"), VIEWS)
def test_encoder(name, sees):
    encoder = build(ENCODERS, name, sees=sees).train()
    images = torch.randn(3, encoder.in_chans, *encoder.img_size)
    layout = layout_of(encoder, images)
    ragged = {} if name not in ("VisionTransformer", "StreamTransformer") else {"num_keep": torch.tensor([1, 2, 1])}
    check_no_waits(lambda part, *x: part(*x), encoder, images, plan_of(layout, **ragged))


@pytest.mark.parametrize("name", parts(STEMS))
def test_stem(name):
    check_no_waits(lambda part, x: part(x), build(STEMS, name), INPUTS[name])


@pytest.mark.parametrize("name", parts(DECODERS))
def test_decoder(name):
    decoder, plan = build(DECODERS, name), plan_of(GRID)
    latent, _ = _latent(decoder, plan, 24, 1)
    memory = _memory(decoder, Layout.of(GRID), 24, 1)
    asked = plan.predicting(getattr(decoder, "predicts", "planned"))
    used = [part for part in NEEDED.get(name, {}).values() if isinstance(part, nn.Module)]  # without owning them
    check_no_waits(lambda part, x, plan, more, _: part(x, plan, **more), decoder, latent, asked, memory, used)


@pytest.mark.parametrize(("name", "number"), TARGET_CASES)
def test_target(name, number):
    encoder = build_part({"StreamTarget": STREAMS, "IdTarget": CODES}.get(name, SMALL_ENCODER), ENCODERS)
    images = torch.randint(160, (3, *GRID)) if name == "IdTarget" else torch.randn(3, 5, 16, 24)
    teacher = MomentumTeacher(encoder)
    facts = {**FACTS, "encoder": encoder, "model_teacher": teacher}
    target = build_part({"type": name, **TARGET_OPTIONS.get(name, [{}])[number]}, TARGETS, facts)
    teacher.attach(nn.ModuleDict({"encoder": encoder, "decoder": ProjectionDecoder(24, 24, of="patches")}))
    grid = {"near": GRID, "far": GRID} if name == "StreamTarget" else GRID
    at = getattr(target, "predicts", "planned")
    plan = plan_of(grid).predicting(at if isinstance(at, str) else at[0])
    clues = _target_clues(target, plan)
    held = (encoder, teacher)
    check_no_waits(lambda part, x, plan, clues, *_: part(x, plan, **clues), target, images, plan, clues, *held)


@pytest.mark.parametrize("name", parts(HEADS))
def test_head(name):
    options = {"head": {"type": "RegressionHead"}, "out_dims": {"image": 12}} if name == "StreamHead" else {}
    head = build_part({"type": name}, HEADS, {**FACTS, "out_dim": 12, **options})
    plan, pred = plan_of(GRID), torch.randn(3, 9, 12)
    target = torch.randint(12, (3, 9)) if head.takes_tokens else torch.randn(3, 9, 12)
    check_no_waits(lambda part, *x: part(*x), head, pred, target, plan)


@pytest.mark.parametrize("name", parts(TEACHERS))
def test_teacher(name):
    options = {"FrozenTeacher": {"teacher": tiny_model().encoder}}
    model = tiny_model(teacher={"type": name, **options.get(name, {})})
    images = model.data_preprocessor(tiny_batch())["images"]
    layout = layout_of(model.encoder, images)

    def step(model, images):
        model.teacher(images, layout, model.teacher.gives)
        model.after_step(0.5)

    check_no_waits(step, model, images)


@pytest.mark.parametrize("name", parts(CORRUPTIONS))
def test_corruption(name):
    options = {"NearestCodeCorruption": {"codebook": 7}}
    part = build_part({"type": name, **options.get(name, {})}, CORRUPTIONS, FACTS)
    check_no_waits(
        lambda part, x, p, k: part(x, p, KeyedRandom(k)), part, torch.randn(3, 5, 16, 24), plan_of(GRID), KEYS
    )


def loss_of(model, images, samples):
    model.data_preprocessor._device = torch.device("cuda")
    return model.parse_losses(model(images, samples, mode="loss"))


def test_models():
    encoder, blank = tiny_config()["encoder"], {"ratios": (0.5, 1.0), "drop_ratio": 0.5, "type": "VariableMasker"}
    preprocessor = {"type": "AugmentingPreprocessor"}
    classifier = ImageClassifier(encoder, 5, "cls", batch_norm=True, data_preprocessor=preprocessor)
    segmentor = Segmentor(encoder, 5, {"type": "LinearMapHead"})
    regressor = ImageRegressor(encoder, batch_norm=True, data_preprocessor={"type": "ImagePreprocessor"})
    variable = tiny_model(encoder={"sees": "blank"}, masker=blank)
    batch = tiny_batch()
    samples = {"key": batch["key"], "label": torch.arange(4), "semantic": torch.zeros(4, 16, 32, dtype=torch.int64)}
    for model in (tiny_model(), variable, classifier, segmentor, regressor):
        check_no_waits(loss_of, model.train(), torch.randn(4, 3, 16, 32), samples)


def test_augmentation_on_an_accelerator():
    """The batch comes from the host, as a loader gives it; sending it does not wait."""
    classifier = ImageClassifier(tiny_config()["encoder"], 5, data_preprocessor={"type": "AugmentingPreprocessor"})

    def prepare(part):
        part._device = torch.device("cuda")
        data = {**tiny_batch(), "label": torch.arange(4)}
        assert part._erase(torch.zeros(4, 3, 8, 8, device="cuda"), data["key"].to("cuda", non_blocking=True)).is_cuda
        part._normalised("image", part.cast_data(data)["inputs"], True)

    assert not waits_of(prepare, classifier.data_preprocessor)


@pytest.mark.parametrize("weight", [None, torch.ones(3, 12)])
def test_masks_that_are_given_stay_on_the_host(weight):
    """Their numbers are read there; tensors on "meta" have none, so that reading is an error."""
    part, mask = ImagePreprocessor(), torch.arange(12).expand(3, -1) % 2 == 0
    part._device = torch.device("meta")
    samples = part({"inputs": torch.zeros(3, 3, 8, 24), "mask": mask, "weight": weight, "key": KEYS})["data_samples"]
    assert samples["mask"].device.type == "cpu" and samples["key"].device.type == "meta"
    images = torch.zeros(3, 3, 8, 24, device="meta")
    plan = GivenMasker()(images, GRID, samples["mask"], weight=samples["weight"])
    assert plan.num_keep == 6 and {t.device.type for t in vars(plan).values() if torch.is_tensor(t)} == {"meta"}


def test_waits_are_seen():
    asked = {
        "_local_scalar_dense": lambda x: x.sum().item(),
        "_to_copy": lambda x: x.cpu(),
        "nonzero": lambda x: (x > 0).nonzero(),
        "index": lambda x: x[x > 0],
    }
    for name, wait in asked.items():
        with pytest.raises(AssertionError, match=rf"nothing waits for the device \({name} in .*test_waits.py, line"):
            check_no_waits(wait, torch.zeros(3))
    sent = torch.zeros(3)
    with pytest.raises(AssertionError, match="_to_copy"):
        check_no_waits(lambda x: x + sent.to(x.device), torch.zeros(3))
    check_no_waits(lambda x: x + sent.to(x.device, non_blocking=True), torch.zeros(3))


CASES = [
    ({"type": "VariableMasker", "ratios": (0.3, 0.8)}, (7, 5)),
    ({"type": "VariableMasker", "ratios": (0.5, 1.0), "drop_ratio": 0.5}, (14, 14)),
    ({"type": "VariableMasker", "ratios": (0.2, 0.6), "unmasked": 0.5, "round_up": True}, (7, 5)),
    ({"type": "AttentionMasker", "per": "sample"}, (7, 5)),
    ({"type": "MultiBlockMasker", "per": "sample"}, (14, 14)),
    ({"type": "StreamMasker", "across": "dirichlet"}, {"a": (4, 4), "b": (3, 2, 4)}),
    ({"type": "RandomMasker"}, {"a": (4, 4), "b": (3, 2, 4)}),
]


@pytest.mark.parametrize(("config", "grid"), CASES)
def test_plans_of_accelerators_hide_and_predict_the_same(config, grid, monkeypatch):
    """They are padded to bounds that the masker knows; what is not padding is what a CPU draws."""
    masker, layout, keys = MASKERS.build(config), Layout.of(grid), sample_keys(0, 0, torch.arange(64))
    clues = _clues(masker, layout, 64)
    draw = lambda: masker(torch.zeros(64, 1), layout, keys=keys, clues=clues)  # noqa: E731
    exact = draw()
    of_streams = [exact.only(name) for name in layout.grids]
    monkeypatch.setattr(device, "reading_is_free", lambda x: False)
    padded = draw().validate()
    for one, other in zip([exact, *of_streams], [padded, *(padded.only(name) for name in layout.grids)], strict=True):
        assert torch.equal(one.mask, other.mask) and other.num_keep >= one.num_keep
        assert torch.equal(visible(one), visible(other))
        errors = torch.rand(64, one.mask.shape[1], generator=torch.Generator().manual_seed(0))
        mean, same = (plan.average(errors.gather(1, plan.ids_predict)) for plan in (one, other))
        torch.testing.assert_close(mean, same)


def visible(plan):
    """Return how often each patch enters, and is left blank, int (2, B, L)."""
    valid = torch.ones_like(plan.ids_keep) if plan.keep_valid is None else plan.keep_valid.long()
    blank = torch.zeros_like(valid) if plan.blank is None else plan.blank.long()
    nothing = torch.zeros(plan.mask.shape, dtype=torch.int64)
    return torch.stack([nothing.scatter_add(1, plan.ids_keep, value) for value in (valid, blank)])


@pytest.mark.parametrize(
    ("scale", "aspect"), [((0.15, 0.2), (0.75, 1.5)), ((0.1, 0.4), (0.3, 3.0)), ((0.2, 0.2), (1, 1))]
)
def test_no_block_is_larger_than_the_bound(scale, aspect):
    for grid in ((14, 14), (7, 9), (3, 20)):
        height, width = _sides(torch.linspace(0, 1 - 2**-24, 10**5), scale, aspect, grid)
        assert (
            (height * width).max() <= _largest(scale, aspect, grid) <= min(prod(grid), 1.2 * (height * width).max() + 1)
        )
