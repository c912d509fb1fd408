"""The way from Celery to the recorder that leaves out the dispatch of signals.

Every task takes it three times. To send a signal costs more than to write a record: it looks its
receivers up, calls them with all that any of them could want, and collects what they return.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from celery import signals
from celery.app import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery.utils.dispatch import Signal

_log: Final = logging.getLogger(__name__)


def take_received(receiver: Callable[..., None]) -> None:
    """Call `receiver(request)` for each task that is received, as its signal does."""
    receivers, send = _connect(signals.task_received, receiver)

    def tell(sender: object, request: object, **named: object) -> None:
        if len(receivers) > 1:
            send(sender, request=request, **named)
            return
        try:
            receiver(request)
        except Exception:
            _complain(receiver)

    # Celery's worker looks this one up for every task.
    signals.task_received.send = tell


def take_prerun(receiver: Callable[..., None]) -> None:
    """Call `receiver(task_id)` before each task runs, as its signal does."""
    receivers, send = _connect(signals.task_prerun, receiver)

    def tell(sender: object, task_id: str, **named: object) -> None:
        if len(receivers) > 1:
            send(sender, task_id=task_id, **named)
            return
        try:
            receiver(task_id)
        except Exception:
            _complain(receiver)

    _in_tracer("send_prerun", tell)


def take_postrun(receiver: Callable[..., None]) -> None:
    """Call `receiver(task_id, state, retval)` after each task, as its signal does."""
    receivers, send = _connect(signals.task_postrun, receiver)

    def tell(
        sender: object, task_id: str, state: str | None, retval: object, **named: object
    ) -> None:
        if len(receivers) > 1:
            send(sender, task_id=task_id, state=state, retval=retval, **named)
            return
        try:
            receiver(task_id, state, retval)
        except Exception:
            _complain(receiver)

    _in_tracer("send_postrun", tell)


def _connect(
    signal: Signal, receiver: Callable[..., None]
) -> tuple[list[Any], Callable[..., object]]:
    """Connect a receiver for good; return all receivers, and what sends the signal to them."""
    # With Celery's own cache of receivers, off by default, sending takes no lock, which the threads
    # of a pool would share.
    signal.use_caching = True
    signal.connect(receiver, weak=False)
    return signal.receivers, signal.send


def _in_tracer(name: str, tell: Callable[..., object]) -> None:
    # A Celery whose tracer has no such name sends the signal itself, and all is as it was.
    if hasattr(trace, name):
        setattr(trace, name, tell)


def _complain(receiver: Callable[..., None]) -> None:
    """Do what a signal does when a receiver raises: a task has nothing to do with it."""
    _log.exception("%r raised", receiver)
