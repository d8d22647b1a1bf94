"""The one table of metric names: words, units and directions, of maetool's metrics and of those of plugins."""

import json

import pytest
from mmengine.evaluator import BaseMetric

from maetool.engine.building import with_rule
from maetool.engine.hooks.loss_curve import measured
from maetool.engine.summary import summarise
from maetool.engine.sweep import Row, collect, to_markdown, write_result
from maetool.errors import UsageError
from maetool.evaluation.names import (
    METRIC_NAMES,
    MetricName,
    headlines,
    is_better_when,
    is_constant,
    register_metric_name,
    say_metric,
)
from maetool.registry import METRICS
from maetool.visualization.curves import draw_curves, read_logs


@METRICS.register_module()
class Sharpness(BaseMetric):
    """A metric of a plugin, which says in its class what its metrics are called."""

    default_prefix = "plugin"
    metric_names = {"sharpness": MetricName("sharpness of the edges", "%", "greater", features=True)}

    def process(self, data_batch, data_samples):
        self.results += [1.0] * len(data_samples)

    def compute_metrics(self, results):
        return {"sharpness": 50.0}


@pytest.fixture
def distance():
    """Return the name of a metric that a plugin registers by a call."""
    register_metric_name("distance", MetricName("distance to the mean", better="less"))
    return "distance"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("knn", 71.63, "kNN accuracy 71.6 %"),
        ("top1", 90.04, "top-1 accuracy 90.0 %"),
        ("box_ap_small", 12.0, "box AP small 12.0 %"),
        ("loss", 0.41834, "loss 0.4183"),
        ("feature_rank", 3.0, "feature rank 3.0000"),  # which nobody named
        ("counted/images", 8, "counted/images 8"),
        ("plugin/sharpness", 50.0, "sharpness of the edges 50.0 %"),
        ("calibration_error", 5.0, "calibration error 5.0 %"),
    ],
)
def test_words(name, value, words):
    assert say_metric(name, value) == words


def test_directions(distance):
    expected = {"knn": "greater", "calibration_error": "less", "loss": "less", "my/some_error": "less", "rank": ""}
    expected |= {distance: "less", "plugin/sharpness": "greater", "constant_predictor": "", "masked_fraction": ""}
    assert {name: is_better_when(name) for name in expected} == expected
    assert is_constant("masked_fraction") and not is_constant("loss") and not is_constant("rank")


def test_a_registered_name_may_not_change_what_maetool_means():
    with pytest.raises(UsageError, match="`knn` is a metric of maetool, kNN accuracy: choose another name"):
        register_metric_name("knn", MetricName("my kNN"))
    register_metric_name("knn", METRIC_NAMES["knn"])
    with pytest.raises(UsageError, match="better='high', but it must be one of '', 'greater', 'less'"):
        MetricName("mine", better="high")


def test_headlines_have_an_order(distance):
    found = headlines([distance, "knn", "top5", "nobody", "top1", "plugin/sharpness"])
    assert list(found) == ["top1", "knn", "plugin/sharpness", distance]


@pytest.mark.parametrize(
    ("hook", "rule"),
    [
        ({"type": "EarlyStoppingHook", "monitor": "knn"}, "greater"),
        ({"type": "EarlyStoppingHook", "monitor": "distance"}, "less"),
        ({"type": "EarlyStoppingHook", "monitor": "knn", "rule": "less"}, "less"),
        ({"type": "mmengine.hooks.CheckpointHook", "save_best": "calibration_error"}, "less"),
        ({"type": "EarlyStoppingHook", "monitor": "nobody"}, None),
        ({"type": "CheckpointHook", "save_best": ["knn"]}, None),
        ({"type": "LogHook"}, None),
    ],
)
def test_hooks_of_mmengine_get_the_rule(distance, hook, rule):
    assert with_rule(hook).get("rule") == rule


def write_logs(folder, *records):
    path = folder / "20260101_000000" / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_the_summary_the_curves_and_the_table_read_it(tmp_path, distance):
    first = {"val/knn": 16.0, "val/knn_pixels": 53.1, "val/plugin/sharpness": 20.0, "val/distance": 4.0, "step": 0}
    last = {"val/knn": 71.6, "val/plugin/sharpness": 50.0, "val/distance": 2.0, "val/top5": 3.0, "step": 9}
    write_logs(tmp_path / "seed_0", {"loss": 1.0, "step": 1}, first, last, {"val/nobody": 1.0, "step": 9})
    lines = [" ".join(line.split()) for line in summarise(tmp_path / "seed_0").splitlines()]
    assert lines == [
        "training loss 1.000 -> 1.000",
        "kNN accuracy, untrained -> trained 16.0 % -> 71.6 %",
        "kNN on raw pixels 53.1 %",
        "sharpness of the edges, untrained -> trained 20.0 % -> 50.0 %",
        "distance to the mean 4.000 -> 2.000",
    ]
    logs = read_logs(tmp_path / "seed_0")
    assert list(measured(logs)) == ["val/knn", "val/plugin/sharpness", "val/distance"]
    draw_curves(logs, tmp_path / "curves.png", measured(logs))
    write_result(tmp_path / "seed_0", Row("x.py"))
    head, _, row = to_markdown(collect(tmp_path.parent, [tmp_path.name])).splitlines()
    assert head == (
        "| run | seeds | kNN % | untrained kNN % | kNN on raw pixels % | sharpness of the edges % | "
        "untrained sharpness of the edges % | distance to the mean |"
    )
    assert row == f"| {tmp_path.name} | 1 | 71.6 | 16.0 | 53.1 | 50.0 | 20.0 | 2.000 |"


def test_what_was_measured_is_drawn(tmp_path):
    from PIL import Image

    logs = {"loss": {0: 1.0, 1: 0.5}, "val/knn": {0: 16.0, 1: 71.6}, "val/odd": {0: 1.0, 1: 2.0}}
    entries = {"val/knn": METRIC_NAMES["knn"], "val/odd": MetricName("odd")}
    sizes = []
    for names in ([], ["val/knn"], ["val/knn", "val/odd"]):
        path = tmp_path / f"{len(names)}.png"
        draw_curves(logs, path, {name: entries[name] for name in names})
        sizes.append((Image.open(path).size, path.read_bytes()))
    assert [size for size, _ in sizes] == [(960, 540), (960, 540), (960, 840)]
    assert sizes[0][1] != sizes[1][1]
