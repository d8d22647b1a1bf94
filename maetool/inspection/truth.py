"""Whether the truth fits its images: masks and boxes for pictures of their size."""

from maetool.data.codecs.images import UnreadableImage
from maetool.data.datasets.subsets import evenly_spaced
from maetool.errors import UsageError
from maetool.messages import plural

from .findings import Finding, some
from .parts import Part

_TRIED = 64  # images of a part


def findings_of_truth(part: Part) -> list[Finding]:
    """Return which of some images of a part cannot be read together with their masks or objects.

    Images that cannot be read at all are counted elsewhere.
    """
    if part.dataset is None or not hasattr(part.dataset, "moves") or not part.dataset.moves:
        return []
    tried, bad = evenly_spaced(len(part.dataset), _TRIED).tolist(), []
    for index in tried:
        try:
            part.dataset.stored(index)
        except (UnreadableImage, UsageError) as error:
            bad.append(str(error))
    if not bad:
        return []
    sentence = f"{plural(len(bad), 'image')} of {len(tried):,} tried in {part.name} cannot be used: {some(bad, 1)}."
    return [Finding("error", "truth", sentence)]
