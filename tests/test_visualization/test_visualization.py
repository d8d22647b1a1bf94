"""Panels and curves."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from maetool.data import ShapesDataset
from maetool.errors import UsageError
from maetool.ops.random import sample_keys
from maetool.testing import tiny_batch, tiny_model
from maetool.visualization import classification, comparison
from maetool.visualization.boxes import draw_objects
from maetool.visualization.curves import draw_curves, draw_runs, read_logs, read_runs
from maetool.visualization.masks import _overlay
from maetool.visualization.overlays import side_by_side, with_legend
from maetool.visualization.pictures import hidden_colour
from maetool.visualization.reconstruction import _CAPTIONS, _draw, first_samples, reconstruction_panel, save_picture


def columns(panel, rows=4, height=128, width=256):
    """Cut a panel of the tiny model (16 x 32 pixels, eight times enlarged) into arrays (rows, 4, height, width, 3)."""
    cells = [
        [panel[26 + r * (height + 6) :][:height, 6 + c * (width + 6) :][:, :width] for c in range(4)]
        for r in range(rows)
    ]
    return np.array(cells)


def test_panel_shows_what_it_says():
    model = tiny_model(target={"norm_pix_loss": False})
    batch = tiny_batch()
    panel = reconstruction_panel(model, batch)
    original, masked, predicted, pasted = (columns(panel)[:, c, ::8, ::8] for c in range(4))
    assert np.array_equal(original, batch["inputs"].permute(0, 2, 3, 1).numpy())
    plan = model.make_plan(torch.zeros(4, 3, 16, 32), batch)
    hidden = plan.mask_at((16, 32)).numpy()
    assert (masked[hidden] == 127).all()
    assert np.array_equal(masked[~hidden], original[~hidden])
    assert (predicted[~hidden] == 127).all()
    assert np.array_equal(pasted[hidden], predicted[hidden])
    assert np.array_equal(pasted[~hidden], original[~hidden])
    assert not np.array_equal(predicted[hidden], original[hidden])


def test_panel_shows_what_the_encoder_sees_and_what_is_predicted():
    model = tiny_model(target={"norm_pix_loss": False}, corruption={"type": "NoiseCorruption", "sigma": (0.5, 0.5)})
    batch = tiny_batch()
    batch["inputs"][:] = 90
    original, masked, _, pasted = (columns(reconstruction_panel(model, batch))[:, c, ::8, ::8] for c in range(4))
    hidden = model.make_plan(torch.zeros(4, 3, 16, 32), batch).mask_at((16, 32)).numpy()
    assert (original == 90).all()
    assert masked[~hidden].std() == pytest.approx(0.5 * 57, rel=0.1), "noise in stored units"
    assert (masked[hidden] == hidden_colour(torch.zeros(3)).numpy()).all()  # the images are grey
    assert np.array_equal(pasted[~hidden], masked[~hidden])


@pytest.mark.parametrize(("at", "ratio", "shown"), [("all", 0.75, 1.0), ("planned", 0.25, 0.25)])
def test_panel_shows_all_predictions_and_nothing_in_place_of_others(at, ratio, shown):
    model = tiny_model(target={"norm_pix_loss": False}, masker={"predict_ratio": ratio})
    model.at = at
    batch = tiny_batch()
    batch["inputs"][:] = 90
    _, masked, predicted, pasted = (columns(reconstruction_panel(model, batch))[:, c, ::8, ::8] for c in range(4))
    given = (predicted != hidden_colour(torch.zeros(3)).numpy()).any(axis=-1)
    assert given.mean() == pytest.approx(shown, abs=0.02)
    assert np.array_equal(pasted[~given], masked[~given])


def test_panel_leaves_the_model_as_it_was():
    model = tiny_model().train()
    reconstruction_panel(model, tiny_batch())
    assert model.training


def test_a_perfect_model_shows_the_original():
    model = tiny_model()
    model.decoder.forward = lambda latent, plan: model.target(model.seen, plan)
    batch = tiny_batch()
    model.seen = model.data_preprocessor(batch)["images"]
    cells = columns(reconstruction_panel(model, batch)).astype(int)
    assert abs(cells[:, 0] - cells[:, 3]).max() <= 1


@pytest.mark.parametrize("in_chans", [1, 2, 6])
def test_other_channels_and_units(in_chans):
    preprocessor = {"mean": [2000.0] * in_chans, "std": [500.0] * in_chans}
    model = tiny_model(encoder={"in_chans": in_chans}, data_preprocessor=preprocessor)
    batch = tiny_batch(in_chans=in_chans)
    batch["inputs"] = batch["inputs"].float() * 16
    cells = columns(reconstruction_panel(model, batch))
    assert cells[:, 0].min() < 10
    assert cells[:, 0].max() > 245
    assert (cells[:, 0, ..., 0] == cells[:, 0, ..., 1]).all() == (in_chans < 3)


def test_a_target_without_pixels_is_refused():
    model = tiny_model()
    model.target.invertible = False
    with pytest.raises(UsageError, match="cannot be turned back into pixels"):
        reconstruction_panel(model, tiny_batch())


def test_first_samples_have_the_keys_of_validation():
    from maetool.data import KeyedSampler

    data = ShapesDataset(6, 32)
    batch = first_samples(data, 10, seed=3)
    keys = [item.key for item in KeyedSampler(data, shuffle=False, seed=3)]
    assert batch["key"].tolist() == keys


class Indexed(Dataset):
    """A dataset without keys, such as torchvision's: it takes plain indices, and draws from the global generators."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        sample = self.samples[index]
        return {**sample, "noise": torch.rand(())} if isinstance(sample, dict) else sample


