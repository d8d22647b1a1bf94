"""The small model of facebookresearch/ijepa, whose predictor amirbar/StoP took over."""

import torch
from golden import load, load_all

from maetool.decoders import PredictorDecoder
from maetool.encoders import VisionTransformer
from maetool.structures import Layout, MaskPlan

_NAMES = {"predictor_proj": "pred", "predictor_": ""}


def published(data_dir, name, **options):
    """Return the arrays of a file, and encoder, decoder and plan with its weights and ids."""
    golden, state = load(data_dir, name)
    encoder = VisionTransformer(48, 8, 3, 48, 2, 3, class_token=False)
    decoder = PredictorDecoder(48, 48, (6, 6), 0, 32, 2, 4, **options)
    load_all(encoder, weights_of(state, "encoder."))
    load_all(decoder, predictor_state(state, decoder))
    return golden, encoder, decoder, plan_of(golden["context_ids"][0], golden["target_ids"])


def weights_of(state, prefix):
    """Return the weights whose names have a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def predictor_state(state, decoder):
    """Return the weights of the predictor under the names of `PredictorDecoder`, without a mask token it lacks."""
    own = {}
    for name, value in weights_of(state, "predictor.").items():
        for old, new in _NAMES.items():
            name = name.replace(old, new)
        own[name] = value
    if decoder.mask_token is None:
        del own["mask_token"]
    return own


def plan_of(context, targets):
    """Return the plan of contexts (B, V) and of blocks (blocks, B, m)."""
    blocks, batch, number = targets.shape
    mask = torch.ones(batch, 36, dtype=torch.bool).scatter(1, context, False)
    order = torch.cat([context, torch.stack([one.nonzero()[:, 0] for one in mask])], dim=1)
    group = torch.arange(blocks).repeat_interleave(number).expand(batch, -1)
    predict = targets.transpose(0, 1).flatten(1)
    return MaskPlan(Layout.of((6, 6)), context, predict, order.argsort(dim=1), mask, group=group).validate()


def by_block(pred, blocks):
    """Return predictions (B, blocks * m, P) as published: block after block, images inside."""
    return pred.unflatten(1, (blocks, -1)).transpose(0, 1).flatten(0, 1)
