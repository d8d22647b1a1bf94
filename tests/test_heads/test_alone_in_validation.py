"""In validation processes have different numbers of batches, so that no part may wait for another process."""

import pytest
import torch
from torch import distributed

from maetool.heads import ContrastiveHead, DistillationHead
from maetool.structures import MaskPlan
from maetool.targets import ClusterTarget
from maetool.testing import tiny_model


def asked(*arguments, **options):
    raise RuntimeError("waits for the other process")


@pytest.fixture
def two_processes(monkeypatch):
    """As one of two processes, of which the other one never comes."""
    answers = {"is_initialized": lambda: True, "get_world_size": lambda: 2, "get_rank": lambda: 0}
    for name, answer in {**answers, "all_reduce": asked, "all_gather": asked}.items():
        monkeypatch.setattr(distributed, name, answer)
    monkeypatch.setattr("torch.distributed.nn.functional.all_reduce", asked)
    monkeypatch.setattr("torch.distributed.nn.functional.all_gather", asked)


PLAN = MaskPlan.from_scores(torch.rand(2, 16), 4, (2, 8))
HEADS = {
    "contrastive": lambda: ContrastiveHead(6, within="batch"),
    "sinkhorn": lambda: DistillationHead(6, sinkhorn=3),
    "mean entropy": lambda: DistillationHead(6, mean_entropy=1.0),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_compare_with_others_in_training_only(two_processes, name):
    head, pred, target = HEADS[name](), torch.randn(2, 12, 6), torch.randn(2, 12, 6)
    with pytest.raises(RuntimeError, match="waits for the other"):
        head(pred, target, PLAN)
    assert head.eval()(pred, target, PLAN)["loss"].isfinite()


@pytest.mark.parametrize("equal", ["place", "batch"])
def test_clusters_are_used_equally_by_all_in_training_only(two_processes, equal):
    teacher = tiny_model(teacher={"type": "MomentumTeacher"}).teacher
    target, features = ClusterTarget(teacher, clusters=5, equal=equal), [torch.randn(2, 17, 24)]
    with pytest.raises(RuntimeError, match="waits for the other"):
        target.learn(None, PLAN, features)
    shares, loss = target.eval().learn(None, PLAN, features)
    assert shares.shape == (2, 12, 5) and loss.isfinite()
