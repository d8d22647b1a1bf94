"""The detector: losses, detections, rectangles, images without objects, and that the numbers stay in float32."""

import pytest
import torch
from torchvision.ops import box_iou

from maetool.data import FitObjects, ImagePreprocessor, ObjectShapesDataset
from maetool.data.datasets.detection import collate_objects
from maetool.errors import UsageError
from maetool.models import ObjectDetector
from maetool.testing.waits import WaitCounter

ENCODER = {
    "type": "WindowedTransformer",
    "img_size": 32,
    "patch_size": 4,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "window_size": 4,
    "global_blocks": [1],
    "final_norm": False,
}
SMALL = {"channels": 16, "hidden_dim": 32, "anchors_sampled": 32, "regions_sampled": 16, "num_proposals": 30}
PARTS = {"objectness", "proposal_boxes", "classes", "boxes", "masks"}


def detector(**options):
    torch.manual_seed(0)
    return ObjectDetector(ENCODER, num_classes=7, **{**SMALL, **options})


def batch_of(number=3, size=(32, 48), with_masks=True):
    dataset = ObjectShapesDataset(number, size, seed=3, pipeline=[FitObjects(32)], with_masks=with_masks)
    batch = collate_objects([dataset[index] for index in range(number)])
    return batch.pop("inputs").float() / 128 - 1, batch


def test_the_old_name_of_max_detections_works():
    with pytest.warns(DeprecationWarning, match="num_found is now max_detections"):
        model = detector(num_found=3)
    assert model.max_detections == model.regions.detections_per_img == 3
    assert detector(max_detections=4).max_detections == 4


@pytest.mark.parametrize("with_masks", [True, False])
def test_losses_reach_every_parameter(with_masks):
    model = detector(with_masks=with_masks)
    images, samples = batch_of(with_masks=with_masks)
    losses = model(images, samples)
    assert losses.keys() == {"loss"} | (PARTS if with_masks else PARTS - {"masks"})
    torch.testing.assert_close(losses["loss"], sum(value for name, value in losses.items() if name != "loss"))
    losses["loss"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_it_learns_an_image_by_heart():
    model = detector()
    images, samples = batch_of(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(80):
        torch.manual_seed(step)
        loss = model(images, samples)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        (found,) = model.eval()(images, {"content": samples["content"]}, mode="predict")
    true = samples["targets"][0]
    overlap, which = box_iou(found["boxes"][:1], true["boxes"]).max(dim=1)
    assert overlap > 0.5
    assert found["labels"][0] == true["labels"][which]


def test_detections_are_in_pixels_of_the_original():
    model = detector(score_threshold=0.0).eval()
    images, samples = batch_of(2, (64, 96))  # fitted into 32 pixels, and below them padding
    with torch.no_grad():
        original = model(images, samples, mode="predict")[0]
        small = model(images, {"content": samples["content"]}, mode="predict")[0]
    assert samples["content"].tolist() == [[21, 32]] * 2
    assert original["masks"].shape[1:] == (64, 96) and small["masks"].shape[1:] == (21, 32)
    factors = torch.tensor([3.0, 64 / 21, 3.0, 64 / 21])
    torch.testing.assert_close(original["boxes"], small["boxes"] * factors)
    assert (original["boxes"][:, 2] <= 96).all() and (original["boxes"][:, 3] <= 64).all()
    assert original["labels"].min() >= 0 and original["labels"].max() <= 6
    assert original["scores"].tolist() == sorted(original["scores"].tolist(), reverse=True)


@pytest.mark.parametrize("size", [(32, 32), (20, 52), (37, 33)])
def test_rectangles_and_sizes_that_do_not_divide(size):
    model = detector(score_threshold=0.0).eval()
    with torch.no_grad():
        (found,) = model(torch.randn(1, 3, *size), mode="predict")
        maps = model(torch.randn(1, 3, *size), mode="tensor")
    assert len(found["boxes"]) and found["masks"].shape[1:] == size
    rows, columns = (-(-side // 16) * 16 for side in size)
    assert [each.shape[2:] for each in maps] == [(rows // step, columns // step) for step in (1, 2, 4, 8, 16)]


def test_padding_counts_nothing_in_what_is_found():
    model = detector(score_threshold=0.0).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        (found,) = model(images, {"content": torch.tensor([[20, 25]])}, mode="predict")
    assert found["boxes"][:, 2].max() <= 25 and found["boxes"][:, 3].max() <= 20


def test_images_without_objects_give_a_loss_without_boxes():
    model = detector()
    images, samples = batch_of(2)
    for target in samples["targets"]:
        for name in target:
            target[name] = target[name][:0]
    losses = model(images, samples)
    losses["loss"].backward()
    assert losses["loss"].isfinite() and losses["objectness"] > 0
    assert losses["boxes"] == losses["proposal_boxes"] == losses["masks"] == 0


def test_boxes_stay_in_float32_under_autocast():
    """In bfloat16 there are only even pixels beyond 256."""
    model = detector(score_threshold=0.0).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (found,) = model(torch.randn(1, 3, 32, 512), mode="predict")
    right = found["boxes"][:, 2]
    beyond = right[(right > 256) & (right < 512)]
    assert found["boxes"].dtype == found["scores"].dtype == torch.float32
    assert len(beyond) and not torch.equal(beyond, beyond.bfloat16().float())


def test_the_mode_decides_and_not_the_state():
    model = detector(score_threshold=0.0)
    images, samples = batch_of(2)
    assert isinstance(model.eval()(images, samples, mode="loss"), dict)
    assert isinstance(model.train()(images, samples, mode="predict"), list)


def test_what_is_wrong_is_named():
    images, samples = batch_of(2)
    with pytest.raises(UsageError, match="mode is 'guess', but must be"):
        detector()(images, samples, mode="guess")
    with pytest.raises(UsageError, match="The batch has no objects: use a dataset of objects"):
        detector()(images, {})
    with pytest.raises(UsageError, match="boxes without masks, but the model has with_masks=True"):
        detector()(*batch_of(2, with_masks=False))
    with pytest.raises(UsageError, match="num_classes is 0"):
        ObjectDetector(ENCODER, num_classes=0)
    with pytest.raises(UsageError, match="a detector needs square ones of 4, 8, 16"):
        ObjectDetector({**ENCODER, "patch_size": 12, "img_size": 48}, num_classes=3)


def test_of_a_detector_only_torchvision_waits():
    """Its numbers of proposals and of samples depend on values. Tensors on "meta" have none that could be read."""
    images, samples = batch_of()
    part = ImagePreprocessor()
    part._device = torch.device("meta")
    sent = part({"inputs": torch.zeros(3, 3, 8, 24), **{name: samples[name] for name in ("content", "original_size")}})
    assert {value.device.type for value in sent["data_samples"].values()} == {"cpu"}
    with WaitCounter() as counter:
        detector()(images, samples)
    assert counter.waits and all("torchvision" in wait for wait in counter.waits)
