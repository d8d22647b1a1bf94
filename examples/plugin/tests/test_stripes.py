"""The plugin keeps maetool's contracts, and maetool finds it by its entry point."""

import torch
from maetool_stripes import MeanColourTarget, StripeMasker, StripeStem

from maetool.config.load import load_config
from maetool.data import ShapesDataset
from maetool.plugins import load_plugins
from maetool.registry import ENCODERS, MASKERS, METRICS, MODELS
from maetool.testing import (
    check_encoder,
    check_evaluator,
    check_masker,
    check_stem,
    check_target,
    check_teacher,
    tiny_batch,
    tiny_model,
)

CONFIG = "maetool_stripes::stripes_shapes.py"


def test_it_is_installed():
    report = load_plugins()
    assert "stripes" in report.loaded, report.failed
    assert isinstance(MASKERS.build({"type": "StripeMasker"}), StripeMasker)


def test_masker():
    check_masker(StripeMasker(mask_ratio=0.5), grids=((4, 4), (2, 8), (3, 10)))


def test_hidden_columns_are_neighbours():
    plan = StripeMasker(mask_ratio=0.5)(torch.zeros(8, 3, 1, 1), (4, 6), keys=torch.arange(8))
    columns = plan.mask.view(8, 4, 6)
    assert (columns == columns[:, :1]).all()
    changes = (columns[:, 0] != columns[:, 0].roll(1, dims=1)).sum(dim=1)
    assert (changes == 2).all()


def test_target():
    images = torch.randn(3, 5, 16, 24, generator=torch.Generator().manual_seed(0))
    check_target(MeanColourTarget(patch_size=(8, 4), in_chans=5), images, (2, 6))


def test_stem():
    sizes = {"img_size": (16, 24), "width": 4, "in_chans": 2}
    check_stem(StripeStem(**sizes), torch.randn(3, 2, 16, 24))
    stems = {"sound": {"type": "StripeStem", **sizes}}
    encoder = ENCODERS.build({"type": "StreamTransformer", "stems": stems, "embed_dim": 24, "depth": 1, "num_heads": 2})

    def hide(images, plan):
        return torch.where(plan.mask.repeat_interleave(4, dim=1)[:, None, None], 1e3, images)

    check_encoder(encoder, torch.randn(3, 2, 16, 24), hide)


def test_the_config_trains():
    model = MODELS.build(load_config(CONFIG).model)
    size = model.encoder.img_size
    batch = model.data_preprocessor(tiny_batch(size=size))
    loss = model(**batch)["loss"]
    loss.backward()
    assert loss > 0
    assert model.decoder.pred.weight.grad.abs().sum() > 0


def test_teacher():
    model = tiny_model(teacher={"type": "MirrorTeacher"}, target={"type": "TeacherFeatureTarget"})
    images = model.data_preprocessor(tiny_batch())["images"]
    layout = model.encoder.layout_of(images)
    check_teacher(model.teacher, images, layout, model)
    (features,) = model.teacher(images, layout, ["features"])["features"]
    (mirrored,) = model.teacher(images.flip(-1), layout, ["features"])["features"]
    grid = mirrored[:, 1:].unflatten(1, layout.grid).flip(2).flatten(1, 2)
    torch.testing.assert_close(features[:, 1:], grid)


def test_evaluator():
    bank = torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.0, 1.0]])
    evaluator = METRICS.build({"type": "ClassMeanEvaluator"})
    scores = evaluator.scores(bank, torch.tensor([0, 0, 1]), torch.tensor([[5.0, 1.0], [1.0, 4.0]]))
    assert scores.argmax(dim=1).tolist() == [0, 1]


def test_the_evaluator_keeps_the_contract():
    evaluator = METRICS.build({"type": "ClassMeanEvaluator"})
    bank, asked = ShapesDataset(24, 32, seed=1), ShapesDataset(10, 32)
    metrics = check_evaluator(evaluator, tiny_model(encoder={"img_size": 32, "patch_size": 8}), asked, bank)
    assert metrics.keys() == {"class_mean"}


def test_the_evaluator_measures_in_a_run():
    cfg = load_config(CONFIG)
    assert cfg.val_cfg.evaluators.classes.type == "ClassMeanEvaluator"
