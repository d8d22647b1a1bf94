"""The numbers of Haoqing-Wang/LocalMIM on a small ViT (tests/data/README.md)."""

import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import ScaledDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan
from maetool.targets import HOGTarget

SCALES = (4, 2, 1, 0.5)
FACTS = {"encoder_dim": 32, "grid": (4, 4), "num_layers": 8, "embed_dim": 16, "num_heads": 2, "shared_bias": True}
HEADS = {  # the published head's modules, and ours
    4: {"0": "pred.0.split", "1": "pred.1", "3": "pred.3.split", "4": "pred.4"},
    2: {"0": "pred.0.split", "1": "pred.1"},
    1: {"0": "pred"},
    0.5: {"1": "pred"},
}


def as_linear(weight):
    """Return a convolution 1 x 1, or a transposed one whose kernel is its stride, as the weight of a linear map."""
    return weight.flatten(1) if weight.shape[2:] == (1, 1) else weight.movedim((2, 3, 1), (0, 1, 2)).flatten(0, 2)


def ours(name, value, scale):
    """Return our name and value of a parameter of the decoder at `scale`."""
    if not name.startswith("pred."):
        return name, value
    number, kind = name.split(".")[1:]
    mine = HEADS[scale][number]
    if kind == "bias":
        mine = mine.removesuffix(".split")  # one bias for the four cells
    return f"{mine}.{kind}", as_linear(value) if value.ndim == 4 else value


def is_decoder(name, number):
    return name.startswith(f"decoder.{number}.") and not name.endswith("pos_embed")


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "localmim")
    encoder = VisionTransformer(64, 16, embed_dim=32, depth=8, num_heads=4)
    targets = [HOGTarget(16, cell_size=size) for size in (4, 8, 16, 32)]
    layers = [layer + 1 for layer in golden["layers"].tolist()]  # ours counts from what enters the first block
    decoders = [
        ScaledDecoder(out_dim=target.out_dim, layer=layer, scale=scale, encoder_norm=encoder.norm, **FACTS)
        for target, layer, scale in zip(targets, layers, SCALES, strict=True)
    ]
    for number, (decoder, scale) in enumerate(zip(decoders, SCALES, strict=True)):
        names = {k.removeprefix(f"decoder.{number}."): v for k, v in state.items() if is_decoder(k, number)}
        mine = dict(ours(name, value, scale) for name, value in names.items())
        norm = {f"layer_norm.{kind}": state[f"norm.{number}.{kind}"] for kind in ("weight", "bias")}
        load_all(decoder, mine if number == 3 else mine | norm)
        close(decoder.pos_embed, state[f"decoder.{number}.pos_embed"])
    mine = {k: v for k, v in state.items() if not k.startswith(("norm.", "decoder.", "hog_enc."))}
    load_all(encoder, mine | {f"norm.{kind}": state[f"norm.3.{kind}"] for kind in ("weight", "bias")})
    head = RegressionHead()
    parts = zip(decoders[:3], targets[:3], strict=True)
    tasks = {f"scale{number}": {"decoder": d, "target": t, "head": head} for number, (d, t) in enumerate(parts)}
    model = MaskedImageModel(RandomMasker(0.75), encoder, decoders[3], targets[3], head, tasks=tasks)
    return golden, model, decoders, targets, MaskPlan.from_scores(golden["noise"], 4, (4, 4))


def in_cells(values, cells):
    """Return (B, M, P) of patches, ordered number, row, column, as (B, M * cells^2, numbers)."""
    return values.unflatten(2, (-1, cells**2)).transpose(2, 3).flatten(1, 2)


def at_patches(values, plan, scale):
    """Return published values (B, N, C) of a grid `scale` times ours at the predicted patches, as `in_cells` does."""
    if scale == 0.5:
        row, column = torch.unravel_index(plan.ids_predict, plan.grid)
        return values.gather(1, (row // 2 * 2 + column // 2)[..., None].expand(-1, -1, values.shape[2]))
    cells = values.unflatten(1, (4, scale, 4, scale)).transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (B, L, cells, C)
    ids = plan.ids_predict[..., None, None].expand(-1, -1, *cells.shape[2:])
    return cells.gather(1, ids).flatten(1, 2)


def test_layers(case):
    golden, model, decoders, _, plan = case
    read = model.read(golden["imgs"], plan)
    for number, (tokens,) in enumerate([*read[1:], read[0]]):
        close(decoders[number].encoder_norm(tokens), golden[f"latent/{number}"])


@pytest.mark.parametrize("number", range(4))
def test_predictions_and_targets(case, number):
    golden, model, decoders, targets, plan = case
    scale, cells = SCALES[number], max(1, SCALES[number])
    read = model.read(golden["imgs"], plan)
    pred = decoders[number]([*read[1:], read[0]][number], plan)
    close(in_cells(pred, cells), at_patches(golden[f"pred/{number}"], plan, scale))
    target = targets[number](golden["imgs"], plan)
    close(in_cells(target, cells), at_patches(golden[f"target/{number}"], plan, scale), tolerance=1e-4)


def test_losses(case):
    golden, model, _, _, plan = case
    losses = model(golden["imgs"], plan=plan)
    parts = torch.stack([losses[name].detach() for name in ("scale0", "scale1", "scale2", "main")])
    close(parts, golden["losses"])
    close(losses["loss"], golden["loss"])


def test_gradients(case):
    golden, model, decoders, _, plan = case
    model(golden["imgs"], plan=plan)["loss"].backward()
    close(model.encoder.patch_embed.proj.weight.grad, golden["grad/patch_embed.proj.weight"])
    close(model.encoder.blocks[0].attn.qkv.bias.grad, golden["grad/blocks.0.attn.qkv.bias"])
    close(decoders[0].layer_norm.weight.grad, golden["grad/norm.0.weight"])
    close(decoders[0].pred[0].split.weight.grad, as_linear(golden["grad/decoder.0.pred.0.weight"]))
    close(decoders[0].pred[0].bias.grad, golden["grad/decoder.0.pred.0.bias"])
    close(decoders[0].pred[1].weight.grad, golden["grad/decoder.0.pred.1.weight"])
    close(decoders[1].pred[1].weight.grad, as_linear(golden["grad/decoder.1.pred.1.weight"]))
    close(decoders[2].mask_token.grad, golden["grad/decoder.2.mask_token"])
    close(decoders[3].pred.weight.grad, as_linear(golden["grad/decoder.3.pred.1.weight"]))
