"""The classifier: pooling, frozen encoders, losses."""

import math

import pytest
import torch
from torch.nn import functional

from maetool.data import BalancedSampler, ShapesDataset
from maetool.encoders import VisionTransformer
from maetool.engine.balance import balance
from maetool.engine.optim.param_groups import decay_groups
from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.errors import UsageError
from maetool.models import ImageClassifier
from maetool.testing import tiny_batch


def classifier(num_classes=5, drop_path_rate=0.0, **options):
    torch.manual_seed(0)
    encoder = VisionTransformer(
        img_size=(16, 32), patch_size=(8, 4), embed_dim=24, depth=2, num_heads=3, drop_path_rate=drop_path_rate
    )
    return ImageClassifier(encoder, num_classes, **{"data_preprocessor": {"type": "ImagePreprocessor"}, **options})


def images(number=4):
    return torch.randn(number, 3, 16, 32, generator=torch.Generator().manual_seed(0))


def test_pooling_is_that_of_the_tokens():
    tokens = classifier().eval().encoder(images())
    torch.testing.assert_close(classifier(pooling="cls").eval()(images(), mode="tensor"), tokens[:, 0])
    torch.testing.assert_close(classifier(pooling="avg").eval()(images(), mode="tensor"), tokens[:, 1:].mean(dim=1))


def test_the_own_norm_replaces_the_encoders():
    model = classifier(own_norm=True).eval()
    assert not any(name.startswith("encoder.norm.") for name in model.state_dict())
    features = model(images(), mode="tensor")
    tokens = model.encoder(images())  # not normalised
    expected = functional.layer_norm(tokens[:, 1:].mean(dim=1), (24,), eps=1e-6)
    torch.testing.assert_close(features, expected)


def test_attention_pooling_by_hand():
    model = classifier(pooling="attention", pool_heads=4).eval()
    pool, x = model.pool, model.encoder(images())
    normed = functional.layer_norm(x, (24,), eps=1e-6)
    q_weight, k_weight, v_weight = pool.attn.qkv.weight.chunk(3)
    q = (pool.query[0] @ q_weight.T).view(4, 1, 6)
    k, v = ((normed @ w.T).view(4, 17, 4, 6).transpose(1, 2) for w in (k_weight, v_weight))
    shares = (q @ k.transpose(2, 3) / math.sqrt(6)).softmax(dim=-1)
    expected = (shares @ v).transpose(1, 2).flatten(1) @ pool.attn.proj.weight.T
    torch.testing.assert_close(model(images(), mode="tensor"), expected, atol=1e-5, rtol=1e-5)


def test_logits_are_float32_and_features_feed_the_head():
    model = classifier(batch_norm=True)
    model(images(8), {"label": torch.zeros(8, dtype=torch.int64)})  # moves the statistics of the batch norm
    model.eval()
    features = model(images(), mode="tensor")
    standardised = (features - model.head_norm.running_mean) / (model.head_norm.running_var + 1e-6).sqrt()
    expected = standardised @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(images(), mode="predict"), expected, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(images(), mode="predict").dtype is torch.float32


def test_heads_begin_as_stated():
    model = classifier(num_classes=4000, head_std=0.01)
    assert model.head.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not model.head.bias.any()


def test_losses():
    model, label = classifier().eval(), torch.tensor([0, 1, 2, 4])
    logits = model(images(), mode="predict")
    losses = model(images(), {"label": label})
    torch.testing.assert_close(losses["loss"], functional.cross_entropy(logits, label))
    assert losses["constant_predictor"].item() == pytest.approx(math.log(5))
    assert losses["accuracy"].item() == 100 * (logits.argmax(dim=1) == label).float().mean()


@pytest.mark.parametrize("weight", [None, [1.0, 2.0], "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_constant_predictor_knows_the_shares_of_the_classes(weight, smoothing):
    """The loss of constant logits cannot be lower on the labels of the training data."""
    label = torch.tensor([0] * 31 + [1] * 69)
    model = classifier(num_classes=2, class_weight=weight, label_smoothing=smoothing).eval()
    model.learn_balance(label)
    constant = model(images(), {"label": torch.tensor([0, 1, 1, 1])})["constant_predictor"].item()
    ratios = [torch.tensor([0.0, step / 100]).expand(100, 2) for step in range(-300, 300)]
    best = min(model._losses(logits, {"label": label})["loss"].item() for logits in ratios)
    assert constant == pytest.approx(best, abs=1e-4)
    if weight is None and not smoothing:
        assert constant == pytest.approx(-(0.31 * math.log(0.31) + 0.69 * math.log(0.69)))


@pytest.mark.parametrize(
    "weights", [{}, {"class_weight": [1.0, 3.0]}, {"pos_weight": "balanced"}, {"pos_weight": [2, 5]}]
)
def test_constant_predictor_of_several_labels(weights):
    label = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 0.0]] * 5 + [[math.nan, 1.0]] * 2)
    model = classifier(num_classes=2, multi_label=True, label_smoothing=0.1, **weights).eval()
    model.learn_balance(label)
    constant = model(images(), {"label": label[:4]})["constant_predictor"].item()
    logits = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=50, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = model._losses(logits.expand(10, 2), {"label": label})["loss"]
        value.backward()
        return value

    optimizer.step(loss)
    assert constant == pytest.approx(loss().item(), abs=1e-5)


