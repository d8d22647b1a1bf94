"""Features of checkpoints: whole images, in order, in files; and what is told where that is impossible."""

from copy import deepcopy

import cv2
import numpy as np
import pytest
import torch
from mmengine import Config
from PIL import Image
from runs import make_runner

import maetool
from maetool.config.load import load_config
from maetool.data import ShapesDataset
from maetool.errors import UsageError
from maetool.evaluation import token_features
from maetool.maskers import RandomMasker
from maetool.metadata.stored_config import stored_facts
from maetool.pretrained.export import encoder_of
from maetool.pretrained.extract import build_whole, check_out, extract, write_features
from maetool.pretrained.frozen import features_of, load_frozen
from maetool.pretrained.reading import reading_of
from maetool.registry import MODELS
from maetool.weights.formats.mae import to_published
from maetool.weights.read import read_checkpoint
from maetool.weights.write import write_checkpoint


@pytest.fixture(scope="module")
def runner(repository, tmp_path_factory):
    """A run of a few steps, of images of 32 pixels and patches of 8, three quarters of them hidden."""
    options = ["model.encoder.img_size=32", "model.encoder.patch_size=8", "train_cfg.max_epochs=2"]
    runner = make_runner(repository, tmp_path_factory.mktemp("run"), options=options)
    runner.train()
    return runner


