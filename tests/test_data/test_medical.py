"""DICOM and NIfTI: the units of the modality, bright where more is meant, and slices as a reader expects them."""

import io

import numpy as np
import pytest
import torch

from maetool.data.codecs import dicom, nifti
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.sources import FolderSource, FrameSource
from maetool.testing import check_source

STORED = np.arange(20, dtype=np.uint16).reshape(4, 5) * 200


def dicom_file(pixels=STORED, photometric="MONOCHROME2", slope=None, intercept=None, frames=None, signed=False):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3"
    head = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    head.SOPClassUID, head.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    head.SamplesPerPixel = 3 if photometric == "RGB" else 1
    head.PhotometricInterpretation, head.PixelRepresentation = photometric, int(signed)
    head.Rows, head.Columns = pixels.shape[1:3] if frames else pixels.shape[:2]
    head.BitsAllocated = 8 * pixels.dtype.itemsize
    head.BitsStored = 12 if pixels.dtype.itemsize == 2 and not signed else head.BitsAllocated
    head.HighBit = head.BitsStored - 1
    if photometric == "RGB":
        head.PlanarConfiguration = 0
    if frames:
        head.NumberOfFrames = frames
    if slope is not None:
        head.RescaleSlope, head.RescaleIntercept = slope, intercept
    head.PixelData = pixels.tobytes()
    file = io.BytesIO()
    head.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.mark.parametrize("in_chans", [1, 3])
def test_hounsfield_units(in_chans):
    image = decode_image(dicom_file(slope=2, intercept=-1024), in_chans)
    assert image.dtype == torch.float32
    assert torch.equal(image, torch.from_numpy(STORED * 2.0 - 1024).float().expand(in_chans, 4, 5))


def test_stored_values_without_rescaling_and_below_zero():
    assert torch.equal(decode_image(dicom_file(), 1)[0], torch.from_numpy(STORED.astype(np.float32)))
    signed = STORED.astype(np.int16) - 2000
    assert torch.equal(decode_image(dicom_file(signed, signed=True), 1)[0], torch.from_numpy(signed).float())


@pytest.mark.parametrize(("slope", "intercept"), [(None, None), (1, 0), (2, -50)])
def test_where_low_is_bright_it_is_turned_over(slope, intercept):
    image = decode_image(dicom_file(photometric="MONOCHROME1", slope=slope, intercept=intercept), 1)[0].numpy()
    expected = (4095 - STORED.astype(float)) * (slope or 1) + (intercept or 0)
    assert np.array_equal(image, expected.astype(np.float32))
    eight = (STORED // 16).astype(np.uint8)
    turned = decode_image(dicom_file(eight, "MONOCHROME1"), 1)[0]
    assert torch.equal(turned.float(), 255 - torch.from_numpy(eight).float())


def test_colours():
    colours = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    image = decode_image(dicom_file(colours, "RGB"))
    assert image.dtype == torch.uint8 and np.array_equal(image.permute(1, 2, 0).numpy(), colours)


def test_frames_of_dicom(tmp_path):
    frames = np.stack([STORED + i for i in range(3)])
    (tmp_path / "a.dcm").write_bytes(dicom_file(frames, frames=3, slope=1, intercept=-10))
    (tmp_path / "1.2.840.5").write_bytes(dicom_file())  # without an ending, as scanners write them
    source = FrameSource(FolderSource(tmp_path, index_cache=tmp_path.parent))
    assert [source.relative(i) for i in range(4)] == ["1.2.840.5#0", "a.dcm#0", "a.dcm#1", "a.dcm#2"]
    assert torch.equal(decode_image(source.read(3)[1], 1)[0], torch.from_numpy(frames[2] - 10.0).float())
    check_source(source, labelled=False)
    with pytest.raises(UnreadableImage, match=r"DICOM of 3 frames.*FrameSource"):
        decode_image((tmp_path / "a.dcm").read_bytes(), 1)


def test_damaged_and_large_dicom():
    data = dicom_file()
    for part in (data[:140], data[: len(data) // 2], data[:-10]):
        with pytest.raises(UnreadableImage, match="DICOM"):
            decode_image(part, 1)
    with pytest.raises(UnreadableImage, match="max_pixels"):
        decode_image(data, 1, max_pixels=19)


def test_dicom_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(dicom, "is_installed", lambda name: False)
    with pytest.raises(UnreadableImage, match="pip install pydicom"):
        decode_image(bytes(128) + b"DICM" + bytes(300), 1)


def test_nifti_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(nifti, "is_installed", lambda name: False)
    with pytest.raises(UnreadableImage, match="pip install nibabel"):
        decode_image(bytes(344) + b"n+1\0" + bytes(300), 1)


# From left to right, back to front, foot to head, which is what nibabel calls RAS+.
VOLUME = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)


def nifti_file(path, codes="RAS", volume=VOLUME, slope=None, version=1):
    nibabel = pytest.importorskip("nibabel")
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    kind = nibabel.Nifti2Image if version == 2 else nibabel.Nifti1Image
    image = kind(volume, np.eye(4))
    image = image.as_reoriented(ornt_transform(io_orientation(np.eye(4)), axcodes2ornt(codes)))
    if slope:
        image.header.set_slope_inter(slope, 5)
        image = kind(np.asarray(image.dataobj), image.affine, image.header)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "ASR", "SPL", "PIR", "LIA"])
