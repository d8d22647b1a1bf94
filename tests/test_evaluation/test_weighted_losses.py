"""A validation loss with weights does not depend on how images are divided into batches, and so into processes."""

import pytest
import torch

from maetool.evaluation import LossEvaluator
from maetool.models import ImageClassifier, ImageRegressor, Segmentor
from maetool.testing import tiny_batch, tiny_config, tiny_model

NUMBER, CODES = 6, torch.Generator().manual_seed(0)
TASK = {
    "decoder": {"type": "TransformerDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2},
    "head": {"type": "RegressionHead", "loss": "l1"},
}
PREPROCESSOR = {"data_preprocessor": {"type": "ImagePreprocessor"}}


class Batches(list):
    """Images in batches of some sizes."""

    call_hook = staticmethod(lambda name, **_: None)


def samples_of(**values):
    return {**tiny_batch(NUMBER), **values}


def measured(model, samples, sizes):
    parts = {name: torch.as_tensor(value).split(sizes) for name, value in samples.items()}
    batches = [dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True)]
    with torch.no_grad():
        return LossEvaluator().measure(model.eval(), Batches(batches))


def weights():
    """Half of the first images' patches count, one patch of the last; none of one image's."""
    weight = torch.zeros(NUMBER, 16)
    weight[:3, :4] = 0.5
    weight[4:, 7:9] = 2.0
    return weight


CASES = {
    "weights": (lambda: tiny_model(), {"weight": weights()}),
    "counts that differ": (
        lambda: tiny_model(masker={"type": "VariableMasker", "ratios": (0.3, 0.9)}),
        {},
    ),
    "tasks": (lambda: tiny_model(tasks={"again": TASK}), {"weight": weights()}),
    "classes": (
        lambda: ImageClassifier(tiny_config()["encoder"], 3, class_weight=[1.0, 7.0, 0.2], **PREPROCESSOR),
        {"label": [0, 0, 1, 2, 2, 2]},
    ),
    "labels": (
        lambda: ImageClassifier(tiny_config()["encoder"], 2, multi_label=True, **PREPROCESSOR),
        {"label": [[0, 1.0], [0, torch.nan], [torch.nan, 1], [torch.nan] * 2, [1, 1], [1, 0]]},
    ),
    "numbers": (
        lambda: ImageRegressor(tiny_config()["encoder"], 2, **PREPROCESSOR),
        {"label": [[0, 1.0], [0, torch.nan], [torch.nan, 1], [torch.nan] * 2, [1, 1], [1, 0]]},
    ),
    "pixels": (
        lambda: Segmentor(
            tiny_config()["encoder"], 3, {"type": "LinearMapHead"}, class_weight=[1, 5, 0.1], **PREPROCESSOR
        ),
        {
            "semantic": torch.where(
                torch.rand(NUMBER, 16, 32, generator=CODES) < torch.arange(NUMBER)[:, None, None] / NUMBER,
                torch.randint(3, (NUMBER, 16, 32), generator=CODES),
                255,
            )
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_batches_do_not_matter(name):
    build, values = CASES[name]
    torch.manual_seed(0)
    model, samples = build(), samples_of(**values)
    one = measured(model, samples, [NUMBER])
    for sizes in ([3, 3], [1, 5], [2, 2, 2], [1] * NUMBER):
        other = measured(model, samples, sizes)
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        if "masked_fraction" in one:
            assert other["masked_fraction"] == pytest.approx(one["masked_fraction"], rel=1e-6)
