"""Every config as training sees it, compared with what is stored in tests/data/resolved_configs.json.

    PYTHONPATH=. python tests/resolved_configs.py           # what differs, key by key
    PYTHONPATH=. python tests/resolved_configs.py --write   # the same, and store what there is now

A change of how configs are written changes nothing here. A change of a recipe does, and belongs into the same commit.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from maetool.config.load import load_config
from maetool.config.prepare import prepare_run

CONFIGS = Path(__file__).parent.parent / "configs"
STORED = Path(__file__).parent / "data" / "resolved_configs.json"
LEAVES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.py") if "_base_" not in path.parts)
_OF_A_RUN = ("experiment_name",)  # a random one for each
_ORDERED = ("tasks",)  # their order is that in which weights are drawn
_ABSENT = "(absent)"

Sections = dict[str, Any]


def resolve(name: str, options: Sequence[str] = ()) -> Sections:
    """Return the sections of a config that is completed for training, as JSON has them.

    The machine is one with eight cores, without accelerator and without TensorBoard. Variables of the files are left
    out, because nothing reads them any more.
    """
    machine = patch.multiple("maetool.config.complete", usable_cores=lambda: 8, is_installed=lambda name: False)
    with machine, patch("torch.cuda.is_available", lambda: False):
        cfg = load_config(CONFIGS / name, options)
        prepare_run(cfg)
    sections = cfg.to_dict()
    return {key: _plain(value) for key, value in sections.items() if key[0] != "_" and key not in _OF_A_RUN}


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        items = value.items() if key in _ORDERED else sorted(value.items())
        return {name: _plain(item, name) for name, item in items}
    if isinstance(value, tuple):
        return {"tuple": [_plain(item) for item in value]}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def digest(section: Any) -> str:
    """Return the hash of a section."""
    return hashlib.sha256(json.dumps(section).encode()).hexdigest()[:8]


def read() -> dict[str, Sections]:
    """Return the stored sections of every config."""
    stored = json.loads(STORED.read_text())
    return {
        name: {key: stored["sections"][value] for key, value in hashes.items()}
        for name, hashes in stored["configs"].items()
    }


def write(resolved: Mapping[str, Sections]) -> None:
    """Store the sections of every config: one hash for each, and what each hash stands for once."""
    sections = {digest(section): section for each in resolved.values() for section in each.values()}
    configs = {name: {key: digest(value) for key, value in sorted(each.items())} for name, each in resolved.items()}
    tables = {"configs": dict(sorted(configs.items())), "sections": dict(sorted(sections.items()))}
    STORED.write_text("{" + ",\n".join(f'"{name}": {{\n{_lines(table)}\n}}' for name, table in tables.items()) + "}\n")


def _lines(table: Mapping[str, Any]) -> str:
    return ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in table.items())


def differences(stored: Sections, now: Sections) -> list[str]:
    """Return a line for each key that differs, of the sections whose hashes differ."""
    changed = [key for key in {**stored, **now} if digest(stored.get(key, _ABSENT)) != digest(now.get(key, _ABSENT))]
    return [line for key in changed for line in _compare(key, stored.get(key, _ABSENT), now.get(key, _ABSENT))]


def _compare(place: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, list) and isinstance(new, list):
        old, new = (dict(enumerate(value)) for value in (old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _compare(f"{place}.{key}", old.get(key, _ABSENT), new.get(key, _ABSENT))
        if list(old) != list(new) and not old.keys() ^ new.keys():
            yield f"{place}: the order {list(old)} -> {list(new)}"
    elif json.dumps(old) != json.dumps(new):
        yield f"{place}: {old!r} -> {new!r}"


def main() -> None:
    """Print what differs, and store it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="store what there is now")
    args = parser.parse_args()
    now, stored = {name: resolve(name) for name in LEAVES}, read() if STORED.is_file() else {}
    for name in sorted({*now, *stored}):
        for line in differences(stored[name], now[name]) if name in stored and name in now else ["new or gone"]:
            sys.stdout.write(f"{name}: {line}\n")
    if args.write:
        write(now)


if __name__ == "__main__":
    main()
