"""Evaluators: several in one validation, with data, cadence, prefixes and reports of their own."""

import json
import sys
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from warm import run_job

from maetool.errors import UsageError
from maetool.evaluation import BaseEvaluator, MetricName
from maetool.evaluation.names import is_better_when, name_evaluators, say_metric
from maetool.registry import LOOPS, METRICS
from maetool.visualization.curves import read_logs
from maetool.weights.read import read_checkpoint

sys.path.insert(0, str(Path(__file__).parent.parent / "test_engine"))
from runs import EPOCHS, StopAt, make_runner

FINETUNE = "configs/finetune/vit-t_shapes.py"
EVAL = {"batch_size": 4, "num_workers": 0, "sampler": {"type": "KeyedSampler", "shuffle": False}}
EVAL["collate_fn"] = {"type": "collate_samples"}


def drawn(number, seed):
    """Return the config of a loader of drawn shapes."""
    return {**EVAL, "dataset": {"type": "ShapesDataset", "num_samples": number, "seed": seed}}


@METRICS.register_module()
class FeatureScale(BaseEvaluator):
    """An evaluator of a plugin: the mean length of the features, counted from the first measurement on."""

    metric_names = {"feature_scale": MetricName("length of the features", better="less", features=True)}
    files = ("scale.txt",)

    def __init__(self, offset: float = 0.0, dataloader=None, every: int = 1, prefix: str | None = None) -> None:
        super().__init__(dataloader, every, prefix)
        self.offset, self.value = offset, 0.0

    def measure(self, model, data):
        features = data.features({"encoder": lambda model, images: model(images, mode="tensor").flatten(1)})
        self.value = features["encoder"].norm(dim=1).mean().item() + self.offset
        return {"feature_scale": self.value}

    def report(self, folder):
        (folder / "scale.txt").write_text(str(self.value))
        return {"offset": self.offset}


@METRICS.register_module()
class Unnamed(BaseEvaluator):
    """An evaluator that says nothing about its metrics."""

    def __init__(self, dataloader=None, every: int = 1, prefix: str | None = None) -> None:
        super().__init__(dataloader, every, prefix)

    def measure(self, model, data):
        return {"images": float(len(data.dataset)), "odd": object() if self.every == 99 else 1.0}


class Record(Hook):
    """Keeps the metrics of each validation."""

    def __init__(self):
        self.found = []

    def after_val_epoch(self, runner, metrics=None):
        self.found.append((runner.iter, metrics))


def run_with(repository, work_dir, evaluators, bank=None, options=(), hooks=(), **settings):
    loop = {"type": "ValLoop", "evaluators": evaluators, **({"bank_dataloader": bank} if bank else {})}
    sections = {"val_cfg": loop, "val_dataloader": drawn(20, 1), "log_to": [], **settings.pop("sections", {})}
    runner = make_runner(repository, work_dir, options=options, sections=sections, **settings)
    for hook in hooks:
        runner.register_hook(hook, "LOWEST")
    return runner


def all_of_a_classifier(repository, work_dir):
    """Return a runner of a classifier with the evaluators of loss, kNN, probe and classes."""
    evaluators = {"loss": {"type": "LossEvaluator"}, "knn": {"type": "KnnEvaluator", "k": 5}}
    evaluators |= {"probe": {"type": "LinearProbeEvaluator"}, "classes": {"type": "ClassificationEvaluator"}}
    return run_with(repository, work_dir, evaluators, drawn(30, 2), config=FINETUNE)


def alone(repository, work_dir, loop, config=FINETUNE):
    """Return what a loop of 0.1 measures of the same model on the same data."""
    sections = {"val_cfg": loop, "val_dataloader": drawn(20, 1), "log_to": []}
    return make_runner(repository, work_dir, config=config, sections=sections).val()


def test_loss_neighbours_probe_and_classes_in_one_run(repository, tmp_path):
    metrics = all_of_a_classifier(repository, tmp_path / "all").val()
    features = {"type": "KnnValLoop", "k": 5, "linear_probe": True, "bank_dataloader": drawn(30, 2)}
    expected = alone(repository, tmp_path / "knn", features)
    classes = alone(repository, tmp_path / "classes", {"type": "ClassificationValLoop"})
    expected |= {"classes/loss" if name == "loss" else name: value for name, value in classes.items()}
    assert metrics.pop("loss/loss") > 0, "two evaluators give a loss, so that each has its name before it"
    assert metrics.pop("loss/accuracy", 0) >= 0
    metrics = {name: value for name, value in metrics.items() if name in expected}
    assert metrics == expected


