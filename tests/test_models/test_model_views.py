"""Views of a sample, streams, corruption, and a masker that learns: what a batch of one image never meets."""

import pytest
import torch
from torch import nn

from maetool.corruptions import BlurCorruption, Corruption, NoiseCorruption
from maetool.errors import UsageError
from maetool.maskers import RandomMasker
from maetool.ops.random import KeyedRandom, sample_keys
from maetool.registry import DECODERS, MODELS
from maetool.structures import MaskPlan
from maetool.testing import tiny_batch, tiny_config, tiny_model

KEYS = sample_keys(0, 0, torch.arange(4))


class MemoryDecoder(nn.Module):
    """Adds a map of the memory's mean to a map of the prefix."""

    takes_memory = True
    reads = ("visible",)

    def __init__(self, encoder_dim, out_dim):
        super().__init__()
        self.own, self.other = nn.Linear(encoder_dim, out_dim), nn.Linear(encoder_dim, out_dim)

    def forward(self, latent, plan, memory=None):
        x = self.own(latent[:, 0]) + (0 if memory is None else self.other(memory.mean(dim=1)))
        return x[:, None].expand(-1, plan.ids_predict.shape[1], -1)


def views(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(4, 3, 16, 32, generator=generator) for name in ("now", "past")}


def pair_model(**options):
    return tiny_model(decoder={"type": MemoryDecoder}, **options)


def with_arguments(model, **arguments):
    for name, value in arguments.items():
        setattr(model, name, value)
    return model.eval()


def test_the_context_reaches_the_decoder_and_learns():
    model = with_arguments(pair_model(), view="now", context="past")
    batch = views()
    model(batch, {"key": KEYS})["loss"].backward()
    assert model.decoder.other.weight.grad.abs().sum() > 0
    changed = {**batch, "past": batch["past"] + 1}
    assert not torch.equal(model(batch, {"key": KEYS})["loss"], model(changed, {"key": KEYS})["loss"])


def test_a_view_that_nobody_asks_changes_nothing():
    model = with_arguments(pair_model(), view="now")
    batch = views()
    changed = {**batch, "past": batch["past"] + 1}
    assert torch.equal(model(batch, {"key": KEYS})["loss"], model(changed, {"key": KEYS})["loss"])
    alone = with_arguments(pair_model())(batch["now"], {"key": KEYS})
    assert torch.equal(model(batch, {"key": KEYS})["loss"], alone["loss"])


ELSEWHERE = ("BranchDecoder", "CodebookDecoder", "TokensDecoder")  # need a model of another form
VISIBLE = sorted(
    name
    for name, part in DECODERS.parts().items()
    if "visible" in getattr(part, "reads", ("visible",))
    and getattr(part, "predicts", "planned") == "planned"
    and name not in ELSEWHERE
)


@pytest.mark.parametrize("name", VISIBLE)
def test_views_reach_each_other_through_a_memory_alone(name):
    """Values and gradients of the loss of a view, under every decoder: of the other view only where it is asked."""
    inner = {"type": "TransformerDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2}
    more = {"LayerFusionDecoder": {"layers": [0, 2], "decoder": inner}}
    kind = {"type": name, **more.get(name, {})}
    asks = getattr(DECODERS.get(name), "takes_memory", False)
    config = {**tiny_config(encoder={"final_norm": name != "CrossAttentionDecoder"}), "decoder": kind, "view": "now"}
    config |= {"context": "past"} if asks else {}
    torch.manual_seed(0)
    model = MODELS.build(config).eval()
    batch = {view: images.requires_grad_() for view, images in views().items()}
    loss = model(batch, {"key": KEYS})["loss"]
    own, other = torch.autograd.grad(loss, [batch["now"], batch["past"]], allow_unused=True)
    assert own.abs().sum() > 0
    assert (other is not None and bool(other.abs().sum() > 0)) == asks
    changed = {**batch, "past": batch["past"].detach() + torch.randn(4, 3, 16, 32)}
    assert torch.equal(model(changed, {"key": KEYS})["loss"], loss) != asks


def test_a_task_may_look_from_the_other_side():
    task = {"decoder": {"type": MemoryDecoder}, "target": {"type": "PixelTarget"}, "head": {"type": "RegressionHead"}}
    model = with_arguments(
        pair_model(tasks={"back": {**task, "view": "past", "context": "now"}}), view="now", context="past"
    )
    losses = model(views(), {"key": KEYS})
    assert {"main", "back"} <= set(losses)
    own = with_arguments(pair_model(), view="now", context="past")
    own.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("tasks.")})
    assert torch.equal(losses["main"], own(views(), {"key": KEYS})["loss"])


