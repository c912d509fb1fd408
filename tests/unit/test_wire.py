"""Transactions as bytes."""

from __future__ import annotations

import hiredis

from poolproof.produce import wire


def test_a_command_of_many_buffers_is_what_the_client_library_packs() -> None:
    frames = [memoryview(wire.bulk(b"one") + wire.bulk(b"two")), wire.bulk(b"")]

    packed = b"".join(wire.lpush("queue:\u00e4", frames, 3))

    assert packed == hiredis.pack_command(("LPUSH", "queue:\u00e4", b"one", b"two", b""))