def test_slices_look_alike_however_they_are_stored(tmp_path, ending, codes):
    nifti_file(tmp_path / f"a.{ending}", codes)
    files = FolderSource(tmp_path, index_cache=tmp_path.parent)
    for axis, name in enumerate(("left-right", "back-front", "foot-head")):
        source = FrameSource(files, axis=name)
        assert len(source) == VOLUME.shape[axis]
        for i in range(len(source)):
            expected = np.flipud(np.take(VOLUME, i, axis).T)
            assert np.array_equal(decode_image(source.read(i)[1], 1)[0].numpy(), expected)
        check_source(source, labelled=False)


@pytest.mark.parametrize("version", [1, 2])
def test_times_and_single_slices(tmp_path, version):
    series = np.stack([VOLUME, VOLUME + 100], -1)
    nifti_file(tmp_path / "a.nii.gz", volume=series, version=version)
    source = FrameSource(FolderSource(tmp_path, index_cache=tmp_path.parent))
    assert len(source) == 8
    assert np.array_equal(decode_image(source.read(5)[1], 1)[0].numpy(), np.flipud(series[:, :, 1, 1].T))
    for volume in (VOLUME[:, :, :1], VOLUME[:, :, 0], VOLUME[:1]):
        data = nifti_file(tmp_path / "one.nii", volume=volume, version=version).read_bytes()
        assert np.array_equal(decode_image(data, 1)[0].numpy(), np.flipud(volume.squeeze().T))
    with pytest.raises(UnreadableImage, match=r"a volume of shape.*FrameSource"):
        decode_image((tmp_path / "a.nii.gz").read_bytes(), 1)


def test_scaling_and_limits(tmp_path):
    data = nifti_file(tmp_path / "a.nii.gz", volume=VOLUME[:, :, :1], slope=2).read_bytes()
    import nibabel

    expected = np.asarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)[:, :, 0].T
    assert np.allclose(decode_image(data, 1)[0].numpy(), np.flipud(expected))
    with pytest.raises(UnreadableImage, match="max_pixels"):
        decode_image(data, 1, max_pixels=5)
    for part in (data[:40], data[: len(data) - 12]):
        with pytest.raises(UnreadableImage):
            decode_image(part, 1)
    import gzip

    bomb = gzip.compress(gzip.decompress(data) + bytes(10**6))
    with pytest.raises(UnreadableImage, match="unpacks to more"):
        decode_image(bomb, 1, max_pixels=1000)


def test_a_flat_file_has_slices_of_one_row_across_its_axes():
    nibabel = pytest.importorskip("nibabel")
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    volume = nifti.Volume(nibabel.Nifti1Image(values, np.eye(4)).to_bytes(), 100)
    assert volume.sides == [3, 4, 1]
    assert volume.slice(2, 0).shape == (4, 3) and np.array_equal(volume.slice(2, 0), np.flipud(values.T))
    assert np.array_equal(volume.slice(0, 1), values[1][None]) and volume.slice(1, 1).shape == (1, 3)


def test_odd_files_write_nothing_to_the_terminal(capfd, recwarn):
    data = dicom_file().replace(b"1.2.3", b"1.x.3")
    assert decode_image(data, 1).shape == (1, 4, 5)
    nibabel = pytest.importorskip("nibabel")
    damaged = bytearray(nibabel.Nifti1Image(STORED.astype(np.float32)[..., None], np.eye(4)).to_bytes())
    damaged[0] += 1  # the size of the header
    decode_image(bytes(damaged), 1)
    assert capfd.readouterr() == ("", "") and not [w for w in recwarn if "pydicom" in w.filename]
