"""A GET of something that takes its time."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from poolproof_workers.contract import fold
from poolproof_workers.errors import PoolproofError

if TYPE_CHECKING:
    from poolproof_workers.contract import Numbers

#: What a server answers tells that it is ours.
_OURS: Final = 0x0477_0477
#: Beyond the latency that was asked for.
_PATIENCE_S: Final = 30.0
_MAX_BYTES: Final = 64


class WrongAnswer(PoolproofError):  # noqa: N818  says what it is
    """What was asked did not answer as it should."""


def get(number: int, url: str, latency_s: float) -> int:
    """Ask the server at `url` for the answer to a number; it lets `latency_s` pass before it tells.

    A connection of its own for each, as `requests.get` would make.
    """
    connection = HTTPConnection(urlsplit(url).netloc, timeout=latency_s + _PATIENCE_S)
    try:
        connection.request("GET", path(number, latency_s))
        response = connection.getresponse()
        body = response.read(_MAX_BYTES)
    finally:
        connection.close()
    if response.status != 200:
        raise WrongAnswer(f"{url} answers {response.status}.")
    return int(body)


def path(number: int, latency_s: float) -> str:
    """Return what is asked for."""
    return f"/{latency_s!r}/{number}"


def answer(number: Numbers) -> Numbers:
    """Return what the server answers to a number, or to each of an array of uint64."""
    return fold(number, _OURS)
