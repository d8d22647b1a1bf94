"""The weights of a teacher, out of a file."""

from torch import nn

from maetool.messages import print_log
from maetool.metadata.grid import grid_in_meta
from maetool.positions import fit_positions
from maetool.weights.complete import check_complete
from maetool.weights.formats.plain import in_names_of
from maetool.weights.read import check_weights, read_checkpoint, weights_of


def load_encoder(encoder: nn.Module, path: str) -> None:
    """Load the encoder's weights out of a checkpoint of a model, an exported encoder or a published state dict.

    Positions of another grid, which is the one that the file records, are resized, and a log line says so.

    Args:
        encoder: whose weights are replaced.
        path: file or address of the checkpoint.

    Raises:
        UsageError: the file cannot be read, or lacks weights of the encoder or has them in other shapes.
    """
    state = read_checkpoint(path)
    own = encoder.state_dict()
    weights = in_names_of([f"encoder.{name}" for name in own], weights_of(state, path))
    inside = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    check_complete([], [f"encoder.{name}" for name in inside if name not in own], weights, own, path)
    # What else a file holds (a decoder, the mask token of another method) is no business of a teacher's.
    inside = {name: value for name, value in (inside or weights).items() if name in own}
    fitted = fit_positions(encoder, own, inside, grid_in_meta(state.get("meta"), encoder, inside))
    own = {name: value for name, value in own.items() if name != "mask_token" or name in fitted.weights}
    check_weights(own, fitted.weights, path)
    encoder.load_state_dict(fitted.weights, strict=False)
    notes = {"resized": fitted.resized, "taken for the same grid, which it does not say": fitted.assumed}
    for note, names in notes.items():
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            print_log(f"The teacher {path}: {note}: {names[0]}{more}.")
