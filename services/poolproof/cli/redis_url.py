"""The option `--redis-url`: the URL of a Redis, of which only the shape is told if it is none."""

from __future__ import annotations

from typing import Any

import click

from poolproof_workers.settings import URL_SHAPE, redis_url


class RedisUrl(click.ParamType[str]):
    """A URL that we, Celery and a proxy can use. It may hold a password, and is never shown."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it."""
        try:
            return redis_url(str(value))
        except ValueError:
            self.fail(f"That is no URL like {URL_SHAPE} (or rediss://).", param, ctx)
