"""kNN and a linear probe on a user's folder."""

import pytest
import torch
from PIL import Image

from maetool.config.user_data import places
from maetool.data import ShapesDataset
from maetool.errors import UsageError
from maetool.pretrained.frozen import FrozenEncoder
from maetool.pretrained.quick_eval import UNTRAINED, QuickEvaluation, judged_by, to_text, with_spreads
from maetool.testing import tiny_model


@pytest.fixture
def model():
    model = tiny_model()
    return FrozenEncoder(model.encoder, model.data_preprocessor, {})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures of three classes that their colour tells apart."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = ShapesDataset(60, (16, 32), seed=1)
    for i in range(60):
        path = tmp_path / "data" / ("red", "green", "blue")[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = data[i]["inputs"] // 4
        picture[i % 3] += 190
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)
    return tmp_path / "data"


def evaluate(folder, model, **arguments):
    evaluation = QuickEvaluation(*places(folder, True), batch_size=16, workers=0, **arguments)
    return evaluation.run({"": model}), evaluation


def test_a_folder_is_split_and_measured(folder, model):
    found, evaluation = evaluate(folder, model)
    assert "to learn: 3 classes, 48 labelled images" in evaluation.describe()
    assert "to ask: 3 classes, 12 labelled images" in evaluation.describe()
    assert found["guess from the shares of the classes"]["top1"] == pytest.approx(100 / 3)
    assert found["kNN on pixels"]["top1"] == 100
    assert found["linear probe"]["top1"] > 90
    assert set(found) >= {"kNN", "linear probe on pixels"}
    assert evaluate(folder, model)[0] == found
    assert "linear probe on pixels" in to_text(found) and "100.0 %" in to_text(found)


def test_images_that_cannot_be_read_are_counted(folder, model):
    (folder / "red" / "30.png").write_bytes(b"no image")
    describe = evaluate(folder, model)[1].describe()
    assert describe.count(" 1 of them cannot be read and do not count.") == 1


def test_several_labels(folder, model):
    lines = ["path,red,green,second"]
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        lines.append(f"{path.relative_to(folder)},{path.match('red/*'):d},{path.match('green/*'):d},{number % 2}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    found, _ = evaluate(folder / "labels.csv", model)
    assert found["linear probe"]["mean_average_precision"] > 75
    assert found["guess from the shares of the classes"]["mean_auroc"] == pytest.approx(50)
    assert list(found["kNN"]) == ["mean_auroc", "mean_average_precision", "macro_f1"]


def test_classes_are_matched_by_name(folder, model):
    """A validation folder without the first class: numbered by itself, everything in it would be wrong."""
    split = folder.with_name("split")
    split.mkdir()
    (split / "train").symlink_to(folder)
    for name in ("green", "red"):
        (split / "val" / name).mkdir(parents=True)
        for path in sorted((folder / name).iterdir())[:4]:
            (split / "val" / name / path.name).write_bytes(path.read_bytes())
    found, evaluation = evaluate(split, model)
    assert found["kNN on pixels"]["top1"] == 100
    assert "to ask: 2 classes, 8 labelled images: " in evaluation.describe()
    (split / "val" / "red").rename(split / "val" / "crimson")
    with pytest.raises(UsageError, match="has the class `crimson`"):
        evaluate(split, model)


def test_mistakes(folder, model):
    with pytest.raises(UsageError, match="k is 0"):
        evaluate(folder, model, k=0)
    with pytest.raises(UsageError, match="has no class"):
        evaluate(folder / "blue", model)
    for name in ("green", "red"):
        for path in (folder / name).iterdir():
            path.unlink()
    with pytest.raises(UsageError, match="only the class `blue`"):
        evaluate(folder, model)


def test_scores_of_neighbours_are_shares():
    from maetool.evaluation import knn_scores

    generator = torch.Generator().manual_seed(0)
    bank, query = torch.randn(30, 4, generator=generator), torch.randn(5, 4, generator=generator)
    labels = torch.randint(3, (30,), generator=generator)
    scores = knn_scores(bank, labels, query, k=7)
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(knn_scores(bank, torch.eye(3)[labels], query, k=7), scores)


def test_at_other_sizes_what_was_learned_at_the_encoders(folder, model):
    found, _ = evaluate(folder, model, sizes=[(16, 32), (24, 48)])
    for title in ("kNN", "linear probe"):
        assert found[f"{title} at 16x32"] == found[title]
        assert found[f"{title} at 24x48"]["top1"] > 50


def test_few_labels_beside_all_baselines(folder, model):
    evaluation = QuickEvaluation(*places(folder, True), batch_size=16, workers=0, labels=[6, None], draws=3)
    found = evaluation.run({"": model, UNTRAINED: model})
    titles = ["linear probe", "linear probe on pixels", "linear probe on HOG", "untrained, linear probe"]
    assert {f"{title}{number}" for title in titles for number in ("", ", 6 labels")} <= found.keys()
    assert found["linear probe"]["mean_auroc"] >= found["linear probe, 6 labels"]["mean_auroc"]
    few, every = evaluation.verdicts()
    assert few.startswith("With 6 labels: ") and every.startswith("With all labels: ")
    for sentence in (few, every):
        assert "not clearly better than the untrained encoder (+0.0 points, spread 0.0); " in sentence
        assert " than raw pixels" in sentence and " than HOG" in sentence
    assert " +-" in to_text(found, evaluation.spreads) and judged_by(found) == "mean AUROC"
    assert with_spreads(found, evaluation.spreads)["kNN, 6 labels"]["top1_spread"] >= 0
    assert evaluate(folder, model)[0]["linear probe"] == found["linear probe"]
    with pytest.raises(UsageError, match="draws is 1, but must be at least 2"):
        evaluate(folder, model, draws=1)


def test_a_rare_class_decides_by_its_average_precision(folder, model):
    rows = [
        f"{path.relative_to(folder)},{'fine' if i % 14 else 'defect'}"
        for i, path in enumerate(sorted(folder.rglob("*.png")))
    ]
    (folder / "rare.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    found, evaluation = evaluate(folder / "rare.csv", model)
    assert judged_by(found) == "AP of rare classes"
    assert "Rare: defect." in evaluation.describe()
    assert found["guess from the shares of the classes"]["rare_average_precision"] == pytest.approx(100 / 12, abs=4)


def test_numbers_to_predict(folder, model):
    images = sorted(folder.rglob("*.png"))
    lines = [f"{path.relative_to(folder)},{path.match('red/*') * 10 + 5}.5" for path in images]
    (folder / "numbers.csv").write_text("\n".join(["path,size", *lines]) + "\n")
    train, val = ({**place, "targets": ["size"]} for place in places(folder / "numbers.csv", True))
    evaluation = QuickEvaluation(train, val, batch_size=16, workers=0, labels=[20, None], draws=2)
    found = evaluation.run({"": model})
    assert found["guess of the mean"]["r2"] <= 0 < 0.8 < found["linear probe"]["r2"]
    assert "%" not in to_text(found, evaluation.spreads) and judged_by(found) == "R2"
    assert "48 images with numbers" in evaluation.describe()


def test_what_is_not_defined_is_a_dash():
    nan = float("nan")
    text = to_text(
        {"linear probe": {"top1": 50.0, "rare_average_precision": nan, "r2": nan, "mae": 0.25}},
        {"linear probe": {"top1": nan, "mae": 0.5}},
    )
    assert text.splitlines()[1].split() == ["linear", "probe", "50.0", "%", "-", "-", "0.25", "+-0.5"]
