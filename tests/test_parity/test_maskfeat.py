"""Numbers of mmpretrain's HOG generator and MaskFeat (tests/data/README.md)."""

import pytest
import torch
from golden import close, from_mmpretrain, load, load_all

from maetool.decoders import LinearDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import GivenMasker
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan
from maetool.targets import HOGTarget


@pytest.fixture(scope="module")
def photo(data_dir):
    golden, _ = load(data_dir, "hog_photo_224")
    return (golden["imgs_uint8"].float() / 255 - golden["mean"]) / golden["std"], golden["hog"]


def test_hog_of_every_patch_of_a_photo(photo):
    images, hog = photo
    target = HOGTarget(16, gaussian_window=16)
    assert target.out_dim == 108
    plan = MaskPlan.from_scores(torch.rand(1, 196), 49, (14, 14)).predicting("all")
    torch.testing.assert_close(target(images, plan), hog, atol=1e-4, rtol=0)


def test_hog_only_where_it_is_asked_for_gives_the_same_numbers(photo):
    images, hog = photo
    plan = MaskPlan.from_scores(torch.rand(1, 196), 49, (14, 14), num_predict=30)
    ours = HOGTarget(16, gaussian_window=16)(images, plan)
    torch.testing.assert_close(ours, plan.take_predicted(hog), atol=1e-4, rtol=0)


def test_loss(data_dir):
    golden, state = load(data_dir, "maskfeat")
    encoder = VisionTransformer(224, 16, 3, 24, 2, 2, mlp_ratio=2.0, pos_embed="learned", sees="all")
    target = HOGTarget(16, gaussian_window=16)
    model = MaskedImageModel(GivenMasker(), encoder, LinearDecoder(24, target.out_dim), target, RegressionHead())
    mine = {}
    for name, value in state.items():
        head, _, last = name.rpartition(".")
        renamed = {"backbone.ln1": "encoder.norm", "neck.fc": "decoder.pred"}.get(head)
        if not name.startswith("target_generator."):
            mine[f"{renamed}.{last}" if renamed else from_mmpretrain(name.replace("backbone.", "encoder."))] = value
    load_all(model, mine)
    plan = MaskPlan.from_mask(golden["mask"], (14, 14))
    close(model(golden["imgs"].float(), plan=plan)["loss"], golden["loss"], tolerance=1e-4)
