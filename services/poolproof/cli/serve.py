"""The verb `serve`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex, token_urlsafe

import click

from poolproof.cli import limits, options
from poolproof.cli.console import ConsoleListener
from poolproof.cli.report import find
from poolproof.experiments.live_session import LiveSession
from poolproof.infra.connection import connect, swept
from poolproof.infra.flower import FlowerPlace
from poolproof.infra.page import FLOWER, HOST, PORT, orders, shown
from poolproof.infra.redis_server import RedisServer
from poolproof.infra.sides import parse
from poolproof.live.flower.client import Flower
from poolproof.live.names import LOOPBACK
from poolproof.live.server import serve
from poolproof.live.show import Show
from poolproof.report.publish import publish
from poolproof.runner.live_orders import Orders
from poolproof_workers.contract import DEFAULT_NAMESPACE, Keys
from poolproof_workers.errors import OK, UsageError


@click.command("serve")
@click.argument("run", required=False)
@click.option("--watch", is_flag=True, help="Only show the newest run in the folder of runs.")
@click.option(
    "--speed",
    type=limits.Real(min=0.01, max=1000),
    default=1.0,
    show_default=True,
    help="Of a saved run: its seconds a second.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True)
@click.option(
    "--host",
    default=HOST,
    show_default=True,
    help="The address that it is served at.",
)
@click.option(
    "--token",
    envvar="POOLPROOF_TOKEN",
    default="",
    help="A word that the page asks for; where others can reach it, one is made up without it.",
)
@click.option(
    "--flower",
    envvar=FLOWER,
    default="",
    help="The URL of a Flower to link, and to compare with the books; a USER:PASSWORD@ in it is "
    "shown on the page.",
)
@click.option(
    "--flower-api",
    envvar="POOLPROOF_FLOWER_API",
    default="",
    help="Where the page itself reaches that Flower, if not there.",
)
@click.option(
    "--flower-login",
    envvar="POOLPROOF_FLOWER_LOGIN",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with USER:PASSWORD of that Flower; the page does not show them.",
)
@click.option(
    "--with-flower",
    is_flag=True,
    help="Start a Flower beside the workers, with task events on, which cost throughput.",
)
@options.pools
@options.redis_url
@options.runs
def command(  # noqa: PLR0913  click passes each option by its name
    *,
    run: str | None,
    watch: bool,
    speed: float,
    port: int,
    host: str,
    token: str,
    flower: str,
    flower_api: str,
    flower_login: Path | None,
    with_flower: bool,
    pools: tuple[str, ...],
    redis_url: str | None,
    out: Path,
) -> int:
    """Show pools at work on a live page at 127.0.0.1, and crash them from there.

    Without RUN it starts workers of its own and lets work flow to them; with RUN it plays that
    saved run again.

    \b
      poolproof serve
      poolproof serve --pool prefork:8 --pool threads:8
      poolproof serve --with-flower
      poolproof serve 20261122-203015 --speed 0.5
    """  # noqa: D301  click looks for a real backspace
    if run or watch:
        if with_flower:
            raise UsageError("--with-flower is for workers that are started: give no run to show.")
        known = Flower(flower, flower_api, flower_login) if flower else None
        show = Show(out, find(run, out) if run else None, speed, orders(), known)
        if host not in LOOPBACK and not token:
            token = token_urlsafe(12)
        words = f"?token={token}" if token else ""
        click.echo(f"The page is at http://{HOST}:{port}/{words} (Ctrl-C ends it).", err=True)
        serve(show, host, port, token)
        return OK
    if host not in LOOPBACK:
        raise UsageError("Workers that anybody may crash are shown at 127.0.0.1 only.")
    with ExitStack() as stack:
        server = None if redis_url else stack.enter_context(RedisServer.start())
        url = server.url if server else str(redis_url)
        keys = Keys(f"{DEFAULT_NAMESPACE}-page-{token_hex(4)}")
        stack.enter_context(swept(url, keys))
        place = stack.enter_context(FlowerPlace()) if with_flower else None
        flower = place.url if place else flower
        programme = LiveSession(
            sides=parse(pools),
            out=out,
            redis_url=redis_url,
            server=server,
            page=stack.enter_context(shown(out, port, url, keys, flower)),
            orders=Orders(stack.enter_context(connect(url)), keys.controls),
            flower=place,
        )
        code = OK
        with ConsoleListener() as watching:
            watching.phase(f"the page is at http://{HOST}:{port}")
            for folder in programme.play(watching):
                code = publish(folder)
    return code
