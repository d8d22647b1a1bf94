"""Real data, as packages ship it: decoded as the package's own reader does, and trained on."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from maetool.config.load import load_for
from maetool.data import ImageFolderDataset, SourceDataset
from maetool.data.sources import FolderSource, FrameSource, PairedSource
from maetool.engine.launch import build_runner

skimage_data = pytest.importorskip("skimage.data")
SHIPPED = Path(skimage_data.__file__).parent
COLOURS = ("astronaut", "chelsea", "rocket", "retina")
GREY = ("camera", "moon", "page", "text", "coins", "cell", "brick", "grass", "gravel", "clock_motion", "microaneurysms")


def shipped(name):
    """Return the file of a picture inside of scikit-image's wheel."""
    return next(path for ending in ("png", "jpg") if (path := SHIPPED / f"{name}.{ending}").is_file())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def train(repository, folder, dataset, config="mae/vit-t_shapes.py", **sections):
    """Train two epochs of two steps and return the last losses."""
    cfg, _ = load_for(repository / "configs" / config, debug=True)
    size = cfg.model.encoder.img_size
    crop = [{"type": "RandomResizedCrop", "size": size}]
    cfg.train_dataloader.dataset = {**dataset, "pipeline": crop}
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.train_dataloader.batch_size, cfg.work_dir = 4, str(folder.parent / "work")
    cfg.model.encoder.in_chans = sections.pop("in_chans", 3)
    cfg.model.data_preprocessor.update(sections)
    runner = build_runner(cfg)
    runner.train()
    assert runner.iter >= 2
    losses = runner.message_hub.get_scalar("train/loss")
    values = [float(value) for value in losses.data[0]]
    assert len(values) >= 2 and np.isfinite(values).all() and values[-1] < 10
    return runner


def test_photographs_of_scikit_image_and_scikit_learn(repository, folder):
    datasets = pytest.importorskip("sklearn.datasets")
    for name in COLOURS:
        shutil.copy(shipped(name), folder)
    for name in ("china.jpg", "flower.jpg"):
        shutil.copy(Path(datasets.__file__).parent / "images" / name, folder)
    data = ImageFolderDataset(folder, backend="pillow")
    found = {Path(data.name_of(i)).stem: data[i]["inputs"].permute(1, 2, 0).numpy() for i in range(len(data))}
    for name in COLOURS:
        assert np.array_equal(found[name], getattr(skimage_data, name)()[..., :3]), name
    for name in ("china", "flower"):
        assert np.array_equal(found[name], datasets.load_sample_image(f"{name}.jpg")), name
    by_opencv = ImageFolderDataset(folder)
    for i in range(len(by_opencv)):  # another decoder of JPEG
        assert (
            np.abs(
                by_opencv[i]["inputs"].permute(1, 2, 0).numpy() - found[Path(data.name_of(i)).stem].astype(int)
            ).mean()
            < 1
        )
    train(repository, folder, {"type": "ImageFolderDataset", "root": str(folder)})


def test_grey_pictures_of_the_laboratory(repository, folder):
    for name in GREY:
        shutil.copy(shipped(name), folder)
    data = ImageFolderDataset(folder, in_chans=1)
    for i in range(len(data)):
        clock = Path(data.name_of(i)).stem
        reader = skimage_data.clock if clock == "clock_motion" else getattr(skimage_data, clock)
        assert np.array_equal(data[i]["inputs"][0].numpy(), reader()), clock
    train(
        repository,
        folder,
        {"type": "ImageFolderDataset", "root": str(folder)},
        in_chans=1,
        mean=[120.0],
        std=[60.0],
    )


@pytest.fixture(scope="module")
def stereo():
    """Return left view, uint8 (H, W, 3), and disparity in pixels, float32 (H, W), infinite where unknown."""
    left, _, disparity = skimage_data.stereo_motorcycle()
    return left, disparity


def windows(array, side=100):
    return {
        f"{top}_{column}": array[top : top + side, column : column + side]
        for top in range(0, 401, side)
        for column in range(0, 601, side)
    }


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_sixteen_bits_of_a_stereo_camera(repository, folder, stereo, ending):
    """Disparities as KITTI's benchmark stores them: times 256, 0 where unknown."""
    stored = np.where(np.isfinite(stereo[1]), stereo[1] * 256, 0).round().astype(np.uint16)
    assert stored.max() > 10_000
    for name, window in windows(stored).items():
        cv2.imwrite(str(folder / f"{name}.{ending}"), window)
    data = ImageFolderDataset(folder, in_chans=1)
    for i in range(len(data)):
        assert np.array_equal(data[i]["inputs"][0].numpy(), windows(stored)[Path(data.name_of(i)).stem])
    place = {"type": "ImageFolderDataset", "root": str(folder), "nodata": 0}
    known = stored[stored > 0]
    train(repository, folder, place, in_chans=1, mean=[float(known.mean())], std=[float(known.std())])


def test_four_bands_of_a_stereo_camera(repository, folder, stereo):
    """Colours and disparity of the same windows in two folders, stacked."""
    left, disparity = stereo
    disparity = np.where(np.isfinite(disparity), disparity, 0).astype(np.float32)
    for kind in ("colour", "disparity"):
        (folder / kind).mkdir()
    for name, window in windows(left).items():
        cv2.imwrite(str(folder / "colour" / f"{name}.png"), window[..., ::-1])
    for name, window in windows(disparity).items():
        np.save(folder / "disparity" / f"{name}.npy", window)
    source = {"type": "PairedSource", "channels": [3, 1]}
    source["sources"] = [{"type": "FolderSource", "root": str(folder / name)} for name in ("colour", "disparity")]
    data = SourceDataset(PairedSource([FolderSource(each["root"]) for each in source["sources"]], [3, 1]), in_chans=4)
    for i in range(len(data)):
        name, image = Path(data.name_of(i)).stem, data[i]["inputs"].numpy()
        assert np.array_equal(image[:3].transpose(1, 2, 0), windows(left)[name])
        assert np.array_equal(image[3], windows(disparity)[name])
    place = {"type": "SourceDataset", "source": source, "in_chans": 4}
    train(repository, folder, place, in_chans=4, mean=[120.0] * 3 + [30.0], std=[70.0] * 3 + [20.0])


