"""What a producer reads of the collector's news."""

from __future__ import annotations

from poolproof.experiments.progress import Progress
from poolproof.produce.sent import Sent


def _sent(block: int) -> Sent:
    return Sent(block, "a", 10 * block, 10, 0, 1, 0)


def test_a_block_that_is_no_longer_told_of_has_settled_and_a_new_one_has_not() -> None:
    now = Progress.of({"blocks": {"7": {"enqueued": 10, "settled": 4}}})

    assert now.settled_in(_sent(6)) == 10
    assert now.settled_in(_sent(7)) == 4
    assert now.settled_in(_sent(8)) == 0
    assert Progress().settled_in(_sent(0)) == 0
