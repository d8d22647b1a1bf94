"""Sources made of sources: several files a sample, mixtures, frames of files; and files on other machines."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from maetool.data import ImageFolderDataset, SourceDataset
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.sources import FolderSource, FrameSource, MixtureSource, PairedSource, TableSource, TorchvisionSource
from maetool.errors import UsageError
from maetool.testing import check_source

RNG = np.random.default_rng(0)


def folder_of(path, pictures):
    path.mkdir(parents=True)
    for name, picture in pictures.items():
        if name.endswith(".npy"):
            np.save(path / name, picture)
        elif name.endswith((".tif", ".tiff")):
            tifffile.imwrite(path / name, picture)
        else:
            Image.fromarray(picture).save(path / name)
    return FolderSource(path, index_cache=path.parent)


def colours(number=3, size=(9, 8)):
    return {f"{i}.png": RNG.integers(0, 256, (*size, 3), np.uint8) for i in range(number)}


@pytest.mark.parametrize("ending", ["tif", "npy"])
def test_pictures_and_depth_are_stacked(tmp_path, ending):
    pictures = colours()
    depth = {f"{i}.{ending}": RNG.random((9, 8)).astype(np.float32) for i in range(3)}
    source = PairedSource([folder_of(tmp_path / "rgb", pictures), folder_of(tmp_path / "depth", depth)], [3, 1])
    sample = SourceDataset(source, in_chans=4)[1]
    assert sample["inputs"].dtype == torch.float32 and sample["inputs"].shape == (4, 9, 8)
    assert np.array_equal(sample["inputs"][:3].permute(1, 2, 0).numpy(), pictures["1.png"].astype(np.float32))
    assert np.array_equal(sample["inputs"][3].numpy(), depth[f"1.{ending}"])
    check_source(source, labelled=False)


def test_eight_bits_stay_and_four_columns_are_no_channels(tmp_path):
    size = (9, 4)
    one, two = (folder_of(tmp_path / name, colours(2, size)) for name in "ab")
    image = SourceDataset(PairedSource([one, two], [3, 1]), in_chans=4)[0]["inputs"]
    assert image.dtype == torch.uint8 and image.shape == (4, *size)


def test_pairs_by_table(tmp_path):
    pictures = [folder_of(tmp_path / name, colours()) for name in "ab"]
    for name, order in (("a", "012"), ("b", "210")):
        rows = "".join(f"{name}/{i}.png,{int(i) % 2}\n" for i in order)
        (tmp_path / f"{name}.csv").write_text("path,label\n" + rows)
    source = PairedSource([TableSource(tmp_path / f"{n}.csv") for n in "ab"], [3, 3], match="order")
    image = decode_image(source.read(0)[1], 6)
    assert torch.equal(image[:3], decode_image(pictures[0].read(0)[1]))
    assert torch.equal(image[3:], decode_image(pictures[1].read(2)[1]))
    assert source.labels().values.tolist() == [0, 1, 0]


def test_files_of_one_folder_are_paired_by_their_endings(tmp_path):
    pictures = {f"{i}_{n}.png": picture for n in "21" for i, picture in zip("abc", colours().values(), strict=True)}
    folder = folder_of(tmp_path / "views", {**pictures, "notes.png": pictures["a_1.png"]})
    source = PairedSource([folder], [3, 3], endings=("_1", "_2"))
    assert [source.relative(index) for index in range(len(source))] == ["a_1.png", "b_1.png", "c_1.png"]
    both = decode_image(source.read(1)[1], 6).permute(1, 2, 0).numpy()
    assert np.array_equal(both, np.concatenate([pictures["b_1.png"], pictures["b_2.png"]], -1))
    turned = decode_image(PairedSource([folder, folder], [3, 3], endings=("_2", "_1")).read(1)[1], 6)
    assert np.array_equal(turned[:3].permute(1, 2, 0).numpy(), both[..., 3:])
    for endings, match, sentence in (
        (("_1", "_1"), "stem", "an ending of its own"),
        (("_1", "_2"), "order", "an ending of its own"),
        (("_1", "_3"), "stem", "ends in '_3': correct endings"),
        (("_1", "s"), "stem", "have no partner"),
    ):
        with pytest.raises(UsageError, match=sentence):
            PairedSource([folder], [3, 3], match, endings)


def test_what_is_wrong_with_pairs_is_said(tmp_path):
    one, two = folder_of(tmp_path / "a", colours(3)), folder_of(tmp_path / "b", colours(2))
    for sources in ([one, two], [two, one]):
        with pytest.raises(UsageError, match="have no partner"):
            PairedSource(sources, [3, 3])
    with pytest.raises(UsageError, match="as many of each"):
        PairedSource([one, two], [3, 3], match="order")
    for channels in ([3], [3, 0], [3, 1, 1]):
        with pytest.raises(UsageError, match="how many channels"):
            PairedSource([one, one], channels)
    with pytest.raises(UsageError, match="must be one of"):
        PairedSource([one, one], [3, 3], match="name")
    other = folder_of(tmp_path / "c", colours(3, (8, 8)))
    with pytest.raises(UnreadableImage, match="its partner"):
        PairedSource([one, other], [3, 3]).read(0)


@pytest.mark.parametrize(
    ("weights", "length", "counts"),
    [
        (None, None, {"a": 6, "b": 2}),
        ({"a": 1, "b": 1}, None, {"a": 4, "b": 4}),
        ({"a": 1, "b": 3}, 12, {"a": 3, "b": 9}),
        ({"b": 0.2, "a": 0.8}, 5, {"a": 4, "b": 1}),
        ({"a": 1, "b": 1e-9}, 4, {"a": 3, "b": 1}),
    ],
)
def test_a_mixture_has_its_shares(tmp_path, weights, length, counts):
    sources = {"a": folder_of(tmp_path / "a", colours(6)), "b": folder_of(tmp_path / "b", colours(2))}
    source = MixtureSource(sources, weights, length)
    names = [source.relative(i) for i in range(len(source))]
    assert {name: sum(n.startswith(f"{name}/") for n in names) for name in "ab"} == counts
    for name, each in sources.items():  # each image as often as the others, or once less
        times = [sum(n.startswith(f"{name}/{each.relative(i)}") for n in names) for i in range(len(each))]
        assert max(times) - min(times) <= 1
    check_source(source, labelled=False)


def test_classes_of_a_mixture_go_by_their_names(tmp_path):
    for part, classes in (("a", "xy"), ("b", "yz")):
        for name in classes:
            folder_of(tmp_path / part / name, colours(1))
    sources = {n: FolderSource(tmp_path / n, index_cache=tmp_path) for n in "ab"}
    classes, values = MixtureSource(sources).labels()
    assert classes == ["x", "y", "z"] and values.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("weights", [{"a": 1}, {"a": 1, "b": 0}, {"a": 1, "c": 1}])
def test_weights_that_make_no_sense(tmp_path, weights):
    source = folder_of(tmp_path / "a", colours(2))
    with pytest.raises(UsageError, match="give each source a weight above 0"):
        MixtureSource({"a": source, "b": source}, weights)


def frames(path, kind, number=5):
    images = [Image.fromarray(np.full((6, 8, 3), 20 * i, np.uint8)) for i in range(number)]
    options = {"lossless": True} if kind == "webp" else {}
    images[0].save(path / f"a.{kind}", save_all=True, append_images=images[1:], **options)


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tif"])
def test_each_frame_is_an_image(tmp_path, kind):
    frames(tmp_path, kind)
    folder_of(tmp_path / "more", colours(1))
    files = FolderSource(tmp_path, index_cache=tmp_path.parent)
    source = FrameSource(files)
    assert len(source) == 6 and source.relative(2) == f"a.{kind}#2"
    for i in range(5):
        image = decode_image(source.read(i)[1])
        assert image.shape == (3, 6, 8) and abs(image.float().mean() - 20 * i) < 2
    assert len(FrameSource(files, every=2)) == 4
    check_source(source, labelled=False)
    if kind != "tif":  # whose pages are channels
        assert SourceDataset(files)[0]["inputs"].float().mean() < 2  # the first frame


def test_frames_of_a_broken_file_are_one_broken_image(tmp_path):
    frames(tmp_path, "gif")
    (tmp_path / "b.gif").write_bytes(b"GIF89a" + bytes(20))
    source = FrameSource(FolderSource(tmp_path, index_cache=tmp_path.parent))
    assert len(source) == 6
    with pytest.raises(UnreadableImage, match=r"b\.gif#0"):
        source.read(5)
    with pytest.raises(UsageError, match="foot-head"):
        FrameSource(source, axis="z")


def test_torchvision_by_name_and_by_path():
    for name in ("FakeData", "torchvision.datasets.FakeData"):
        arguments = {"size": 4, "image_size": (3, 8, 8), "num_classes": 2}
        source = TorchvisionSource(name, arguments)
        assert decode_image(source.read(1)[1]).shape == (3, 8, 8) and len(source) == 4
    for name, arguments in (("CIFAR11", {}), ("no.such.Set", {}), ("FakeData", {"sise": 4})):
        with pytest.raises(UsageError, match="cannot be built"):
            TorchvisionSource(name, arguments)


@pytest.fixture
def server(tmp_path):
    """A file server on this machine: its address, the folder, and what it was asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, form, *args):
            asked.append(args[0])

    (tmp_path / "served").mkdir()
    handler = functools.partial(Handler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", tmp_path / "served", asked
        running.shutdown()


@pytest.mark.skipif(not (find_spec("fsspec") and find_spec("aiohttp")), reason="optional packages")
def test_remote_files_are_downloaded_once(server, tmp_path):
    from maetool.data.sources import RemoteSource

    address, folder, asked = server
    for name in ("ant", "bee"):
        folder_of(folder / name, colours(2))
    for stray in folder.glob("*.npz"):
        stray.unlink()
    source = RemoteSource(address, cache=tmp_path / "cache")
    assert [source.relative(i) for i in range(4)] == ["ant/0.png", "ant/1.png", "bee/0.png", "bee/1.png"]
    check_source(source)
    asked.clear()
    assert source.read(0)[1] == (folder / "ant/0.png").read_bytes() and not asked
    again = RemoteSource(address, cache=tmp_path / "cache")
    asked.clear()
    assert len(again) == 4 and again.read(3)[1] == (folder / "bee/1.png").read_bytes() and not asked


@pytest.mark.skipif(not (find_spec("fsspec") and find_spec("aiohttp")), reason="optional packages")
def test_what_goes_wrong_far_away_is_said(server, tmp_path):
    from maetool.data.sources import RemoteSource

    address, folder, _ = server
    folder_of(folder / "ant", colours(2))
    source = RemoteSource(address, cache=tmp_path / "cache")
    (folder / "ant" / "0.png").unlink()
    (folder / "ant" / "1.png").write_bytes(bytes(10**5))
    with pytest.raises(UnreadableImage, match="cannot be downloaded"):
        source.read(0)
    with pytest.raises(UnreadableImage, match="more than the 1,000"):
        source.read(1, 1000)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    with pytest.raises(UsageError, match=r"cannot be listed|No image at"):
        RemoteSource(f"{address}/nothing", cache=tmp_path / "cache")


def labelled(folder, name, columns, group_column=None, **options):
    """Return the source of a table of images of its own."""
    number = len(next(iter(columns.values())))
    pictures = folder_of(
        folder / name, {f"{name}{i}.png": RNG.integers(0, 256, (9, 8, 3), np.uint8) for i in range(number)}
    )
    rows = [
        ",".join(["path", *columns]),
        *(
            ",".join([f"{name}/{pictures.relative(i)}", *row])
            for i, row in enumerate(zip(*columns.values(), strict=True))
        ),
    ]
    (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    return TableSource(folder / f"{name}.csv", group_column=group_column, **options)


def test_a_mixture_keeps_groups_and_repetitions_whole(tmp_path):
    patients = {"label": "xyxyxy", "patient": "aabbcc"}
    one = labelled(tmp_path, "one", patients, "patient")
    two = labelled(tmp_path, "two", {"label": "xyx"})
    groups = MixtureSource({"one": one, "two": two}).groups()
    assert groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 5]
    source = MixtureSource({"one": one, "two": two}, {"one": 1, "two": 2}, length=18)
    assert source.groups()[6:].tolist() == [3, 4, 5] * 4
    parts = [SourceDataset(source, part=part, with_labels=True) for part in ("train", "val")]
    seen = [{data.files.path(i) for i in range(len(data))} for data in parts]
    assert seen[0] and seen[1] and not seen[0] & seen[1]
    assert MixtureSource({"two": two}).groups() is None


def test_labels_of_a_mixture(tmp_path):
    one = labelled(tmp_path, "one", {"a": "10", "b": "01"})
    two = labelled(tmp_path, "two", {"b": "11", "c": "01"})
    classes, values = MixtureSource({"one": one, "two": two}).labels()
    assert classes == ["a", "b", "c"] and values.nan_to_num(9).tolist() == [[1, 0, 9], [0, 1, 9], [9, 1, 0], [9, 1, 1]]
    ages = [labelled(tmp_path, name, {"age": ("1.5", "2.5")}, targets="age") for name in ("three", "four")]
    names, values = MixtureSource({"x": ages[0], "y": ages[1]}).labels()
    assert names == ["age"] and values.tolist() == [[1.5], [2.5], [1.5], [2.5]]
    sizes = labelled(tmp_path, "five", {"size": ("1.5", "2.5")}, targets="size")
    with pytest.raises(UsageError, match="name the same numbers"):
        MixtureSource({"x": ages[0], "y": sizes}).labels()
    with pytest.raises(UsageError, match="labels of several kinds"):
        MixtureSource({"x": ages[0], "y": one}).labels()


def test_pairs_pass_on_labels_and_groups_that_agree(tmp_path):
    plain = folder_of(tmp_path / "plain", colours(4))
    columns = {"label": "xyxy", "patient": "aabb"}
    one, same, other = (
        labelled(tmp_path, n, {**columns, **more}, "patient")
        for n, more in (("one", {}), ("same", {"patient": "ccdd"}), ("other", {"label": "yxyx", "patient": "aaab"}))
    )
    for sources in ([one, same], [one, plain], [plain, same]):
        source = PairedSource(sources, [3, 3], match="order")
        assert source.labels().classes == ["x", "y"] and source.labels().values.tolist() == [0, 1, 0, 1]
        assert source.groups().tolist() == [0, 0, 1, 1]
    assert PairedSource([plain, plain], [3, 3]).groups() is None
    source = PairedSource([one, other], [3, 3], match="order")
    for ask, what in ((source.labels, "labels"), (source.groups, "groups")):
        with pytest.raises(UsageError, match=f"know different {what} of the same samples"):
            ask()


def test_frames_of_a_file_stay_in_one_part(tmp_path):
    for number in range(6):
        (tmp_path / "xy"[number % 2]).mkdir(exist_ok=True)
        frames(tmp_path / "xy"[number % 2], "gif", 3)
        (tmp_path / "xy"[number % 2] / "a.gif").rename(tmp_path / "xy"[number % 2] / f"{number}.gif")
    source = FrameSource(FolderSource(tmp_path, index_cache=tmp_path))
    assert source.groups().tolist() == [i // 3 for i in range(18)]
    parts = [SourceDataset(source, part=part, with_labels=True) for part in ("train", "val")]
    files = [{data.files.relative(i).split("#")[0] for i in range(len(data))} for data in parts]
    assert len(files[0]) == 4 and len(files[1]) == 2 and not files[0] & files[1]
    table = labelled(tmp_path, "scans", {"age": ("1.5", "2.5"), "patient": "aa"}, "patient", targets="age")
    assert FrameSource(table).groups().tolist() == [0, 0] and FrameSource(table).labels().names == ["age"]


def test_files_of_one_name_in_several_folders_name_the_way(tmp_path):
    for folder in ("rgb", "depth"):
        (tmp_path / folder).mkdir()
        for i in range(4):
            np.save(tmp_path / folder / f"{i}.npy", np.zeros((8, 8, 3 if folder == "rgb" else 1), np.uint8))
    with pytest.raises(UsageError, match=r"The folders depth, rgb hold files of the same names: .* by PairedSource"):
        ImageFolderDataset(tmp_path, in_chans=4)
    (tmp_path / "rgb" / "9.npy").write_bytes((tmp_path / "rgb" / "0.npy").read_bytes())
    with pytest.raises(UsageError) as info:
        ImageFolderDataset(tmp_path, in_chans=4)
    assert "PairedSource" not in str(info.value)
