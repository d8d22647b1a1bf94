"""The numbers of Haochen-Wang409/HPM (tests/data/README.md)."""

import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import TransformerDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.layers.average import momentum_at, move_average
from maetool.maskers import HardPatchMasker
from maetool.models import MaskedImageModel, start_parts
from maetool.ops.random import sample_keys
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget
from maetool.weights.formats.mae import from_published, to_published

MAIN = {"decoder_norm_losspred": "norm", "decoder_pred_losspred": "pred", "decoder_blocks_losspred": "blocks"}
LOSS = {"relative": {"type": "RankingHead"}, "absolute": {"type": "RegressionHead"}}


def hpm(norm_pix_loss=False, loss="relative"):
    encoder = VisionTransformer(32, 8, embed_dim=48, depth=2, num_heads=3)
    decoder = TransformerDecoder(48, 192, encoder.grid, embed_dim=32, depth=1, num_heads=4)
    target, masker = PixelTarget(8, norm_pix_loss=norm_pix_loss), HardPatchMasker()
    hardness = {
        "decoder": {"type": "BranchDecoder", "depth": 1},
        "target": {"type": "ErrorTarget", "standardise": loss == "absolute"},
        "head": LOSS[loss],
    }
    teacher = {"type": "MomentumTeacher", "predicts": "hardness"}
    parts = (masker, encoder, decoder, target, RegressionHead())
    return MaskedImageModel(*parts, tasks={"hardness": hardness}, teacher=teacher)


def ours(name, value):
    """Return our name and value of a weight of the loss predictor, of whose 192 outputs the mean is used."""
    published, _, rest = name.partition(".")
    value = value.mean(dim=0, keepdim=True) if MAIN[published] == "pred" else value
    return f"tasks.hardness.decoder.{MAIN[published]}.{rest}", value


def loaded(state, **options):
    model = hpm(**options).eval()
    branch = {name: value for name, value in state.items() if "_losspred" in name}
    own = from_published({name: value for name, value in state.items() if name not in branch})
    own |= dict(ours(*item) for item in branch.items())
    own |= {name: value for name, value in model.state_dict().items() if name.startswith("teacher.")}
    load_all(model, own)
    start_parts(model)
    return model


@pytest.fixture
def case(data_dir):
    return load(data_dir, "hpm")


def plan_of(golden):
    return MaskPlan.from_mask(golden["mask"], (4, 4))


@pytest.mark.parametrize("kind", ["pixel", "norm_pix"])
def test_both_losses(case, kind):
    golden, state = case
    plan = plan_of(golden)
    for loss in LOSS:
        model = loaded(state, norm_pix_loss=kind == "norm_pix", loss=loss)
        losses = model(golden["imgs"], plan=plan)
        close(losses["main"], golden[f"{kind}/loss_rec"])
        close(losses["hardness"], golden[f"{kind}/loss_{loss}"])
        if loss == "relative":
            close(losses["loss"], golden[f"{kind}/loss"])
            check_gradients(model, losses["loss"], {k: v for k, v in golden.items() if k.startswith(f"{kind}/grad/")})


def check_gradients(model, loss, published):
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    branch = {name: g for name, g in gradients.items() if name.startswith("tasks.")}
    plain = to_published({name: g for name, g in gradients.items() if name not in branch})
    assert len(published) == 6
    for name, gradient in published.items():
        name = name.split("/")[-1]
        if "_losspred" in name:  # each of the 192 outputs has its share of the gradient of their mean
            mine, _ = ours(name, gradient)
            close(branch[mine], gradient.sum(dim=0, keepdim=True) if "pred.weight" in mine else gradient)
        else:
            close(plain[name], gradient)


def test_predictions(case):
    golden, state = case
    model, plan = loaded(state), plan_of(golden)
    latent = model.encoder(golden["imgs"], plan)
    close(latent, golden["latent"])
    hardness = model.tasks["hardness"].decoder(latent, plan)[..., 0]
    close(hardness, golden["loss_pred"][:, -12:])  # the removed ones come last, in raster order
    close(model.decoder(latent, plan), golden["pix_pred"][:, -12:])
    errors = model.head.errors(golden["pix_pred"][:, -12:], model.target(golden["imgs"], plan), plan)
    close(errors, golden["pixel/loss_matrix"])


def test_the_teacher_predicts_for_whole_images(case):
    golden, state = case
    model = loaded(state)
    with torch.no_grad():
        model.decoder.embed.weight.zero_()  # the teacher has a copy of what the two decoders share
        model.tasks["hardness"].decoder.blocks[0].attn.qkv.weight.zero_()
    plan = plan_of(golden)
    close(model.teacher(golden["imgs"], plan.layout, ["losses"])["losses"], golden["teacher_loss_pred"])


def test_hard_patches_are_hidden_more_and_more(case):
    golden, _ = case
    masker, total = HardPatchMasker(), int(golden["masks/total_epochs"])
    for epoch in golden["masks/epochs"].tolist():
        masker.progress = (epoch + 1) / total
        keys, losses = sample_keys(0, epoch, torch.arange(64)), golden["masks/loss_pred"]
        draws = [
            masker(torch.zeros(64, 3, 1, 1), (4, 4), keys=keys + 64 * i, clues={"losses": losses}) for i in range(40)
        ]
        masks = torch.stack([plan.mask for plan in draws])
        always = golden[f"masks/always_{epoch}"]
        assert masks.all(dim=0).equal(always) and masks.sum(dim=2).eq(12).all()
        assert always.sum(dim=1).eq(golden[f"masks/hard_count_{epoch}"]).all()
        assert golden[f"masks/epoch_{epoch}"].sum(dim=1).eq(12).all()
        assert masks.any(dim=0).all()


def test_decay_by_epoch(case):
    golden, _ = case
    for epoch, decay in golden["ema/decay_of_epoch"].tolist():
        assert momentum_at(epoch / 800, 0.999, "linear", 0.9999, 100 / 800) == pytest.approx(decay, abs=1e-9)
    average, trained = torch.nn.Linear(48, 1, bias=False), torch.nn.Linear(48, 1, bias=False)
    average.weight.data, trained.weight.data = golden["ema/before"].clone(), golden["ema/student"]
    move_average(average, trained, 0.9)
    close(average.weight, golden["ema/after_decay_0.9"])
