"""Tables whose labels cannot be read, for models that need none."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from maetool.data.sources.tables.table import TableSource
from maetool.errors import UsageError

_logger = logging.getLogger("maetool")


def without_unreadable_labels(places: Sequence[Mapping[str, Any]]) -> Any:
    """Return places as they are, or those of tables without labels if the labels of one of them cannot be read.

    Args:
        places: arguments of datasets, of which all tables keep their labels, or none does.

    Raises:
        UsageError: a table cannot be read without its labels either.
    """
    tables = [place for place in places if place["type"] == "CsvDataset"]
    try:
        _read(tables, True)
    except UsageError as error:
        _read(tables, False)  # where that fails too, it is not for the labels
        _logger.warning("The images of a table are used without labels, which nothing needs here: %s", error)
        return tuple({**place, "labelled": False} if place in tables else place for place in places)
    return tuple(places)


def _read(tables: Sequence[Mapping[str, Any]], labelled: bool) -> None:
    for place in tables:
        TableSource(place["csv_file"], split=place.get("split"), fold=place.get("fold"), labelled=labelled)
