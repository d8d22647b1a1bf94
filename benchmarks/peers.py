"""Masked autoencoders of other libraries, measured where they are installed: `pip install -e .[bench]`.

Each is assembled as its documentation describes, at maetool's sizes: the published decoder, normalised pixels, 75 %
removed. timm has no decoder: its ViT, which drops 75 % of the patches, is beside maetool's encoder alone.
"""

from collections.abc import Callable
from importlib.util import find_spec

from torch import Tensor, nn
from torch.nn import functional

# Width, depth and heads of the encoder, and the patch size.
SIZES = {
    "vit-s": (384, 12, 6, 16),
    "vit-b": (768, 12, 12, 16),
    "vit-l": (1024, 24, 16, 16),
    "vit-h": (1280, 32, 16, 14),
}
_DECODER = {"embed_dim": 512, "depth": 8, "num_heads": 16}
_NEEDS = {"transformers": ["transformers"], "lightly": ["lightly", "timm"]}
ENCODERS = {"timm, encoder alone": ["timm"]}


def present() -> list[str]:
    """Return the names of the peers that can be imported here."""
    return [name for name, needs in _NEEDS.items() if all(find_spec(package) for package in needs)]


def names() -> list[str]:
    """Return the names of all that can be imported here: masked autoencoders, and encoders alone."""
    return [*present(), *(name for name, needs in ENCODERS.items() if all(find_spec(package) for package in needs))]


def absent() -> list[str]:
    """Return the names of those that cannot be imported here."""
    return [name for name in (*_NEEDS, *ENCODERS) if name not in names()]


def build(name: str, size: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Return a peer's model and its loss of images (B, 3, 224, 224)."""
    builders = {"transformers": _transformers, "lightly": _lightly, "timm, encoder alone": _timm}
    return builders[name](size)


def _transformers(size: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    width, depth, heads, patch = SIZES[size]
    config = ViTMAEConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        patch_size=patch,
        norm_pix_loss=True,
    )
    model = ViTMAEForPreTraining(config)
    return model, lambda images: model(pixel_values=images).loss


class _LightlyMAE(nn.Module):
    """MAE from lightly's parts around timm's encoder."""

    def __init__(self, size: str) -> None:
        super().__init__()
        from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM
        from timm.models.vision_transformer import VisionTransformer

        width, depth, heads, self.patch = SIZES[size]
        vit = VisionTransformer(
            patch_size=self.patch, embed_dim=width, depth=depth, num_heads=heads, num_classes=0, global_pool=""
        )
        self.encoder = MaskedVisionTransformerTIMM(vit)
        self.length = self.encoder.sequence_length
        self.embed = nn.Linear(width, _DECODER["embed_dim"])
        self.decoder = MaskedVisionTransformerDecoderTIMM(num_patches=self.length - 1, **_DECODER)
        self.predict = nn.Linear(_DECODER["embed_dim"], 3 * self.patch**2)

    def forward(self, images: Tensor) -> Tensor:
        from lightly.models import utils

        size = (len(images), self.length)
        keep, hidden = utils.random_token_mask(size, mask_ratio=0.75, device=images.device)
        latent = self.embed(self.encoder.encode(images, idx_keep=keep))
        tokens = utils.set_at_index(latent.new_zeros(*size, latent.shape[-1]), keep, latent)
        pred = self.predict(utils.get_at_index(self.decoder(tokens, idx_mask=hidden), hidden))
        target = utils.get_at_index(utils.patchify(images, self.patch), hidden - 1)
        return functional.mse_loss(pred.float(), utils.normalize_mean_var(target))


def _lightly(size: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    model = _LightlyMAE(size)
    return model, model


def _timm(size: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    from timm.models.vision_transformer import VisionTransformer

    width, depth, heads, patch = SIZES[size]
    model = VisionTransformer(
        patch_size=patch, embed_dim=width, depth=depth, num_heads=heads, num_classes=0, patch_drop_rate=0.75
    )
    return model, lambda images: model.forward_features(images).float().square().mean()
