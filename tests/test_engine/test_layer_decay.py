"""Rates that fall from the head to the patch embedding, and the optimiser of linear probes."""

import numpy as np
import pytest
import torch
from torch import nn

from maetool.encoders import HybridTransformer, SwinTransformer, TimmEncoder, VisionTransformer
from maetool.engine.optim.lars import LARS
from maetool.engine.optim.layer_decay import LayerDecayConstructor, layer_decay_groups
from maetool.engine.optim.schedules import WarmupCosineLR
from maetool.errors import UsageError
from maetool.models import ImageClassifier
from maetool.weights.formats.mae import NAMES


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
    monkeypatch.setattr("maetool.engine.optim.layer_decay.print_log", lambda message: told.append(message))
    LayerDecayConstructor({"optimizer": {"type": "AdamW", "lr": 0.8}}, {"layer_decay": 0.5})(classifier(depth=2))
    assert len(told) == 1
    rows = [line.split() for line in told[0].splitlines()[2:]]
    assert [row[0] for row in rows] == list("00112233")
    assert [float(row[2]) for row in rows] == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.8, 0.8])
    assert [row[3] for row in rows] == ["0", "0.01"] * 4  # AdamW's own, where the config has none
    assert sum(int(row[5].replace(",", "")) for row in rows) == sum(p.numel() for p in classifier(2).parameters())


def test_a_rate_that_the_config_does_not_state_is_the_optimiser_s():
    wrapper = LayerDecayConstructor({"optimizer": {"type": "AdamW"}}, {"layer_decay": 0.5})(classifier(depth=2))
    assert {group["lr"] for group in wrapper.param_groups} == {1e-3 * 0.5**i for i in range(4)}


def test_a_parameter_without_a_place_is_an_error():
    model = classifier(depth=2)
    model.encoder.register_token = nn.Parameter(torch.zeros(1, 1, 24))
    with pytest.raises(UsageError, match=r"parameter register_token of the encoder has no layer: known are cls_token"):
        layer_decay_groups(model, 0.5)


@pytest.mark.parametrize("stated", [None, {}, {"layer_decay": 0}, {"layer_decay": 1.5}, {"decay": 0.5}])
def test_what_it_takes(stated):
    with pytest.raises(UsageError, match=r"takes dict\(layer_decay=N\)"):
        LayerDecayConstructor({"optimizer": {"type": "AdamW", "lr": 1.0}}, stated)


class Bare(nn.Module):
    """An encoder of a plugin, before anybody wrote `layer_of`."""

    def __init__(self):
        super().__init__()
        self.stem, self.body, self.last = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)


def joined(encoder):
    model = nn.Module()
    model.encoder, model.head = encoder, nn.Linear(2, 2)
    return model


def test_a_model_that_cannot_be_placed():
    with pytest.raises(UsageError, match=r"but Bare has no method layer_of\(name\): add it"):
        layer_decay_groups(joined(Bare()), 0.5)
    with pytest.raises(UsageError, match="needs a model with an encoder, but Linear has none"):
        layer_decay_groups(nn.Linear(2, 2), 0.5)


def test_an_encoder_of_a_plugin_places_its_parameters():
    class Placed(Bare):
        def layer_of(self, name):
            return {"stem": 0, "body": 1, "last": -1}[name.partition(".")[0]]

        def no_weight_decay(self):
            return {"body.weight"}

    model = joined(Placed())
    groups = layer_decay_groups(model, 0.5)
    assert [(group["layer"], group["lr_scale"], len(group["params"])) for group in groups] == [
        (0, 0.25, 1),
        (0, 0.25, 1),
        (1, 0.5, 2),
        (2, 1.0, 2),
        (2, 1.0, 2),
    ]
    assert groups[2]["weight_decay"] == 0.0
    model.encoder.layer_of = lambda name: "stem"
    with pytest.raises(UsageError, match=r"Placed.layer_of gives encoder.stem.weight the layer 'stem', but a layer is"):
        layer_decay_groups(model, 0.5)


def table(model, decay=0.5):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["layer"], group["lr_scale"], "weight_decay" not in group)
        for group in layer_decay_groups(model, decay)
        for parameter in group["params"]
    }


def test_a_plain_vit_of_timm_has_the_layers_of_our_own():
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}
    own = VisionTransformer(**sizes, pos_embed="learned")
    timms = TimmEncoder("vit_tiny_patch16_224", **sizes)
    theirs = {name.replace("vit.", ""): row for name, row in table(ImageClassifier(timms, 5)).items()}
    assert theirs == table(ImageClassifier(own, 5))


def test_layers_of_beit():
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "sees": "all"}
    rows = table(ImageClassifier(TimmEncoder("beit_base_patch16_224", **sizes), 5))
    assert rows["encoder.vit.cls_token"] == rows["encoder.vit.patch_embed.proj.bias"] == (0, 0.125, False)
    assert rows["encoder.vit.blocks.1.attn.relative_position_bias_table"] == (2, 0.5, True)  # decayed, as in BEiT
    assert rows["encoder.vit.norm.weight"] == rows["head.bias"] == (3, 1.0, False)
    shared = TimmEncoder("beit_base_patch16_224", **sizes, options={"use_shared_rel_pos_bias": True})
    assert shared.layer_of("vit.rel_pos_bias.relative_position_bias_table") == -1


def test_layers_of_swin():
    encoder = SwinTransformer(64, 4, embed_dim=8, depths=(2, 1, 3, 1), num_heads=(1, 2, 2, 4), window_size=2)
    rows = table(ImageClassifier(encoder, 5))
    layers = {
        "mask_token": 0,
        "patch_embed.proj.weight": 0,
        "layers.0.blocks.0.attn.qkv.weight": 1,
        "layers.0.blocks.1.mlp.fc1.weight": 2,
        "layers.1.downsample.reduction.weight": 2,  # timm keeps it in the stage after it
        "layers.1.blocks.0.norm1.weight": 3,
        "layers.2.downsample.norm.weight": 3,
        "layers.2.blocks.2.norm1.weight": 6,
        "layers.3.blocks.0.mlp.fc2.bias": 7,
        "norm.weight": 8,
    }
    assert {name: rows[f"encoder.{name}"][0] for name in layers} == layers
    assert rows["head.weight"] == (8, 1.0, True)
    assert rows["encoder.patch_embed.proj.weight"] == (0, 0.5**8, True)
    assert rows["encoder.layers.0.blocks.0.attn.relative_position_bias_table"] == (1, 0.5**7, False)


def test_layers_of_the_hybrid():
    sizes = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2, "conv_dims": (8, 16)}
    rows = table(ImageClassifier(HybridTransformer(**sizes, fuse="always"), 5))
    first = {row[0] for name, row in rows.items() if name.startswith(("encoder.stage", "encoder.proj"))}
    assert first == {0}
    assert rows["encoder.blocks.1.attn.qkv.weight"] == (2, 0.5, True)
    assert {rows[name][0] for name in ("encoder.fuse1.weight", "encoder.norm.weight", "head.weight")} == {3}


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
