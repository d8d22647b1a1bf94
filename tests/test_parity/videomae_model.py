"""VideoMAE and its relatives, whose published code differs in what is hidden, with weights of published names."""

import torch
from golden import close, load_all

from maetool.decoders import PredictorDecoder
from maetool.encoders import VisionTransformer
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan

_NAMES = {"encoder_to_decoder.": "decoder.embed.", "decoder.head.": "decoder.pred.", "mask_token": "decoder.mask_token"}
_SAMPLER = {
    "encoder.pos_embed_probs": "masker.pos_embed",
    "encoder.get_token_probs.0": "masker.block",
    "encoder.get_token_probs.1": "masker.logits",
}


def ours(name):
    """Return a published name as it is in a `MaskedImageModel`."""
    for old, new in _SAMPLER.items():
        name = name.replace(old, new)
    return next((name.replace(old, new, 1) for old, new in _NAMES.items() if name.startswith(old)), name)


def videomae(masker, state, side=24, final_norm=True):
    """Return the model of 16 frames of `side` pixels, with a published state loaded."""
    options = {"pos_embed": "flat", "qkv_bias": "qv"}
    encoder = VisionTransformer(
        *((16, side, side), (2, 8, 8), 3, 48, 2, 3), class_token=False, final_norm=final_norm, **options
    )
    decoder = PredictorDecoder(48, 384, encoder.grid, 0, 32, 2, 4, embed_bias=False, **options)
    target = {"type": "PictureTarget", "norm_pix_loss": "channel"}
    preprocessor = {"type": "ImagePreprocessor"}
    model = MaskedImageModel(
        masker, encoder, decoder, target, {"type": "RegressionHead"}, preprocessor, masker_weight=1e-4
    )
    tables = {name: value for name, value in model.state_dict().items() if name.endswith("coder.pos_embed")}
    load_all(model, {**tables, **{ours(name): value for name, value in state.items()}})
    return model


def check_step(model, golden, plan: MaskPlan):
    """Check tokens, prediction, target, loss and gradients of a step."""
    losses = model(golden["clip"], plan=plan)
    close(losses["loss"], golden["loss"])
    with torch.no_grad():
        latent = model.encoder(golden["clip"], plan)
        close(latent.gather(1, plan.ids_keep.argsort(dim=1)[..., None].expand_as(latent)), golden["latent"])
        close(model.decoder(latent, plan), golden["pred"])
        if "labels" in golden:
            close(model.target(golden["clip"], plan), golden["labels"])
    losses["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    published = {name.removeprefix("grad/"): value for name, value in golden.items() if name.startswith("grad/")}
    assert published
    for name, gradient in published.items():
        close(gradients[ours(name)], gradient)
    return losses


class GivenRandom:
    """Random numbers of a masker that are given: what a published draw was made of.

    Args:
        numbers: (B, N), for the only `order` that is asked for.
    """

    def __init__(self, numbers):
        self.numbers = numbers

    def __len__(self):
        return len(self.numbers)

    def order(self, length):
        """Return the given numbers."""
        assert self.numbers.shape[1] == length
        return self.numbers