@pytest.fixture(scope="module")
def checkpoint(runner):
    return f"{runner.work_dir}/epoch_2.pth"


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Twelve pictures of two classes, of 40 pixels; the second is broken."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = ShapesDataset(12, 40, seed=3)
    for i in range(12):
        path = tmp_path / "images" / "ab"[i // 6] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data[i]["inputs"].permute(1, 2, 0).numpy()).save(path)
    (tmp_path / "images" / "a" / "01.png").write_bytes(b"broken")
    return tmp_path / "images"


def features(path, images, pool=None, **arguments):
    model = load_frozen(path, **arguments)
    return features_of(model, pool)(model, images)


@pytest.fixture
def batch():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("pool", [None, "mean", "cls", "tokens"])
def test_nothing_is_masked(checkpoint, batch, monkeypatch, pool):
    def fail(*_):
        raise AssertionError("a masker was asked")

    monkeypatch.setattr(RandomMasker, "scores", fail)
    model = load_frozen(checkpoint)
    function = features_of(model, pool)
    found = function(model, batch)
    for row in range(4):
        for column in range(4):
            changed = batch.clone()
            changed[:, :, row * 8, column * 8] += 3  # one pixel of one patch
            assert (function(model, changed) != found).flatten(1).any(dim=1).all()


def test_they_are_those_of_training(runner, checkpoint, batch):
    expected = token_features(runner.bare_model.eval(), batch)
    torch.testing.assert_close(features(checkpoint, batch), expected)
    tokens = features(checkpoint, batch, "tokens")
    assert tokens.shape == (2, 16, expected.shape[1])
    torch.testing.assert_close(tokens.mean(dim=1), expected)


def test_of_every_kind_of_checkpoint(repository, runner, checkpoint, batch, tmp_path):
    expected = features(checkpoint, batch)
    state = read_checkpoint(checkpoint)
    write_checkpoint(encoder_of(state, "x"), tmp_path / "exported.pth")
    write_checkpoint({"model": to_published(state["state_dict"])}, tmp_path / "published.pth")
    assert torch.equal(features(tmp_path / "exported.pth", batch), expected)
    assert torch.equal(features(tmp_path / "published.pth", batch, cfg=runner.cfg), expected)
    with pytest.raises(UsageError, match=r"published.pth does not describe its encoder.* pass a config"):
        load_frozen(tmp_path / "published.pth")
    with pytest.raises(UsageError, match="is not that of the config"):
        load_frozen(tmp_path / "published.pth", load_config(repository / "configs/mae/vit-t_shapes.py"))


@pytest.mark.parametrize(("kind", "number"), [("ImageClassifier", "num_classes"), ("ImageRegressor", "num_targets")])
def test_of_a_classifier_or_regressor_what_it_pools(runner, batch, tmp_path, kind, number):
    config = {"type": kind, "encoder": runner.cfg.model.encoder.to_dict(), number: 3}
    config |= {"own_norm": True, "data_preprocessor": {"type": "ImagePreprocessor"}}
    model = MODELS.build(config).eval()
    meta = {"cfg": Config({"model": config}).pretty_text}
    write_checkpoint({"meta": meta, "state_dict": model.state_dict()}, tmp_path / "classifier.pth")
    assert torch.equal(features(tmp_path / "classifier.pth", batch), model(batch, mode="tensor"))
    assert features(tmp_path / "classifier.pth", batch, "tokens").shape[:2] == (2, 16)


def test_untrained(checkpoint, batch):
    torch.manual_seed(5)
    found, again = (features(checkpoint, batch, trained=False) for _ in range(2))
    assert torch.equal(found, again)
    assert not torch.equal(found, features(checkpoint, batch))


def test_of_a_folder_in_order(checkpoint, images):
    model = load_frozen(checkpoint)
    dataset = build_whole(model, str(images))
    found = extract(model, dataset, {"features": features_of(model)}, batch_size=4, workers=0)
    assert found["index"].tolist() == [0, *range(2, 12)]  # the broken file is left out
    assert found["label"].tolist() == [0] * 5 + [1] * 6
    sample = model.data_preprocessor({"inputs": dataset[3]["inputs"][None]})["images"]
    torch.testing.assert_close(found["features"][2:3], token_features(model, sample))
    (images / "5.png").write_bytes((images / "a" / "00.png").read_bytes())
    assert build_whole(model, str(images)).classes == []  # an image outside of the folders: they are no classes


def test_of_files_as_of_their_folder(checkpoint, images):
    model = maetool.load_encoder(checkpoint)
    dataset = build_whole(model, str(images))
    files = [images / dataset.name_of(index) for index in (3, 7)]
    found = extract(model, dataset, {"features": features_of(model, "tokens")}, batch_size=4, workers=0)["features"]
    torch.testing.assert_close(model.features(files, pool="tokens"), found[[2, 6]])  # the second is left out
    for wrong, sentence in (
        ([], "must be a list of paths"),
        (images, "takes a folder"),
        (["no.png"], "cannot be read"),
    ):
        with pytest.raises(UsageError, match=sentence):
            model.features(wrong)


def test_images_of_another_unit_are_told_and_refused_if_most_are(checkpoint, images, monkeypatch):
    told = []
    monkeypatch.setattr("maetool.pretrained.extract.print_log", lambda text, level: told.append(text))
    model = load_frozen(checkpoint)
    sixteen = np.full((40, 40, 3), 30_000, np.uint16)
    cv2.imwrite(str(images / "b" / "05.png"), sixteen)
    dataset = build_whole(model, str(images))
    found = extract(model, dataset, {"features": features_of(model)}, batch_size=4, workers=0)
    assert len(found["features"]) == 12 and told[0].startswith("1 of 13 images have another unit")
    assert "05.png has a mean of 30000 in the values as stored" in told[0]
    for name in ("a/00.png", "a/02.png", "a/03.png"):
        cv2.imwrite(str(images / name), sixteen)
    dataset = build_whole(model, str(images))
    with pytest.raises(UsageError, match=r"a/00\.png has a mean of 30000 in the values as stored"):
        extract(model, dataset, {"features": features_of(model)}, batch_size=4, workers=0)
    eight = build_whole(model, str(images), reading={"eight_bit": True})
    assert (
        len(extract(model, eight, {"features": features_of(model)}, workers=0)["features"]) == 12
    )  # all but the broken one


def test_files_are_read_as_those_of_the_training(runner, checkpoint, tmp_path):
    """By the encoder of a notebook as by the commands: what a training was told of its files is not forgotten."""
    picture = np.random.default_rng(0).integers(0, 65_536, (40, 60, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "sixteen.png"), picture)
    cv2.imwrite(str(tmp_path / "eight.png"), (picture >> 8).astype(np.uint8))
    state, cfg = read_checkpoint(checkpoint), deepcopy(runner.cfg)
    cfg.train_dataloader.dataset = {"type": "ImageFolderDataset", "root": ".", "eight_bit": True}
    state["meta"] |= stored_facts(cfg)
    write_checkpoint(state, tmp_path / "trained.pth")
    assert reading_of(tmp_path / "trained.pth") == {"eight_bit": True}
    model = maetool.load_encoder(tmp_path / "trained.pth")
    deep, plain = (model.features([tmp_path / f"{name}.png"]) for name in ("sixteen", "eight"))
    assert torch.equal(deep, plain)
    with pytest.raises(UsageError, match=r"sixteen.png has a mean of"):
        model.features([tmp_path / "sixteen.png"], reading={})


def test_files(tmp_path):
    values, names = np.arange(12, dtype=np.float32).reshape(4, 3), ["a/0.png", "a/ü.png", "b/2.png", "b/3.png"]
    write_features(tmp_path / "x" / "f.npz", values, names, torch.tensor([0, 0, 1, 1]), ["a", "b"])
    with np.load(tmp_path / "x" / "f.npz", allow_pickle=False) as file:
        assert np.array_equal(file["features"], values)
        assert file["path"].tolist() == names
        assert file["classes"][file["label"]].tolist() == ["a", "a", "b", "b"]
    write_features(tmp_path / "g.npz", values, names, None, [])
    with np.load(tmp_path / "g.npz") as file:
        assert sorted(file.files) == ["features", "path"]


@pytest.mark.parametrize("several", [False, True])
def test_parquet(tmp_path, several):
    parquet = pytest.importorskip("pyarrow.parquet")
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    labels = torch.tensor([[1.0, 1.0], [0.0, 0.0]]) if several else torch.tensor([1, 0])
    write_features(check_out(str(tmp_path / "f.parquet")), values, ["x", "y"], labels, ["a", "b"])
    table = parquet.read_table(tmp_path / "f.parquet").to_pydict()
    expected = {"path": ["x", "y"], "features": values.tolist(), "label": [["a", "b"], []] if several else ["b", "a"]}
    assert table == expected


def test_mistakes(runner, checkpoint, tmp_path, monkeypatch):
    torch.save({"state_dict": {"decoder.weight": torch.zeros(1)}}, tmp_path / "no.pth")
    with pytest.raises(UsageError, match=r"no.pth holds no encoder: none of its 1 tensors is called encoder."):
        load_frozen(tmp_path / "no.pth")
    state = read_checkpoint(checkpoint)
    state["meta"].pop("config")
    state["meta"]["cfg"] = state["meta"]["cfg"].replace("type='VisionTransformer'", "type='os.system'")
    write_checkpoint(state, tmp_path / "strange.pth")
    with pytest.raises(UsageError, match=r"names os.system, which is not registered"):
        load_frozen(tmp_path / "strange.pth")
    with pytest.raises(UsageError, match="pool is 'max'"):
        features_of(load_frozen(checkpoint), "max")
    with pytest.raises(UsageError, match=r"f.txt, but must end in .npz, .parquet or .csv"):
        check_out("f.txt")
    monkeypatch.setattr("maetool.pretrained.extract.is_installed", lambda name: False)
    with pytest.raises(UsageError, match=r"pyarrow, which is not installed: pip install pyarrow"):
        check_out("f.parquet")
