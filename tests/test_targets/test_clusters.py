"""Clusters that are learned online, and targets that learn in general."""

import pytest
import torch
from torch import nn

from maetool.errors import UsageError
from maetool.layers import Prototypes
from maetool.ops.sinkhorn import sinkhorn
from maetool.structures import MaskPlan
from maetool.targets import ClusterTarget
from maetool.testing import check_target, tiny_batch, tiny_model

CLUSTERS = {"type": "ClusterTarget", "clusters": 6}
SOFT = {"type": "SoftLabelHead"}
TASK = {"decoder": {"type": "TransformerDecoder", "depth": 1, "embed_dim": 16, "num_heads": 2}}


def losses_of(model):
    batch = model.data_preprocessor(tiny_batch())
    return model(**batch)


def test_only_the_target_learns_from_its_loss():
    model = tiny_model(teacher={"type": "MomentumTeacher"}, target=CLUSTERS, head=SOFT)
    losses = losses_of(model)
    losses["loss"].backward()
    assert model.target.clusters.weight.grad.abs().sum() > 0 and losses["target"] > 0
    both = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    losses = losses_of(model)
    (losses["loss"] - losses["target"]).backward()  # `target` has no gradient, so that all is as before
    assert both.keys() == {name for name, p in model.named_parameters() if p.grad is not None}
    assert not any(name.startswith("teacher.") for name in both)


def test_the_loss_of_the_clusters_is_added_wherever_a_target_is_asked():
    alone = losses_of(tiny_model(teacher={"type": "MomentumTeacher"}, target=CLUSTERS, head=SOFT))
    model = tiny_model(
        teacher={"type": "MomentumTeacher"},
        tasks={"clusters": {**TASK, "target": CLUSTERS, "head": SOFT, "weight": 0.5}},
    )
    losses = losses_of(model)
    assert {"loss", "main", "clusters", "target"} <= losses.keys() and "target" in alone
    torch.testing.assert_close(losses["loss"], losses["main"] + 0.5 * losses["clusters"] + losses["target"])
    losses["loss"].backward()
    assert model.tasks["clusters"].target.clusters.bias.grad.abs().sum() > 0
    plain = losses_of(tiny_model())
    assert "target" not in plain


def test_assignments_and_their_cross_entropy():
    model = tiny_model(teacher={"type": "MomentumTeacher"})
    target = ClusterTarget(model.teacher, clusters=5, temperature=0.2, learning_temperature=0.4, iterations=7)
    plan = MaskPlan.from_scores(torch.rand(3, 16), 4, (2, 8)).predicting("all")
    features = [torch.zeros(3, 17, 24), torch.randn(3, 17, 24)]  # the last layer is read
    shares, loss = target.learn(None, plan, features)
    logits = target.clusters(features[1][:, 1:])
    for place in range(16):
        torch.testing.assert_close(shares[:, place], sinkhorn(logits[:, place] / 0.2, 7))
    expected = nn.functional.cross_entropy(logits.flatten(0, 1) / 0.4, shares.flatten(0, 1))
    torch.testing.assert_close(loss, expected)
    target.equal = "batch"
    everywhere = target(None, plan, features).flatten(0, 1)
    torch.testing.assert_close(everywhere, sinkhorn(logits.flatten(0, 1) / 0.2, 7))


def test_what_clusters_cannot_be():
    with pytest.raises(UsageError, match=r"clusters the features of model\.teacher, but the model has none"):
        tiny_model(target=CLUSTERS, head=SOFT)
    with pytest.raises(UsageError, match='equal is \'image\', but must be "place" or "batch"'):
        tiny_model(teacher={"type": "MomentumTeacher"}, target={**CLUSTERS, "equal": "image"}, head=SOFT)


class Learning(nn.Module):
    """A target that learns, and depends on its batch."""

    invertible, out_dim, needs, rounds_with_autocast = False, 4, (), True

    def __init__(self, add=0.0, idle=False, of_batch=True):
        super().__init__()
        self.map, self.add, self.of_batch = Prototypes(3, 4, "free"), add, of_batch
        self.idle = nn.Parameter(torch.zeros(1)) if idle else None

    def forward(self, images, plan):
        return self.learn(images, plan)[0] - self.add

    def learn(self, images, plan):
        means = self.map(images.detach().float().mean(dim=(2, 3)))  # (B, 4)
        shares = sinkhorn(means)[:, None].expand(-1, plan.ids_predict.shape[1], -1)
        return shares + self.add, means.square().mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, None),
        ({"add": 1.0}, "learn gives the same target"),
        ({"idle": True}, "every parameter has a gradient"),
        ({"of_batch": False}, "does not depend on its batch"),
    ],
)
def test_the_contract_of_targets_that_learn(options, message):
    torch.manual_seed(0)
    images = torch.randn(3, 3, 8, 16)
    if message is None:
        check_target(Learning(**options), images, (2, 4))
        return
    with pytest.raises(AssertionError, match=message):
        check_target(Learning(**options), images, (2, 4))


def test_one_cluster_is_refused():
    with pytest.raises(UsageError, match="clusters is 1, but with one"):
        ClusterTarget(tiny_model(teacher={"type": "MomentumTeacher"}).teacher, clusters=1)
