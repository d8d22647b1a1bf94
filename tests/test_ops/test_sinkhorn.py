"""Assignments that use all clusters equally."""

import threading

import numpy as np
import torch
from torch import distributed

from maetool.ops.sinkhorn import sinkhorn


def scores(*shape, seed=0):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_published_numbers(data_dir):
    golden = np.load(data_dir / "capi.npz")
    ours = sinkhorn(torch.from_numpy(golden["sinkhorn_in"]))
    torch.testing.assert_close(ours, torch.from_numpy(golden["sinkhorn_out"]), atol=1e-6, rtol=1e-5)


def test_clusters_get_equal_shares_and_places_are_problems_of_their_own():
    values = scores(5, 24, 8)
    shares = sinkhorn(values, iterations=100)
    torch.testing.assert_close(shares.sum(dim=1), torch.full((5, 8), 3.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(shares.sum(dim=2), torch.ones(5, 24))
    torch.testing.assert_close(sinkhorn(values)[3], sinkhorn(values[3]))


def test_scores_of_any_size_in_half_precision_give_finite_shares_without_gradient():
    shares = sinkhorn((1e4 * scores(6, 5)).bfloat16().requires_grad_())
    assert shares.dtype is torch.float32 and shares.isfinite().all() and not shares.requires_grad
    certain = torch.full((6, 5), -torch.inf)  # logarithms of probabilities, of which some are 0
    certain[torch.arange(6), torch.arange(6) % 5] = 0.0
    torch.testing.assert_close(sinkhorn(certain), certain.exp())
    nobody = certain.clone()
    nobody[:, 4], nobody[4, 0] = -torch.inf, 0.0  # a cluster that no sample is near to
    assert sinkhorn(nobody).isfinite().all()


def test_the_samples_of_all_processes_share_the_clusters(monkeypatch):
    values, shares = scores(2, 12, 4), {}
    barrier, own, given = threading.Barrier(2, timeout=20), threading.local(), {}

    def all_reduce(tensor, operation):
        given[own.rank] = tensor.clone()
        barrier.wait()
        both = torch.stack([given[0], given[1]])
        barrier.wait()
        tensor.copy_(both.sum(dim=0) if operation == distributed.ReduceOp.SUM else both.amax(dim=0))

    def run(rank):
        own.rank = rank
        shares[rank] = sinkhorn(values[:, 6 * rank : 6 * rank + 6])

    for name, value in {"is_initialized": lambda: True, "get_world_size": lambda: 2, "all_reduce": all_reduce}.items():
        monkeypatch.setattr(distributed, name, value)
    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    torch.testing.assert_close(torch.cat([shares[0], shares[1]], dim=1), sinkhorn(values))
