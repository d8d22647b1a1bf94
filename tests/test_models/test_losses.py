"""The loss of a model is the key `loss` and nothing else."""

import pytest
import torch
from torch import nn

from maetool.errors import UsageError
from maetool.models import ImageClassifier, TrainableModel
from maetool.testing import tiny_batch, tiny_config, tiny_model


class Several(nn.Module):
    """A head whose entries have names with "loss" in them."""

    takes_tokens = False

    def __init__(self, **entries):
        super().__init__()
        self.entries = entries

    def forward(self, pred, target, plan):
        found = {"loss": (pred.float() - target).square().mean()}
        return {name: scale * found["loss"] for name, scale in self.entries.items()}


def stepped(**entries):
    """Return the weights of the prediction after a step of SGD, and what is logged."""
    model = tiny_model()
    model.head = Several(**entries)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = model(**model.data_preprocessor(tiny_batch()))
    loss, logged = model.parse_losses(losses)
    loss.backward()
    optimizer.step()
    return model.decoder.pred.weight.detach(), losses, logged


def test_other_entries_are_logged_and_not_trained_on():
    alone, _, _ = stepped(loss=1.0)
    several, losses, logged = stepped(loss=1.0, loss_rank=0.5, auxloss=2.0, **{"task/loss": 3.0})
    assert torch.equal(alone, several)
    assert {name: value.item() for name, value in logged.items()} == {k: v.item() for k, v in losses.items()}
    assert not any(value.requires_grad for name, value in logged.items() if name != "loss")


def test_tasks_are_added_by_their_weights_alone():
    names = {"loss_of_pixels": 0.5, "b": 2.0}
    task = {"decoder": {"type": "VisibleDecoder"}, "at": "visible", "head": {"type": "RegressionHead"}}
    task["target"] = {"type": "PixelTarget", "norm_pix_loss": False}
    model = tiny_model(tasks={name: {**task, "weight": weight} for name, weight in names.items()})
    losses = model(**model.data_preprocessor(tiny_batch()))
    expected = losses["main"] + sum(weight * losses[name] for name, weight in names.items())
    torch.testing.assert_close(model.parse_losses(losses)[0], expected)


@pytest.mark.parametrize("entries", [{}, {"accuracy": 1.0, "aux_loss": 1.0}])
def test_a_head_without_a_loss_is_named(entries):
    model = tiny_model()
    model.head = Several(**entries)
    with pytest.raises(UsageError, match=r"Several returned no `loss`, only (nothing|accuracy, aux_loss): return what"):
        model(**model.data_preprocessor(tiny_batch()))


class Plugin(TrainableModel):
    """A model of a plugin."""

    def forward(self, inputs):
        return {"loss": inputs.sum(), "aux_loss": inputs.mean()}


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        ({"loss_a": torch.ones(())}, "Plugin returned no `loss`, only loss_a"),
        ({"loss": 1.0}, r"Plugin returned loss=1\.0 in its losses, but each must be a tensor"),
    ],
)
def test_what_a_model_returns_is_checked(losses, sentence):
    with pytest.raises(UsageError, match=sentence):
        Plugin().parse_losses(losses)


def test_all_models_have_this_rule():
    from maetool import registry

    registry.MODELS.import_from_location()
    models = [cls for cls in registry.MODELS.module_dict.values() if hasattr(cls, "train_step")]
    assert ImageClassifier in models
    assert all(issubclass(cls, TrainableModel) for cls in models if cls.__module__.startswith("maetool."))


FROZEN = tiny_config()["encoder"]
TEACHER = {"type": "MomentumFeatureTarget"}
TOKENS = {"type": "TokenTarget", "codebook": 7, "source": TEACHER}


@pytest.mark.parametrize(
    "parts",
    [
        {"target": TEACHER},
        {"target": TEACHER, "head": {"type": "ContrastiveHead", "projection": 4, "within": "batch", "memory": 8}},
        {"target": {"type": "TeacherFeatureTarget"}, "teacher": {"type": "FrozenTeacher", "teacher": FROZEN}},
        {"target": TOKENS, "head": {"type": "ClassificationHead"}},
    ],
    ids=["averaged", "contrastive", "frozen", "tokens"],
)
def test_a_model_may_be_of_float64(parts):
    model = tiny_model(**parts).eval()
    batch = model.data_preprocessor(tiny_batch())
    expected = model(batch["images"], batch["data_samples"])["loss"]
    loss = model.double()(batch["images"].double(), batch["data_samples"])["loss"]
    loss.backward()
    torch.testing.assert_close(loss.float(), expected, atol=1e-4, rtol=1e-4)
