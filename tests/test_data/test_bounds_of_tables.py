"""Annotation files, tables, shards and checkpoints of odd content are told in one sentence, in bounded memory."""

import io
import json
import os
import pickle
import resource
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.data import CocoDataset
from maetool.data.datasets.csv_table import read_table
from maetool.data.datasets.objects.coco_file import read_coco
from maetool.data.datasets.objects.masks import MAX_OUTLINE, decode_mask
from maetool.data.sources.packed.shards import TABLE, ShardTable, ShardWriter
from maetool.errors import UsageError
from maetool.evaluation.coco import CocoScores
from maetool.reading import read_npz
from maetool.weights.read import read_checkpoint
from maetool.weights.work_dir import POINTER, checkpoints_in, newest_readable
from maetool.weights.write import write_checkpoint


def content(**changes):
    annotation = {"id": 0, "image_id": 5, "category_id": 1, "bbox": [10, 10, 20, 10], "iscrowd": 0, "area": 200}
    annotation["segmentation"] = [[10, 10, 30, 10, 30, 20, 10, 20]]
    made = {
        "images": [{"id": number, "file_name": f"{number}.png", "height": 40, "width": 60} for number in (5, 6)],
        "annotations": [annotation, {**annotation, "id": 1, "image_id": 6}],
        "categories": [{"id": 1, "name": "boat"}, {"id": 2, "name": "bird"}],
    }
    for place, values in changes.items():
        made[place][0].update(values)
    return made


@pytest.fixture
def folder(tmp_path):
    for number in (5, 6):
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("far", [1e8, -1e8, 1e300, float("inf"), float("nan"), 10**30])
def test_a_far_corner_takes_no_memory(far):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for corner in ([far, 20], [20, far]):
        with pytest.raises(
            ValueError, match=r"its segmentation has (a corner further outside|corners that are no numbers)"
        ):
            decode_mask([[1, 1, 20, 1, *corner, 1, 20]], (64, 48))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_outlines_beyond_the_border_are_cut_off():
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(60), indexing="ij")
    inside = [[10, 10, 30, 10, 30, 20, 10, 20]]
    assert torch.equal(decode_mask(inside, (40, 60)), (columns >= 10) & (columns < 30) & (rows >= 10) & (rows < 20))
    beyond = [[-60, -40, 120, -40, 120, 20, -60, 20]]  # as far as an image is large
    assert torch.equal(decode_mask(beyond, (40, 60)), rows < 20)
    for corner in ((-60.1, 0), (120.1, 0), (0, -40.1), (0, 80.1)):
        with pytest.raises(ValueError, match="further outside of the image of 40 x 60 pixels"):
            decode_mask([[5, 5, 20, 5, *corner]], (40, 60))


def test_outlines_of_many_long_edges_are_refused():
    with pytest.raises(ValueError, match=f"more than {MAX_OUTLINE:,}"):
        decode_mask([[0, 0, 9000, 9000] * 300], (9000, 9000))
    zigzag = [[0, 0, 900, 900] * 300]
    assert decode_mask(zigzag, (1000, 1000)).shape == (1000, 1000)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([5, 5], "whose sum is 2,400"),
        ([-5, 2405], "whose sum is 2,400"),
        ([1200.0, 1200], "whole numbers"),
        ([2**70], "whose sum"),
        (["a"], "whole numbers"),
        ("o" * 10_000, "10,000 characters, too many"),
        ("\u1234", "RLE"),
        ("PPP1", "."),
        (None, "neither a list nor a string"),
    ],
)
def test_run_lengths_that_do_not_fit(counts, message):
    with pytest.raises(ValueError, match=message):
        decode_mask({"size": [40, 60], "counts": counts}, (40, 60))


def test_a_broken_mask_costs_its_object_alone(folder):
    path, made = folder / "a.json", content(annotations={"segmentation": [[1, 1, 20, 1, 1e8, 20, 1, 20]]})
    made["annotations"] += [{**made["annotations"][1], "id": number} for number in (90, 91)]
    path.write_text(json.dumps(made))
    dataset = CocoDataset(folder, path)
    assert "without an outline that can be drawn, 1 in the file (first: annotation 0), are passed over" in (
        dataset.describe()
    )
    assert not dataset.load(0)["skipped"]
    truth = dataset.coco()["annotations"]
    assert [entry["iscrowd"] for entry in truth if entry["id"] == 0] == [1]
    with pytest.raises(UsageError, match="Annotation 0: its segmentation has a corner further outside"):
        CocoScores(made, [], "mask")


