"""Whether the parts of a model fit together."""

from typing import Any

from .clues import check_needs
from .pairing import check_pairing, grids_of
from .task import check_chain, check_pair, check_place, check_views


def check_model(model: Any) -> None:
    """Check that the parts of a masked image model fit together.

    Raises:
        UsageError: they contradict each other, somebody needs what nobody gives, or a mask ratio is impossible.
    """
    tasks = list(model.tasks.values())
    check_pair(model.target, model.head)
    check_place(model.decoder, model.target, model.at)
    check_chain(model)
    check_views(model)
    for masker in (model.masker, *model.maskers.values()):
        check_pairing(model.encoder, model.decoders, masker)
    check_needs([model.masker, *model.maskers.values(), model.target], model.encoder, model.teacher, model.advisors)
    check_needs([task.target for task in tasks], model.encoder, model.teacher, model.advisors, later=True)
    for masker in (model.masker, *model.maskers.values()):
        for grid in grids_of(model.encoder).values():
            masker.num_keep(grid)  # an impossible ratio is noticed now, not at the first step