def test_neighbours_and_probe_share_a_pass(repository, tmp_path):
    runner = all_of_a_classifier(repository, tmp_path)
    passes = []
    runner.val_loop.read = lambda loader: passes.append(len(loader.dataset)) or iter(loader)
    runner.val()
    assert passes == [20, 30, 20, 20]  # loss; neighbours and those asked, once for both; logits


def test_data_of_their_own(repository, tmp_path):
    evaluators = {"few": {"type": "Unnamed", "dataloader": drawn(8, 5), "prefix": "few"}, "all": {"type": "Unnamed"}}
    metrics = run_with(repository, tmp_path, evaluators).val()
    assert (metrics["few/images"], metrics["images"]) == (8, 20)
    assert metrics == run_with(repository, tmp_path / "b", {"few": None, **dict(reversed(evaluators.items()))}).val()


def test_the_bank_of_an_evaluator_wins(repository, tmp_path):
    """Neighbours that are the images which are asked know every answer."""
    knn = {"type": "KnnEvaluator", "k": 1}
    evaluators = {"same": {**knn, "bank": drawn(20, 1)}, "others": knn}
    metrics = run_with(repository, tmp_path, evaluators, drawn(20, 3)).val()
    assert metrics["same/knn"] == 100.0 > metrics["others/knn"]
    assert list(metrics) == ["same/knn", "others/knn"]


@pytest.mark.parametrize(
    ("prefixes", "names"),
    [
        ((None, None), ["a/feature_scale", "b/feature_scale"]),
        (("x", None), ["x/feature_scale", "feature_scale"]),
        (("", None), ["feature_scale", "b/feature_scale"]),
    ],
)
def test_prefixes_and_reports(repository, tmp_path, prefixes, names):
    evaluators = {
        name: {"type": "FeatureScale", "prefix": prefix, "offset": offset}
        for name, prefix, offset in zip("ab", prefixes, (0.0, 1.0), strict=True)
    }
    runner = run_with(repository, tmp_path / "run", evaluators)
    metrics = runner.val()
    assert list(metrics) == names
    first, second = metrics.values()
    assert second == pytest.approx(first + 1)
    found = runner.val_loop.report(tmp_path)
    assert found == {
        name.replace("feature_scale", "offset"): offset for name, offset in zip(names, (0, 1), strict=True)
    }
    for name, value in metrics.items():
        assert (tmp_path / name).parent.joinpath("scale.txt").read_text() == str(value)


def test_prefixes_of_a_config_are_known():
    evaluators = {"near": {"type": "KnnEvaluator", "k": 1}, "far": {"type": "KnnEvaluator", "prefix": "k50"}}
    name_evaluators({"type": "ValLoop", "evaluators": {**evaluators, "none": None}})
    name_evaluators(None)
    assert say_metric("near/knn", 60.0) == "kNN accuracy (near) 60.0 %"
    assert say_metric("k50/knn", 60.0) == "kNN accuracy (k50) 60.0 %"
    assert is_better_when("near/knn") == "greater"


@pytest.mark.parametrize(
    ("evaluators", "sentence"),
    [
        ({"a": {"type": "LossEvaluatr"}}, "did you mean `LossEvaluator`"),
        ({"a": {"type": "LossEvaluator", "evry": 2}}, "no argument `evry`"),
        ({"a": {"type": "LossEvaluator", "every": 0}}, "every=0, but it must be a whole number from 1"),
        ({"a": {"type": "DumpResults", "out_file_path": "x.pkl"}}, "a is a DumpResults, which is not an evaluator"),
        ({"a": {"type": "KnnEvaluator"}}, "kNN needs labelled neighbours in val_cfg.bank_dataloader"),
        ({"a": {"type": "ClassificationEvaluator"}}, "num_classes"),
        (
            {"a": {"type": "Unnamed"}, "b": {"type": "Unnamed", "prefix": ""}, "c": {"type": "Unnamed", "prefix": ""}},
            "already taken",
        ),
        (
            {"a": {"type": "Unnamed", "every": 99}},
            "a returns a value of type object as `odd`, which cannot be stored in a checkpoint",
        ),
        ({"a": {"type": "KnnEvaluator", "bank": {"batchsize": 3, "dataset": {}}}}, "no argument `batchsize`"),
    ],
)
def test_evaluators_that_are_refused(repository, tmp_path, evaluators, sentence):
    with pytest.raises((UsageError, AttributeError), match=sentence):
        run_with(repository, tmp_path, evaluators).val()


class Looks(Hook):
    """Keeps the shapes of the features that it is shown, as `HealthHook` looks for their collapse."""

    def __init__(self):
        self.shapes = []

    def after_features(self, runner, features):
        self.shapes.append(features["tokens"].shape)