def test_masks_of_very_many_objects(folder):
    made = content()
    made["annotations"] = [{**made["annotations"][1], "id": number} for number in range(9)]
    (folder / "a.json").write_text(json.dumps(made))
    assert len(CocoDataset(folder, folder / "a.json", max_pixels=9 * 600).load(1)["objects"]) == 9
    with pytest.raises(
        UsageError, match="the masks of its 9 objects have more than 4 bytes for each of max_pixels=5,399"
    ):
        CocoDataset(folder, folder / "a.json", max_pixels=9 * 600 - 1)


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_an_annotation_with_id_0_is_found(kind):
    truth = content()
    entries = [{**each, "score": 1.0} for each in truth["annotations"]]
    from maetool.data.datasets.objects.masks import encode_mask

    for entry in entries:
        entry["segmentation"] = encode_mask(decode_mask(entry["segmentation"], (40, 60)))
    assert CocoScores(truth, entries, kind).metrics[f"{kind}_ap"] == pytest.approx(100)


ODD = [
    (content(images={"id": [1]}), r"entry 0 of `images` has the id \[1\], but it must be a whole number or a name"),
    (content(images={"id": " "}), "has the id ' ', but it must be a whole number or a name of one line"),
    (content(images={"file_name": 5}), "has the file_name 5, but it must be a path"),
    (content(images={"file_name": "a\0.png"}), "must be a path"),
    (content(images={"file_name": "\ud800.png"}), "must be a path"),
    (content(images={"height": 40.5}), "has the height 40.5, but it must be a whole number of pixels, at least 1"),
    (content(images={"width": 0}), "has the width 0"),
    (content(categories={"name": ["a"]}), r"of `categories` has the name \['a'\]"),
    (content(categories={"id": {}}), "has the id something long"),
    (content(categories={"name": "bird"}), "has 2 categories of the name `bird`"),
    (content(annotations={"image_id": [5]}), r"of `annotations` has the image_id \[5\]"),
    (content(annotations={"category_id": None}), "has the category_id something long"),
    (content(annotations={"bbox": [1, 2, 10**400, 4]}), "but it must be left, top, width and height in pixels"),
    (content(annotations={"iscrowd": "perhaps"}), "has the iscrowd 'perhaps', but it must be 0 or 1"),
    (
        content(annotations={"area": {}}),
        "annotation 0 has the area something long, but it must be a number of pixels",
    ),
    ("[" * 100_000, "is no JSON file"),
    ('{"images":' * 100_000, "is no JSON file"),
    ('{"images": ' + "1" * 6000 + "}", "is no JSON file"),
]


@pytest.mark.parametrize(("made", "message"), ODD)
def test_annotation_files_of_other_kinds_of_values(folder, made, message):
    (folder / "a.json").write_text(made if isinstance(made, str) else json.dumps(made))
    with pytest.raises(UsageError, match=rf"a\.json.*{message}"):
        read_coco(folder / "a.json")


def test_annotations_that_are_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(UsageError, match=r"cannot be read .*not a regular file"):
        read_coco(tmp_path / "a.json")
    with open(tmp_path / "b.json", "wb") as file:
        file.truncate(2**31 + 1)
    with pytest.raises(UsageError, match="it has 2,147,483,649 bytes, more than the 2,147,483,648 that are read"):
        read_coco(tmp_path / "b.json")


def test_labels_of_very_many_digits(tmp_path):
    for name in "abc":
        (tmp_path / name).touch()
    (tmp_path / "t.csv").write_text(f"path,label\na,{'1' * 6000}\nb,2\nc,10\n")
    assert read_table(tmp_path / "t.csv")[1].classes == ["10", "1" * 6000, "2"]  # as words
    (tmp_path / "t.csv").write_text("path,label\na,9\nb,2\nc,10\n")
    assert read_table(tmp_path / "t.csv")[1].classes == ["2", "9", "10"]


