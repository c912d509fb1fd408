"""A port that is kept while nobody listens there."""

from __future__ import annotations

import socket


def bound(port: int) -> socket.socket:
    """Return a socket that holds a port of the loopback without listening; the caller closes it.

    Connections are refused, and a server may listen there at once. Were the port free, the kernel
    could give it to somebody who tries to connect to it, who would then be connected with himself.
    """
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", port))
    return place