def test_first_samples_of_a_dataset_without_keys():
    data = Indexed([{"inputs": torch.full((3, 32, 32), index, dtype=torch.uint8)} for index in range(6)])
    batch, again = (first_samples(data, 4, seed=3) for _ in range(2))
    assert batch["inputs"][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert batch["key"].tolist() == sample_keys(3, 0, torch.arange(4)).tolist()
    assert torch.equal(batch["noise"], again["noise"]) and len(batch["noise"].unique()) == 4
    model = tiny_model()
    assert (reconstruction_panel(model, batch) == reconstruction_panel(model, again)).all()


def test_first_samples_without_inputs_are_refused():
    with pytest.raises(UsageError, match=r"`inputs` of a sample, but Indexed returns a tuple without them"):
        first_samples(Indexed([(torch.zeros(3, 32, 32), 1)]), 1, seed=0)


def test_curves_of_a_resumed_and_killed_run(tmp_path):
    for run, start in (("20260101_000000", 0), ("20260102_000000", 3)):
        folder = tmp_path / run / "vis_data"
        folder.mkdir(parents=True)
        lines = [json.dumps({"loss": 1.0 / (i + 1) + start, "step": i}) for i in range(start, start + 5)]
        lines.append(json.dumps({"val/loss": 0.5, "val/knn": 40.0, "step": start}))
        (folder / "scalars.json").write_text("\n".join(lines) + '\n{"loss": 0.3, "st')
    logs = read_logs(tmp_path)
    assert sorted(logs["loss"]) == list(range(8))
    assert logs["loss"][4] == pytest.approx(1 / 5 + 3)  # the resumed run counts
    draw_curves(logs, tmp_path / "curve.png")
    assert Image.open(tmp_path / "curve.png").size == (960, 540)
    draw_curves({}, tmp_path / "nothing.png")
    assert (tmp_path / "nothing.png").is_file()


def test_a_run_that_begins_anew_takes_nothing_of_an_earlier_one_in_its_folder(tmp_path):
    """As of a debug folder: its summary told a metric of another config, and its curve went on with an older run."""
    runs = [
        [{"loss": 5.0, "step": 1}, {"loss": 4.0, "step": 90}, {"val/knn": 40.0, "step": 90}],
        [{"val/loss": 3.0, "step": 0}, {"loss": 2.0, "step": 1}],  # stopped, and resumed
        [{"loss": 1.0, "step": 10}, {"val/loss": 0.5, "step": 10}],
        [{"val/loss": 0.4, "step": 0}],  # an evaluation
    ]
    for number, records in enumerate(runs):
        path = tmp_path / f"2026010{number}_000000" / "vis_data" / "scalars.json"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(map(json.dumps, records)))
    logs = read_logs(tmp_path)
    assert (logs["loss"], logs["val/loss"]) == ({1: 2.0, 10: 1.0}, {0: 0.4, 10: 0.5}) and "val/knn" not in logs


