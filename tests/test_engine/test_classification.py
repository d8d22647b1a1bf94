"""The validation of classifiers: in training, alone, in several processes, and on data of other classes."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModel
from torch.nn import functional
from warm import run_job

from maetool.config.load import change_config, load_config
from maetool.engine import launch
from maetool.errors import UsageError
from maetool.registry import ENCODERS, MODELS
from maetool.visualization.curves import read_logs


class SmallClassifier(BaseModel):
    """A classifier of the shape that the validation expects."""

    task = "classification"

    def __init__(self, encoder, num_classes, multi_label=False, data_preprocessor=None):
        super().__init__(MODELS.build(data_preprocessor))
        self.encoder = ENCODERS.build(encoder)
        self.head = torch.nn.Linear(self.encoder.embed_dim, num_classes)
        self.num_classes, self.multi_label = num_classes, multi_label

    def forward(self, images, data_samples=None, mode="loss"):
        features = self.encoder(images)[:, 1:].mean(dim=1)
        if mode == "tensor":
            return features
        logits = self.head(features)
        if mode == "predict":
            return logits
        loss = functional.binary_cross_entropy_with_logits if self.multi_label else functional.cross_entropy
        return {"loss": loss(logits, data_samples["label"])}


def make_config(repository):
    cfg = load_config(repository / "configs/mae/vit-t_shapes.py")
    encoder = {"type": "VisionTransformer", "img_size": 16, "patch_size": 8, "embed_dim": 32, "depth": 1}
    encoder["num_heads"] = 2
    cfg.model = {"type": SmallClassifier, "encoder": encoder, "num_classes": 8}
    cfg.model.data_preprocessor = {"type": "ImagePreprocessor"}
    cfg.train_dataloader.dataset.num_samples, cfg.train_dataloader.batch_size = 64, 16
    cfg.val_dataloader.dataset.num_samples, cfg.val_dataloader.batch_size = 21, 4
    cfg.val_cfg = {"type": "ClassificationValLoop"}
    cfg.custom_hooks, cfg.effective_batch_size, cfg.train_cfg.max_epochs = [], None, 2
    return cfg


def make_runner(repository, work_dir, options=()):
    cfg = make_config(repository)
    cfg.work_dir = str(work_dir)
    cfg.launcher = "pytorch" if "TORCHELASTIC_RUN_ID" in os.environ else "none"
    change_config(cfg, options)
    return launch.build_runner(cfg)


def by_hand(runner):
    """The metrics of the validation pictures, one at a time."""
    dataset, model = runner.val_dataloader.dataset, runner.bare_model.eval()
    logits = torch.stack([_logits(model, dataset[i]) for i in range(len(dataset))]).double()
    labels = dataset.labels
    right = logits.argmax(1) == labels
    means = [right[labels == c].double().mean() for c in labels.unique()]
    top5 = (logits.topk(5).indices == labels[:, None]).any(1).double().mean()
    expected = {"top1": right.double().mean(), "top5": top5, "mean_class_accuracy": torch.stack(means).mean()}
    loss = -logits.log_softmax(1)[torch.arange(len(labels)), labels].mean()
    return {"loss": loss.item(), **{name: value.item() * 100 for name, value in expected.items()}}


@torch.no_grad()
def _logits(model, sample):
    batch = model.data_preprocessor({"inputs": sample["inputs"][None]})
    return model(batch["images"], mode="predict")[0]


@pytest.fixture(scope="module")
def trained(repository, tmp_path_factory):
    runner = make_runner(repository, tmp_path_factory.mktemp("trained"))
    runner.train()
    return runner


def test_metrics_in_training_are_those_by_hand(trained):
    logs = read_logs(Path(trained.work_dir))
    for name, value in by_hand(trained).items():
        assert logs[f"val/{name}"][8] == pytest.approx(value, abs=1e-3)
    assert 0 < logs["val/calibration_error"][8] < 100
    text = next(Path(trained.work_dir).glob("*/*.log")).read_text()
    assert "8 classes, 64 labelled images: " in text
    assert text.count(" 8 (12.5%)") == 8


def test_every_image_counts_once_in_two_processes(repository, trained, tmp_path):
    """21 pictures: the processes have 11 and 10, in batches of 4, which divides neither."""
    results = run_job([__file__, repository, tmp_path, Path(trained.work_dir) / "epoch_2.pth"], repository)
    assert [result.returncode for result in results] == [0, 0], results[0].stderr[-2000:]
    for process in range(2):
        found = json.loads((tmp_path / f"{process}.json").read_text())
        assert found.pop("index") == list(range(21))
        for name, value in by_hand(trained).items():
            assert found[name] == pytest.approx(value, abs=1e-4)


def test_an_untrained_model_can_be_validated(repository, tmp_path):
    runner = make_runner(repository, tmp_path, ["train_cfg.val_interval=1"])
    assert runner.val()["top1"] == pytest.approx(by_hand(runner)["top1"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["model.num_classes=5"], r"model predicts 5 classes, but the data has 8: set model.num_classes=8"),
        (["model.multi_label=True"], r"model gives several labels per image, but the data has one label per image"),
    ],
)
def test_a_model_for_other_data(repository, tmp_path, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        make_runner(repository, tmp_path, options).val()


if __name__ == "__main__":
    from maetool.cli import run

    def main():
        """Validate a checkpoint in each process, and write what it found."""
        repository, work_dir, checkpoint = sys.argv[1:]
        runner = make_runner(Path(repository), work_dir, [f"load_from={checkpoint}"])
        found = {**runner.val(), "index": runner.val_loop.predictions.index.tolist()}
        Path(work_dir, f"{runner.rank}.json").write_text(json.dumps(found))

    run(main)


def test_balanced_weights_come_from_the_training_data(repository, tmp_path):
    cfg = make_config(repository)
    cfg.model.type, cfg.model.class_weight, cfg.work_dir = "ImageClassifier", "balanced", str(tmp_path / "work")
    cfg.train_dataloader.sampler = {"type": "BalancedSampler"}
    runner = launch.build_runner(cfg)
    runner.train()
    assert type(runner.train_dataloader.sampler).__name__ == "BalancedSampler"
    counts = runner.train_dataloader.dataset.labels.bincount(minlength=8)
    torch.testing.assert_close(runner.bare_model.class_weight, counts.sum() / (8.0 * counts))
    log = next(Path(cfg.work_dir).rglob("*.log")).read_text()
    assert "From the training data: balanced class_weight from " in log
