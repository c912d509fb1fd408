"""One seed from beginning to end: a world of its own, the sequence played in it, and the checks."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import traceback
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer
from poolproof.infra.sides import SideSpec
from poolproof.judge.run import consider
from poolproof.judge.save import judge_and_save
from poolproof.runner.local_environment import LocalEnvironment

from . import checks, oracle
from .journal import Journal
from .player import Player
from .sequence import Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROOT: Final = Path(__file__).parents[2]
_MARK: Final = "POOLPROOF_CHAOS_MARK"
_SHARED: Final = Path("/dev/shm")
_JOURNAL: Final = "journal.txt"
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one seed."""

    seed: int
    complaints: tuple[str, ...]
    verdicts: Mapping[str, int]
    took_s: float
    folder: Path  #: the run, the journal and the oracle's log

    def advice(self) -> str:
        """Return what was done, what is wrong, and how to see it again."""
        journal = (self.folder / _JOURNAL).read_text()
        return f"{journal}\nall of it is in {self.folder}; again: scripts/chaos --seeds {self.seed}"

    def save(self) -> None:
        """Write it into its folder."""
        content = asdict(self) | {"folder": str(self.folder)}
        (self.folder / "result.json").write_text(json.dumps(content, indent=2) + "\n")


def play(seed: int, out: Path) -> Result:
    """Play a seed and check what came of it; call it from the main thread.

    All that there is to see is in `out`/seed-N, which is made anew. It waits for no other seed, and
    changes this process's environment only while it runs.
    """
    folder = out.resolve() / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    journal = Journal(folder / _JOURNAL)
    trial = _Trial(Sequence.of(seed), folder, journal)
    for line in trial.sequence.lines():
        journal.write(line)
    try:
        complaints = trial.run()
    except Exception as error:  # whatever it is, it is what there is to report
        journal.write("".join(traceback.format_exception(error)))
        complaints = [f"{type(error).__name__}: {error}"]
    for complaint in complaints[:_SHOWN]:
        journal.write(f"COMPLAINT: {complaint}")
    if len(complaints) > _SHOWN:
        journal.write(f"and {len(complaints) - _SHOWN} more, in result.json")
    took_s = time.monotonic() - began
    result = Result(seed, tuple(complaints), trial.verdicts, round(took_s, 1), folder)
    result.save()
    return result


class _Trial:
    def __init__(self, sequence: Sequence, folder: Path, journal: Journal) -> None:
        self.sequence = sequence
        self.verdicts: dict[str, int] = {}
        self._folder = folder
        self._journal = journal
        self._mark = (_MARK, uuid.uuid4().hex)

    def run(self) -> list[str]:
        """Return the complaints."""
        with ExitStack() as stack:
            own = stack.enter_context(RedisServer.start())
            rings, temporary = (stack.enter_context(_empty_folder()) for _ in range(2))
            world = {
                "POOLPROOF_RINGS": str(rings),
                "TMPDIR": str(temporary),
                "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
                oracle.URL: own.url,
                _MARK: self._mark[1],
            }
            with _environment(world), RedisServer.start() as server:
                complaints = self._in_world(server, own.url, rings)
            complaints += checks.of_processes(self._mark)
            complaints += checks.of_files(rings, temporary)
        return complaints

    def _in_world(self, server: RedisServer, own_url: str, rings: Path) -> list[str]:
        sequence = self.sequence
        with connect(server.url) as redis, connect(own_url) as own:
            player = Player(sequence, self._journal, redis, own, rings)
            settings = sequence.settings() | {"POOLPROOF_INCLUDE": oracle.__name__}
            sides = {sequence.pool: SideSpec.parse(sequence.pool)}
            local = LocalEnvironment(
                sides,
                self._folder,
                server=server,
                settings=settings,
                grace_s=1.0,
                proxied=any(trouble.on_the_way for trouble in sequence.troubles),
            )
            run = local.play(player, self._journal)
            self._save_log(player)
            return [*self._judged(player, run), *checks.of_keys(redis)]

    def _judged(self, player: Player, run: Path) -> list[str]:
        summary = judge_and_save(run)
        case = consider(run)
        self.verdicts = dict(checks.verdict_counts(case))
        self._journal.write(f"verdicts: {self.verdicts}")
        assert player.before is not None
        assert player.after is not None
        return [
            *checks.of_books(summary, erased=bool(player.erasures)),
            *checks.of_verdicts(case, player.before, player.after, player.erasures),
        ]

    def _save_log(self, player: Player) -> None:
        lines = [
            f"{line.t_ns} {line.edge} {line.what} {line.number} {line.pid} {line.tid}"
            for line in (player.after.log if player.after else ())
        ]
        (self._folder / "oracle.txt").write_text("\n".join(lines) + "\n")


@contextmanager
def _empty_folder() -> Iterator[Path]:
    """Make a folder in memory, so that what is left in it is ours; it goes in any case."""
    parent = _SHARED if _SHARED.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="poolproof-chaos-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    tempfile.tempdir = None  # it is read from the environment once
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        tempfile.tempdir = None