def test_faces_are_told_from_other_pictures(repository, folder):
    faces = skimage_data.lfw_subset()  # 100 faces, then 100 others, 25 x 25, 0 to 1
    for i, face in enumerate(faces):
        (folder / ("face" if i < 100 else "other")).mkdir(exist_ok=True)
        np.save(folder / ("face" if i < 100 else "other") / f"{i:03}.npy", face)
    data = ImageFolderDataset(folder, in_chans=1, with_labels=True)
    assert data.classes == ["face", "other"] and data.labels.tolist() == [0] * 100 + [1] * 100
    for i in (0, 99, 100, 199):
        assert torch.equal(data[i]["inputs"][0], torch.from_numpy(faces[i].astype(np.float32)))
    place = {"type": "ImageFolderDataset", "root": str(folder), "with_labels": True}
    cfg, _ = load_for(
        repository / "configs/finetune/vit-t_shapes.py", ["model.encoder.in_chans=1"], str(folder), debug=True
    )
    cfg.model.data_preprocessor.update(mean=[float(faces.mean())], std=[float(faces.std())])
    cfg.work_dir = str(folder.parent / "work")
    assert cfg.model.num_classes == 2 and place["root"] == cfg.train_dataloader.dataset.root
    runner = build_runner(cfg)
    runner.train()
    assert 0 <= runner.val()["top1"] <= 100


def test_bands_of_sentinel_2(repository, folder):
    """Six bands of 200 x 300 pixels, surface reflectance times 10,000, as NetCDF-3."""
    if find_spec("xrspatial") is None:
        pytest.skip("xarray-spatial ships them")
    from scipy.io import netcdf_file

    files = sorted((Path(find_spec("xrspatial").origin).parent / "datasets" / "sentinel-2").glob("*.nc"))
    assert len(files) == 6
    bands = []
    for file in files:
        with netcdf_file(file, mmap=False) as content:
            (band,) = (variable.data for variable in content.variables.values() if variable.data.ndim > 1)
            bands.append(band.squeeze().astype(np.float32))
    scene = np.stack(bands)
    for top in range(0, 200, 50):
        for left in range(0, 300, 50):
            np.save(folder / f"{top}_{left}.npy", scene[:, top : top + 50, left : left + 50])
    data = ImageFolderDataset(folder, in_chans=6)
    assert len(data) == 24
    for i in range(len(data)):
        top, left = map(int, Path(data.name_of(i)).stem.split("_"))
        assert np.array_equal(data[i]["inputs"].numpy(), scene[:, top : top + 50, left : left + 50])
    mean, std = scene.mean(axis=(1, 2)).tolist(), scene.std(axis=(1, 2)).tolist()
    train(repository, folder, {"type": "ImageFolderDataset", "root": str(folder)}, in_chans=6, mean=mean, std=std)


DICOM = (
    "CT_small",
    "MR_small",
    "MR_small_RLE",
    "MR_small_implicit",
    "MR_small_bigendian",
    "MR_small_padded",
    "image_dfl",
)


def test_dicom_of_pydicom(repository, folder):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file
    from pydicom.pixels import apply_modality_lut

    expected = {}
    for name in DICOM:
        path = get_testdata_file(f"{name}.dcm", download=False)
        head = pydicom.dcmread(path)
        expected[name] = apply_modality_lut(head.pixel_array, head).astype(np.float32)
        shutil.copy(path, folder)
    data = ImageFolderDataset(folder, in_chans=1)
    assert len(data) == len(DICOM)
    for i in range(len(data)):
        name = Path(data.name_of(i)).stem
        assert np.array_equal(data[i]["inputs"][0].numpy(), expected[name]), name
    assert expected["CT_small"].min() < -800  # Hounsfield units
    train(
        repository,
        folder,
        {"type": "ImageFolderDataset", "root": str(folder)},
        in_chans=1,
        mean=[400.0],
        std=[600.0],
    )


@pytest.mark.parametrize("name", ["anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"])
def test_volumes_of_nibabel(repository, folder, name):
    nibabel = pytest.importorskip("nibabel")
    shutil.copy(Path(nibabel.__file__).parent / "tests" / "data" / name, folder)
    volume = nibabel.as_closest_canonical(nibabel.load(folder / name)).get_fdata()  # from left, back and foot
    volume = volume if volume.ndim == 4 else volume[..., None]
    data = SourceDataset(FrameSource(FolderSource(folder), axis="foot-head"), in_chans=1)
    assert len(data) == volume.shape[2] * volume.shape[3]
    for i in range(0, len(data), 7):
        time, height = divmod(i, volume.shape[2])
        expected = np.flipud(volume[:, :, height, time].T)
        np.testing.assert_allclose(data[i]["inputs"][0].numpy(), expected, rtol=1e-6)
    source = {"type": "FrameSource", "source": {"type": "FolderSource", "root": str(folder)}}
    place = {"type": "SourceDataset", "source": source}
    train(repository, folder, place, in_chans=1, mean=[float(volume.mean())], std=[float(volume.std())])
