"""How alike predictions are, and predictions that are standardised first."""

import pytest
import torch
from torch.nn import functional

from maetool.decoders import TokensDecoder
from maetool.errors import UsageError
from maetool.heads import ContrastiveHead, SimilarityHead
from maetool.structures import MaskPlan
from maetool.targets import ZeroTarget


def padded(batch=4):
    """A plan whose samples keep different numbers of patches, and a tensor of its predictions."""
    generator = torch.Generator().manual_seed(0)
    plan = MaskPlan.from_scores(torch.rand(batch, 12, generator=generator), torch.tensor([2, 9, 5, 6]), (3, 4))
    return plan, torch.randn(*plan.ids_predict.shape, 5, generator=generator)


def test_the_mean_cosine_is_that_of_all_pairs_that_count():
    plan, pred = padded()
    means = []
    for values, weight in zip(pred, plan.weight, strict=True):
        unit = functional.normalize(values[weight > 0], dim=-1)
        means.append((unit @ unit.T).mean())
    losses = SimilarityHead(0.3, 0.3)(pred, pred, plan)
    torch.testing.assert_close(losses["similarity"], torch.stack(means).mean())
    torch.testing.assert_close(losses["loss"], (torch.stack(means).mean() - 0.3).square())
    plan.weight[0] = 0  # an image of which nothing is predicted has no mean
    torch.testing.assert_close(SimilarityHead()(pred, pred, plan)["similarity"], torch.stack(means[1:]).mean())


def test_the_wanted_cosine_falls_with_progress_and_is_stored():
    head = SimilarityHead(0.75, 0.25)
    levels = []
    for progress in (0.0, 0.5, 1.0):
        head.after_step(None, progress)
        levels.append(float(head.state_dict()["level"]))
    assert levels == pytest.approx([0.75, 0.5, 0.25])
    with pytest.raises(UsageError, match=r"start is 2 and end 0\.25, but must be cosines"):
        SimilarityHead(2, 0.25)


def test_what_all_patches_share_does_not_count_once_standardised():
    plan, pred = padded()
    head, target = ContrastiveHead(5, standardise=True), torch.randn_like(pred)
    shift, scale = torch.randn(4, 1, 5), 1 + torch.rand(4, 1, 5)
    torch.testing.assert_close(
        head(scale * pred + shift, target, plan)["loss"], head(pred, target, plan)["loss"], atol=1e-3, rtol=1e-3
    )
    junk = torch.where(plan.weight[..., None] > 0, pred, torch.full_like(pred, 50.0))  # padding
    torch.testing.assert_close(head(junk, target, plan)["loss"], head(pred, target, plan)["loss"])
    flat = torch.ones_like(pred).requires_grad_()
    head(flat, target, plan)["loss"].backward()
    assert flat.grad.isfinite().all()


def test_tokens_as_they_are():
    scores = torch.rand(2, 12, generator=torch.Generator().manual_seed(0))
    plan = MaskPlan.from_scores(scores, 4, (3, 4)).predicting("visible")
    latent = torch.randn(2, 1 + 4, 6)
    tokens = TokensDecoder(6, 6)(latent, plan)
    torch.testing.assert_close(
        tokens, latent[:, 1:].gather(1, plan.ids_keep.argsort(dim=1)[..., None].expand(-1, -1, 6))
    )
    assert TokensDecoder(6, 6, of="predicted")(tokens, plan) is tokens and not [*TokensDecoder(6, 6).parameters()]
    target = ZeroTarget(6)
    assert target.out_dim == 6 and torch.equal(target(torch.ones(2, 3, 6, 8), plan), torch.zeros(2, 4, 6))
    with pytest.raises(UsageError, match='of is \'all\', but must be "visible" or "predicted"'):
        TokensDecoder(6, 6, of="all")
