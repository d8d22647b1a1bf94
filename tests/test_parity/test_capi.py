"""The numbers of facebookresearch/capi: latents, predictions, assignments, both losses and their gradients."""

from dataclasses import replace

import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import QueryDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import SoftLabelHead
from maetool.maskers import InverseBlockMasker
from maetool.models import MaskedImageModel
from maetool.ops.rotary import boxed_coords
from maetool.structures import MaskPlan
from maetool.targets import ClusterTarget
from maetool.teachers import MomentumTeacher

NAMES = {"residual1.norm": "norm1", "residual2.norm": "norm2", "residual2.fn": "mlp", "residual1.fn.proj": "attn.proj"}


def encoder_state(state):
    """Return the published encoder's weights by our names; the frequencies of its positions are fixed."""
    weights = {f"patch_embed.proj.{kind}": state[f"patch_embed.{kind}"] for kind in ("weight", "bias")}
    weights["reg_token"] = state["registers"]
    for number in (0, 1):
        place = f"encoder.blocks.{number}."
        own = {name.removeprefix(place): value for name, value in state.items() if name.startswith(place)}
        qkv = torch.cat([own[f"residual1.fn.{kind}_proj.weight"] for kind in "qkv"])
        weights[f"blocks.{number}.attn.qkv.weight"] = qkv
        for old, new in NAMES.items():
            weights |= {f"blocks.{number}." + n.replace(old, new): v for n, v in own.items() if n.startswith(old)}
    return weights


@pytest.fixture
def capi(data_dir):
    """The arrays, the publisher's weights, and the encoder with these."""
    golden, state = load(data_dir, "capi")
    options = {"pos_embed": "rotary_box", "class_token": False, "num_registers": 16, "final_norm": "fixed"}
    options |= {"qkv_bias": False, "bias": False, "norm_layer": "rms_1e-5"}
    encoder = VisionTransformer(48, 8, embed_dim=48, depth=2, num_heads=3, **options)
    load_all(encoder, encoder_state(state))
    return golden, state, encoder


def plan_of(golden):
    return MaskPlan.from_mask(golden["mask"], (6, 6))


def test_places_of_registers_and_visible_patches(capi):
    golden = capi[0]
    coords = boxed_coords((6, 6), 16, golden["mask"])
    ids = torch.cat([torch.arange(16).expand(3, -1), plan_of(golden).ids_keep + 16], dim=1)
    close(coords.gather(1, ids[..., None].expand(-1, -1, 2)), golden["encoder_coords"])


def test_latent_of_visible_patches_and_of_all(capi):
    golden, _, encoder = capi
    close(encoder(golden["imgs"], plan_of(golden))[:, 16:], golden["latent"])
    close(encoder(golden["imgs"])[:, 16:], golden["teacher_latent"])


@pytest.fixture
def predictor(capi):
    """The published predictor, and the student's head as its output."""
    state = capi[1]
    options = {"pos_embed": "rotary_box", "embed_memory": False, "norm_layer": "rms_1e-5", "bias": False}
    sizes = {"num_prefix_tokens": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
    decoder = QueryDecoder(48, 14, (6, 6), **sizes, **options, final_norm="fixed", output="prototypes")
    weights = {"mask_token": state["mask_token"][None]}
    weights |= {"pred.length": state["head.last_layer.weight_g"], "pred.weight": state["head.last_layer.weight_v"]}
    for number in (0, 1):
        old, new = f"decoder.blocks.{number}.residual", f"blocks.{number}.steps."
        weights |= {f"{new}{i}.norm.weight": state[f"{old}{i + 1}.norm.weight"] for i in (0, 1)}
        weights |= {f"{new}1.branch.{kind}.weight": state[f"{old}2.fn.{kind}.weight"] for kind in ("fc1", "fc2")}
        key, value = (state[f"{old}1.fn.{kind}_proj.weight"] for kind in "kv")
        weights[f"{new}0.branch.kv.weight"] = torch.cat([key, value])
        names = {"q": "q_proj", "proj": "proj"}
        weights |= {f"{new}0.branch.{ours}.weight": state[f"{old}1.fn.{other}.weight"] for ours, other in names.items()}
    load_all(decoder, weights)
    return decoder


def asked(golden):
    """The plan, whose predictions are those that the publisher chose among the removed patches."""
    predicted = (golden["predict_indices"] % 36).view(3, -1)
    return replace(plan_of(golden), ids_predict=predicted)


def test_predictions(capi, predictor):
    golden, _, encoder = capi
    latent, plan = encoder(golden["imgs"], plan_of(golden)), asked(golden)
    close(predictor.decode(latent, plan).flatten(0, 1), golden["pred"])
    close(predictor(latent, plan).flatten(0, 1), golden["logits"])


@pytest.fixture
def model(capi, predictor):
    _, state, encoder = capi
    teacher = MomentumTeacher(encoder)
    target = ClusterTarget(teacher, clusters=14)
    load_all(target, {f"clusters.{kind}": state[f"clustering.layer.{kind}"] for kind in ("weight", "bias")})
    return MaskedImageModel(InverseBlockMasker(), encoder, predictor, target, SoftLabelHead(0.12), teacher=teacher)


def test_assignments_of_each_place_and_of_all(capi, model):
    golden, plan, target = capi[0], plan_of(capi[0]).predicting("all"), model.target
    features = [torch.cat([torch.zeros(3, 16, 48), golden["teacher_latent"]], dim=1)]
    for equal, name in (("place", ""), ("batch", "_over_all_positions")):
        target.equal = equal
        shares, loss = target.learn(golden["imgs"], plan, features)
        close(shares, golden[f"assignments{name}"].transpose(0, 1))
        close(loss, golden[f"clustering_loss{name}"])


def test_losses_and_gradients(capi, model):
    golden = capi[0]
    losses = model(golden["imgs"], plan=asked(golden))
    close(losses["target"], golden["clustering_loss"])
    close(losses["loss"] - losses["target"], golden["student_loss"])
    losses["loss"].backward()
    names = {
        "patch_embed.weight": "encoder.patch_embed.proj.weight",
        "registers": "encoder.reg_token",
        "mask_token": "decoder.mask_token",
        "encoder.blocks.0.residual1.norm.weight": "encoder.blocks.0.norm1.weight",
        "head.last_layer.weight_g": "decoder.pred.length",
        "head.last_layer.weight_v": "decoder.pred.weight",
        "clustering.layer.weight": "target.clusters.weight",
        "clustering.layer.bias": "target.clusters.bias",
    }
    for name, ours in names.items():
        close(model.get_parameter(ours).grad.view_as(golden[f"grad/{name}"]), golden[f"grad/{name}"])
    queries = model.encoder.blocks[0].attn.qkv.weight.grad[:48]
    close(queries, golden["grad/encoder.blocks.0.residual1.fn.q_proj.weight"])
    keys = model.decoder.blocks[0].steps[0].branch.kv.weight.grad[:32]
    close(keys, golden["grad/decoder.blocks.0.residual1.fn.k_proj.weight"])
