"""Each layer of a teacher has a mixture of the encoder's layers."""

import pytest
import torch

from maetool.decoders import AlignmentDecoder
from maetool.errors import UsageError
from maetool.registry import MODELS
from maetool.testing import tiny_batch, tiny_config

LAYERS = {
    "encoder": {"final_norm": False},
    "decoder": {"type": "AlignmentDecoder", "begin_as": [1, 2]},
    "teacher": {"type": "MomentumTeacher", "layers": [2, 1]},
}
TARGET = {"type": "TeacherFeatureTarget", "combine": "concatenate", "normalise": "none"}


def aligned(**options):
    return MODELS.build({**tiny_config(**LAYERS, target={**TARGET, **options}), "at": "visible"})


def test_the_target_has_a_part_for_each_layer():
    model = aligned()
    batch = model.data_preprocessor(tiny_batch(), True)
    plan = model.make_plan(**batch)
    seen = model.see(batch["images"], batch["data_samples"], plan)
    target = model.target(batch["images"], plan.predicting("visible"), **seen.clues.of(model.target))
    layers = model.encoder(batch["images"], None, [2, 1])
    expected = torch.cat([plan.predicting("visible").take_predicted(layer[:, 1:]) for layer in layers], dim=-1)
    torch.testing.assert_close(target, expected)
    model(**batch)["loss"].backward()
    assert all(p.grad is not None for p in model.decoder.parameters())
    assert model.decoder.no_weight_decay() == {"mix.weight"}


@pytest.mark.parametrize("begin_as", [[0, 1], [1, 2, 1], [3]])
def test_layers_that_do_not_fit(begin_as):
    with pytest.raises(UsageError, match=r"begin_as is|layers is \[3\]"):
        AlignmentDecoder(8, 16, 2, begin_as)


def test_a_choice_that_there_is_not():
    with pytest.raises(UsageError, match="combine is 'sum'"):
        aligned(combine="sum")
