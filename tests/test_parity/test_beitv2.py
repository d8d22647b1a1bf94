"""The numbers of BEiT v2, of its tokenizer and of its quantiser (microsoft/unilm; tests/data/README.md)."""

import pytest
import torch
from golden import beit_encoder, close, gradients, load, load_all
from torch.nn import functional

from maetool.decoders import LinearDecoder
from maetool.heads import ClassificationHead
from maetool.maskers import BlockMasker
from maetool.models import MaskedImageModel
from maetool.ops.kmeans import nearest_centroids
from maetool.structures import MaskPlan
from maetool.targets import TokenTarget
from maetool.weights.formats.beitv2 import from_published

BOTTLENECK = {"type": "ClassBottleneckDecoder", "block": "beit", "num_heads": 3, "layer_scale": 0.1}
NAMES = {"cls_pt_layers.": "tasks.gathered.decoder.blocks.", "lm_head.": "decoder.pred."}


def ours(state):
    """Return published weights, or gradients, under our names."""
    mine = {}
    for name, value in state.items():
        prefix = next((prefix for prefix in NAMES if name.startswith(prefix)), "")
        mine[NAMES.get(prefix, "encoder.") + name.removeprefix(prefix)] = value
    return mine


class GivenTokens(torch.nn.Module):
    """A target of tokens that are given."""

    gives_tokens, invertible = True, False

    def __init__(self, tokens, number):
        super().__init__()
        self.tokens, self.out_dim = tokens, number

    def forward(self, images, plan):
        return self.tokens.gather(1, plan.ids_predict)


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "beitv2")
    target = GivenTokens(golden["tokens"], 40)
    encoder = beit_encoder(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3)
    early, depth = golden["early_layers"].item(), golden["head_layers"].item()
    decoder = {**BOTTLENECK, "early_layer": early, "depth": depth, "share_output": True}
    tasks = {"gathered": {"decoder": decoder, "head": ClassificationHead()}}
    model = MaskedImageModel(
        BlockMasker(6 / 16), encoder, LinearDecoder(48, 40), target, ClassificationHead(), tasks=tasks
    )
    load_all(model, ours({name: value for name, value in state.items() if not name.endswith("_index")}))
    return golden, model, MaskPlan.from_mask(golden["mask"], (4, 4))


def test_tokens_logits_and_losses(case):
    golden, model, plan = case
    main, levels = model.read(golden["imgs"], plan)
    close(main, golden["latent"])
    close(model.decoder(main, plan).flatten(0, 1), golden["logits"])
    gathered = model.tasks["gathered"].decoder
    close(gathered(levels, plan).flatten(0, 1), golden["logits_gathered"])
    early, last = levels
    everything = torch.arange(17).expand(3, -1)
    decoded = gathered._decode(torch.cat([last[:, :1], early[:, 1:]], dim=1), everything)
    close(model.encoder.norm(decoded), golden["latent_gathered"])
    losses = model(golden["imgs"], plan=plan)
    close(losses["main"], golden["loss_main"])
    close(losses["gathered"], golden["loss_gathered"])
    close(losses["loss"], golden["loss"])


def test_gradients(case):
    golden, model, plan = case
    model(golden["imgs"], plan=plan)["loss"].backward()
    mine = gradients(model)
    theirs = ours({name.removeprefix("grad/"): v for name, v in golden.items() if name.startswith("grad/")})
    assert len(theirs) == 9
    for name, gradient in theirs.items():
        close(mine[name], gradient)


def test_shared_parts_are_saved_once(case):
    _, model, _ = case
    shared = ("tasks.gathered.decoder.norm", "tasks.gathered.decoder.pred")
    assert not [name for name in model.state_dict() if name.startswith(shared)]


def test_bottleneck_blocks_are_beits(case):
    _, model, _ = case
    decoder = model.tasks["gathered"].decoder
    names = {name for name, _ in decoder.named_parameters()}
    assert {"blocks.0.attn.q_bias", "blocks.0.attn.v_bias", "blocks.1.gamma_1", "blocks.1.gamma_2"} <= names
    assert not [name for name in names if name.endswith(("k_bias", "qkv.bias"))]


SMALL_VIT = {"type": "VisionTransformer", "img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2}


@pytest.fixture
def tokenizer(data_dir, tmp_path):
    golden, _ = load(data_dir, "beitv2")
    golden = {name.removeprefix("tokenizer/"): v for name, v in golden.items() if name.startswith("tokenizer/")}
    state = {name.removeprefix("state/"): v for name, v in golden.items() if name.startswith("state/")}
    path = tmp_path / "vqkd.pth"
    torch.save({"state_dict": from_published(state)}, path)
    depth = len({name.split(".")[2] for name in state if name.startswith("encoder.blocks.")})
    source = {
        "type": "FeatureTarget",
        "teacher": {**SMALL_VIT, "depth": depth, "num_heads": golden["heads"].item(), "pos_embed": "learned"},
        "checkpoint": str(path),
        "normalise": "none",
        "teacher_mean": (127.5, 127.5, 127.5),
        "teacher_std": (127.5, 127.5, 127.5),
    }
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    target = TokenTarget(str(path), source, patch_size=8, grid=(4, 4), mean=mean, std=std)
    units = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    return golden, target, units


def test_tokenizer(tokenizer):
    golden, target, (mean, std) = tokenizer
    images = (golden["imgs"] * 255 - mean) / std  # as a preprocessor gives them
    plan = MaskPlan.from_scores(torch.rand(2, 16), 4, (4, 4)).predicting("all")
    close(target.source.prepare(images), golden["preprocessed"])
    features = target.source(images, plan)
    close(features, golden["features"])
    projected = target.projection(features)
    close(projected, golden["projected"])
    assert torch.equal(target(images, plan), golden["tokens"])


def test_codes_of_the_quantiser(data_dir):
    golden, _ = load(data_dir, "beitv2")
    z = functional.normalize(golden["quantiser/z_bchw"].permute(0, 2, 3, 1).flatten(0, 2), dim=1)
    _, codes = nearest_centroids(z, golden["quantiser/before"])
    assert torch.equal(codes, golden["quantiser/tokens"])
