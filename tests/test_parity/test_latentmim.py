"""The numbers of yibingwei-1/LatentMIM: patches with gaps, latents, targets, predictions, loss and gradients."""

import pytest
import torch
from golden import close, load, load_all

from maetool.data.transforms import GappedPatches
from maetool.decoders import QueryDecoder, TokensDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import ContrastiveHead, SimilarityHead
from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.ops.patches import patchify
from maetool.structures import MaskPlan
from maetool.targets import MomentumFeatureTarget, ZeroTarget

STEPS = {"norm1": "0.norm", "self_attn": "0.branch", "norm2q": "1.norm", "norm2kv": "1.memory_norm"}
STEPS |= {"cross_attn.q_proj": "1.branch.q", "cross_attn.kv_proj": "1.branch.kv", "cross_attn.proj": "1.branch.proj"}
STEPS |= {"norm3": "2.norm", "mlp": "2.branch"}


def encoder_state(state, prefix="encoder."):
    """Return the published encoder's weights by our names."""
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    kept = {"cls_token": own["cls_token"], "pos_embed": own["pos_embed.pos_embeds"][None]}
    kept["patch_embed.proj.weight"] = own["embed.proj.weight"].view(32, 8, 8, 3).permute(0, 3, 1, 2)
    kept["patch_embed.proj.bias"] = own["embed.proj.bias"]
    kept |= {name: value for name, value in own.items() if name.startswith(("blocks.", "norm."))}
    for layer in range(3):
        kept[f"projection.{3 * layer}.weight"] = own[f"head.linear{layer}.weight"]
        kept |= {f"projection.{3 * layer + 1}.{k}": own[f"head.norm{layer}.{k}"] for k in ("weight", "bias")}
    return kept


def decoder_state(state):
    kept = {name: state[f"decoder.{name}"] for name in ("mask_token", "cls_token", "embed.weight", "embed.bias")}
    kept["pos_embed"] = state["decoder.pos_embed.pos_embeds"][None]
    kept |= {
        f"{ours}.{k}": state[f"decoder.{t}.{k}"]
        for ours, t in (("norm", "norm"), ("pred", "head"))
        for k in ("weight", "bias")
    }
    for name, value in state.items():
        if name.startswith("decoder.blocks."):
            number, _, rest = name.removeprefix("decoder.blocks.").partition(".")
            part = next(part for part in STEPS if rest.startswith(f"{part}."))
            kept[f"blocks.{number}.steps.{STEPS[part]}{rest.removeprefix(part)}"] = value
    return kept


@pytest.fixture
def latent_mim(data_dir):
    """The arrays, and the model with the published weights."""
    golden, state = load(data_dir, "latentmim")
    encoder = VisionTransformer(32, 8, embed_dim=32, depth=2, num_heads=2, pos_embed="stretched", projection=(40, 40))
    close(encoder.pos_embed[0], state["encoder.pos_embed.pos_embeds"])
    load_all(encoder, encoder_state(state))
    sizes = {"embed_dim": 24, "depth": 2, "num_heads": 3, "steps": ("self", "cross", "mlp"), "pos_embed": "stretched"}
    options = {"memory_norm": True, "memory_positions": True, "class_token": True, "start": "visible"}
    decoder = QueryDecoder(32, 32, (4, 4), **sizes, **options)
    close(decoder.pos_embed[0], state["decoder.pos_embed.pos_embeds"])
    load_all(decoder, {name: value for name, value in decoder_state(state).items() if name != "pos_embed"})
    target = MomentumFeatureTarget(encoder, normalise="none", sees="predicted")
    load_all(target.teacher, encoder_state(state, "target_encoder."))
    similar = SimilarityHead(0.6, 0.6)
    tasks = {
        "predictions": {"reads": "main", "decoder": TokensDecoder(32, 32, of="predicted"), "head": similar},
        "visible": {"at": "visible", "decoder": TokensDecoder(32, 32), "target": ZeroTarget(32), "head": similar},
    }
    tasks = {name: {**task, "weight": 0.1} for name, task in tasks.items()}
    head = ContrastiveHead(32, temperature=0.2, standardise=True)
    model = MaskedImageModel(RandomMasker(), encoder, decoder, target, head, tasks=tasks, weight=0.4)
    return golden, model


def plan_of(golden):
    return MaskPlan.from_scores(golden["noise"], 4, (4, 4))


def images_of(golden):
    cut = GappedPatches(8, 32)
    cells = zip(golden["imgs"], golden["offset_rows"], golden["offset_columns"], strict=True)
    return torch.stack([cut.cut(image, rows, columns) for image, rows, columns in cells])


def test_patches_with_gaps(latent_mim):
    golden, _ = latent_mim
    close(patchify(images_of(golden), (8, 8)), golden["patches"])


def in_order(golden, values):
    """Return values (B, M, P), of the published order of the removed patches, in ascending order."""
    return values.gather(1, golden["target_ids"].argsort(dim=1)[..., None].expand_as(values))


def test_latents_targets_and_predictions(latent_mim):
    golden, model = latent_mim
    images, plan = images_of(golden), plan_of(golden)
    latent = model.encoder(images, plan)
    close(latent, golden["latent_projected"])
    close(model.target(images, plan), in_order(golden, golden["target"]))
    close(model.decoder(latent, plan), in_order(golden, golden["pred"]))


def test_losses_and_gradients(latent_mim):
    golden, model = latent_mim
    losses = model(images_of(golden), plan=plan_of(golden))
    close(0.4 * losses["main"], golden["loss_patches"])
    close(losses["loss"], golden["loss"])
    close(losses["predictions_similarity"], golden["similarity_pred"])
    close(losses["visible_similarity"], golden["similarity_visible"])
    losses["loss"].backward()
    patches = model.encoder.patch_embed.proj.weight.grad.permute(0, 2, 3, 1).flatten(1)
    close(patches, golden["grad/encoder.embed.proj.weight"])
    names = {
        "encoder.cls_token": "encoder.cls_token",
        "decoder.cls_token": "decoder.cls_token",
        "decoder.mask_token": "decoder.mask_token",
        "encoder.head.linear0.weight": "encoder.projection.0.weight",
        "decoder.blocks.0.norm2kv.weight": "decoder.blocks.0.steps.1.memory_norm.weight",
        "decoder.head.bias": "decoder.pred.bias",
    }
    for name, ours in names.items():
        close(model.get_parameter(ours).grad, golden[f"grad/{name}"])