def test_a_table_that_quotes_a_line_end_is_told_in_one_line(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "t.csv").write_text('path,x,y\na,1,"\u2028\n"\n', encoding="utf-8")
    with pytest.raises(UsageError) as error:
        read_table(tmp_path / "t.csv")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("shards", lambda array: array[0]),
        ("shards", lambda array: np.array(["../a.tar"])),
        ("shards", lambda array: np.arange(1)),
        ("lengths", lambda array: array[:, None]),
        ("lengths", lambda array: np.append(array, 5)),
        ("shard", lambda array: array.astype(float)),
        ("shard", lambda array: array + 1),
        ("shard", lambda array: array - 1),
        ("offset", lambda array: array.astype(str)),
        ("offset", lambda array: np.full_like(array, 2**63 - 1)),
        ("size", lambda array: np.full_like(array, 2**63 - 1)),
        ("size", lambda array: array[:-1]),
        ("name_offsets", lambda array: array * 2),
        ("name_offsets", lambda array: array.astype(float)),
        ("name_blob", lambda array: array.astype(str)),
        ("name_blob", lambda array: array[:-1]),
        ("format", lambda array: np.zeros(3)),
    ],
)
def test_tables_of_shards_of_another_shape(tmp_path, name, change):
    writer = ShardWriter(tmp_path / "a.tar")
    for number in range(3):
        writer.add(f"{number}.png", bytes(100))
    writer.close()
    ShardTable.of(tmp_path, ["a.tar"]).save()
    assert len(ShardTable.load(tmp_path)) == 3
    arrays = dict(np.load(tmp_path / TABLE))
    arrays[name] = change(arrays[name])
    np.savez(tmp_path / TABLE, **arrays)
    with pytest.raises(UsageError, match=r"index.npz is damaged \(.*\): delete it, and run"):
        ShardTable.load(tmp_path)


def test_archives_that_would_fill_the_memory(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**7, np.uint8))
    assert read_npz(tmp_path / "a.npz")["a"].shape == (10**7,)  # small enough, however compressed
    np.savez_compressed(tmp_path / "b.npz", a=np.zeros(10**8, np.uint8))
    with pytest.raises(ValueError, match="bytes would become 100,000,128, more than"):
        read_npz(tmp_path / "b.npz")
    file = io.BytesIO()
    np.save(file, np.zeros((3, 3)))
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("a.npy", file.getvalue().replace(b"(3, 3), }", b"(9**9, }"[:9].ljust(9)))
    with pytest.raises(ValueError, match="damaged header"):
        read_npz(tmp_path / "c.npz")


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_files_of_weights_say_what_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for protocol in (2, 3, 4, 5):
        (tmp_path / "a.pth").write_bytes(pickle.dumps({"state_dict": Harmful()}, protocol=protocol))
        with pytest.raises(
            UsageError, match=r"is a pickle of Python objects, .* could run code|holds more than tensors"
        ):
            read_checkpoint(tmp_path / "a.pth")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "b.pth")
    with pytest.raises(UsageError, match="is a TorchScript program, not a checkpoint: loading it would run its code"):
        read_checkpoint(tmp_path / "b.pth")
    torch.save({"a": torch.ones(3)}, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / "c.pth")["a"].tolist() == [1, 1, 1]
    whole = (tmp_path / "c.pth").read_bytes()
    for length in (5, 60, len(whole) - 9):
        (tmp_path / "c.pth").write_bytes(whole[:length])
        with pytest.raises(UsageError, match="is damaged or truncated"):
            read_checkpoint(tmp_path / "c.pth")
    assert not (tmp_path / "ran").exists()


def test_a_compressed_checkpoint_is_not_inflated(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"x")
        archive.writestr("archive/data/0", bytes(10**7))
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda self: pytest.fail("it was inflated"))
    with pytest.raises(UsageError, match=r"bytes are compressed and would unpack to 10,000,001"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_folder_of_weights_with_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="must hold one file of weights, but holds none"):
        read_checkpoint(tmp_path)


def test_odd_pointers_and_links_among_checkpoints(tmp_path):
    write_checkpoint({"a": torch.ones(1)}, tmp_path / "epoch_2.pth")
    (tmp_path / "epoch_1.pth").symlink_to("nowhere")
    (tmp_path / "epoch_3.pth").mkdir()
    for pointer in (b"\xff\xfe\x00", b"a\0b", b"", b"x" * 10_000, b"../epoch_2.pth", b"epoch_1.pth"):
        (tmp_path / POINTER).write_bytes(pointer)
        assert checkpoints_in(tmp_path) == [tmp_path / "epoch_2.pth"]
        assert newest_readable(tmp_path, print) == tmp_path / "epoch_2.pth"
    (tmp_path / POINTER).unlink()
    os.mkfifo(tmp_path / POINTER)
    assert checkpoints_in(tmp_path) == [tmp_path / "epoch_2.pth"]
