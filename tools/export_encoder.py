"""Writes the encoder alone, as fine-tuning, timm and a notebook want it: `export_encoder.py CHECKPOINT --out FILE`."""

import argparse
from pathlib import Path

from maetool.cli import run


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="path of a .pth file that training wrote")
    parser.add_argument("--out", required=True, help="where to write, for example encoder.pth")
    return parser.parse_args()


def main() -> None:
    """Export."""
    args = parse_args()
    from maetool.engine.checkpoint import read_checkpoint, write_checkpoint
    from maetool.engine.export import encoder_of

    exported = encoder_of(read_checkpoint(args.checkpoint), args.checkpoint)
    write_checkpoint(exported, Path(args.out))
    weights = exported["state_dict"]
    size = sum(value.numel() for value in weights.values())
    print(f"{args.out}: {len(weights)} tensors, {size / 1e6:.1f} million parameters, names as in timm.")


if __name__ == "__main__":
    run(main)
