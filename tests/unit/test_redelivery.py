"""How often a worker looks for messages to restore, whatever the version of kombu."""

from __future__ import annotations

import pytest
from kombu.transport.redis import Channel

from poolproof_workers.redelivery import sweep_s
from poolproof_workers.settings import Settings

_ASKED = Settings.from_env(
    {"POOLPROOF_RESTORE_INTERVAL_S": "0.5", "POOLPROOF_RESTORE_THROTTLE": "4"}
)


@pytest.mark.parametrize(
    ("options", "expected_s"),
    [
        (("unacked_restore_interval", "unacked_restore_throttle"), 2.0),
        # As before kombu 5.7; that it does look so is shown on the real one, in test_sides.
        ((), 100.0),
    ],
)
def test_what_this_kombu_has_no_option_for_is_not_taken_for_set(
    options: tuple[str, ...], expected_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tuple(each for each in Channel.from_transport_options if "unacked_restore" not in each)
    monkeypatch.setattr(Channel, "from_transport_options", others + options)

    assert sweep_s(_ASKED) == expected_s
