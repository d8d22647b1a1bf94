"""Pages of runs of each kind: a panel, or one line that says why there is none."""

import json
import re
import sys
from html import unescape

import pytest
import torch

from maetool.commands import neighbours
from maetool.config.load import load_for
from maetool.config.prepare import prepare_config
from maetool.errors import UsageError
from maetool.metadata.stored_config import stored_facts
from maetool.registry import MODELS
from maetool.reports import model_sections, run_page, study_of
from maetool.weights.write import write_checkpoint

MASKS, WORST = "Masks", "Worst reconstructions"
NEAR, PATCHES = ("Nearest neighbours", "Map of the features"), ("Features of patches", "Attention")
JUDGED = ("Confusion", "Worst cases")
# The panels of each kind of run, and what is said of the others.
KINDS = {
    "simmim/swin-t_shapes": ((MASKS, WORST, *NEAR, PATCHES[0], *JUDGED), ["SwinTransformer gives no attention"]),
    "siammae/vit-t_moving_shapes": ((MASKS, WORST, *NEAR, *PATCHES, *JUDGED), []),
    "satmae/vit-t_bands": (
        (MASKS, *NEAR, *JUDGED),
        ["StreamTarget cannot be turned back", "lie in 3 streams, not in one", "lie in 3 streams, not in one"],
    ),
    "videomae/vit-t_moving-shapes": ((MASKS, WORST, *NEAR, *JUDGED), ["along three axes", "along three axes"]),
    "mage/vit-t_shapes": ((MASKS,), ["a tensor of 3 axes", "the inputs of the data are of 2 axes"]),
    "detection/vitdet_mask-rcnn_vit-t_shapes": ((JUDGED[1],), ["the data is that of a detector"]),
    "segmentation/linear_vit-t_shapes": ((*NEAR, *PATCHES, *JUDGED), []),
    "finetune/regression_vit-t_shapes": ((*NEAR, *PATCHES, "Predictions", JUDGED[1]), []),
}


def untrained(repository, name, folder):
    """Write the logs and the checkpoint of a run that was not trained."""
    cfg, _ = load_for(repository / f"configs/{name}.py", debug=True)
    prepare_config(cfg)
    meta = {**stored_facts(cfg), "versions": {"maetool": "0.1", "torch": "2.9"}}
    checkpoint = {"meta": meta, "state_dict": MODELS.build(cfg.model).state_dict()}
    folder.mkdir(exist_ok=True)
    write_checkpoint(checkpoint, folder / "epoch_1.pth")
    logs = folder / "1/vis_data/scalars.json"
    logs.parent.mkdir(parents=True)
    logs.write_text(json.dumps({"step": 1, "loss": 1.0}) + "\n")
    return folder


@pytest.mark.parametrize(("name", "expected"), KINDS.items(), ids=KINDS)
def test_each_panel_is_there_or_one_line_says_why(repository, tmp_path, name, expected):
    panels, reasons = expected
    page = run_page([untrained(repository, name, tmp_path)], 12)
    headings = re.findall(r"<h2 [^>]*>([^<]*)</h2>", page)
    left_out = re.findall(r"<p>[^<]*\. They are left out: ([^<]*)</p>", page)
    assert [heading for heading in headings if heading in (MASKS, WORST, *NEAR, *PATCHES, "Predictions", *JUDGED)] == [
        *panels
    ]
    assert ("What this page leaves out" in headings) == bool(reasons)
    assert len(left_out) == len(reasons)
    assert all(reason in unescape(line) for reason, line in zip(reasons, left_out, strict=True)), left_out


def test_pictures_of_several_sizes_are_no_study():
    pictures = [{"inputs": torch.zeros(3, 8, width)} for width in (8, 8, 9)]
    with pytest.raises(UsageError, match="one size, but those of the data have 8x8 and 8x9 pixels"):
        study_of(torch.nn.Identity(), pictures)


class OfTwoSizes:
    """A dataset of which every second picture is lower."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, item):
        sample = self.dataset[item]
        rows = slice(0, 12 if int(sample["index"]) % 2 else None)
        return {**sample, "inputs": sample["inputs"][:, rows], "semantic": sample["semantic"][rows]}

    def __getattr__(self, name):
        return getattr(self.dataset, name)


def test_pictures_of_a_segmentor_that_differ_in_size_are_resized_for_their_features(repository, tmp_path, monkeypatch):
    build = model_sections._build
    monkeypatch.setattr(model_sections, "_build", lambda run, dataset: OfTwoSizes(build(run, dataset)))
    page = run_page([untrained(repository, "segmentation/linear_vit-t_shapes", tmp_path)], 6)
    assert re.search(r"coloured by cluster; 6 images, resized to (\d+)x\1\.", page)
    assert "What this page leaves out" not in page


def test_data_that_moved_is_named(repository, tmp_path, monkeypatch):
    run, looked_at = untrained(repository, "mae/vit-t_shapes", tmp_path / "run"), []
    for name in ("_masks", "_worst"):
        monkeypatch.setattr(f"maetool.reports.model_sections.{name}", lambda *rest: iter(()))
    monkeypatch.setattr(
        "maetool.reports.model_sections.study_of", lambda model, data, *rest, **more: looked_at.append(data)
    )
    run_page([run], 6, data=str(images_in(tmp_path)))
    assert [data.name_of(5) for data in looked_at] == ["5.png"]
    assert looked_at[0][0]["inputs"].shape == (3, 16, 16)  # as the encoder reads them
    with pytest.raises(UsageError, match=r"There is no data at .*nowhere"):
        run_page([run], 6, data="nowhere")
    with pytest.raises(UsageError, match="--data is x, but --images is 0: only the page of one run looks at images"):
        run_page([run], 0, data="x")
    (run / "epoch_1.pth").unlink()
    with pytest.raises(UsageError, match=r"--data is x, but .*run has no checkpoint that can be read"):
        run_page([run], 6, data="x")


def test_any_error_in_a_panel_leaves_out_that_panel_alone(repository, tmp_path, monkeypatch):
    monkeypatch.setattr("maetool.reports.model_sections.masks_figure", lambda *rest: 1 / 0)
    page = run_page([untrained(repository, "mae/vit-t_shapes", tmp_path)], 12)
    assert "Masks. They are left out: ZeroDivisionError: division by zero</p>" in page
    assert WORST in page and JUDGED[0] in page


def test_neighbours_say_what_an_encoder_does_not_give(repository, tmp_path, monkeypatch, capsys):
    run = untrained(repository, "simmim/swin-t_shapes", tmp_path)
    out, images = tmp_path / "out", images_in(tmp_path)
    (images / "empty.png").touch()
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "neighbours",
            str(images),
            "--init",
            str(run / "epoch_1.pth"),
            "--out",
            str(out),
            "--workers",
            "0",
        ],
    )
    neighbours.main()
    told = capsys.readouterr().out
    assert "Pictures of attention are left out: SwinTransformer gives no attention" in told
    assert "6 images, without 1 that cannot be read: wrote neighbours.png" in told
    assert "Pictures of attention. They are left out: SwinTransformer" in (out / "page.html").read_text()
    assert (out / "patches.png").is_file() and not (out / "attention.png").exists()


def images_in(tmp_path):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (32, 32), (40 * number, 0, 90)).save(folder / f"{number}.png")
    return folder
