"""Finds the weights inside of what other programs wrap around them: nested dictionaries, and prefixes of names."""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor

from maetool.errors import UsageError

from .inert import Inert

State = Mapping[str, Any]
Weights = dict[str, Tensor]

# Keys under which programs store the weights of a model; those under other keys are used only if there are none here.
_PLACES = {
    *(
        "state_dict",
        "model",
        "model_state_dict",
        "model_state",
        "net",
        "network",
        "weights",
        "params",
        "module",
        "state",
    ),
    *(
        "checkpoint",
        "encoder",
        "backbone",
        "student",
        "teacher",
        "target_encoder",
        "momentum_encoder",
        "online",
        "target",
    ),
    *("ema", "ema_state_dict", "ema_model", "model_ema", "params_ema", "state_dict_ema", "model_ema_state_dict"),
}
# Keys whose tensors are no weights of a model.
_NO_WEIGHTS = re.compile(
    r"(?i)meta|hyper_parameters|args|config|cfg|callbacks|loops|.*(optim|sched|scaler|rng|random|message_hub).*"
)
# Segments of names that compilers, gradient checkpointing, FSDP, Fabric and DeepSpeed insert, and what DDP inserts,
# which may also be the name of a part.
_INSERTED = {
    *("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_fpw_module", "_forward_module"),
    "_original_module",
}
_PARALLEL = "module"
_COUNTERS = {"n_averaged", "num_updates", "steps", "decay"}  # beside an average of weights
# The patch embedding in each known naming, and prefixes that belong to that naming if there are other names too.
_EMBEDDINGS = {
    re.compile(r"(|.+\.)patch_embed\.proj\.weight"): ("backbone.encoder.", "backbone."),
    re.compile(r"(|.+\.)patch_embed\.projection\.weight"): ("backbone.",),
    re.compile(r"(|.+\.)embeddings\.patch_embeddings\.(?:projection\.)?weight"): ("vit.", "swin."),
    re.compile(r"(|.+\.)conv_proj\.weight"): (),  # torchvision's
    re.compile(r"(|.+\.)features\.0\.0\.weight"): (),
}
_OWN = re.compile(r"(.*?)\bencoder\.(.*)")  # an encoder under maetool's names, or a stem inside of one
# What belongs to an encoder with a prefix although its names have none; those of any other part are left out.
_BESIDE = {
    *("head", "head_norm", "heads", "fc_norm", "classifier"),
    *("layernorm", "norm", "mask_token", "cls_token", "pos_embed"),
}
_OTHER_PARTS = {"decoder", "predictor"}  # which may embed patches too
_WRAPPERS = {"model", "net", "network", "student", "teacher", "ema", "ema_model"}
_DEEPEST = 8
_logger = logging.getLogger("maetool")


def unwrap(state: State, source: Any) -> dict[str, Tensor]:
    """Return the tensors of one model in a checkpoint, without what wrappers put around them and into their names.

    What is taken off is logged once.

    Args:
        state: the content of a file, with the weights at any depth; if it has `meta`, it is the checkpoint of an
            MMEngine runner, whose names are its model's and lose only what wrappers insert.
        source: the file, for messages.

    Raises:
        UsageError: it contains no weights, or those of several models.
    """
    place, of_runner = place_of(state, source), "meta" in state
    content = at(state, place)
    weights = {name: value for name, value in content.items() if is_weight(name, value)}
    if lost := [name for name, value in content.items() if isinstance(value, Inert) and "." in str(name)]:
        raise UsageError(
            f"{source} holds {len(lost)} weights as objects of other classes than torch's tensors ({lost[0]}): save "
            "them as plain tensors, or as safetensors."
        )
    beside = [] if of_runner else [_counted(state, each) for each in sets_in(state) if each != place]
    if len(place) > 1 or beside:
        left_out = f"; left out: {', '.join(beside)}" if beside else ""
        say(f"{source}: the weights are those in {'.'.join(place) or 'the file itself'}{left_out}.")
    weights = _without_inserted(weights, source, of_runner)
    return weights if of_runner else _without_prefix(weights, source)


def place_of(state: State, source: Any) -> tuple[str, ...]:
    """Return the keys that lead to the weights of a checkpoint; no keys if it is the state dict.

    Args:
        state: the content of the checkpoint.
        source: its file, for messages.

    Raises:
        UsageError: there are none, or several sets without an indication which one to use.
    """
    if "meta" in state and _holds_tensors(state.get("state_dict")):
        return ("state_dict",)  # whatever a runner stores beside its model's
    sets = list(sets_in(state))
    known = [place for place in sets if place and place[-1] in _PLACES]
    # What holds such a place holds counters beside it.
    inner = [place for place in known if not any(other[: len(place)] == place != other for other in known)]
    places = inner or (sets[:1] if () in sets else sets)
    if not places:
        raise UsageError(f"{source} holds no weights (found {', '.join(map(str, state))}): pass a model's checkpoint.")
    if len(places) > 1 and "meta" not in state:
        keys, joined = "".join(f'["{key}"]' for key in places[0]), ".".join(places[0])
        raise UsageError(
            f"{source} holds weights in {' and in '.join('.'.join(place) for place in places)}, so the choice is "
            f'ambiguous: pick one with load_encoder(key="{joined}") or convert_checkpoint --key {joined}, or save it '
            f"alone, torch.save(torch.load(PATH){keys}, NEW_PATH)."
        )
    return places[0]