def test_each_view_has_masks_of_its_own():
    task = {"decoder": {"type": MemoryDecoder}, "target": {"type": "PixelTarget"}, "head": {"type": "RegressionHead"}}
    model = with_arguments(pair_model(tasks={"back": {**task, "view": "past"}}), view="now")
    masks = []

    class Watching(RandomMasker):
        def forward(self, *args, **kwargs):
            plan = super().forward(*args, **kwargs)
            masks.append(plan.mask)
            return plan

    model.masker = Watching()
    model(views(), {"key": KEYS})
    model(views(), {"key": KEYS})
    assert len(masks) == 4 and masks[0].equal(masks[2]) and masks[1].equal(masks[3]) and not masks[0].equal(masks[1])


def test_a_view_that_is_not_there_is_named():
    model = with_arguments(pair_model(), view="later")
    with pytest.raises(UsageError, match="the view 'later', but the batch has now, past"):
        model(views(), {"key": KEYS})
    with pytest.raises(UsageError, match="but the batch has one tensor"):
        model(views()["now"], {"key": KEYS})


class BrightCorruption(Corruption):
    def forward(self, images, plan, rng):
        return images + 3


def test_the_encoder_sees_other_pixels_than_the_target():
    plain, model = tiny_model(), tiny_model(corruption={"type": BrightCorruption})
    batch = model.data_preprocessor(tiny_batch(), True)
    plan = model.make_plan(**batch)
    seen = model.see(batch["images"], batch["data_samples"], plan)
    assert torch.equal(seen.latents["main"], plain.encoder(batch["images"] + 3, plan))
    assert torch.equal(seen.images, batch["images"])


@pytest.mark.parametrize("corruption", [NoiseCorruption((0.1, 0.5)), BlurCorruption((0.5, 2.0))], ids=["noise", "blur"])
def test_a_corruption_belongs_to_the_sample(corruption):
    images = torch.randn(4, 3, 12, 20, generator=torch.Generator().manual_seed(0))
    before, plan = images.clone(), MaskPlan.from_scores(torch.rand(4, 6), 2, (2, 3))
    changed = corruption(images, plan, KeyedRandom(KEYS))
    assert torch.equal(images, before) and changed.shape == images.shape and not torch.equal(changed, images)
    few = corruption(images[1:3], plan, KeyedRandom(KEYS[1:3]))
    assert torch.allclose(changed[1:3], few, atol=1e-6)
    assert not torch.equal(changed, corruption(images, plan, KeyedRandom(KEYS + 1)))


def test_blur_is_that_of_a_gaussian_with_mirrored_edges():
    from scipy.ndimage import gaussian_filter

    images = torch.randn(2, 1, 24, 17, generator=torch.Generator().manual_seed(0))
    blurred = BlurCorruption((1.3, 1.3))(images, None, KeyedRandom(KEYS[:2]))
    expected = gaussian_filter(images[0, 0].numpy(), 1.3, mode="reflect", truncate=8)
    torch.testing.assert_close(blurred[0, 0], torch.from_numpy(expected), atol=1e-4, rtol=0)
    assert BlurCorruption((0.0, 0.0))(images, None, KeyedRandom(KEYS[:2])).equal(images)


class LearningMasker(RandomMasker):
    def __init__(self, mask_ratio=0.75):
        super().__init__(mask_ratio)
        self.weight = nn.Parameter(torch.ones(1))

    def loss(self, plan, errors):
        assert not errors.requires_grad and errors.shape == plan.ids_predict.shape
        return (self.weight * errors).mean()


def test_a_masker_that_learns_adds_its_loss():
    model = tiny_model(masker={"type": LearningMasker})
    model.masker_weight = 0.5
    losses = model(**model.data_preprocessor(tiny_batch(), True))
    plain = tiny_model()
    alone = plain(**plain.data_preprocessor(tiny_batch(), True))
    torch.testing.assert_close(losses["masker"], alone["loss"].detach())
    torch.testing.assert_close(losses["loss"], 1.5 * alone["loss"])
    losses["loss"].backward()
    torch.testing.assert_close(model.masker.weight.grad[0], 0.5 * alone["loss"].detach())
    assert losses["constant_predictor"].equal(alone["constant_predictor"])


def test_all_patches_may_be_predicted():
    model = tiny_model()
    model.at = "all"
    result = model(**model.data_preprocessor(tiny_batch(), True), mode="predict")
    assert result["pred"].shape[1] == 16 and model(**model.data_preprocessor(tiny_batch(), True))["loss"] > 0
