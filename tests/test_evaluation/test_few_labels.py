"""What features are worth with few labels: draws, spreads and sentences."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics

from maetool.errors import UsageError
from maetool.evaluation import hog_features
from maetool.evaluation.feature_scores import class_metrics
from maetool.evaluation.few_labels import ClassTask, Judgement, NumberTask, draw_labels, judge, rare_classes, verdict
from maetool.evaluation.knn import knn_scores
from maetool.evaluation.linear_probe import linear_probe_scores


def sets(number=200, several=False):
    """Return features of which `good` tells the label and `bad` does not."""
    generator = torch.Generator().manual_seed(3)
    label = torch.arange(number) % 3
    good = 2 * torch.nn.functional.one_hot(label, 3) + torch.randn(number, 3, generator=generator)
    bad = torch.randn(number, 3, generator=generator)
    label = torch.nn.functional.one_hot(label, 3).float() if several else label
    arrays = {"good": good, "bad": bad, "label": label, "index": torch.arange(number)}
    half = number // 2
    return ({name: each[:half] for name, each in arrays.items()}, {name: each[half:] for name, each in arrays.items()})


def probabilities(title, bank, query, several):
    """Return what a predictor takes for the probabilities of the classes."""
    if title == "kNN":
        return knn_scores(bank["good"], bank["label"], query["good"], k=7).double().numpy()
    logits = linear_probe_scores(bank["good"], bank["label"], query["good"])
    return (logits.sigmoid() if several else logits.softmax(dim=1)).numpy()


@pytest.mark.parametrize("title", ["linear probe", "kNN"])
@pytest.mark.parametrize("several", [False, True])
def test_metrics_are_those_of_scikit_learn(several, title):
    bank, query = sets(several=several)
    values = judge(ClassTask("abc", k=7), bank, query, "good", draws=2)[title].values
    scores = probabilities(title, bank, query, several)
    truth = query["label"].numpy() if several else np.eye(3)[query["label"].numpy()]
    assert values["mean_auroc"] == pytest.approx(metrics.roc_auc_score(truth, scores) * 100)
    assert values["mean_average_precision"] == pytest.approx(metrics.average_precision_score(truth, scores) * 100)
    decided = scores > 0.5 if several else np.eye(3)[scores.argmax(axis=1)]
    assert values["macro_f1"] == pytest.approx(metrics.f1_score(truth, decided, average="macro") * 100)
    if not several:
        told = scores.argmax(axis=1)
        expected = metrics.balanced_accuracy_score(query["label"], told) * 100
        assert values["mean_class_accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("several", [False, True])
def test_a_guess_has_what_is_more_likely_than_not(several):
    """Shares below a half, as of most findings of a patient, are no prediction that all have them."""
    label = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    label = torch.nn.functional.one_hot(label, 3).float() if several else label
    arrays, task = {"label": label, "index": torch.arange(10)}, ClassTask("abc")
    values = task.metrics(task.guess(arrays).expand(10, 3), arrays)
    assert values["macro_f1"] == pytest.approx(100 * (2 * 0.6 / 1.6) / 3)  # of the first class
    assert values["mean_auroc"] == 50


def test_classes_that_no_image_shows_are_never_predicted():
    told = torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    query = {"label": torch.tensor([0, 1, 2]), "index": torch.arange(3)}
    values = class_metrics(told, query, ["a", "b", "c"])
    assert values["top1"] == pytest.approx(200 / 3) and values["mean_class_accuracy"] == pytest.approx(200 / 3)
    areas = [metrics.roc_auc_score(query["label"] == k, told[:, k]) for k in (0, 1)]
    assert values["mean_auroc"] == pytest.approx(100 * np.mean([*areas, 0.5]))


@pytest.mark.parametrize("labels", [12, None])
@pytest.mark.parametrize("several", [False, True])
def test_draws_tell_what_is_better(labels, several):
    bank, query = sets(several=several)
    good, bad = (judge(ClassTask("abc"), bank, query, name, labels, 6)["linear probe"] for name in ("good", "bad"))
    assert verdict(good, bad, "noise").startswith("better than noise by ")
    assert verdict(bad, good, "the good").startswith("worse than the good by ")
    assert verdict(good, good, "itself") == "not clearly better than itself (+0.0 points, spread 0.0)"
    assert len(good.draws) == 6 and 0.3 < good.spread("mean_auroc") < 10
    again = judge(ClassTask("abc"), bank, query, "good", labels, 6)["linear probe"]
    assert again == good  # a verdict does not change from run to run


@pytest.mark.parametrize("several", [False, True])
def test_rare_classes_are_judged_by_average_precision(several):
    """Of 300 images 12 have the class; a ranking that puts 20 others before them has an AUROC of 93 % all the same."""
    generator = torch.Generator().manual_seed(0)
    label = (torch.arange(300) % 25 == 0).long()
    sharp = label + 0.3 * torch.randn(300, generator=generator)
    blunt = torch.where(torch.arange(300) % 15 == 1, 1.2, sharp)
    truth = torch.nn.functional.one_hot(label, 2).float() if several else label
    assert rare_classes(truth) == [1]
    query = {"label": truth, "index": torch.arange(300)}
    values = []
    for ranked in (sharp, blunt):
        logits = torch.stack([-8 * (ranked - 0.5), 8 * (ranked - 0.5)], dim=1)
        values.append(ClassTask("ab", rare=[1]).metrics(logits, query))
        expected = metrics.average_precision_score(label.numpy(), logits[:, 1].numpy())
        assert values[-1]["rare_average_precision"] == pytest.approx(expected * 100)
    own, other = (Judgement(each, [each] * 2, telling=12) for each in values)
    assert own.values["mean_auroc"] - other.values["mean_auroc"] < 10
    gain = own.values["rare_average_precision"] - other.values["rare_average_precision"]
    assert gain > 20
    assert verdict(own, other, "x") == f"better than x by {gain:.1f} points, spread 0.0"


def test_classes_of_even_shares_are_not_rare():
    assert rare_classes(torch.arange(400) % 40) == []
    assert rare_classes(torch.cat([torch.arange(400) % 4, torch.full((20,), 4)])) == [4]
    assert rare_classes(torch.cat([torch.arange(560) % 7, torch.full((30,), 7)])) == []  # 5 %, where 12.5 % are even
    assert rare_classes(torch.tensor([[1.0, math.nan], [0, math.nan]])) == []


def test_a_small_gain_is_not_clear():
    own = Judgement({"mean_auroc": 71.0}, [{"mean_auroc": 71.0 + noise} for noise in (-1.2, 0, 1.2)] * 4, 5)
    other = Judgement({"mean_auroc": 70.0}, [{"mean_auroc": 70.0}] * 12, 5)
    assert verdict(own, other, "the untrained encoder") == (
        "not clearly better than the untrained encoder (+1.0 points, spread 1.0)"
    )
    own.values["mean_auroc"] = 73.4
    assert verdict(own, other, "x") == "better than x by 3.4 points, spread 1.0"


@pytest.mark.parametrize(("draws", "clear"), [(2, False), (5, False), (10, True), (40, True)])
def test_a_spread_of_few_draws_is_trusted_less(draws, clear):
    """A gain of 2.2 spreads, each draw one of two values around it."""
    noise = torch.tensor([-1.0, 1.0]).repeat(draws)[:draws]
    noise = noise / noise.std()
    own = Judgement({"mean_auroc": 72.2}, [{"mean_auroc": 72.2 + each} for each in noise.tolist()], 30)
    other = Judgement({"mean_auroc": 70.0}, [{"mean_auroc": 70.0}] * draws, 30)
    assert verdict(own, other, "x").startswith("better than x by 2.2 points" if clear else "not clearly better than x")


def test_images_of_one_class_cannot_be_compared():
    nothing = Judgement({"r2": math.nan}, [{"r2": math.nan}] * 2, 9)
    assert verdict(nothing, nothing, "x").startswith("nothing to compare with x")


@pytest.mark.parametrize(
    ("label", "rare", "said"),
    [
        (torch.tensor([0] * 8 + [1] * 2), [], "too few to compare with x (2 images not of the commonest class, 5 are"),
        (torch.tensor([0] * 90 + [1] * 9 + [2]), [2], "too few to compare with x (1 image of a rare class, 5 are"),
        (torch.tensor([[1.0, 0]] * 9 + [[0, math.nan]]), [], "too few to compare with x (1 image not of the commonest"),
        (torch.tensor([0] * 5 + [1] * 5), [], "better than x by 100.0 points"),
    ],
)
def test_a_comparison_on_a_few_images_is_none(label, rare, said):
    """All of them right, and all of them wrong."""
    scores = torch.nn.functional.one_hot(label, 3).float() if label.ndim == 1 else label.nan_to_num()
    task = ClassTask("abc"[: scores.shape[1]], rare=rare)
    task.predictors = {"told": lambda bank, labels, query: query}
    query = {"label": label, "index": torch.arange(len(label)), "right": scores, "wrong": -scores}
    own, other = (judge(task, query, query, name)["told"] for name in ("right", "wrong"))
    assert verdict(own, other, "x").startswith(said)


def test_every_draw_has_every_class_and_no_image_twice():
    labels = torch.tensor([0] * 50 + [1] * 2 + [2] * 30)
    drawn = [draw_labels(labels, 5, torch.Generator().manual_seed(seed)).tolist() for seed in range(20)]
    assert all(len(set(each)) == 5 and set(labels[each].tolist()) == {0, 1, 2} for each in drawn)
    assert len({tuple(sorted(each)) for each in drawn}) > 15
    assert sorted(draw_labels(labels, 82, torch.Generator()).tolist()) == list(range(82))
    assert draw_labels(labels, None, torch.Generator()).tolist() == list(range(82))
    for number, sentence in ((2, "must be at least 3, one for each class"), (83, "there are 82 images to fit on")):
        with pytest.raises(UsageError, match=sentence):
            draw_labels(labels, number, torch.Generator())


@pytest.mark.parametrize("labels", [30, None])
def test_numbers(labels):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(120, 4, generator=generator)
    numbers = torch.stack([features[:, 0] * 3 + 5, features[:, 1] - features[:, 2]], dim=1)
    numbers[3, 1] = math.nan  # unknown
    arrays = {"f": features, "noise": torch.randn(120, 4, generator=generator), "label": numbers}
    arrays["index"] = torch.arange(120)
    bank, query = {k: v[:80] for k, v in arrays.items()}, {k: v[80:] for k, v in arrays.items()}
    task = NumberTask(k=5)
    told, noise = (judge(task, bank, query, name, labels) for name in ("f", "noise"))
    assert told["linear probe"].values["r2"] > 0.99 > told["kNN"].values["r2"] > 0.3
    guess = task.metrics(task.guess(bank).expand(40, 2), query)
    assert -0.2 < guess["r2"] <= 0 and guess["rmse"] > guess["mae"] > 0.5
    assert verdict(told["linear probe"], noise["linear probe"], "noise").startswith("better than noise by ")


def test_hog_sees_orientation_and_no_brightness():
    stripes = (torch.arange(32) // 2 % 2).float().expand(1, 3, 32, 32)
    features = hog_features(None, torch.cat([stripes, stripes * 5 + 2, stripes.transpose(2, 3)]))
    assert features.shape == (3, 3 * 9 * 64)
    torch.testing.assert_close(features[0], features[1])
    assert (features[0] - features[2]).norm() > 1
    assert hog_features(None, torch.rand(2, 1, 21, 50)).shape == (2, 9 * 10 * 8)
    assert hog_features(None, torch.rand(2, 1, 5, 3)).shape == (2, 9 * 5 * 3)
