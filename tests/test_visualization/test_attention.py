"""Where the class token looks: rows of the last block's probabilities, in the grid of the patches."""

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.encoders import HybridTransformer, TimmEncoder, VisionTransformer
from maetool.errors import UsageError
from maetool.visualization.attention import attention_maps, draw_attention

SIZES = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
IMAGES = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
ENCODERS = {
    "plain": lambda: VisionTransformer(img_size=(16, 24), **SIZES),
    "registers": lambda: VisionTransformer(img_size=(16, 24), num_registers=2, **SIZES),
    "timm": lambda: TimmEncoder("vit_base_patch16_224", img_size=(16, 24), **SIZES),
}


@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("query", ["cls", "mean"])
def test_maps_are_rows_of_the_probabilities(make, query):
    encoder = make().eval()
    prefix = encoder.num_prefix_tokens
    maps = attention_maps(encoder, IMAGES, query)
    whole = encoder.attention(IMAGES).detach()
    rows = whole[:, :, 0, prefix:] if query == "cls" else whole[:, :, prefix:, prefix:].mean(dim=2)
    assert maps.shape == (2, 4, 2, 3)
    torch.testing.assert_close(maps.flatten(2), rows / rows.sum(dim=-1, keepdim=True))
    torch.testing.assert_close(maps.sum(dim=(2, 3)), torch.ones(2, 4))


def test_a_hybrid_attends_in_its_last_block():
    torch.manual_seed(0)
    encoder = HybridTransformer(img_size=(16, 24), conv_dims=(8, 16), **SIZES | {"patch_size": 8}).eval()
    attention, (tokens, again) = encoder.attention(IMAGES, [-1, -1])
    torch.testing.assert_close(encoder.norm(tokens), encoder(IMAGES))
    assert torch.equal(tokens, again) and torch.equal(attention, encoder.attention(IMAGES))
    seen = []
    last = encoder.blocks[-1]
    last.register_forward_pre_hook(lambda block, args: seen.append(args[0]))
    encoder(IMAGES)
    q, k, _ = last.attn.qkv(last.norm1(seen[0])).unflatten(2, (3, 4, 8)).permute(2, 0, 3, 1, 4)  # (B, heads, L, d)
    torch.testing.assert_close((q @ k.transpose(2, 3) / 8**0.5).softmax(dim=3), attention)
    maps = attention_maps(encoder, IMAGES, "mean")
    torch.testing.assert_close(maps.flatten(2), attention.mean(dim=2))
    with pytest.raises(UsageError, match="gives its last layer alone"):
        encoder.attention(IMAGES, [0])
    with pytest.raises(UsageError, match="has no class token"):
        attention_maps(encoder, IMAGES)


def test_a_map_at_one_patch_keeps_that_patch_bright(tmp_path):
    maps = torch.zeros(1, 2, 2, 2)
    maps[:, :, 0, 1] = 1
    draw_attention(torch.full((1, 3, 32, 32), 200, dtype=torch.uint8), maps, tmp_path / "a.png")
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert (picture == 200).any() and (picture == 80).any()


@pytest.mark.parametrize(
    ("encoder", "query", "words"),
    [
        (VisionTransformer(img_size=(16, 24), class_token=False, **SIZES), "cls", "has no class token"),
        (torch.nn.Linear(1, 1), "cls", "gives no attention"),
        (VisionTransformer(img_size=(16, 24), **SIZES), "token", "must be"),
    ],
)
def test_what_cannot_be_drawn(encoder, query, words):
    with pytest.raises(UsageError, match=words):
        attention_maps(encoder, IMAGES, query)
