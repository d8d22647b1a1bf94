"""Repeat a training step that was not finite, and locate the cause."""

import argparse
from collections.abc import Mapping


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", help="a file of the folder broken_steps in the work folder of a run")
    parser.add_argument("--amp", choices=["bfloat16", "float16", "float32"], help="precision (default: the run's)")
    parser.add_argument("--config", help="the run's config, if the model description in the file is refused or missing")
    return parser.parse_args()


def main() -> None:
    """Repeat and report."""
    args = parse_args()
    from maetool.config.load import load_config
    from maetool.engine.optim.precision import name_of
    from maetool.engine.repeat import RepeatedStep

    step = RepeatedStep(args.step, args.amp, load_config(args.config).model if args.config else None)
    meta, inputs = step.meta, step.batch["inputs"]
    print(f"Iteration {meta['iter']:,} of epoch {meta['epoch'] + 1}, process {meta['process']}: {meta['fault']}.")
    for name, values in inputs.items() if isinstance(inputs, Mapping) else [("Images", inputs)]:
        print(f"{name}: {tuple(values.shape)}, from {values.float().min():g} to {values.float().max():g}.")
    result = step.run()
    print(f"Repeated in {name_of(step.dtype)}: loss {result['loss']:g}")
    print(f"First module whose output is not finite: {result['first'] or 'none'}")
    print(f"Parameters whose gradient is not finite: {len(result['gradients'])}", *result["gradients"][:3])
    indices = [int(step.batch["index"][i]) for i in result["samples"]] if "index" in step.batch else result["samples"]
    print(f"Images whose own loss is not finite: {', '.join(map(str, indices)) or 'none'} (index in the dataset)")
