"""The numbers of mmpretrain's MFF (tests/data/README.md)."""

from golden import close, from_mmpretrain, load, load_all

from maetool.decoders import LayerFusionDecoder, TransformerDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget


def ours(name):
    name = from_mmpretrain(name)
    for theirs, mine in {
        "backbone.proj_blocks.": "decoder.projections.",
        "backbone.proj_layers.": "decoder.projections.",
        "backbone.proj_weights": "decoder.layer_weights",
        "backbone.norm1.": "encoder.norm.",
        "backbone.": "encoder.",
        "neck.norm1.": "decoder.decoder.norm.",
        "neck.mask_token": "decoder.decoder.mask_token",
        "neck.decoder_": "decoder.decoder.",
    }.items():
        if name.startswith(theirs):
            return mine + name.removeprefix(theirs)
    raise AssertionError(name)


def model_of(data_dir):
    golden, state = load(data_dir, "mff")
    encoder = VisionTransformer(32, 8, embed_dim=48, depth=4, num_heads=3)
    target = PixelTarget(8)
    inner = TransformerDecoder(48, target.out_dim, encoder.grid, embed_dim=32, depth=2, num_heads=4)
    decoder = LayerFusionDecoder(inner, [1, 2, 4], 48, num_layers=4, encoder_norm=encoder.norm)
    model = MaskedImageModel(RandomMasker(), encoder, decoder, target, RegressionHead())
    inner.pos_embed = state.pop("neck.decoder_pos_embed")  # mmpretrain's tables encode the row first, ours the column
    load_all(model, {ours(name): value for name, value in state.items()})
    return golden, model


def test_loss(data_dir):
    golden, model = model_of(data_dir)
    plan = MaskPlan.from_scores(golden["noise"], 4, (4, 4))
    close(model(golden["imgs"], plan=plan)["loss"], golden["loss"])


def test_the_norm_is_the_encoders_and_saved_once(data_dir):
    golden, model = model_of(data_dir)
    assert [name for name in model.state_dict() if name.endswith("norm.weight")] == [
        "encoder.norm.weight",
        "decoder.decoder.norm.weight",
    ]
    plan = MaskPlan.from_scores(golden["noise"], 4, (4, 4))
    model(golden["imgs"], plan=plan)["loss"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