def test_an_optional_one_measures_nothing_without_labels_but_shows_the_features(repository, tmp_path):
    looks = Looks()
    evaluators = {"knn": {"type": "KnnEvaluator", "optional": True}, "loss": {"type": "LossEvaluator"}}
    runner = run_with(repository, tmp_path, evaluators, hooks=[looks])
    assert "knn" not in runner.val()
    assert looks.shapes == [(20, runner.bare_model.encoder.embed_dim)]


def steps_of(record, metric):
    return [iteration for iteration, metrics in record.found if metric in metrics]


def test_cadence_and_a_resume_that_keeps_it(repository, tmp_path):
    evaluators = {"loss": {"type": "LossEvaluator"}, "scale": {"type": "FeatureScale", "every": 2}}
    at_start = ["train_cfg.val_at_start=True", "train_cfg.val_interval=1", "default_hooks.checkpoint.every_n_iters=1"]
    unbroken, first, rest = Record(), Record(), Record()
    runner = run_with(repository, tmp_path / "unbroken", evaluators, options=at_start, hooks=[unbroken])
    runner.train()
    assert steps_of(unbroken, "loss") == [0, 4, 8, 12]
    assert steps_of(unbroken, "feature_scale") == [0, 8, 12]  # at the start, every second one, and the last
    broken = run_with(repository, tmp_path / "broken", evaluators, options=at_start, hooks=[first, StopAt(6)])
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    run_with(repository, tmp_path / "broken", evaluators, options=at_start, hooks=[rest], resume=True).train()
    assert first.found + rest.found == unbroken.found
    assert list(runner.val()) == list(unbroken.found[0][1])


def test_the_best_checkpoint_of_a_metric_that_is_not_always_measured(repository, tmp_path):
    evaluators = {"loss": {"type": "LossEvaluator"}, "scale": {"type": "FeatureScale", "every": 2}}
    options = [
        "default_hooks.checkpoint.save_best=feature_scale",
        "train_cfg.val_at_start=False",
        "train_cfg.val_interval=1",
    ]
    record = Record()
    run_with(repository, tmp_path, evaluators, options=options, hooks=[record]).train()
    values = {iteration: metrics["feature_scale"] for iteration, metrics in record.found if "feature_scale" in metrics}
    assert list(values) == [8, 12]
    (best,) = tmp_path.glob("best_feature_scale_*.pth")
    assert read_checkpoint(best)["meta"]["iter"] == min(values, key=values.get)
    with pytest.raises(UsageError, match="save_best is 'feature_scal', but the validation has the metrics loss"):
        run_with(repository, tmp_path / "b", evaluators, options=[options[0][:-1], *options[1:]]).train()


