"""The numbers of wgcban/adamae (tests/data/README.md)."""

import pytest
import torch
from golden import close, load
from videomae_model import GivenRandom, check_step, videomae

from maetool.structures import Layout

MASKER = {"type": "AdaptiveMasker", "mask_ratio": 0.9}


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "adamae")
    return golden, videomae(MASKER, state)


def plan_of(golden, model):
    """Return the plan of the masker under random numbers that draw the published patches in their order."""
    order = torch.full((2, 72), -1.0).scatter(1, golden["drawn"], torch.linspace(5.0, 4.0, 7).expand(2, -1))
    noise = order.double() - golden["probabilities"].double().log()  # of Gumbel's distribution
    tokens = model.encoder.tokens(golden["clip"])
    return model.masker.plan(GivenRandom((-(-noise).exp()).exp()), Layout.of((8, 3, 3)), tokens=tokens)


def test_probabilities_and_draw(case):
    golden, model = case
    plan = plan_of(golden, model)
    close(plan.aux["log_probs"].exp(), golden["probabilities"], 1e-6)
    assert plan.ids_keep.equal(golden["drawn"]) and plan.mask.equal(golden["mask"])


def test_step(case):
    golden, model = case
    plan = plan_of(golden, model)
    losses = check_step(model, golden, plan)
    close(model.head.errors(golden["pred"], golden["labels"], plan), golden["error_per_token"])
    own = (golden["loss"].double() - golden["loss_reconstruction"].double()) / model.masker_weight
    assert losses["masker"].item() == pytest.approx(own.item(), rel=2e-3)  # a difference of float32
    # Gradients of the sampler are of 1e-4 of its loss, and so as small.
    for name, parameter in model.masker.named_parameters():
        published = golden.get(f"grad/encoder.{NAMES.get(name, '')}")
        assert published is None or (parameter.grad - published).abs().max() < 1e-4 * published.abs().max(), name


NAMES = {
    "pos_embed": "pos_embed_probs",
    "block.attn.qkv.weight": "get_token_probs.0.attn.qkv.weight",
    "logits.weight": "get_token_probs.1.weight",
}


def test_a_probability_is_not_below_the_smallest_that_is_told_from_zero(case):
    golden, model = case
    model.masker.logits.weight.data.mul_(1e4)
    log_probs = plan_of(golden, model).aux["log_probs"]
    assert log_probs.min().item() == pytest.approx(torch.tensor(2.0**-23).log().item())  # of float32, as published
