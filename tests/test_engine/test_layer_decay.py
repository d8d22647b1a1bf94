"""Rates that fall from the head to the patch embedding, and the optimiser of linear probes."""

import numpy as np
import pytest
import torch
from torch import nn

from maetool.convert.mae import NAMES
from maetool.encoders import VisionTransformer
from maetool.engine.lars import LARS
from maetool.engine.layer_decay import LayerDecayConstructor, layer_decay_groups
from maetool.engine.schedules import WarmupCosineLR
from maetool.errors import UsageError
from maetool.models import ImageClassifier
from maetool.testing import tiny_model


def classifier(depth, pos_embed="learned", **options):
    encoder = VisionTransformer(img_size=16, patch_size=8, embed_dim=24, depth=depth, num_heads=3, pos_embed=pos_embed)
    return ImageClassifier(encoder, 5, own_norm=True, **options)


def test_groups_equal_the_published_ones(data_dir):
    golden = np.load(data_dir / "layer_decay.npz")
    theirs = {
        str(name): (scale, decay)
        for name, scale, decay in zip(golden["names"], golden["lr_scale"], golden["weight_decay"], strict=True)
    }
    model = classifier(depth=4)
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    ours = {
        name_of[id(parameter)]: (group["lr_scale"], group.get("weight_decay", 0.05))
        for group in layer_decay_groups(model, 0.65)
        for parameter in group["params"]
    }
    ours = NAMES.to_theirs(ours)
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        assert ours[name] == pytest.approx(values), name


def test_rates_of_every_group_by_hand():
    """Two blocks, decay 0.5, peak 0.8, two epochs of warm-up of six with two iterations each, at the end 0.08."""
    cfg = {"optimizer": {"type": "AdamW", "lr": 0.8, "weight_decay": 0.05}}
    wrapper = LayerDecayConstructor(cfg, {"layer_decay": 0.5})(classifier(depth=2))
    schedule = WarmupCosineLR(wrapper, epochs=6, warmup_epochs=2, epoch_length=2, min_lr=0.08)
    decays = [(group["layer"], group["weight_decay"]) for group in wrapper.optimizer.param_groups]
    assert decays == [(0, 0.0), (0, 0.05), (1, 0.0), (1, 0.05), (2, 0.0), (2, 0.05), (3, 0.0), (3, 0.05)]
    table = {  # step: rate of layers 0, 1, 2 and of the head
        0: (0.0, 0.0, 0.0, 0.0),
        1: (0.025, 0.05, 0.1, 0.2),
        4: (0.1, 0.2, 0.4, 0.8),
        8: (0.055, 0.11, 0.22, 0.44),
        12: (0.01, 0.02, 0.04, 0.08),
    }
    for step in range(13):
        if step in table:
            found = [group["lr"] for group in wrapper.optimizer.param_groups]
            assert found == pytest.approx([rate for rate in table[step] for _ in range(2)]), step
        wrapper.optimizer.step()
        schedule.step()


def test_fixed_positions_and_frozen_encoders_have_no_group():
    model = classifier(2, "sincos")
    names = {id(p): name for name, p in model.named_parameters()}
    assert "encoder.pos_embed" not in [names[id(p)] for g in layer_decay_groups(model, 0.5) for p in g["params"]]
    assert {group["layer"] for group in layer_decay_groups(classifier(2, frozen=True), 0.5)} == {3}


def test_the_table_is_logged_once(monkeypatch):
    told = []
    monkeypatch.setattr("maetool.engine.layer_decay.print_log", lambda message, logger: told.append(message))
    LayerDecayConstructor({"optimizer": {"type": "AdamW", "lr": 0.8}}, {"layer_decay": 0.5})(classifier(depth=2))
    assert len(told) == 1
    rows = [line.split() for line in told[0].splitlines()[2:]]
    assert [row[0] for row in rows] == list("00112233")
    assert [float(row[2]) for row in rows] == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.8, 0.8])
    assert sum(int(row[5].replace(",", "")) for row in rows) == sum(p.numel() for p in classifier(2).parameters())


def test_a_parameter_without_a_place_is_an_error():
    model = classifier(depth=2)
    model.encoder.register_token = nn.Parameter(torch.zeros(1, 1, 24))
    with pytest.raises(UsageError, match=r"cannot place the parameter encoder.register_token: it knows cls_token"):
        layer_decay_groups(model, 0.5)


@pytest.mark.parametrize("stated", [None, {}, {"layer_decay": 0}, {"layer_decay": 1.5}, {"decay": 0.5}])
def test_what_it_takes(stated):
    with pytest.raises(UsageError, match=r"takes dict\(layer_decay=N\)"):
        LayerDecayConstructor({"optimizer": {"type": "AdamW", "lr": 1.0}}, stated)


def test_an_encoder_without_blocks():
    model = tiny_model()
    model.encoder.blocks = None
    with pytest.raises(UsageError, match="needs an encoder with blocks"):
        layer_decay_groups(model, 0.5)


def test_lars_by_hand():
    """The formula of section 1.9 of the published linear probe, written out in float64."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = (nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((3, 2), (3,)))
    expected = [weight.detach().double().numpy(), bias.detach().double().numpy()]
    velocity = [np.zeros((3, 2)), np.zeros(3)]
    optimizer = LARS([weight, bias], lr=6.4, weight_decay=0.1)
    for _ in range(3):
        gradients = [torch.randn(p.shape, generator=generator) for p in (weight, bias)]
        weight.grad, bias.grad = gradients
        optimizer.step()
        for i, gradient in enumerate(g.double().numpy() for g in gradients):
            if gradient.ndim > 1:
                gradient = gradient + 0.1 * expected[i]
                gradient = gradient * 0.001 * np.linalg.norm(expected[i]) / np.linalg.norm(gradient)
            velocity[i] = 0.9 * velocity[i] + gradient
            expected[i] = expected[i] - 6.4 * velocity[i]
    np.testing.assert_allclose(weight.detach(), expected[0], rtol=1e-5)
    np.testing.assert_allclose(bias.detach(), expected[1], rtol=1e-5)


def test_lars_leaves_gradients_alone_where_a_norm_is_zero():
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.ones(2, 2)
    LARS([weight], lr=0.5).step()
    assert torch.equal(weight.detach(), torch.full((2, 2), -0.5))
    weight.grad = torch.zeros(2, 2)
    LARS([weight], lr=0.5).step()
    assert torch.equal(weight.detach(), torch.full((2, 2), -0.5))