@pytest.mark.parametrize(
    "settings",
    [
        {"default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 1, "save_best": "feature_scale"}}},
        {"custom_hooks": [{"type": "EarlyStoppingHook", "monitor": "feature_scale", "strict": True, "patience": 9}]},
    ],
)
def test_hooks_of_mmengine_wait_for_their_metric(repository, tmp_path, settings):
    evaluators = {"loss": {"type": "LossEvaluator"}, "scale": {"type": "FeatureScale", "every": 2}}
    record = Record()
    runner = run_with(
        repository, tmp_path, evaluators, options=["train_cfg.val_interval=1"], sections=settings, hooks=[record]
    )
    runner.train()
    assert steps_of(record, "loss") == [0, 4, 8, 12][-len(record.found) :]
    assert steps_of(record, "feature_scale")[-2:] == [8, 12]
    assert bool(list(tmp_path.glob("best_feature_scale*"))) == ("default_hooks" in settings)


def test_the_automatic_choice_of_the_best_stays_with_its_metric(repository, tmp_path):
    evaluators = {"scale": {"type": "FeatureScale", "every": 2}, "loss": {"type": "LossEvaluator"}}
    options = ["default_hooks.checkpoint.save_best=auto", "train_cfg.val_at_start=False", "train_cfg.val_interval=1"]
    runner = run_with(repository, tmp_path, evaluators, options=options)
    runner.train()
    (best,) = tmp_path.glob("best_*.pth")
    assert best.name.startswith("best_loss_"), "the first validation measured the loss alone"


def test_a_metric_of_a_plugin_from_the_config_to_the_end(repository, tmp_path):
    """Early stopping without a rule in the config; words in log, summary, curves, card and table."""
    from maetool.engine.hooks.loss_curve import measured
    from maetool.engine.summary import summarise
    from maetool.engine.sweep import Row, collect, to_markdown, write_result
    from maetool.pretrained.card import _numbers

    stop = {"type": "EarlyStoppingHook", "monitor": "feature_scale", "min_delta": 1e6, "patience": 1}
    work_dir = tmp_path / "row" / "seed_0"
    options = ["train_cfg.val_at_start=True", "train_cfg.val_interval=1"]
    evaluators = {"scale": {"type": "FeatureScale"}}
    runner = run_with(repository, work_dir, evaluators, options=options, sections={"custom_hooks": [stop]})
    runner.train()
    assert runner.iter == 4 < 4 * EPOCHS
    (log,) = work_dir.glob("*/*.log")
    assert "validation | length of the features " in log.read_text()
    values = read_logs(work_dir)["val/feature_scale"]
    assert f"length of the features, untrained -> trained {values[0]:.3f} -> {values[4]:.3f}" in " ".join(
        summarise(work_dir).split()
    )
    assert list(measured(read_logs(work_dir))) == ["val/feature_scale"], "the curves draw it"
    assert _numbers({"iter": 4}, work_dir / "epoch_1.pth", {})[-1] == f"- length of the features {values[4]:.4f}"
    write_result(work_dir, Row("x.py"))
    table = to_markdown(collect(tmp_path, ["row"]))
    assert "| length of the features | untrained length of the features |" in table
    assert f"| {values[4]:.3f} | {values[0]:.3f} |" in table


def test_old_loops_leave_out_the_evaluators_of_a_base(repository, tmp_path):
    sections = {
        "val_cfg": {"type": "KnnValLoop", "bank_dataloader": drawn(20, 3), "evaluators": {"a": {"type": "Unnamed"}}}
    }
    runner = make_runner(repository, tmp_path, sections={"val_dataloader": drawn(20, 1), **sections})
    assert list(runner.val()) == ["knn"]
    (log,) = tmp_path.glob("*/*.log")
    assert 'val_cfg.type=KnnValLoop measures only knn, without the config\'s evaluators (a): use type="ValLoop"' in (
        log.read_text()
    )


def test_a_loop_of_0_1_with_one_evaluator_warns_of_neighbours_that_it_does_not_use(repository, tmp_path):
    sections = {"val_cfg": {"type": "ClassificationValLoop", "bank_dataloader": drawn(20, 3)}}
    runner = make_runner(repository, tmp_path, sections={"val_dataloader": drawn(20, 1), **sections})
    assert list(runner.val_loop.evaluators) == ["classes"]
    (log,) = tmp_path.glob("*/*.log")
    assert "ClassificationValLoop measures only classes and does not use val_cfg.bank_dataloader: " in log.read_text()


def test_what_0_1_wrote_of_neighbours_reaches_the_evaluators(repository, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("maetool.config.earlier_loops.print_log", lambda text, *_: said.append(text))
    options = ["val_cfg.k=3", "val_cfg.linear_probe=True", "val_cfg.bank_dataloader.dataset.num_samples=30"]
    new = make_runner(repository, tmp_path / "new", options=options)
    loop = {"type": "PretrainValLoop", "k": 3, "linear_probe": True, "bank_dataloader": drawn(30, 2)}
    old = make_runner(repository, tmp_path / "old", sections={"val_cfg": loop})
    assert new.val() == old.val()
    assert list(new.val_loop.evaluators) == list(old.val_loop.evaluators) == ["loss", "knn", "linear_probe"]
    assert said == [
        "val_cfg.k is now val_cfg.evaluators.knn.k; the value was moved there.",
        "val_cfg.linear_probe is now val_cfg.evaluators.linear_probe; the value was moved there.",
    ]


def test_a_loop_by_itself_is_found_by_its_name():
    assert LOOPS.get("ValLoop").__module__ == "maetool.evaluation.loop"
    assert issubclass(LOOPS.get("PretrainValLoop"), LOOPS.get("ValLoop"))


def test_every_image_counts_once_in_two_processes(repository, tmp_path):
    """20 images in batches of 4: the processes have 10 each, and agree with one that has them all."""
    expected = all_of_a_classifier(repository, tmp_path / "one").val()
    results = run_job([__file__, repository, tmp_path], repository)
    assert [result.returncode for result in results] == [0, 0], results[0].stderr[-2000:]
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == pytest.approx(expected, abs=1e-4)


if __name__ == "__main__":
    from maetool.cli import run

    def main():
        """Validate in each process, and write what it found."""
        repository, folder = sys.argv[1:]
        runner = all_of_a_classifier(Path(repository), Path(folder) / "two")
        Path(folder, f"{runner.rank}.json").write_text(json.dumps(runner.val()))

    run(main)
