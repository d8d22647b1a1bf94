"""Ways to damage files that every kind shares; each is a function of a `random.Random`."""

import struct
import zlib

_EXTREME = (0, 1, 2, 255, 256, 65535, 65536, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
ODD_VALUES = (
    None,
    True,
    -1,
    0,
    2**31,
    10**400,
    1e308,
    -1e8,
    0.5,
    "",
    "a",
    "\0",
    "\ud800",
    "1" * 6000,
    [],
    [[]],
    {},
    {"a": 1},
)


def bytes_damaged(rng, data, hits=None):
    """Return bytes with a few places changed, cut off, doubled or left out."""
    data = bytearray(data)
    for _ in range(hits or rng.choice((1, 1, 1, 2, 8))):
        if not data:
            break
        # The beginning holds the sizes, so it is hit more often.
        place = rng.randrange(min(len(data), rng.choice((32, 256, len(data)))))
        how = rng.randrange(7)
        if how == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[place] = rng.randrange(256)
        elif how == 2:
            del data[place:]
        elif how == 3:
            del data[place : place + rng.randrange(1, 64)]
        elif how == 4:
            data[place:place] = data[rng.randrange(len(data)) :][: rng.randrange(1, 64)]
        else:
            form = rng.choice(("<I", ">I", "<H", ">H"))
            number = struct.pack(form, rng.choice(_EXTREME) % 2 ** (8 * struct.calcsize(form)))
            data[place : place + len(number)] = number
    return bytes(data)


def text_damaged(rng, text):
    """Return the bytes of a text in which places were changed, or that is in another encoding."""
    lines = text.splitlines(keepends=True)
    how = rng.randrange(8)
    if how == 0:
        return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig")))
    if how == 1:
        return text.replace("e", "\xe9").encode("latin-1", "replace")
    if how == 2 and lines:
        lines[rng.randrange(len(lines))] = rng.choice(
            ("\0\n", "\n", ",,,\n", '"', "x" * 200_000, "1" * 6000 + "\n", "../" * 9)
        )
    elif how == 3:
        rng.shuffle(lines)
    elif how == 4 and lines:
        lines.append(rng.choice(lines))
    elif how == 5 and lines:
        place = rng.randrange(len(lines))
        lines[place] = lines[place].replace(
            rng.choice(",\n01"), rng.choice((",", ";", "", "-", "\u0663", "\u2028", "1" * 6000))
        )
    else:
        return bytes_damaged(rng, text.encode())
    return "".join(lines).encode()


def value_damaged(rng, value):
    """Return a copy of a value from JSON with one of its parts, at any depth, replaced by something odd."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        chosen = rng.choice(list(value))
        if rng.random() < 0.1:
            return {key: part for key, part in value.items() if key != chosen}
        return {key: value_damaged(rng, part) if key == chosen else part for key, part in value.items()}
    if isinstance(value, list) and value and rng.random() < 0.9:
        chosen = rng.randrange(len(value))
        return [value_damaged(rng, part) if place == chosen else part for place, part in enumerate(value)]
    return rng.choice(ODD_VALUES)


def png_damaged(rng, data):
    """Return a PNG file one of whose chunks is damaged but has the right checksum, so that a decoder goes on."""
    place, chunks = 8, []
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    chosen = rng.randrange(len(chunks))
    kind, body = chunks[chosen]
    chunks[chosen] = (kind, bytes_damaged(rng, body or b"\0"))
    if rng.random() < 0.2:
        chunks.insert(rng.randrange(len(chunks)), rng.choice(chunks))
    parts = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return data[:8] + b"".join(parts)
