"""Export the encoder of a checkpoint as .pth, .safetensors or .onnx.

A .pth or .safetensors file has timm's names; an .onnx file has the graph. Mean, deviation, sizes, recipe and versions
are stored with the weights, and a model card is written beside the file, as .md.
"""

import argparse

from maetool.arguments import positive

INTERRUPTED = "Stopped; nothing was written."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint of any format, see docs/checkpoints.md")
    parser.add_argument("--out", required=True, help="for example encoder.pth, encoder.safetensors or encoder.onnx")
    parser.add_argument("--config", help="config of the encoder, if the checkpoint does not describe it")
    parser.add_argument("--num-heads", type=positive, help="attention heads, if the checkpoint does not record them")
    parser.add_argument(
        "--img-size",
        type=positive,
        nargs="+",
        help="image size: H W, or one number for a square; positions are resized",
    )
    return parser.parse_args()


def main() -> None:
    """Export."""
    args = parse_args()
    from maetool.config.load import load_config
    from maetool.pretrained.card import write_card
    from maetool.pretrained.encoder import load_encoder
    from maetool.pretrained.export import check_out, describe, encoder_of, write_onnx, write_weights
    from maetool.weights.read import read_checkpoint

    out = check_out(args.out)
    section = load_config(args.config).model if args.config else None
    state = read_checkpoint(args.checkpoint)
    img_size = args.img_size[0] if args.img_size and len(args.img_size) == 1 else args.img_size
    exported = encoder_of(state, args.checkpoint, args.num_heads, section, img_size)
    if img_size or out.suffix == ".onnx":
        model = load_encoder(args.checkpoint, args.config, args.num_heads, img_size)
        exported |= {"state_dict": model.encoder.state_dict(), "meta": exported["meta"] | describe(model.section)}
    weights, meta = exported["state_dict"], exported["meta"]
    size = sum(value.numel() for value in weights.values())
    if out.suffix == ".onnx":
        difference = write_onnx(model, meta, out)
        checked = "not compared, without onnxruntime" if difference is None else f"largest difference {difference:.1e}"
        print(f"{out}: images (batch, {', '.join(map(str, model.image_shape))}) to tokens, {checked}.")
    else:
        write_weights(exported, out)
        print(f"{out}: {len(weights)} tensors, {size / 1e6:.1f} million parameters, names as in timm.")
    card = write_card(exported, state.get("meta") or {}, out)
    print(
        f"{card}: its model card." if card else f"{out.with_suffix('.md')} already exists, so no model card is written."
    )
