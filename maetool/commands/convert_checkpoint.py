"""Convert weights between the formats of maetool, timm and other projects."""

import argparse

from maetool.arguments import add_pick, positive
from maetool.weights.formats.table import ALL_FORMATS

INTERRUPTED = "Stopped; nothing was written."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    formats = "\n".join(f"  {name:20}{each.about}" for name, each in ALL_FORMATS.items())
    parser = argparse.ArgumentParser(
        description=(
            f"{__doc__}\n\nThe format of CHECKPOINT is detected. The formats are\n  maetool      maetool's "
            f"own\n{formats}"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", help="a file of torch or safetensors, or a folder with one, of any format")
    parser.add_argument("--to", required=True, metavar="FORMAT", help="one of the formats above")
    parser.add_argument("--out", required=True, metavar="FILE", help=".pth or .safetensors")
    add_pick(parser)
    parser.add_argument("--config", help="config of the encoder, if the checkpoint does not describe it")
    parser.add_argument("--num-heads", type=positive, help="attention heads, if the checkpoint does not record them")
    return parser.parse_args()


def main() -> None:
    """Convert, write, report."""
    args = parse_args()
    from maetool.config.load import load_config
    from maetool.pretrained.convert import convert, write_conversion
    from maetool.writing import check_file

    out = check_file(args.out, "--out")
    section = load_config(args.config).model if args.config else None
    conversion = convert(args.checkpoint, args.to, args.num_heads, section, args.key, args.prefix)
    write_conversion(conversion, args.to, out)
    print(f"{args.out}: {conversion}")
