"""The model card of an exported encoder, from its checkpoint and the log of its run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maetool.config.facts import argument_of, optimizers_in
from maetool.config.overlap import validates_on_training
from maetool.evaluation.names import is_constant, name_evaluators, say_metric
from maetool.metadata.stored_config import read_config
from maetool.ops.geometry import format_size, rank_of
from maetool.registry import DATASETS, ENCODERS, no_imports
from maetool.visualization.curves import read_logs
from maetool.writing import write_text

# Arguments that timm's class has under the same names.
_TIMM = ("img_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads", "mlp_ratio", "final_norm")
# Other arguments of VisionTransformer that change nothing of what its weights are for.
_ALIKE = {*_TIMM, "type", "drop_path_rate"}


def write_card(exported: Mapping[str, Any], run: Mapping[str, Any], out: Path) -> Path | None:
    """Write the card of an exported encoder beside it, as Markdown, and return its path.

    Args:
        exported: the result of `encoder_of`.
        run: `meta` of the checkpoint that it was exported from.
        out: the encoder's file; the card of encoder.pth is encoder.md, that of a folder is its README.md.

    Returns:
        None if the card exists, which is then kept, because people edit their cards.

    Raises:
        UsageError: the disk is full or the folder cannot be written.
    """
    path = card_of(out)
    if path.exists():
        return None
    write_text(path, model_card(exported, run, out.name))
    return path


def card_of(out: Path) -> Path:
    """Return the path of the card of an exported file or folder, `out`."""
    return out / "README.md" if out.is_dir() else out.with_suffix(".md")


def model_card(exported: Mapping[str, Any], run: Mapping[str, Any], name: str) -> str:
    """Return the card of an encoder: architecture, training data and recipe, numbers, limits, licence.

    Args:
        exported, run: see `write_card`.
        name: name of the encoder's file.
    """
    config = read_config(run)
    with no_imports():  # the config comes from the checkpoint and is not trusted
        name_evaluators(config.get("val_cfg"))
    sections = {
        f"# {name}": [
            f"The encoder of a {exported['meta']['encoder']['type']}: images into tokens of features, not classes."
        ],
        "## What it is": [*_table(_encoder_rows(exported))],
        "## How to load it": _loading(exported["meta"]["encoder"], name),
        "## What it was trained on, and how": [*_table(_recipe_rows(config, run))],
        "## Numbers": _numbers(run, Path(exported["meta"]["source"]), config),
        "## Limits": _limits(config),
        "## Licence": _licence(exported["meta"], config),
    }
    return "\n\n".join("\n".join([title, "", *lines]) for title, lines in sections.items()) + "\n"


def _encoder_rows(exported: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    meta, images = exported["meta"], exported["meta"]["images"]
    yield "encoder", _part(meta["encoder"])
    yield "parameters", f"{sum(value.numel() for value in exported['state_dict'].values()) / 1e6:.1f} million"
    sizes = [f"{format_size(images[key])} pixels" for key in ("img_size", "patch_size") if images[key]]
    if images["in_chans"] is not None:  # ids and several streams have none
        yield "images, patches", ", ".join([f"{images['in_chans']} channels", *sizes])
    if images["mean"] is not None:
        yield "mean and deviation of the stored values", f"{_values(images['mean'])}, {_values(images['std'])}"


def _values(values: Any) -> Any:
    """Return the values of the channels, or of each view or stream by its name, as a list prints."""
    return {name: list(each) for name, each in values.items()} if isinstance(values, Mapping) else list(values)


def _loading(encoder: Mapping[str, Any], name: str) -> list[str]:
    if name.endswith(".onnx"):
        return _code(f'onnxruntime.InferenceSession("{name}").run(["tokens"], {{"images": normalised}})')
    own_code = _code(f'maetool.load_encoder("{name}")')
    if not is_timms(encoder):
        return own_code
    arguments = ", ".join(f"{fact}={argument_of(encoder, ENCODERS, fact)}" for fact in _TIMM)
    return [
        *own_code,
        "",
        "In timm, strictly:",
        "",
        *_code(f"timm.models.VisionTransformer({arguments}, num_classes=0)"),
    ]


def is_timms(encoder: Mapping[str, Any]) -> bool:
    """Return whether timm's class computes the same as an encoder.

    It does for a ViT of pictures whose other arguments have their defaults.

    Args:
        encoder: its config.
    """
    if encoder.get("type") != "VisionTransformer":
        return False
    bare, tables = {"type": encoder["type"]}, ("sincos", "learned")  # which timm does not tell apart
    others = [name for name in encoder if name not in _ALIKE and not (name == "pos_embed" and encoder[name] in tables)]
    same = all(encoder[name] == argument_of(bare, ENCODERS, name) for name in others)
    return same and rank_of(*(argument_of(encoder, ENCODERS, name) for name in ("patch_size", "img_size"))) == 2


def _section(config: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return a section of an untrusted config; empty if it is not a dict."""
    section: Any = config
    for name in names:
        section = section.get(name) if isinstance(section, Mapping) else None
    return section if isinstance(section, Mapping) else {}


