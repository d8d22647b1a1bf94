"""What the pixels of a data set say about how to read it."""

from maetool.messages import plural

from .findings import NOTHING, Finding, some
from .statistics import Statistics, flat_channels, stack_in

_DARK = 0.25  # of the range of 8 bits
_LONG = 4  # times longer than wide
_TINY = 32  # pixels


def findings_of_values(found: Statistics) -> list[Finding]:
    """Return what is worth saying about images with the statistics `found`."""
    read = len(found.sizes) + len(found.broken)
    findings = [_of_broken(found, read)] if found.broken else []
    if not found.sizes:
        return findings
    findings += [Finding("warning", "pixels", sentence) for sentence in found.remarks.lines()]
    findings += [each for each in (_of_channels(found), _of_stacks(found), _of_range(found), *_of_sizes(found)) if each]
    if found.options.eight_bit:
        deep = found.remarks.counts["deep"]
        sentence = (
            f"{deep:,} of {len(found.sizes):,} photographs have more than 8 bits, the others 8: the options take the "
            "upper eight bits, so that all have one unit (dataset.eight_bit=True)."
        )
        findings.append(Finding("warning", "pixels", sentence))
    if found.gaps > found.remarks.counts["nodata"]:
        sentence = (
            f"{found.gaps:,} of {len(found.sizes):,} images hold NaN or infinity, and are refused without nodata: "
            'dataset.nodata="auto" leaves these pixels out.'
        )
        findings.append(Finding("warning", "pixels", sentence))
    if found.uniform:
        findings.append(_of_uniform(found))
    if (flat := flat_channels(found)) and found.uniform < len(found.sizes):
        names = ", ".join(map(str, flat))
        sentence = f"Channel {names} has one value everywhere: leave it out; the options give it the deviation 1."
        findings.append(Finding("warning", "pixels", sentence))
    return findings


def _of_uniform(found: Statistics) -> Finding:
    if found.uniform == len(found.sizes):
        sentence = (
            f"{plural(found.uniform, 'image')} of one value everywhere, so there is nothing to learn: look at how the "
            "files were written, and whether these are the images that you mean."
        )
        return Finding("error", NOTHING, sentence)
    of = f"{found.uniform:,} of {len(found.sizes):,} images {'is' if found.uniform == 1 else 'are'}"
    return Finding("warning", "pixels", f"{of} of one value everywhere: leave blank ones out, they teach nothing.")


def _of_broken(found: Statistics, read: int) -> Finding:
    of = f"{len(found.broken):,} of {read:,} images cannot be read with {plural(found.in_chans, 'channel')}"
    return Finding(
        "error", "files", f"{of}: {some(found.broken, 2)}. Repair or remove them; a training passes them over."
    )


def _of_channels(found: Statistics) -> Finding | None:
    if found.in_chans == 3 and 0 < found.channels[1] < len(found.sizes):
        sentence = (
            f"{found.channels[1]:,} of {len(found.sizes):,} pictures are grey: they are read as three equal channels."
        )
        return Finding("note", "pixels", sentence)
    if found.in_chans == 1 and set(found.channels) == {1}:
        sentence = "All pictures are grey: the options take one channel; without in_chans=1 they are three equal ones."
        return Finding("note", "pixels", sentence)
    if found.in_chans == 3 and found.grey == len(found.sizes):
        sentence = "All pictures are grey, though they have three channels: model.encoder.in_chans=1 would do."
        return Finding("note", "pixels", sentence)
    return None


def _of_stacks(found: Statistics) -> Finding | None:
    sentence = stack_in(found)
    return Finding("warning", "pixels", sentence) if sentence else None


def _of_range(found: Statistics) -> Finding | None:
    if found.eight_bit and found.highest < 255 * _DARK:
        sentence = (
            f"The highest value is {found.highest:g} of 255: these look like masks or numbers of classes, or like "
            "pictures of more bits that were cut to 8."
        )
        return Finding("warning", "pixels", sentence)
    if not found.eight_bit and found.lowest >= 0 and found.highest <= 1:
        sentence = "The values lie between 0 and 1: mean and deviation must be in that unit, as in the options."
        return Finding("note", "pixels", sentence)
    return None


def _of_sizes(found: Statistics) -> list[Finding]:
    of, findings = f"of {len(found.sizes):,} images", []
    tiny = sum(min(size) < _TINY for size in found.sizes)
    if tiny:
        sentence = f"{tiny:,} {of} have fewer than {_TINY} pixels on a side, which crops enlarge."
        findings.append(Finding("note", "pixels", sentence))
    long = sum(max(size) > _LONG * min(size) for size in found.sizes)
    if long:
        sentence = f"{long:,} {of} are more than {_LONG} times as long as wide: square crops show a small part of them."
        findings.append(Finding("note", "pixels", sentence))
    return findings
