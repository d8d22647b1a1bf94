"""Several streams: targets side by side, errors of each, tasks of one."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from maetool.decoders.cross_attention import CrossBlock
from maetool.errors import UsageError
from maetool.heads import StreamHead
from maetool.layers.stream_positions import StreamPositions
from maetool.ops.patches import take_tokens
from maetool.ops.random import sample_keys
from maetool.registry import MODELS
from maetool.structures import Layout, MaskPlan
from maetool.testing import check_decoder, tiny_config, tiny_model

KEYS = sample_keys(0, 0, torch.arange(4))
STEM = {"type": "GroupStem", "img_size": 16, "patch_size": 8, "groups": {"near": (0, 2), "far": (1,)}}
ENCODER = {"type": "StreamTransformer", "stems": {"bands": STEM}, "embed_dim": 24, "depth": 2, "num_heads": 3}


class StreamDecoder(nn.Module):
    """A map of the mean token for each patch, as wide as the widest stream."""

    def __init__(self, encoder_dim, out_dim):
        super().__init__()
        self.pred = nn.Linear(encoder_dim, out_dim)

    def forward(self, latent, plan):
        return self.pred(latent.mean(dim=1))[:, None].expand(-1, plan.ids_predict.shape[1], -1)


def model(**parts):
    defaults = {
        "masker": {"type": "StreamMasker", "mask_ratio": 0.5},
        "data_preprocessor": {"type": "ImagePreprocessor", "mean": (0.0,) * 3, "std": (1.0,) * 3},
        "encoder": ENCODER,
        "decoder": {"type": StreamDecoder},
        "target": {"type": "StreamTarget", "targets": {"type": "PixelTarget", "norm_pix_loss": False}},
        "head": {"type": "StreamHead", "head": {"type": "RegressionHead"}},
    }
    return tiny_model(**{**defaults, **parts})


def images():
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_the_error_of_a_patch_is_over_the_numbers_of_its_stream():
    built = model()
    assert built.target.out_dims == {"near": 128, "far": 64} and built.target.out_dim == 128
    plan = built.make_plan(images(), {"key": KEYS})
    target = built.target(images(), plan)
    far = plan.ids_predict >= 4
    assert target[far][:, 64:].eq(0).all() and target[far][:, :64].ne(0).all() and target[~far].ne(0).all()
    pred = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    errors = built.head.errors(pred, target, plan)
    torch.testing.assert_close(errors[far], (pred - target)[far][:, :64].square().mean(dim=1))
    torch.testing.assert_close(errors[~far], (pred - target)[~far].square().mean(dim=1))
    losses = built.head(pred, target, plan)
    torch.testing.assert_close(losses["loss"], errors.mean())
    assert 0.9 < losses["constant_predictor"] < 1.1  # of numbers of mean 0 and deviation 1


def test_the_pixels_are_those_of_the_group():
    built = model()
    plan = built.make_plan(images(), {"key": KEYS}).predicting("all")
    target = built.target(images(), plan)
    patch = images()[:, (0, 2), :8, 8:]  # place 1
    torch.testing.assert_close(target[:, 1], patch.permute(0, 2, 3, 1).flatten(1))
    torch.testing.assert_close(target[:, 4 + 2, :64], images()[:, 1, 8:, :8].flatten(1))


def test_a_task_may_be_about_one_stream():
    task = {"decoder": {"type": StreamDecoder}, "target": {"type": "PixelTarget"}, "head": {"type": "RegressionHead"}}
    built = model(tasks={"far": {**task, "stream": "far"}})
    assert built.tasks["far"].decoder.pred.out_features == 64
    losses = built({"bands": images()}, {"key": KEYS})
    assert losses["far"] > 0
    losses["loss"].backward()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"target": {"type": "StreamTarget", "targets": {"near": {"type": "PixelTarget"}}}}, "give one for each"),
        ({"head": {"type": "StreamHead", "head": {"type": nn.Identity}}}, "Identity gives no error of each patch"),
        ({"tasks": {"a": {"decoder": {}, "head": {}, "stream": "middle"}}}, "no stream 'middle', only near, far"),
    ],
)
def test_bad_input(parts, words):
    with pytest.raises(UsageError, match=words):
        model(**parts)
    with pytest.raises(UsageError, match="VisionTransformer has one stream"):
        tiny_model(target={"type": "StreamTarget", "targets": {"type": "PixelTarget"}})
    with pytest.raises(UsageError, match="the target is of one: use StreamTarget"):
        StreamHead({"type": "RegressionHead"})


class AllStreamsDecoder(nn.Module):
    """One stream from the visible tokens of all: a query at each of its places asks them (MultiMAE, section 3.3)."""

    reads = ("visible",)
    reads_streams = True

    def __init__(self, encoder_dim: int, out_dim: int, grids: dict, stream: str, num_prefix_tokens: int, embed_dim=24):
        super().__init__()
        self.stream, self.num_prefix_tokens = stream, num_prefix_tokens
        self.embed, self.query = nn.Linear(encoder_dim, embed_dim), nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.positions = StreamPositions("sincos", embed_dim, grids, "learned")
        self.block = CrossBlock(embed_dim, embed_dim, num_heads=2)
        self.pred = nn.Linear(embed_dim, out_dim)

    def forward(self, latent, plan):
        places = self.positions(plan.layout.grids).expand(len(latent), -1, -1)  # (B, L, E), of all streams
        memory = self.embed(latent[:, self.num_prefix_tokens :]) + take_tokens(places, plan.ids_keep)
        ids = plan.only(self.stream).ids_predict + plan.layout.slices[self.stream].start
        return self.pred(self.block(self.query + take_tokens(places, ids), memory, plan.keep_valid))


def multimae(**task):
    head = {"type": "RegressionHead"}
    pixels = {"type": "PixelTarget", "norm_pix_loss": False}
    tasks = {
        name: {"decoder": {"type": AllStreamsDecoder}, "target": pixels, "head": head, "stream": name, **task}
        for name in ("near", "far")
    }
    torch.manual_seed(0)
    return model(tasks=tasks, masker={"type": "StreamMasker", "mask_ratio": 0.5})


def test_a_decoder_of_one_stream_may_ask_the_tokens_of_all():
    built = multimae()
    assert [task.decoder.stream for task in built.tasks.values()] == ["near", "far"]
    assert [task.decoder.pred.out_features for task in built.tasks.values()] == [128, 64]
    data = {"images": images(), "data_samples": {"key": KEYS}}
    losses = built(**data)
    assert losses["near"] > 0 < losses["far"]
    latent = {}
    decoder = built.tasks["far"].decoder
    decoder.register_forward_hook(lambda decoder, inputs, out: latent.update(seen=inputs, out=out))
    built(**data)
    tokens, plan = latent["seen"]
    near = plan.ids_keep < 4
    assert near.any(dim=1).all() and (~near).any(dim=1).all(), "tokens of both streams are visible"
    assert latent["out"].shape == (4, plan.only("far").ids_predict.shape[1], 64)
    tokens = tokens.detach().requires_grad_()
    decoder(tokens, plan).square().sum().backward()
    assert tokens.grad[:, 1:][near].abs().amax(dim=1).gt(0).all(), "tokens of the other stream were not asked"


class Seen(nn.Module):
    """A target of the brightness of stored values, which says what it was told."""

    invertible, told = False, []

    def __init__(self, patch_size, in_chans, mean: Sequence[float] | None = None, std: Sequence[float] | None = None):
        super().__init__()
        self.out_dim = in_chans
        self.told.append((mean, std))

    def forward(self, images, plan):
        return images.new_zeros(len(images), plan.ids_predict.shape[1], self.out_dim)


NUMBERS = {"mean": (1.0, 2.0, 3.0), "std": (4.0, 5.0, 6.0)}
STEMS = {
    "rgb": {"type": "PatchStem", "img_size": 16, "patch_size": 8},
    "depth": {"type": "PatchStem", "img_size": 16, "patch_size": 8, "in_chans": 1},
    "words": {"type": "TokenStem", "codebook": 9, "grid": (3,)},
}
NAMED = {
    "mean": {"rgb": NUMBERS["mean"], "depth": (7.0,)},
    "std": {"rgb": NUMBERS["std"], "depth": (8.0,)},
}


def told(**parts):
    Seen.told.clear()
    model(**parts)
    return Seen.told


def test_targets_of_streams_are_told_mean_and_deviation_of_their_channels():
    groups = {"data_preprocessor": {"type": "ImagePreprocessor", **NUMBERS}}
    of_groups = [((1.0, 3.0), (4.0, 6.0)), ((2.0,), (5.0,))]  # near is of the channels 0 and 2
    assert told(**groups, target={"type": "StreamTarget", "targets": {"type": Seen}}) == of_groups
    task = {"decoder": {"type": StreamDecoder}, "target": {"type": Seen}, "head": {"type": "RegressionHead"}}
    assert told(**groups, tasks={name: {**task, "stream": name} for name in ("near", "far")}) == of_groups


def test_targets_are_told_mean_and_deviation_by_the_name_of_their_stream():
    named = {
        "encoder": {**ENCODER, "stems": STEMS},
        "data_preprocessor": {"type": "ImagePreprocessor", **NAMED},
    }
    of_names = [(NUMBERS["mean"], NUMBERS["std"]), ((7.0,), (8.0,)), (None, None)]  # ids have none
    assert told(**named, target={"type": "StreamTarget", "targets": {"type": Seen}}) == of_names
    task = {"decoder": {"type": StreamDecoder}, "target": {"type": Seen}, "head": {"type": "RegressionHead"}}
    tasks = {name: {**task, "stream": name} for name in STEMS}
    plain = {"type": "PixelTarget", "norm_pix_loss": False}
    assert told(**named, target={"type": "StreamTarget", "targets": plain}, tasks=tasks) == of_names


def test_targets_are_told_mean_and_deviation_by_the_name_of_their_view():
    named = {kind: {"past": numbers, "now": numbers[::-1]} for kind, numbers in NUMBERS.items()}
    task = {"decoder": {"type": "LinearDecoder"}, "target": {"type": Seen}, "head": {"type": "RegressionHead"}}
    parts = {"encoder": {"sees": "all"}, "decoder": {"type": "LinearDecoder"}, "target": {"type": Seen}}
    Seen.told.clear()
    config = tiny_config(**parts, data_preprocessor={"type": "ImagePreprocessor", **named})
    config["encoder"]["sees"] = "all"
    config |= {"view": "past", "tasks": {"other": {**task, "view": "now"}, "same": task}}
    MODELS.build(config)
    past = (NUMBERS["mean"], NUMBERS["std"])
    assert Seen.told == [past, tuple(numbers[::-1] for numbers in past), past]


def test_a_stream_of_which_a_batch_hides_nothing_costs_nothing():
    built = multimae(weight=1.0)
    plan = MaskPlan.from_mask(torch.tensor([[1, 0, 1, 1, 0, 0, 0, 0]] * 4), built.encoder.layout_of(images()))
    losses = built(images(), plan=plan)
    losses["loss"].backward()
    assert losses["far"] == 0 < losses["near"]
    assert all(p.grad is None or p.grad.isfinite().all() for p in built.parameters())


GRIDS = {"near": (2, 3), "far": (3, 2), "clip": (2, 2, 2)}


@pytest.mark.parametrize("stream", GRIDS)
def test_padding_changes_nothing_for_such_a_decoder(stream):
    torch.manual_seed(0)
    check_decoder(AllStreamsDecoder(24, 10, GRIDS, stream, 1), 24, 10, GRIDS, stream=stream)


def test_permuting_streams_permutes_the_predictions_of_such_a_decoder():
    """And with them the gradients of the tokens."""
    flipped = dict(reversed(GRIDS.items()))
    here, there = Layout.of(GRIDS), Layout.of(flipped)
    order = torch.cat([torch.arange(here.length)[here.slices[name]] for name in flipped])
    scores, tokens = torch.rand(3, here.length), torch.randn(3, 1 + 7, 24)
    counts = torch.tensor([7, 3, 5])
    plans = (MaskPlan.from_scores(scores, counts, here), MaskPlan.from_scores(scores[:, order], counts, there))
    torch.manual_seed(0)
    parts = [AllStreamsDecoder(24, 10, grids, "clip", 1) for grids in (GRIDS, flipped)]
    parts[1].load_state_dict(parts[0].state_dict())
    found = []
    for part, plan in zip(parts, plans, strict=True):
        latent = tokens.clone().requires_grad_()
        pred = part(latent, plan)
        own = plan.only("clip")
        full = own.scatter(pred, torch.zeros(3, 8, 10)) * own.mask[..., None]
        full.square().sum().backward()
        found.append((full.detach(), latent.grad))
    (first, first_grad), (second, second_grad) = found
    assert first.abs().max() > 0.01
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(first_grad, second_grad, atol=1e-5, rtol=1e-5)


def test_such_a_model_learns():
    built = multimae(weight=1.0)
    optimizer = torch.optim.AdamW(built.parameters(), lr=3e-3)
    bright = torch.rand(16, 1, 1, 1, generator=torch.Generator().manual_seed(5)).expand(-1, 3, 16, 16)
    first = None
    for step in range(40):
        keys = sample_keys(0, step, torch.arange(16))
        losses = built(bright, {"key": keys})
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        first = first or losses["near"].item()
    assert losses["near"] < 0.2 * first
