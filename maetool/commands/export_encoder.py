"""Export a checkpoint's encoder as .pth, .safetensors, .onnx or a folder.

A .pth or .safetensors file has timm's names; an .onnx file has the graph, with --complete
that of a classifier, regressor, segmentor or detector; a folder is what --to opens. Mean, deviation,
sizes, recipe and versions are stored with the weights, and a model card is written beside the file, as .md.
"""

import argparse
from pathlib import Path
from typing import Any

from maetool.arguments import add_pick, positive

INTERRUPTED = "Stopped; nothing was written."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint of any format, see docs/checkpoints.md")
    parser.add_argument("--out", required=True, help="for example encoder.pth, encoder.safetensors or encoder.onnx")
    parser.add_argument("--to", choices=("timm", "transformers"), help="write a folder, --out, that this opens")
    add_pick(parser)
    parser.add_argument("--config", help="config of the encoder, if the checkpoint does not describe it")
    parser.add_argument("--num-heads", type=positive, help="attention heads, if the checkpoint does not record them")
    parser.add_argument(
        "--img-size",
        type=positive,
        nargs="+",
        help="image size: H W, or one number for a square; positions are resized",
    )
    parser.add_argument(
        *("--complete", "--logits"), action="store_true", help="the complete model with its predictions, as .onnx"
    )
    parser.add_argument("--dynamic", action="store_true", help="height and width may change, by patches; .onnx only")
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument("--half", action="store_true", help="weights of half precision, float16")
    precision.add_argument("--int8", action="store_true", help="linear maps in 8-bit integers; .onnx only")
    return parser.parse_args()


def main() -> None:
    """Export."""
    args = parse_args()
    from maetool.config.load import load_config
    from maetool.pretrained.card import card_of, write_card
    from maetool.pretrained.encoder import load_encoder
    from maetool.pretrained.export import check_out, describe, encoder_of
    from maetool.weights.pick import pick
    from maetool.weights.read import read_checkpoint

    out = check_out(args.out, args.to)
    _check_flags(args, out)
    section = load_config(args.config).model if args.config else None
    state = pick(read_checkpoint(args.checkpoint), args.checkpoint, args.key, args.prefix)
    img_size = args.img_size[0] if args.img_size and len(args.img_size) == 1 else args.img_size
    exported = encoder_of(state, args.checkpoint, args.num_heads, section, img_size)
    encoder = None
    if not args.complete and (img_size or args.to or out.suffix == ".onnx"):
        picked = {"key": args.key, "prefix": args.prefix}
        encoder = load_encoder(args.checkpoint, args.config, args.num_heads, img_size, **picked)
        exported |= {"state_dict": encoder.encoder.state_dict(), "meta": exported["meta"] | describe(encoder.section)}
    if args.to:
        print(_write_folder(args, out, encoder, exported["meta"]))
    elif out.suffix == ".onnx":
        print(_write_graph(args, out, encoder, exported["meta"]))
    else:
        print(_write_weights(args, out, exported))
    card = write_card(exported, state.get("meta") or {}, out)
    print(f"{card}: its model card." if card else f"{card_of(out)} already exists, so no model card is written.")


def _check_flags(args: argparse.Namespace, out: Path) -> None:
    from maetool.errors import UsageError

    if out.suffix != ".onnx" and (args.complete or args.dynamic or args.int8):
        raise UsageError(
            f"--complete, --dynamic and --int8 are for .onnx, but --out is {out}: name a file that ends in .onnx."
        )
    if args.complete and args.img_size:
        raise UsageError("--img-size is for encoders: with --complete, --dynamic lets the size of the images change.")


def _write_folder(args: argparse.Namespace, out: Path, encoder: Any, meta: dict[str, Any]) -> str:
    from maetool.pretrained.folder import OPENED, write_folder

    compared = write_folder(encoder, meta, args.to, out, args.half)
    return f"{out}: opened by {OPENED[args.to].format(out)}; {compared}."


def _write_graph(args: argparse.Namespace, out: Path, encoder: Any, meta: dict[str, Any]) -> str:
    """Write ONNX of an encoder or, without one, of the complete model; return what was written."""
    from maetool.config.load import load_config
    from maetool.pretrained.graphs import write_onnx
    from maetool.pretrained.model import image_shape_of
    from maetool.pretrained.task import graph_module, load_task, names_in

    model = encoder or load_task(args.checkpoint, load_config(args.config) if args.config else None)
    names = graph_module(model, not encoder)[1]
    if not encoder:
        meta |= names_in(args.checkpoint)
    output: Any = "tokens" if encoder else "predictions"
    difference = write_onnx(model, meta, out, output, args.dynamic, args.half, args.int8)
    checked = "not compared, without onnxruntime" if difference is None else f"largest difference {difference:.1e}"
    channels, *sides = image_shape_of(model)
    shape = f"{channels}, height, width" if args.dynamic else ", ".join(map(str, (channels, *sides)))
    return f"{out}: images (batch, {shape}) to {', '.join(names)}, {checked}."


def _write_weights(args: argparse.Namespace, out: Path, exported: dict[str, Any]) -> str:
    from maetool.pretrained.card import is_timms
    from maetool.pretrained.export import halved, write_weights

    weights = halved(exported["state_dict"]) if args.half else exported["state_dict"]
    write_weights({**exported, "state_dict": weights}, out)
    size = sum(value.numel() for value in weights.values())
    names = "timm" if is_timms(exported["meta"]["encoder"]) else "maetool"
    return f"{out}: {len(weights)} tensors, {size / 1e6:.1f} million parameters, names as in {names}."