def _write_log(folder, steps_per_epoch, loss):
    path = folder / "20260101_000000" / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    reports = [
        {"loss": loss + step, "epoch": (step - 1) // steps_per_epoch + 1, "step": step} for step in (1, 10, 30, 50)
    ]
    path.write_text("\n".join(map(json.dumps, [*reports, {"val/knn": 10.0 * loss, "step": 50}, {}])))


def _drawn(runs, keys, monkeypatch, **more):
    """Draw runs, and return the panels."""
    kept = []
    monkeypatch.setattr("maetool.visualization.curves.save_figure", lambda figure, path: kept.append(figure))
    draw_runs(runs, keys, 1, None, **more)
    return kept[0].axes


def test_seeds_are_one_line_within_their_range(tmp_path, monkeypatch):
    for seed in (0, 1, 2):
        _write_log(tmp_path / "a" / "mae" / f"seed_{seed}", 25, float(seed))
    _write_log(tmp_path / "b" / "mae", 25, 5.0)
    for place in ("a/mae", "a"):
        runs = read_runs([tmp_path / place, tmp_path / "b"], ["loss", "val/knn"])
        assert {name: len(seeds) for name, seeds in runs.items()} == {"a/mae": 3, "b/mae": 1}
    first, second = _drawn(runs, ["loss", "val/knn"], monkeypatch, words={"val/knn": "kNN %"})
    assert [line.get_label() for line in first.lines] == ["a/mae", "b/mae"]
    assert first.lines[0].get_ydata().tolist() == [2, 11, 31, 51]
    shade = first.collections[0].get_paths()[0].vertices[:, 1]
    assert len(first.collections) == 1 and (shade.min(), shade.max()) == (1, 52)
    assert (first.get_ylabel(), second.get_ylabel()) == ("loss", "kNN %")
    assert list(read_runs([tmp_path / "a/mae/seed_0", tmp_path / "a/mae/seed_1"], ["loss"])) == ["seed_0", "seed_1"]


@pytest.mark.parametrize(("lengths", "epochs"), [((25, 25), 2.0), ((10, 10), 5.0), ((25, 10), None), ((50, 50), None)])
def test_epochs_are_a_second_axis_where_all_runs_have_the_same(tmp_path, monkeypatch, lengths, epochs):
    for number, length in enumerate(lengths):
        _write_log(tmp_path / f"{number}", length, 0.0)
    (panel,) = _drawn(read_runs([tmp_path], ["loss"]), ["loss"], monkeypatch)
    panel.figure.draw_without_rendering()
    assert [axis.get_xlabel() for axis in panel.child_axes] == ["epoch"] * bool(epochs)
    for axis in panel.child_axes:
        assert axis.get_xlim()[1] / panel.get_xlim()[1] == pytest.approx(epochs / 50)


@pytest.mark.parametrize(
    ("values", "unit", "lowest", "highest"),
    [
        ([71.2, 71.6], "%", 66.4, 76.4),
        ([0.0, 0.3], "%", 0, 10.2),
        ([20.0, 80.0], "%", 17, 83),
        ([0.71, 0.72], "", 0.7, 0.73),
    ],
)
def test_percentages_are_drawn_over_ten_points_or_more(monkeypatch, values, unit, lowest, highest):
    kept = []
    for module in ("classification", "comparison"):
        monkeypatch.setattr(f"maetool.visualization.{module}.save_figure", lambda figure, path: kept.append(figure))
    classification.draw_label_curves({"mae": {400: values}}, f"top-1 {unit}".strip(), None)
    if unit:
        assert comparison.draw({"mae": {"top-1 %": values}}, None)
    for figure in kept:
        low, high = figure.axes[0].get_ylim()
        assert lowest - 1 <= low <= min(values) and max(values) <= high <= highest + 1
        assert not unit or high - low >= 10


def test_the_dots_of_a_row_stay_beside_its_name(monkeypatch):
    kept = []
    monkeypatch.setattr("maetool.visualization.comparison.save_figure", lambda figure, path: kept.append(figure))
    titles = [
        "kNN %",
        "untrained kNN %",
        "linear probe %",
        "untrained linear probe %",
        "kNN on raw pixels %",
        "top-1 %",
    ]
    assert comparison.draw({name: {title: [50.0, 60.0] for title in titles} for name in ("a", "b")}, None)
    lines = {line.get_label(): line for line in kept[0].axes[0].lines}
    assert [lines[title].get_linestyle() for title in titles] == ["None", "--", "None", "--", "--", "None"]
    for number in (0, 1):
        places = [lines[title].get_xdata()[2 * number] - number for title in (titles[0], titles[2], titles[5])]
        assert places == pytest.approx([-0.16, 0, 0.16])


def test_damaged_lines_of_a_log_are_counted(tmp_path, caplog):
    path = tmp_path / "1" / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    odd = [b"\xff", b"5", b"[1]", b'{"loss": 9.0, "step": "x"}', b'{"loss": 9.0, "step": [1]}', b"[" * 100_000]
    whole = [json.dumps({"loss": float(i), "step": i}).encode() for i in range(3)]
    path.write_bytes(b"\n".join([whole[0], *odd, *whole[1:], b'{"loss": 0.3, "st']))
    with caplog.at_level("WARNING", "maetool"):
        assert read_logs(tmp_path) == {"loss": {0: 0.0, 1: 1.0, 2: 2.0}, "step": {0: 0, 1: 1, 2: 2}}
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: 6 of 10 lines are damaged and are left out."
    ]


