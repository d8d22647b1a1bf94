"""Single changed bits in the files of tests."""


def places(size, rng, number):
    """Bits of the beginning, of the end and of the whole, where headers, tables and numbers are."""
    parts = [(0, min(2000, size)), (max(0, size - 2000), size), (0, size), (0, size)]
    return [(rng.randrange(*part), rng.randrange(8)) for part in parts * number]


def with_changed_bit(content, place, bit):
    """Return the bytes of a file with one bit changed."""
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    return bytes(damaged)
