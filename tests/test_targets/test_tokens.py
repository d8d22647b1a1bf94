import pytest
import torch

from maetool.errors import UsageError
from maetool.models import parts_after_step, start_parts
from maetool.ops.kmeans import kmeans
from maetool.ops.patches import patchify
from maetool.structures import MaskPlan
from maetool.targets import TokenTarget
from maetool.testing import tiny_batch, tiny_model
from maetool.weights.formats.beitv2 import from_published, to_published

PIXELS = {"type": "PixelTarget", "norm_pix_loss": False}
TEACHER = {"type": "VisionTransformer", "img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 2}


def tokenizer(path, codebook, **maps):
    torch.save({"state_dict": {"codebook": codebook, **maps}}, path)
    return str(path)


def everything(grid, batch_size):
    return MaskPlan.from_scores(torch.rand(batch_size, grid[0] * grid[1]), 1, grid).predicting("all")


def test_tokens_are_the_nearest_codes(tmp_path):
    images, codes = torch.randn(2, 3, 16, 16), torch.randn(20, 192)
    target = TokenTarget(tokenizer(tmp_path / "t.pth", codes), PIXELS, patch_size=8)
    distances = torch.cdist(patchify(images, (8, 8)).double(), codes.double())
    assert target.out_dim == 20
    assert torch.equal(target(images, everything((2, 2), 2)), distances.argmin(dim=-1))


@pytest.mark.parametrize("size", [8, (8, 8), [8, 8]])
@pytest.mark.parametrize("source", [PIXELS, {"type": "FeatureTarget", "teacher": TEACHER}], ids=["pixels", "features"])
def test_sizes_are_a_number_a_tuple_or_a_list(size, source):
    torch.manual_seed(0)
    target = TokenTarget(10, source, patch_size=size, grid=2 if size == 8 else type(size)((2, 2)))
    assert target.source.patch_size == (8, 8)
    assert target(torch.randn(2, 3, 16, 16), everything((2, 2), 2)).shape == (2, 4)


def test_centroids_are_of_the_pixels_that_the_source_gives(tmp_path):
    """Files of maetool 0.1.0 do not say their units: they are of normalised pixels. Other files say nothing at all."""
    codes = torch.randn(20, 192)
    for name, meta in {"old": {"patches": 64}, "new": {"patches": 64, "units": "picture"}, "other": {}}.items():
        torch.save({"meta": {"cfg": "", **meta}, "state_dict": {"codebook": codes}}, tmp_path / f"{name}.pth")
    picture = {"type": "PictureTarget", "norm_pix_loss": False}
    for name, source in (("old", PIXELS), ("new", picture), ("other", PIXELS), ("other", picture)):
        assert TokenTarget(str(tmp_path / f"{name}.pth"), source, patch_size=8).out_dim == 20
    with pytest.raises(UsageError, match=r"holds centroids of normalised pixels, but PictureTarget gives picture ones"):
        TokenTarget(str(tmp_path / "old.pth"), picture, patch_size=8)
    with pytest.raises(UsageError, match=r"holds centroids of picture pixels, but PixelTarget gives normalised ones"):
        TokenTarget(str(tmp_path / "new.pth"), PIXELS, patch_size=8)


def test_kmeans_ends_where_every_centroid_is_the_mean_of_what_is_nearest_to_it():
    generator = torch.Generator().manual_seed(0)
    vectors = 10 * torch.randn(6, 4, generator=generator)[torch.arange(600) % 6]
    vectors += torch.randn(600, 4, generator=generator)
    errors = []
    found = kmeans(vectors, 6, iterations=50, seed=3, on_iteration=errors.append)
    nearest = torch.cdist(vectors, found).argmin(dim=1)
    for number, centroid in enumerate(found):
        assert torch.allclose(centroid, vectors[nearest == number].mean(dim=0), atol=1e-4)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]
    assert torch.equal(found, kmeans(vectors, 6, iterations=50, seed=3))
    assert not torch.equal(found, kmeans(vectors, 6, iterations=50, seed=4))


def test_kmeans_gives_an_empty_centroid_a_place():
    vectors = torch.tensor([[0.0], [0.0], [0.0], [0.0], [9.0]])  # whatever is drawn first, two centroids are equal
    assert sorted(kmeans(vectors, 2).flatten().tolist()) == [0.0, 9.0]


def published(width=12, codes=10, numbers=4):
    """A tokenizer under the published names, of a tiny encoder."""
    torch.manual_seed(1)
    from maetool.encoders import VisionTransformer

    sizes = {name: value for name, value in TEACHER.items() if name != "type"}
    encoder = VisionTransformer(**sizes, pos_embed="learned")
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    for i in range(2):
        q, _, v = state.pop(f"encoder.blocks.{i}.attn.qkv.bias").chunk(3)
        state |= {f"encoder.blocks.{i}.attn.q_bias": q, f"encoder.blocks.{i}.attn.v_bias": v}
    for part in ("weight", "bias"):
        state[f"encoder.fc_norm.{part}"] = state.pop(f"encoder.norm.{part}")
    state |= {"encode_task_layer.0.weight": torch.randn(width, width), "encode_task_layer.0.bias": torch.randn(width)}
    state |= {
        "encode_task_layer.2.weight": torch.randn(numbers, width),
        "encode_task_layer.2.bias": torch.randn(numbers),
    }
    code = torch.nn.functional.normalize(torch.randn(codes, numbers), dim=1)
    return state | {"quantize.embedding.weight": code, "quantize.embedding.initted": torch.ones(1)}


