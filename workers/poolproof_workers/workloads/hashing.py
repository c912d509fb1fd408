"""Work in C that lets go of the interpreter: hashing and compressing."""

from __future__ import annotations

import hashlib
import zlib
from functools import cache
from typing import Final

from poolproof_workers.contract import KEPT

#: Hashlib lets go of the interpreter above 2,047 bytes. Small enough for the caches of one core.
HASHED_BYTES: Final = 65_536
_COMPRESSED_BYTES: Final = 16_384


def hash_rounds(rounds: int) -> int:
    """Hash the same bytes again and again; return the sum of the digests (63 bits)."""
    total = 0
    data = material(HASHED_BYTES)
    for _ in range(rounds):
        total += digest(data)
    return total & KEPT


def compress_rounds(rounds: int) -> int:
    """Compress text and decompress it; return the sum of the checksums of what came out."""
    total = 0
    data = material(_COMPRESSED_BYTES)
    for _ in range(rounds):
        total += zlib.crc32(zlib.decompress(zlib.compress(data)))
    return total & KEPT


def hashed(rounds: int) -> int:
    """Return what `hash_rounds` must, without doing them all."""
    return (rounds * digest(material(HASHED_BYTES))) & KEPT


def compressed(rounds: int) -> int:
    """Return what `compress_rounds` must: not what zlib makes, which differs by its version."""
    return (rounds * zlib.crc32(material(_COMPRESSED_BYTES))) & KEPT


def digest(data: bytes) -> int:
    """Return the first 64 bits of the SHA-256."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")


@cache
def material(size: int) -> bytes:
    """Return text that looks random, and that a compressor halves."""
    blocks = (hashlib.sha256(b"%d" % at).hexdigest() for at in range(size // 64))
    return "".join(blocks).encode()
