import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as reference

from maetool.data.keys import keyed_rng
from maetool.data.transforms.crops import (
    RandomResizedCrop,
    Resize,
    ResizeCenterCrop,
    ResizeRandomCrop,
)
from maetool.data.transforms.flips import RandomHorizontalFlip
from maetool.errors import UsageError


@pytest.fixture(scope="module")
def image():
    """A picture with slopes, edges and grain, uint8 (3, 150, 200), laid out as the decoder gives it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:150, 0:200]
    smooth = np.stack([x, y, 250 - x], axis=-1) + 40 * ((x // 20 + y // 25) % 2)[..., None]
    pixels = (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def as_pil(image):
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def as_tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def distance(a, b):
    return (a.float() - b.float()).abs().mean().item()


@pytest.mark.parametrize("size", [64, 96, (48, 80)])
def test_crop_equals_pillow_with_the_same_box(image, size):
    ours = RandomResizedCrop(size)
    theirs = reference.RandomResizedCrop(size, (0.2, 1.0), interpolation=reference.InterpolationMode.BICUBIC)
    distances = []
    for key in range(30):
        with keyed_rng(key):
            result = ours(image)
        with keyed_rng(key):
            expected = as_tensor(theirs(as_pil(image)))
        assert result.dtype == torch.uint8
        assert result.shape == expected.shape
        assert result.is_contiguous()
        assert (result.int() - expected.int()).abs().max() <= 2
        distances.append(distance(result, expected))
    # A box just above the size of the output comes to 0.3: torch's weights have fewer bits there.
    assert sum(distances) / 30 < 0.1


# The last three seldom or never hold a box of a legal ratio.
@pytest.mark.parametrize("shape", [(375, 500), (64, 80), (1, 1), (64, 640), (640, 64), (3, 200)])
@pytest.mark.parametrize("scale", [(0.2, 1.0), (0.9, 1.0)])
def test_boxes_and_the_draws_after_them_are_torchvisions(shape, scale):
    crop, outline = RandomResizedCrop(224, scale), torch.empty(1, *shape, device="meta")
    for key in range(200):
        with keyed_rng(key):
            expected = (*reference.RandomResizedCrop.get_params(outline, scale, (3 / 4, 4 / 3)), torch.rand(1).item())
        with keyed_rng(key):
            assert (*crop.draw_box(*shape), torch.rand(1).item()) == expected


@pytest.mark.parametrize("shape", [(150, 200), (200, 150), (70, 70), (64, 301)])
@pytest.mark.parametrize("size", [56, 224])
def test_evaluation_crop_equals_mae(image, shape, size):
    image = Resize(shape)(image)
    expected = reference.Compose(
        [
            reference.Resize(size * 256 // 224, reference.InterpolationMode.BICUBIC),
            reference.CenterCrop(size),
        ]
    )(as_pil(image))
    result = ResizeCenterCrop(size)(image)
    assert result.shape == (3, size, size)
    assert result.is_contiguous()
    assert distance(result, as_tensor(expected)) < 0.1


@pytest.mark.parametrize("shape", [(150, 200), (300, 40), (40, 300)])
def test_rectangular_evaluation_crop_keeps_proportions(shape):
    height, width = shape
    ramp = torch.arange(width, dtype=torch.float32).expand(1, height, width)
    result = ResizeCenterCrop((64, 96), resize_ratio=1.0)(ramp)
    assert result.shape == (1, 64, 96)
    steps = result[0, 32].diff()[4:-4]
    scale = max(64 / height, 96 / width)
    assert steps.mean().item() == pytest.approx(1 / scale, rel=0.02)
    assert result[0, 0, 47:49].mean().item() == pytest.approx((width - 1) / 2, abs=1 / scale)


def test_resize_equals_pillow(image):
    result = Resize((60, 50))(image)
    assert distance(result, as_tensor(as_pil(image).resize((50, 60), Image.BICUBIC))) < 0.1


@pytest.mark.parametrize("shape", [(150, 200), (300, 40), (64, 64)])
def test_a_random_crop_of_the_whole_image_is_a_piece_of_it_mirrored_at_the_edges(image, shape):
    image = Resize(shape)(image)
    scale = max(64 / shape[0], 48 / shape[1])
    whole = Resize((max(64, int(shape[0] * scale)), max(48, int(shape[1] * scale))))(image)
    wide = torch.nn.functional.pad(whole.float(), (4,) * 4, mode="reflect").byte()
    pieces = wide.unfold(1, 64, 1).unfold(2, 48, 1)  # (3, places, places, 64, 48)
    seen = set()
    for key in range(20):
        with keyed_rng(key):
            crop = ResizeRandomCrop((64, 48))(image)
        found = (pieces == crop[:, None, None]).all(0).flatten(-2).all(-1).nonzero().tolist()
        assert found
        seen.add(tuple(found[0]))
    assert len(seen) > 10
    square = ResizeRandomCrop(32, padding=0)(Resize(50)(image))
    assert torch.equal(square, Resize(32)(Resize(50)(image)))


@pytest.mark.parametrize("transform", [RandomResizedCrop(32), ResizeCenterCrop(32), ResizeRandomCrop(32), Resize(32)])
def test_float_images_with_many_channels(transform):
    image = torch.full((5, 40, 60), 12000.5)
    result = transform(image)
    assert result.dtype == torch.float32
    assert torch.allclose(result, torch.full((5, 32, 32), 12000.5))


def test_flip(image):
    assert torch.equal(RandomHorizontalFlip(p=1.0)(image), image.flip(-1))
    assert torch.equal(RandomHorizontalFlip(p=0.0)(image), image)
    with keyed_rng(0):
        flipped = sum(not torch.equal(RandomHorizontalFlip(p=0.3)(image), image) for _ in range(400))
    assert 85 < flipped < 155


def test_same_key_same_crop(image):
    crop = RandomResizedCrop(32)

    def draw(key):
        with keyed_rng(key):
            return crop(image)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_one_pixel_wide_image():
    image = torch.randint(0, 256, (3, 500, 1), dtype=torch.uint8)
    for transform in (RandomResizedCrop(16), ResizeCenterCrop(16), ResizeRandomCrop(16), Resize(16)):
        assert transform(image).shape == (3, 16, 16)


@pytest.mark.parametrize("cls", [RandomResizedCrop, ResizeCenterCrop, ResizeRandomCrop, Resize])
@pytest.mark.parametrize("size", [0, -3, 2.5, True, "224", None, (224,), (224, 0), (1, 2, 3)])
def test_nonsense_size(cls, size):
    with pytest.raises(UsageError, match="positive whole number"):
        cls(size)


@pytest.mark.parametrize(
    "build",
    [
        lambda: RandomResizedCrop(8, scale=(0.5, 0.2)),
        lambda: RandomResizedCrop(8, scale=(0.0, 1.0)),
        lambda: RandomResizedCrop(8, scale=(0.5, 2.0)),
        lambda: RandomResizedCrop(8, scale=0.5),
        lambda: RandomResizedCrop(8, ratio=(-1, 1)),
        lambda: ResizeCenterCrop(8, resize_ratio=0.5),
        lambda: ResizeRandomCrop(8, padding=-1),
        lambda: ResizeRandomCrop(8, padding=8),
        lambda: ResizeCenterCrop(8, resize_ratio=float("nan")),
        lambda: RandomHorizontalFlip(p=1.5),
    ],
)
def test_nonsense_arguments(build):
    with pytest.raises(UsageError, match="give a"):
        build()