def test_a_published_tokenizer_gives_the_tokens_of_its_formula(tmp_path):
    theirs = published()
    ours = from_published({**theirs, "decoder.norm.weight": torch.ones(12), "decode_task_layer.0.bias": torch.ones(12)})
    assert {name: v.shape for name, v in to_published(ours).items()} == {
        name: v.shape for name, v in theirs.items() if name != "quantize.embedding.initted"
    }
    assert all(torch.equal(value, theirs[name]) for name, value in to_published(ours).items())
    torch.save({"state_dict": ours}, tmp_path / "t.pth")
    path = str(tmp_path / "t.pth")
    source = {"type": "FeatureTarget", "teacher": {**TEACHER, "pos_embed": "learned"}, "checkpoint": path}
    target = TokenTarget(path, {**source, "normalise": "none"}, patch_size=(8, 8), grid=(2, 2))
    images = torch.randn(3, 3, 16, 16)
    features = target.source.teacher(images)[:, 1:]
    hidden = torch.tanh(features @ theirs["encode_task_layer.0.weight"].T + theirs["encode_task_layer.0.bias"])
    z = hidden @ theirs["encode_task_layer.2.weight"].T + theirs["encode_task_layer.2.bias"]
    z = z / z.norm(dim=-1, keepdim=True)
    wanted = torch.cdist(z, theirs["quantize.embedding.weight"]).argmin(dim=-1)
    assert torch.equal(target(images, everything((2, 2), 3)), wanted)
    assert wanted.unique().numel() > 2


def test_a_model_of_tokens_learns_and_says_how_many_it_tells():
    model = tiny_model(
        target={"type": "TokenTarget", "codebook": 5, "source": PIXELS}, head={"type": "ClassificationHead"}
    )
    losses = model(**model.data_preprocessor(tiny_batch()))
    losses["loss"].backward()
    assert model.decoder.pred.out_features == 5
    assert 0 <= losses["token_accuracy"] <= 1
    assert model.decoder.pred.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("maps", "sentence"),
    [
        ({"codebook": torch.randn(9, 100)}, r"takes 100 numbers a patch, but PixelTarget gives 192: use the one"),
        ({"codebook": torch.randn(9)}, r"holds a codebook of shape \(9,\), but a tokenizer file holds one of shape"),
        ({"weights": torch.randn(9, 192)}, r"holds no codebook"),
        (
            {"codebook": torch.randn(9, 8), "projection.0.weight": torch.randn(7, 192)},
            r"does not lead to codes of 8 numbers",
        ),
    ],
)
def test_a_wrong_file_is_told(tmp_path, maps, sentence):
    torch.save({"state_dict": maps}, tmp_path / "t.pth")
    with pytest.raises(UsageError, match=sentence) as info:
        TokenTarget(str(tmp_path / "t.pth"), PIXELS, patch_size=8)
    assert "\n" not in str(info.value)


def test_a_missing_file_is_told_with_the_command_that_makes_it():
    with pytest.raises(
        UsageError, match=r"no tokenizer file x.pth: make it with `maetool fit_centroids CONFIG --out x.pth`"
    ):
        TokenTarget("x.pth", PIXELS, patch_size=8)
    with pytest.raises(UsageError, match="codebook is 1, but must be a file"):
        TokenTarget(1, PIXELS, patch_size=8)
    with pytest.raises(UsageError, match="gives tokens already"):
        TokenTarget(5, {"type": "TokenTarget", "codebook": 5, "source": PIXELS}, patch_size=8)
    with pytest.raises(UsageError, match="not a VQ-KD tokenizer: of its 1 tensors"):
        from_published({"a": torch.ones(1)})


def test_codes_of_an_averaged_encoder_follow_it():
    model = tiny_model(
        target={"type": "TokenTarget", "codebook": 5, "source": {"type": "MomentumFeatureTarget"}},
        head={"type": "ClassificationHead"},
    )
    teacher = model.target.source.teacher
    assert teacher is not model.encoder
    start_parts(model)
    before = [p.clone() for p in teacher.parameters()]
    for parameter in model.encoder.parameters():
        parameter.data += 1
    parts_after_step(model, 0.5)
    assert all(torch.all(new > old) for new, old in zip(teacher.parameters(), before, strict=True))
    losses = model(**model.data_preprocessor(tiny_batch()))
    assert losses["loss"].isfinite()