def test_save_picture_makes_the_folder(tmp_path):
    save_picture(np.zeros((4, 5, 3), np.uint8), tmp_path / "a" / "b.png")
    assert Image.open(tmp_path / "a" / "b.png").size == (5, 4)


def gaps(picture, rows):
    """Return the widths of the gaps between letters of a line of text, in pixels."""
    ink = np.flatnonzero((picture[rows] < 200).all(-1).any(0))
    return [width for width in (np.diff(ink) - 1).tolist() if width]


WORDS = "sky sea stone"


@pytest.mark.parametrize("kind", ["caption", "title", "legend", "column"])
def test_the_words_of_a_caption_stand_apart(kind):
    image = np.full((200, 200, 3), 255, np.uint8)
    if kind in ("caption", "title"):
        texts = {"caption": _CAPTIONS["true"], "title": "predicted and visible"}
        drawn = _draw({texts["title"]: torch.from_numpy(image)[None]}, texts["caption"])
        text, rows = texts[kind], slice(-20, None) if kind == "caption" else slice(0, 22)
    else:
        text, rows = WORDS, slice(202, None) if kind == "legend" else slice(0, 19)
        drawn = with_legend(image, [WORDS], [(255, 255, 255)]) if kind == "legend" else side_by_side({WORDS: [image]})
    wide = [gap for gap in gaps(drawn[:, 26:] if kind == "legend" else drawn, rows) if gap >= 4]
    assert len(wide) == text.count(" ")
    drawn_to = np.flatnonzero((drawn[rows] < 200).all(-1).any(0))[-1]
    assert drawn_to < drawn.shape[1] - 2  # nothing is cut off


def test_the_words_at_an_object_stand_apart():
    one = {"boxes": torch.tensor([[0.0, 40.0, 300.0, 200.0]]), "labels": torch.tensor([0])}
    drawn = draw_objects(torch.full((3, 300, 320), 255, dtype=torch.uint8), one, [WORDS])
    black = np.where((drawn < 80).all(-1, keepdims=True), drawn, 255)  # of the letters
    assert sum(gap >= 4 for gap in gaps(black, slice(42, 54))) == 2


@pytest.mark.parametrize("coloured", [True, False])
def test_hidden_patches_are_no_grey_that_a_picture_may_have(coloured):
    picture = torch.full((4, 4, 3), 127, dtype=torch.uint8)
    picture[3, 3, 2] = 200 if coloured else 127
    mask = torch.tensor([[1, 0], [0, 0]])
    red, green, blue = _overlay(picture, mask)[0, 0].tolist()
    assert (red == green == blue == 127) if coloured else blue > red + 50
    assert (_overlay(picture, mask)[0, 3] == 127).all()


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_the_legend_of_a_comparison_is_not_cut(rows, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(comparison, "save_figure", lambda figure, path: drawn.append(figure))
    titles = ["kNN %", "untrained kNN %", "linear probe %", "untrained linear probe %"]
    comparison.draw({f"row_{i}": {title: [50.0] for title in titles} for i in range(rows)}, tmp_path / "c.png")
    (figure,) = drawn
    figure.canvas.draw()
    box, whole = figure.legends[0].get_window_extent(), figure.bbox
    assert (box.x0, box.x1) == (max(box.x0, whole.x0), min(box.x1, whole.x1))
