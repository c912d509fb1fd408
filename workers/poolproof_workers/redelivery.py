"""How often a worker looks for messages to restore, by the kombu that is installed here."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Final

from kombu.transport.redis import Channel, QoS

if TYPE_CHECKING:
    from poolproof_workers.settings import Settings

#: Before 5.7 kombu's event loop calls for a look every 10 s, whatever it is told.
_INTERVAL_S: Final = 10.0


def sweep_s(settings: Settings) -> float:
    """Return the longest time between two looks of a busy worker for messages to restore.

    It is not what the settings ask for where this kombu has no such option.
    """
    known = Channel.from_transport_options
    has_interval = "unacked_restore_interval" in known
    interval_s = settings.restore_interval_s if has_interval else _INTERVAL_S
    if "unacked_restore_throttle" in known:
        return interval_s * settings.restore_throttle
    throttle: int = signature(QoS.restore_visible).parameters["interval"].default
    return interval_s * throttle