def _code(line: str) -> list[str]:
    return ["```text", line, "```"]


def _recipe_rows(config: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model, dataset = _section(config, "model"), _section(config, "train_dataloader", "dataset")
    optimizers = optimizers_in(_section(config, "optim_wrapper"))
    if dataset:
        place = next((_value(dataset[key]) for key in ("root", "csv_file") if dataset.get(key)), None)
        count = f", {run['num_images']:,} images" if type(run.get("num_images")) is int else ""
        yield "data", f"{dataset.get('type', '')}" + (f", {place}" if place else "") + count
    for key, part in model.items():
        if isinstance(part, Mapping) and "type" in part and key not in ("encoder", "data_preprocessor"):
            yield key.replace("_", " "), _part(part)
    if config.get("init_from"):
        yield "initial weights", _value(config["init_from"])
    for place, wrapper in optimizers.items():
        name = place.removeprefix("optim_wrapper").replace(".", " of ")
        if one := _section(wrapper, "optimizer"):
            yield f"optimiser{name}", f"{one.get('type')}, weight decay {one.get('weight_decay', 0)}"
    steps = {"epochs": "epoch", "iterations": "iter", "images per iteration": "images_per_iter", "seed": "seed"}
    yield from ((label, f"{run[key]:,}") for label, key in steps.items() if type(run.get(key)) is int)
    for label, key in {
        "learning rate per 256 images": "base_lr",
        "images per optimiser step": "effective_batch_size",
    }.items():
        if key in config:
            yield label, str(config[key])
    if isinstance(run.get("versions"), Mapping):
        yield "made with", ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    if run.get("time"):
        yield "made on", str(run["time"])


def _numbers(run: Mapping[str, Any], source: Path, config: Mapping[str, Any]) -> list[str]:
    last = (
        run["iter"] if type(run.get("iter")) is int else -1
    )  # without `iter`, a log in the same folder is not of this checkpoint
    logged = {
        name.removeprefix("val/"): values[max(step for step in values if step <= last)]
        for name, values in read_logs(source.parent).items()
        if name.startswith("val/") and min(values) <= last
    }
    numbers = [f"- {say_metric(name, value)}" for name, value in logged.items() if not is_constant(name)]
    if not numbers:
        return ["The log of the run was not beside the checkpoint, so no numbers are known."]
    seen = ", which the model was also trained on" if validates_on_training(config) else ""
    return [f"As the run last measured them, on its validation images{seen}:", "", *numbers]


def _limits(config: Mapping[str, Any]) -> list[str]:
    dataset = _section(config, "train_dataloader", "dataset")
    drawn = ["- It was trained on drawn pictures only: its numbers say nothing about photographs."]
    return [
        *(drawn if _is_drawn(dataset) else []),
        "- Biases and gaps of the training images carry over to the features; they were not measured.",
        "- Positions are resized for other image sizes; other channels and patch sizes are adapted on request only.",
        "- Normalise with the mean and deviation above: other values change the features without a warning.",
    ]


def _is_drawn(dataset: Mapping[str, Any]) -> bool:
    """Whether a registered dataset is one of those that draw their samples, or is derived from one."""
    bases = getattr(DATASETS.parts().get(str(dataset.get("type"))), "__mro__", ())
    return any(base.__module__.startswith("maetool.data.drawn.") for base in bases)


def _licence(meta: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    known = "Weights converted from other projects keep their owner's licence. " if "format" in meta else ""
    if config.get("init_from"):
        known += "The initial weights keep their owner's licence. "
    return [
        f"{known}The checkpoint records neither the terms of use of its training images nor the licence of the "
        "weights: whoever distributes them must state both here. maetool's own code is Apache-2.0."
    ]


def _table(rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    yield from (f"| {label} | {value} |" for label, value in rows)


def _part(cfg: Mapping[str, Any]) -> str:
    arguments = [f"{name}={_value(value)}" for name, value in cfg.items() if name != "type" and value is not None]
    return f"{cfg.get('type')}({', '.join(arguments)})"


def _value(value: Any) -> str:
    """Format a value of a config; paths are cut to their last part to keep local folders private."""
    if isinstance(value, Mapping) and "type" in value:
        return _part(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_value(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return Path(value).name if isinstance(value, str) and "/" in value else str(value)