def sets_in(state: State, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the keys that lead to each mapping with tensors; those of optimisers and the like are passed over.

    Args:
        state: the content of a checkpoint, or of a part of it.
        place: the keys that lead to that part.
    """
    if _holds_tensors(state):
        yield place
    for key, value in state.items():
        inside = isinstance(key, str) and isinstance(value, Mapping) and len(place) < _DEEPEST
        if inside and not _NO_WEIGHTS.fullmatch(key):
            yield from sets_in(value, (*place, key))


def _counted(state: State, place: Sequence[str]) -> str:
    number = sum(is_weight(name, value) for name, value in at(state, place).items())
    return f"{'.'.join(place) or 'the file itself'} ({number} tensors)"


def at(state: State, place: Sequence[str]) -> State:
    """Return the part of `state`, the content of a checkpoint, that the keys of `place` lead to."""
    for key in place:
        state = state[key]
    return state


def is_weight(name: Any, value: Any) -> bool:
    """Return whether `value` is a tensor of a model, and not a counter, by its `name`, beside an average of weights."""
    return isinstance(name, str) and isinstance(value, Tensor) and (name not in _COUNTERS or value.ndim > 0)


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(is_weight(name, item) for name, item in value.items())


def _without_inserted(weights: Weights, source: Any, of_runner: bool) -> Weights:
    """Leave out the segments that wrappers insert into names, wherever they are."""
    outside = not of_runner or all(name.startswith(f"{_PARALLEL}.") for name in weights)
    inserted = {*_INSERTED, _PARALLEL} if outside else _INSERTED
    counts = Counter(segment for name in weights for segment in {*name.split(".")} & inserted)
    if not counts:
        return weights
    renamed: Weights = {}
    for name, value in weights.items():
        _add(renamed, ".".join(part for part in name.split(".") if part not in inserted), value, source)
    _refuse_flat(renamed, source)
    for segment, count in counts.items():
        say(f"{source}: `{segment}.`, which a wrapper inserts, was taken out of {count} of {len(weights)} names.")
    return renamed


def _refuse_flat(weights: Weights, source: Any) -> None:
    if any(name.endswith("_flat_param") for name in weights):
        raise UsageError(
            f"{source} holds the flattened shards of FSDP (_flat_param), which have no shapes of their own: save it "
            "again with StateDictType.FULL_STATE_DICT."
        )


def _add(weights: Weights, name: str, value: Tensor, source: Any) -> None:
    if name in weights:
        raise UsageError(
            f"{source} holds {name} twice, with and without the prefix of a wrapper, so two models: save the one that "
            "you want alone."
        )
    weights[name] = value


def _without_prefix(weights: Weights, source: Any) -> Weights:
    """Take off what stands before the names of the one encoder in a known naming."""
    prefixes = list(dict.fromkeys(_prefixes(weights))) or [_shared(weights)]
    if len(prefixes) > 1 and "" not in prefixes:
        raise _two_models(prefixes, source)
    prefix = prefixes[0] if len(prefixes) == 1 else ""
    if not prefix:
        return weights
    inside = [name for name in weights if name.startswith(prefix)]
    outside = [name for name in weights if name not in inside]
    kept = [name for name in outside if name.partition(".")[0] in _BESIDE]
    renamed: Weights = {}
    for name in (*inside, *kept):
        _add(renamed, name.removeprefix(prefix), weights[name], source)
    left = len(outside) - len(kept)
    without = f"; {left} tensors of other parts, such as {next(n for n in outside if n not in kept)}," if left else ""
    left_out = f"{without} were left out" if left else ""
    say(f"{source}: the prefix `{prefix}` was taken off {len(inside)} of {len(weights)} names{left_out}.")
    return renamed


def _two_models(prefixes: Sequence[str], source: Any) -> UsageError:
    first = prefixes[0]
    return UsageError(
        f"{source} holds encoders under {' and under '.join(prefixes)}, so the choice is ambiguous: pick one with "
        f'load_encoder(prefix="{first}") or convert_checkpoint --prefix {first}, or save it alone, with x as the '
        f'dictionary of the weights: torch.save({{name.removeprefix("{first}"): value for name, value in x.items() '
        f'if name.startswith("{first}")}}, NEW_PATH).'
    )


def _prefixes(weights: Weights) -> Iterator[str]:
    """Yield what stands before the names of each encoder."""
    for name in weights:
        for embedding, kept in _EMBEDDINGS.items():
            match = embedding.fullmatch(name)
            if match and not _OTHER_PARTS & {*match[1].split(".")}:
                yield _before(match[1], kept, weights)


def _before(root: str, kept: Sequence[str], weights: Weights) -> str:
    """Return what is to be taken off names before `root`, at which the name of a patch embedding begins."""
    alone = all(name.startswith(root) for name in weights)
    for inner in () if alone else kept:
        if root.endswith(inner):
            return root.removesuffix(inner)
    own = _OWN.fullmatch(root) if "backbone." in kept and len(kept) > 1 else None
    begins_here = any(name.startswith(f"{root}blocks.") for name in weights)
    if own and (not own[2] or not begins_here):
        return own[1]
    return root


def _shared(weights: Weights) -> str:
    """Return the words of wrappers before all names, of a model whose naming is not known."""
    shared = ""
    while len(words := {name[len(shared) :].partition(".")[0] for name in weights}) == 1 and words <= _WRAPPERS:
        shared += f"{words.pop()}."
    return shared


@lru_cache(maxsize=256)
def say(sentence: str) -> None:
    """Log a sentence, once although commands look at a file more than once."""
    _logger.warning(sentence)
