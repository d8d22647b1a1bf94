"""The rules: which recipe fits which images; docs/auto.md lists them, and what they follow from."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from .facts import Facts
from .plan import Choice, Plan

_TINY = "maetool::mae/vit-t_shapes.py"
_SIZES: tuple[tuple[str, int, int, int, int], ...] = (  # called, least images, width, blocks, heads
    ("ViT-B", 200_000, 768, 12, 12),
    ("ViT-S", 20_000, 384, 12, 6),
    ("the tiny ViT", 0, 128, 4, 4),
)
_GRIDS = {"classify": 8, "retrieve": 8, "segment": 16, "detect": 16}  # patches along the shorter side on a CPU
_HALVED = 4  # the pyramid of a detector halves patches twice
_LARGEST = 224
_FEW = 64  # patches of a picture, up to which half of them is hidden (docs/results/data_rules.md)
_MINUTE = 8  # pixels of the shorter side, up to which pretraining gained nothing (docs/results/data_rules.md)
_STEPS, _PASSES = 5000, 800  # the length of a training is not above both
_DEEP = 0.1  # share of copies that is worth a sentence


@dataclass(frozen=True)
class Machine:
    """What there is to train with.

    Attributes:
        accelerator: whether there is one.
        minutes: for everything, from candidates to the judgement.
    """

    accelerator: bool
    minutes: float


def first_plan(facts: Facts, machine: Machine, task: str, data: dict[str, Any], title: str) -> Plan:
    """Return the plan that the rules give, without its length.

    Args:
        facts: of the images.
        machine: what it is trained on.
        task: what the encoder is for, a key of `_GRIDS`.
        data: the dataset to train on, without its pipeline.
        title: of the plan.
    """
    plan = Plan(_TINY, title)
    rules: tuple[Callable[..., list[Choice]], ...] = (_geometry, _encoder, _normalisation, _loading)
    for rule in rules:
        plan = plan.changed(*rule(facts, machine, task))
    plan = plan.changed(_hiding(facts, plan))
    side = plan.value("model.encoder.img_size")
    target = targets(facts, plan.value("model.encoder.patch_size"))[0][1]
    return plan.changed(*target, _data(facts, data, side), *_fixed())


def _geometry(facts: Facts, machine: Machine, task: str) -> list[Choice]:
    grid = 14 if machine.accelerator else _GRIDS[task]
    most = _LARGEST if machine.accelerator else 8 * grid
    side = max(2, min(facts.side, most))
    patch = max(min(2, side // 4) or 1, round(side / grid))
    if task == "detect":
        patch = _HALVED * max(1, round(patch / _HALVED))
    side = max(patch * (side // patch), patch)
    height, width = side, side
    if not 0.75 <= facts.aspect <= 4 / 3:
        longer = max(facts.aspect, 1 / facts.aspect)
        other = patch * max(1, round(side * min(longer, 3.0) / patch))
        height, width = (side, other) if facts.aspect > 1 else (other, side)
    where = "an accelerator" if machine.accelerator else "a CPU"
    size = side if height == width else [height, width]
    said = f"The median image has a shorter side of {facts.side} pixels, {facts.aspect:.2f} times as wide as high"
    cut = f"; more than {most} is too slow on {where}" if facts.side > most else ""
    if facts.side <= _MINUTE:
        cut += f". Of two sets of at most {_MINUTE} pixels measured, neither gained from pretraining"
    cells = f"{height // patch} x {width // patch} patches"
    return [
        Choice("model.encoder.img_size", size, f"{said}{cut}."),
        Choice("model.encoder.patch_size", patch, f"This gives {cells}; {task} needs about {grid} along a side here."),
    ]


def _encoder(facts: Facts, machine: Machine, task: str) -> list[Choice]:
    sizes = _SIZES if machine.accelerator and machine.minutes >= 60 else _SIZES[-1:]
    called, least, width, blocks, heads = next(size for size in sizes if facts.images >= size[1])
    why = f"{called} for {facts.images:,} images"
    why += f", at least {least:,}" if least else " on this machine in this time; larger ones need more of all three"
    choices = [
        Choice("model.encoder.in_chans", facts.in_chans, f"The files hold {facts.in_chans} channels."),
        Choice("model.encoder.embed_dim", width, f"{why}."),
        Choice("model.encoder.depth", blocks),
        Choice("model.encoder.num_heads", heads),
    ]
    if width > 128:
        reason = "A decoder of half the encoder's width and 4 blocks, and the lower rate of wider encoders."
        choices += [Choice("model.decoder.embed_dim", width // 2, reason), Choice("model.decoder.depth", 4)]
        choices += [Choice("base_lr", 1.5e-3)]
    return choices


def _normalisation(facts: Facts, machine: Machine, task: str) -> list[Choice]:
    mean, std = ([round(value, 4) for value in values] for values in (facts.mean, facts.std))
    unit = "0 to 255" if facts.eight_bit else "the units of the files"
    return [
        Choice("model.data_preprocessor.mean", mean, f"Measured on these images, {unit}."),
        Choice("model.data_preprocessor.std", std),
    ]


def _hiding(facts: Facts, plan: Plan) -> Choice:
    side, patch = plan.value("model.encoder.img_size"), plan.value("model.encoder.patch_size")
    patches = prod(each // patch for each in (side if isinstance(side, list) else [side, side]))
    explained = f"Neighbouring patches explain {100 * facts.redundancy:.0f} % of a patch's mean"
    measured = f"of {patches} patches half were better hidden than three quarters on most small sets"
    why = measured if patches <= _FEW else "0.75 at random is the published share"
    reason = f"{explained}; {why}, and blocks were worse on more sets than better."
    masker = {"_delete_": True, "type": "RandomMasker", "mask_ratio": 0.5 if patches <= _FEW else 0.75}
    return Choice("model.masker", masker, reason)


def targets(facts: Facts, patch: int) -> list[tuple[str, list[Choice]]]:
    """Return the targets to try, by name, the likeliest first.

    Args:
        facts: of the images.
        patch: side of a patch in pixels.
    """
    variation = f"{100 * facts.flat:.0f} % of the patches have no variation, contrasts differ {facts.contrast:.1f}-fold"
    brightness = f"{100 * facts.between:.0f} % of the variance is brightness"
    better = "Plain pixels were clearly better than normalised ones on five of twelve small sets, clearly worse on two"
    plain = _pixels(False, f"{better}. Here {variation}, and {brightness}.")
    normalised = _pixels(True, f"Pixels normalised in each patch: {variation}.")
    hog = Choice(
        "model.target", {"_delete_": True, "type": "HOGTarget"}, f"Directions of edges instead of pixels: {variation}."
    )
    pictures = Choice("custom_hooks.pictures", None, "Edges cannot be drawn as pictures.")
    named = {"plain": [plain], "normalised": [normalised], "hog": [hog, pictures]}
    if patch**2 * facts.in_chans < 2:
        del named["normalised"]  # of a single number nothing would be left
    return list(named.items())


def _pixels(normalised: bool, reason: str) -> Choice:
    return Choice("model.target", {"_delete_": True, "type": "PixelTarget", "norm_pix_loss": normalised}, reason)


def _loading(facts: Facts, machine: Machine, task: str) -> list[Choice]:
    batch = min(256 if machine.accelerator else 64, facts.images)
    precision = "auto" if machine.accelerator else "float32"
    why = f"{batch} images a step: {'an accelerator holds more' if machine.accelerator else 'steps of a CPU are short'}"
    return [
        Choice("train_dataloader.batch_size", batch, f"{why}; there are {facts.images:,}."),
        Choice("effective_batch_size", batch, "The rate follows from the batch: base_lr for 256 images."),
        Choice("optim_wrapper.dtype", precision, "bfloat16 where the device has it, else float32."),
    ]


def _data(facts: Facts, data: dict[str, Any], side: int | list[int]) -> Choice:
    scale = [0.6, 1.0] if min(side if isinstance(side, list) else [side]) >= 16 else [0.9, 1.0]
    pipeline = [{"type": "RandomResizedCrop", "scale": scale}]
    reason = (
        f"Crops of {100 * scale[0]:.0f} to 100 % of the area. No mirroring: whether a mirrored image means the "
        "same, pixels do not tell."
    )
    if facts.copies > _DEEP:
        reason += f" {100 * facts.copies:.0f} % of the images are copies of others, and count as often."
    if "max_broken" in data:
        reason += " Many files cannot be read; so many are allowed, of which `maetool check` lists the first."
    return Choice("train_dataloader.dataset", {"_delete_": True, **data, "pipeline": pipeline}, reason)


def _fixed() -> list[Choice]:
    why = "Nothing is validated while training, so that images held back decide nothing; `maetool quick_eval` judges."
    return [Choice("val_dataloader", None, why), Choice("val_cfg", None)]


def candidates(plan: Plan, facts: Facts) -> dict[str, Plan]:
    """Return the plans to try, by name, the likeliest first: the targets, and the likeliest with larger patches.

    Args:
        plan: of the rules.
        facts: of the images.
    """
    patch = plan.value("model.encoder.patch_size")
    found = {name: plan.changed(*choices) for name, choices in targets(facts, patch)}
    side = plan.value("model.encoder.img_size")
    sides = side if isinstance(side, list) else [side]
    if all(each % (2 * patch) == 0 and each // (2 * patch) >= 4 for each in sides):
        first = next(iter(found))
        larger = Choice("model.encoder.patch_size", 2 * patch, "Larger patches: a quarter of the time of a step.")
        coarse = found[first].changed(larger)
        found[f"{first}, patches of {2 * patch}"] = coarse.changed(_hiding(facts, coarse))
    return found


def longest(facts: Facts, batch: int) -> int:
    """Return the steps after which further ones are not worth their time: 800 passes, and at least 5,000 steps.

    Args:
        facts: of the images.
        batch: images of a step.
    """
    return max(_STEPS, _PASSES * facts.images // batch)


def schedule(steps: int, facts: Facts, seconds: float, batch: int) -> list[Choice]:
    """Return the choices of the length of the training.

    Args:
        steps: of the training.
        facts: of the images.
        seconds: that a step took here.
        batch: images of a step.
    """
    epochs = steps * batch / facts.images
    epoch = max(1, facts.images // batch)
    why = f"A step took {seconds * 1000:.0f} ms here, so {steps:,} steps fit; each image is seen {epochs:,.0f} times."
    every = max(1, round(60 / max(seconds, 1e-3)))
    return [
        Choice("train_cfg.max_epochs", None, why),
        Choice("train_cfg.max_iters", steps),
        Choice("train_cfg.val_at_start", False),
        Choice(
            "param_scheduler",
            [{"type": "WarmupCosineLR", "warmup_epochs": round(0.1 * steps / epoch, 4), "min_lr": 0.0}],
            "A tenth of the steps to warm up.",
        ),
        Choice("default_hooks.checkpoint.every_n_iters", every, "A checkpoint about every minute."),
        Choice("default_hooks.checkpoint.interval", max(1, -(-every // epoch))),
    ]
