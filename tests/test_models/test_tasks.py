"""Several things predicted from the same tokens."""

import pytest
import torch

from maetool.decoders import VisibleDecoder
from maetool.errors import UsageError
from maetool.heads import ClassificationHead, RegressionHead, weighted_sum
from maetool.models.clues import Clues
from maetool.models.seen import Seen
from maetool.ops.patches import patchify
from maetool.registry import DECODERS, MODELS, build_part
from maetool.structures import MaskPlan
from maetool.testing import tiny_batch, tiny_config, tiny_model

PIXELS = {"type": "PixelTarget", "norm_pix_loss": False}
MIMIC = {
    "at": "visible",
    "weight": 0.5,
    "decoder": {"type": "VisibleDecoder"},
    "target": PIXELS,
    "head": {"type": "RegressionHead", "loss": "cosine"},
}


def build(**tasks):
    torch.manual_seed(0)
    return MODELS.build({**tiny_config(), "tasks": tasks})


def prepared(model, **options):
    return model.data_preprocessor(tiny_batch(**options))


def test_losses_are_weighed_and_told_apart():
    model = build(mimic=MIMIC)
    losses = model(**prepared(model))
    assert torch.allclose(losses["loss"], losses["main"] + 0.5 * losses["mimic"])
    alone = tiny_model()
    alone.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("tasks.")})
    assert torch.allclose(alone(**prepared(alone))["loss"], losses["main"])
    losses["loss"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_a_task_at_visible_patches_is_about_them():
    model = build(mimic={**MIMIC, "head": {"type": "RegressionHead"}})
    batch = prepared(model)
    images, plan = batch["images"], model.make_plan(**batch)
    task = model.tasks["mimic"]
    tokens = model.encoder(images, plan)[:, 1:]  # in the order of ids_keep
    patches = plan.keep(patchify(images, (8, 4)))
    wanted = (task.decoder.pred(tokens) - patches).square().mean()
    seen = Seen(images, plan, Clues(images, plan.layout, model.encoder, None, {}), {})
    assert torch.allclose(task(model.encoder(images, plan), seen, None)["loss"], wanted, rtol=1e-4)


CHAINED = {
    "reads": "main",
    "decoder": {"type": "RefiningDecoder", "depth": 1, "num_heads": 2},
    "target": PIXELS,
    "head": {"type": "RegressionHead"},
}
REGRESSED = {
    "decoder": {"type": "RegressorDecoder", "depth": 1, "num_heads": 2, "output": False},
    "target": {"type": "MomentumFeatureTarget", "momentum": 0.0, "schedule": "constant", "sees": "predicted"},
}


def test_a_task_may_read_what_the_main_decoder_predicts():
    torch.manual_seed(0)
    model = MODELS.build({**tiny_config(**REGRESSED), "tasks": {"pixels": CHAINED}, "weight": 2.0})
    batch = prepared(model)
    plan = model.make_plan(**batch)
    pred = model.decoder(model.encoder(batch["images"], plan), plan)
    task = model.tasks["pixels"]
    pixels = plan.take_predicted(patchify(batch["images"], (8, 4)))
    losses = model(**batch, plan=plan)
    assert torch.allclose(losses["pixels"], (task.decoder(pred, plan) - pixels).square().mean())
    assert torch.allclose(losses["loss"], 2 * losses["main"] + losses["pixels"])
    losses["loss"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert model.decoders == [model.decoder] == list(model.decoders_of(None).values())
    assert len(model.val_step(tiny_batch())) == 4


@pytest.mark.parametrize(
    ("task", "weight", "words"),
    [
        ({**CHAINED, "reads": "decoder"}, 1.0, "reads='decoder', but it must be"),
        ({**CHAINED, "at": "all"}, 1.0, 'task own reads what the main decoder predicts.*set its at="planned"'),
        ({**CHAINED, "reads": "encoder"}, 1.0, "reads predictions, but in the task own it gets the encoder's tokens"),
        (
            {**MIMIC, "at": "planned", "decoder": {"type": "TransformerDecoder"}, "reads": "main"},
            1.0,
            'reads="encoder"',
        ),
        (CHAINED, 0.0, "model.weight is 0.0, but must be positive"),
        (None, 2.0, "model.weight is 2.0, but must be positive, and is for models with tasks only"),
    ],
)
def test_chains_that_cannot_be_are_refused(task, weight, words):
    with pytest.raises(UsageError, match=words) as info:
        MODELS.build({**tiny_config(**REGRESSED), "tasks": {"own": task} if task else {}, "weight": weight})
    assert "\n" not in str(info.value)


def test_predicting_chooses_the_patches():
    plan = MaskPlan.from_scores(torch.rand(3, 16), 4, (2, 8), weight=torch.rand(3, 16))
    assert plan.predicting("planned") is plan
    visible = plan.predicting("visible").validate()
    assert torch.equal(visible.ids_predict, plan.ids_keep.sort(dim=1).values)
    assert plan.predicting("all").validate().ids_predict.tolist() == [list(range(16))] * 3
    with pytest.raises(UsageError, match="'hidden' cannot be predicted"):
        plan.predicting("hidden")


def test_weighted_sum_by_hand():
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    found = weighted_sum(
        {
            "main": {"loss": one, "constant_predictor": two},
            "b": {"loss": two, "constant_predictor": one, "accuracy": one},
        },
        {"b": 3.0},
    )
    assert {name: float(value) for name, value in found.items()} == {
        "loss": 7.0,
        "constant_predictor": 5.0,
        "main": 1.0,
        "b": 2.0,
        "b_accuracy": 1.0,
    }


@pytest.mark.parametrize(
    ("tasks", "sentence"),
    [
        (
            {"loss": MIMIC},
            r"called 'loss', but the logs use main, loss, constant_predictor, masked_fraction, masker",
        ),
        ({"main": MIMIC}, r"called 'main'"),
        ({"a": {**MIMIC, "weight": 0}}, r"weight=0"),
        ({"a": {**MIMIC, "at": "hidden"}}, r"at='hidden'.*must be \"planned\", \"visible\", \"all\" or \"image\""),
        (
            {"a": {**MIMIC, "at": "planned"}},
            r"VisibleDecoder is for visible patches only, but is used for those that are",
        ),
        ({"a": {**MIMIC, "target": None}}, r"at=\"visible\" has no target"),
        ({"a": {"decoder": MIMIC["decoder"]}}, r"The task a has decoder, but must have decoder and head, and may have"),
        (
            {"a": {**MIMIC, "head": {"type": "ClassificationHead"}}},
            r"PixelTarget gives numbers, but ClassificationHead takes tokens: use a regression head",
        ),
        ({"a": {**MIMIC, "decoder": {"type": "LinearDecoder"}}}, r"LinearDecoder cannot read VisionTransformer"),
    ],
)
def test_bad_input(tasks, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        build(**tasks)
    assert "\n" not in str(info.value)


def test_a_head_of_another_kind_is_refused():
    tokens = {"type": "TokenTarget", "codebook": 5, "source": PIXELS}
    with pytest.raises(
        UsageError, match="TokenTarget gives tokens, but RegressionHead takes numbers: use a head that classifies"
    ):
        tiny_model(target=tokens)


def test_cosine_and_smooth_l1_by_hand():
    plan = MaskPlan.from_scores(torch.rand(1, 16), 12, (2, 8))
    pred, target = torch.zeros(1, 4, 2), torch.tensor([[[0.5, 0.5], [3.0, 3.0], [0.0, 0.0], [1.0, 1.0]]])
    found = RegressionHead("smooth_l1", beta=2.0)(pred, target, plan)["loss"].item()
    assert found == pytest.approx((0.0625 + 2.0 + 0.0 + 0.25) / 4)
    pred = torch.tensor([[[1.0, 0.0]] * 4])
    target = torch.tensor([[[5.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 1.0]]])
    assert RegressionHead("cosine")(pred, target, plan)["loss"].item() == pytest.approx((0 + 1 + 2 + 1 - 0.5**0.5) / 4)
    for options, sentence in (
        ({"beta": 2.0}, 'beta is 2.0 with loss="l2"'),
        ({"loss": "smooth_l1", "beta": 0}, "beta is 0"),
    ):
        with pytest.raises(UsageError, match=sentence):
            RegressionHead(**options)


def test_cross_entropy_by_hand():
    plan = MaskPlan.from_scores(torch.rand(1, 16), 12, (2, 8), weight=torch.tensor([[1.0, 0.0] * 8]))
    logits, tokens = torch.randn(1, 4, 3), torch.tensor([[0, 2, 2, 1]])
    losses = ClassificationHead(label_smoothing=0.1)(logits, tokens, plan)
    chances = logits.log_softmax(dim=-1)[0]
    each = torch.stack([-0.9 * chances[i, t] - 0.1 * chances[i].mean() for i, t in enumerate(tokens[0])])
    assert torch.allclose(losses["loss"], (each * plan.weight[0]).sum() / plan.weight.sum(), atol=1e-6)
    even = MaskPlan.from_scores(torch.rand(1, 16), 12, (2, 8))
    shares = torch.tensor([0.25, 0.25, 0.5])
    constant = ClassificationHead()(logits, tokens, even)["constant_predictor"]
    assert constant.item() == pytest.approx(-(shares * shares.log()).sum().item(), abs=1e-6)
    with pytest.raises(UsageError, match="label_smoothing is 1"):
        ClassificationHead(1)


def test_visible_decoder_puts_tokens_at_their_patches():
    plan = MaskPlan.from_scores(torch.rand(2, 16), 5, (2, 8)).predicting("visible")
    decoder = VisibleDecoder(16, 16)
    decoder.pred.weight.data, decoder.pred.bias.data = torch.eye(16), torch.zeros(16)
    cells = torch.randn(2, 16, 16)
    latent = torch.cat([torch.zeros(2, 1, 16), plan.keep(cells)], dim=1)
    assert torch.allclose(decoder(latent, plan), plan.take_predicted(cells), atol=1e-5)


BOTTLENECK = {"type": "ClassBottleneckDecoder", "depth": 1, "num_heads": 3}


def test_a_task_without_a_target_shares_the_models():
    parts = {"encoder": {"sees": "all", "depth": 4}, "decoder": {"type": "LinearDecoder"}}
    config = {**tiny_config(**parts), "tasks": {"gather": {"decoder": BOTTLENECK, "head": {"type": "RegressionHead"}}}}
    model = MODELS.build(config)
    calls = []
    model.target.register_forward_hook(lambda *_: calls.append(1))
    losses = model(**prepared(model))
    assert len(calls) == 1
    assert torch.allclose(losses["loss"], losses["main"] + losses["gather"])
    assert not any(name.startswith("tasks.gather.target") for name in model.state_dict())


def test_late_layers_reach_the_bottleneck_only_through_the_class_token():
    def build(**options):
        facts = {"encoder_dim": 16, "out_dim": 3, "num_layers": 8}
        return build_part({"type": "ClassBottleneckDecoder", "num_heads": 2, **options}, DECODERS, facts)

    decoder = build()
    assert decoder.layers == [6, 8]
    plan = MaskPlan.from_scores(torch.rand(2, 16), 4, (2, 8))
    early, last, other = torch.randn(3, 2, 17, 16)
    changed = torch.cat([last[:, :1], other[:, 1:]], dim=1)
    assert torch.equal(decoder([early, last], plan), decoder([early, changed], plan))
    assert not torch.allclose(decoder([early, last], plan), decoder([early, other], plan))
    for options, sentence in (
        ({"early_layer": 8}, "early_layer is 8, the last of 8"),
        ({"early_layer": 9}, r"layers is \[9, -1\]"),
        ({"num_prefix_tokens": 0}, "needs a class token"),
    ):
        with pytest.raises(UsageError, match=sentence):
            build(**options)