@pytest.mark.parametrize("several", [False, True])
def test_constant_predictor_of_a_balanced_sampler_is_that_of_what_it_draws(several):
    label = torch.tensor([0] * 90 + [1] * 10)
    label = functional.one_hot(label, 2).float() if several else label
    dataset = ShapesDataset(100, 16)
    dataset.labels, dataset.classes = label, ["a", "b"]
    sampler = BalancedSampler(dataset, seed=0)
    model = classifier(num_classes=2, multi_label=several, class_weight=None if several else "balanced").eval()
    constant = lambda: model(images(), {"label": label[:4]})["constant_predictor"].item()  # noqa: E731
    balance(model, dataset, sampler)
    drawn = label[[key.index for epoch in range(40) for key in epoch_of(sampler, epoch)]]
    other = classifier(num_classes=2, multi_label=several, class_weight=None if several else [5 / 9, 5.0]).eval()
    other.learn_balance(drawn)
    torch.testing.assert_close(model.class_weight, other.class_weight)
    expected = other(images(), {"label": label[:4]})["constant_predictor"].item()
    assert constant() == pytest.approx(expected, abs=0.01)
    model.learn_balance(label)
    assert abs(constant() - expected) > 0.1


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def test_constant_predictor_of_a_class_without_images():
    model = classifier(num_classes=3).eval()
    model.learn_balance(torch.tensor([0, 0, 1, 1]))
    assert model(images(), {"label": torch.tensor([0, 1, 1, 2])})["constant_predictor"].item() == pytest.approx(
        math.log(2)
    )


def test_several_labels():
    model = classifier(multi_label=True, label_smoothing=0.1).eval()
    label = torch.tensor([[1.0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 0]])
    logits = model(images(), mode="predict")
    losses = model(images(), {"label": label})
    p, smoothed = logits.sigmoid(), label * 0.9 + 0.05
    expected = -(smoothed * p.log() + (1 - smoothed) * (1 - p).log()).mean()
    torch.testing.assert_close(losses["loss"], expected)
    assert losses["constant_predictor"].item() == pytest.approx(math.log(2))
    with pytest.raises(UsageError, match=r"shape \(4,\), but with model.multi_label=True and 5 classes .* \(4, 5\)"):
        model(images(), {"label": torch.zeros(4, dtype=torch.int64)})


@pytest.mark.parametrize("pooling", ["cls", "avg", "attention"])
def test_a_probe_leaves_the_encoder_bit_identical(pooling):
    """Also a buffer that moves in training, and drop path, which would show in the features."""
    model = classifier(frozen=True, batch_norm=True, pooling=pooling, drop_path_rate=0.9)
    model.encoder.add_module("counter", torch.nn.BatchNorm1d(3))
    encode = model.encoder.forward
    model.encoder.forward = lambda x: encode(x) + 0 * model.encoder.counter(x.flatten(2)).sum()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrapper = AutocastOptimWrapper(torch.optim.SGD(decay_groups(model), lr=1.0, weight_decay=0.1), dtype="float32")
    wrapper.initialize_count_status(model, 0, 5)
    model.train()
    for _ in range(5):
        model.train_step({**tiny_batch(), "label": torch.tensor([0, 1, 2, 3])}, wrapper)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in changed if name.startswith("encoder.")}
    assert {"head.weight", "head.bias", "head_norm.running_mean"} <= changed
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert not model.encoder.training and model.head.training


def test_statistics_survive_features_that_are_not_finite():
    model = classifier(frozen=True, batch_norm=True)
    label, broken = torch.tensor([0, 1, 2, 3]), images()
    broken[1] = math.inf
    model(images(), {"label": label})
    before = {name: value.clone() for name, value in model.head_norm.state_dict().items()}
    assert not model(broken, {"label": label})["loss"].isfinite()
    assert all(torch.equal(value, before[name]) for name, value in model.head_norm.state_dict().items())


