"""Which images count as the worst, of each task, and what is said of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from maetool.data.objects import Objects
from maetool.engine.hooks.objects import ObjectsHook
from maetool.errors import UsageError
from maetool.evaluation.matching import unmatched
from maetool.reports.dense import Detected
from maetool.reports.judged import Judged, judged, judged_sections, worst_findings, worst_numbers
from maetool.reports.study import Some
from maetool.reports.worst import WorstCases
from maetool.visualization import boxes

PICTURE = np.zeros((8, 8, 3), np.uint8)
NAN = float("nan")
TRUE = {"boxes": torch.tensor([[0, 0, 10, 10], [20, 20, 30, 30]]), "labels": torch.tensor([0, 1])}


def study_of(labels=None):
    images = SimpleNamespace(classes=["a", "b"])
    return SimpleNamespace(images=images, labels=labels, pictures=lambda places: [PICTURE])


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "missed", "false"),
    [
        ([], [], [], [True, True], []),
        ([[0, 0, 10, 9]], [0], [0.6], [False, True], [False]),
        ([[0, 0, 10, 9]], [1], [0.6], [True, True], [True]),  # another class
        ([[0, 0, 10, 4]], [0], [0.6], [True, True], [True]),  # overlaps too little
        ([[0, 0, 10, 10], [0, 0, 10, 9]], [0, 0], [0.6, 0.9], [False, True], [True, False]),  # twice: the better score
    ],
)
def test_objects_are_matched_once(boxes, labels, scores, missed, false):
    found = {"boxes": torch.tensor(boxes).view(-1, 4), "labels": torch.tensor(labels), "scores": torch.tensor(scores)}
    assert [each.tolist() for each in unmatched(TRUE, found)] == [missed, false]


def test_without_true_objects_all_found_ones_are_false():
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    missed, false = unmatched(none, {**TRUE, "scores": torch.tensor([0.9, 0.8])})
    assert missed.tolist() == [] and false.tolist() == [True, True]


def test_the_worst_come_first_and_what_is_right_or_unknown_is_left_out():
    asked = []
    cases = WorstCases(torch.tensor([0.5, NAN, 0.0, 0.9, 0.7]), lambda i: asked.append(i) or [(PICTURE, "")], "words")
    assert "words" in cases.section() and asked == [3, 4, 0]
    asked.clear()
    assert cases.draw(2) is not None and asked == [3, 4]
    assert "None of 2 images has an error" in WorstCases(torch.zeros(2), lambda i: [], "words").section()


@pytest.mark.parametrize(("trained", "by"), [((), "the classifier"), ("ab", "the classifier"), ("ba", "kNN")])
def test_a_classifier_does_not_judge_classes_of_other_names(trained, by):
    outputs = {"tokens": torch.eye(3), "predicted": torch.zeros(3, 2)}
    study = SimpleNamespace(**vars(study_of(torch.tensor([0, 1, 1]))), outputs=outputs, features=outputs["tokens"])
    assert judged(study, trained).by.startswith(by)


@pytest.mark.parametrize(
    ("trained", "caption"),
    [((), "has no b, 0.90"), ("ab", "has no b, 0.90"), ("ba", "has no a, 0.90"), ("cba", "has no b, 0.90")],
)
def test_several_labels_are_compared_by_their_names(trained, caption, monkeypatch):
    """Data whose classes stand in another order, or that lacks one: the logit of a label is that of its name."""
    logits = torch.tensor([-9.0, 2.1972, -9.0][: len(trained or "ab")]).expand(3, -1)  # 0.9 for the second class
    outputs = {"predicted": logits, "label": torch.zeros(3, 2)}
    study = SimpleNamespace(**vars(study_of()), outputs=outputs)
    found = []
    monkeypatch.setattr(WorstCases, "section", lambda cases: found.append(cases) or "")
    list(judged_sections(study, [], trained))
    assert found[0].cells(0)[0][1] == caption


def test_findings_of_other_names_are_refused():
    outputs = {"predicted": torch.zeros(3, 2), "label": torch.zeros(3, 2)}
    with pytest.raises(UsageError, match="the known classes are `c`, `a`"):
        list(judged_sections(SimpleNamespace(**vars(study_of()), outputs=outputs), [], "ca"))


class Lacking:
    """Two images with an object each; the data has the last class of the model alone."""

    classes = ["c"]

    def __len__(self):
        return 2

    def __getitem__(self, key):
        objects = Objects(torch.tensor([[2.0, 2, 6, 6]]), torch.tensor([0]), None)
        return {"inputs": torch.zeros(3, 8, 8, dtype=torch.uint8), "objects": objects, "content": torch.tensor([8, 8])}

    def __getitems__(self, keys):
        return [self[key] for key in keys]

    def key_of(self, index):
        return index


class Detector(torch.nn.Module):
    """Finds the object, of the class 2 of 3."""

    def data_preprocessor(self, batch):
        return {"images": batch["inputs"], "data_samples": {}}

    def forward(self, images, samples, mode):
        box = torch.tensor([[2.0, 2, 6, 6]])
        return [{"boxes": box, "labels": torch.tensor([2]), "scores": torch.tensor([0.9])}] * len(images)


def test_objects_of_data_that_lacks_a_class_are_compared_by_its_name():
    (section,) = Detected(Detector().eval(), Some(Lacking(), 2), ["a", "b", "c"]).sections()
    assert "None of 2 images has an error" in section
    (section,) = Detected(Detector().eval(), Some(Lacking(), 2), ["c", "a", "b"]).sections()
    assert "has an error" not in section and "The data lacks a, b, which the model was trained on" in section
    with pytest.raises(UsageError, match="The data has the class `c`"):
        next(Detected(Detector().eval(), Some(Lacking(), 2), ["a", "b"]).sections())


def test_a_training_draws_objects_of_data_that_lacks_a_class(monkeypatch):
    drawn = []
    monkeypatch.setattr(boxes, "draw_objects", lambda *image: drawn.append(image[1:]) or PICTURE)
    runner = SimpleNamespace(
        val_loop=object(),
        val_dataloader=SimpleNamespace(dataset=Lacking()),
        trained_classes=["a", "b", "c"],
        bare_model=Detector(),
        visualizer=SimpleNamespace(add_image=lambda *picture, step: None),
        **{"seed": 0, "epoch": 0, "max_epochs": 1},
    )
    ObjectsHook().after_train_epoch(runner)
    assert [[classes[label] for label in each["labels"]] for each, classes in drawn] == [["c"]] * 4


def test_errors_of_classes_findings_and_numbers():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    worst = Judged(study_of(torch.tensor([0, 0, 0])), scores, "kNN").worst()
    assert torch.equal(worst.errors, torch.tensor([0.0, 0.8, 0.6])) and worst.cells(1)[0][1] == "a → b 0.80"

    true = torch.tensor([[1.0, 0.0], [NAN, 0.0], [NAN, NAN]])
    worst = worst_findings(study_of(), true, torch.tensor([[0.25, 0.75], [1.0, 0.25], [1.0, 1.0]]), "ab")
    assert worst.errors.tolist() == [0.75, 0.0, 0.0]
    assert worst.cells(0)[0][1] in ("has a, 0.25", "has no b, 0.75")

    true = torch.tensor([[0.0, 10.0], [2.0, NAN], [4.0, 30.0]], dtype=torch.float64)  # deviations 1.63 and 10
    predicted = torch.tensor([[0.0, 20.0], [4.0, 0.0], [4.0, 30.0]], dtype=torch.float64)
    worst = worst_numbers(study_of(), true, predicted, ["x", "y"])
    assert worst.errors.tolist() == pytest.approx([1.0, 2 / 1.63299, 0.0], rel=1e-4)
    assert worst.cells(1)[0][1] == "x 2 → 4"