def test_fine_tuning_moves_the_encoder():
    model = classifier(own_norm=True).train()
    model(images(), {"label": torch.tensor([0, 1, 2, 3])})["loss"].backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_drop_path_is_for_training_only():
    model, many = classifier(drop_path_rate=0.5), images(32)  # 64 coins: two passes drop the same once in 2**64
    model.eval()
    assert torch.equal(model(many, mode="tensor"), model(many, mode="tensor"))
    model.train()
    assert not torch.equal(model(many, mode="tensor"), model(many, mode="tensor"))


def test_other_sizes_than_trained_on():
    encoder = VisionTransformer(
        img_size=(16, 32), patch_size=8, embed_dim=24, depth=1, num_heads=3, pos_embed="learned"
    )
    model = ImageClassifier(encoder, 5).eval()
    assert model(torch.zeros(2, 3, 24, 16), mode="predict").shape == (2, 5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_classes": 1}, "num_classes is 1, but must be an integer of at least 2"),
        ({"num_classes": "8"}, "num_classes is '8'"),
        ({"pooling": "max"}, "pooling is 'max', but must be"),
        ({"pooling": "attention", "pool_heads": 5}, "pool_heads is 5, but must be a divisor of"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"data_preprocessor": {"type": "ImagePreprocessor", "mean": [0.0]}}, "3 channels, but data_preprocessor"),
    ],
)
def test_nonsense_is_refused(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        classifier(**options)


def test_batches_that_do_not_fit():
    model = classifier()
    with pytest.raises(UsageError, match=r"batch has no labels: .* with_labels=True"):
        model(images(), {})
    with pytest.raises(UsageError, match=r"\(batch, 3, height, width\), but got \(1, 1, 16, 32\)"):
        model(torch.zeros(1, 1, 16, 32), mode="predict")
    with pytest.raises(UsageError, match="loader gives images of 1 channels, but the model takes 3"):
        model.data_preprocessor({"inputs": torch.zeros(1, 1, 16, 32)})
    with pytest.raises(UsageError, match="mode is 'train'"):
        model(images(), mode="train")


def test_a_class_token_is_needed():
    encoder = VisionTransformer(img_size=16, patch_size=8, embed_dim=24, depth=1, num_heads=3)
    encoder.num_prefix_tokens = 0
    with pytest.raises(UsageError, match=r"no class token to pool"):
        ImageClassifier(encoder, 5, pooling="cls")


def test_unknown_labels_count_nothing_in_the_loss():
    model = classifier(2, multi_label=True).eval()
    labels = torch.tensor([[1.0, torch.nan], [0, 1], [torch.nan, torch.nan], [1, 0]])
    logits, known = model(images(), mode="predict"), ~labels.isnan()
    expected = functional.binary_cross_entropy_with_logits(logits[known], labels[known])
    loss = model(images(), {"label": labels})["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert model(images(), {"label": torch.full((4, 2), torch.nan)})["loss"] == 0


@pytest.mark.parametrize("weights", [[1.0, 2.0, 4.0], "balanced"])
def test_classes_are_weighted(weights):
    model = classifier(3, class_weight=weights).eval()
    model.learn_balance(torch.tensor([0, 0, 0, 0, 1, 1, 2]))
    numbers = torch.tensor([1.0, 2.0, 4.0]) * (7 / 12 if weights == "balanced" else 1)
    labels = torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(model.class_weight, numbers)
    expected = functional.cross_entropy(model(images(), mode="predict"), labels, numbers)
    torch.testing.assert_close(model(images(), {"label": labels})["loss"], expected)


@pytest.mark.parametrize("weights", [[3.0, 0.5], "balanced"])
def test_positive_labels_are_weighted(weights):
    model = classifier(2, multi_label=True, pos_weight=weights).eval()
    sentence = model.learn_balance(torch.tensor([[1, 1], [0, 1], [0, torch.nan], [0, 0]]))
    assert bool(sentence) == (weights == "balanced")
    labels = torch.tensor([[1.0, 0], [0, 1], [1, 1], [0, 0]])
    expected = functional.binary_cross_entropy_with_logits(
        model(images(), mode="predict"), labels, pos_weight=torch.tensor([3.0, 0.5])
    )
    torch.testing.assert_close(model(images(), {"label": labels})["loss"], expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"class_weight": [1.0, 2.0]}, 'must be 5 numbers above 0, one for each class, "balanced" or None'),
        ({"class_weight": [1.0, 2.0, 0.0, 1.0, 1.0]}, "class_weight is .* must be 5 numbers above 0"),
        ({"class_weight": "balance"}, "class_weight is 'balance', but must be 5 numbers"),
        ({"pos_weight": [1.0] * 5}, "pos_weight is for model.multi_label=True"),
    ],
)
def test_weights_that_make_no_sense(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        classifier(5, **options)
