"""What each side was measured under: its settings, and the software that it ran on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from poolproof.judge import hosts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolproof.judge.run_data import RunData

#: What a side may have of its own, as its workers' variables are called.
_SETTINGS: Final = ("policy", "prefetch", "events", "results", "serializer", "optimization")
_SWITCH: Final = {"0": "off", "1": "on"}
#: What decides when a message is given to a worker again -> what it is called.
_REDELIVERY: Final = {
    "visibility_timeout_s": "visibility timeout",
    "sweep_s": "looks for unacked",
}


def terms(evidence: RunData, side: str) -> dict[str, Any]:
    """Return `settings` and `versions` as the side's workers first said them in this run.

    Empty if none said anything. A setting that the worker's version does not know is left out.
    """
    hello = [op for op in evidence.named("hello") if op["side"] == side]
    if not hello:
        return {}
    given = hello[0].get("settings") or {}
    found = {name: given.get(f"POOLPROOF_{name.upper()}") for name in _SETTINGS}
    settings = {name: value for name, value in found.items() if value is not None}
    if "events" in settings:
        settings["events"] = _SWITCH.get(settings["events"], settings["events"])
    return {"settings": settings, "versions": dict(hello[0].get("versions") or {})}


def differences(
    pools: Mapping[str, Mapping[str, Any]], of_run: Sequence[Mapping[str, Any]] = ()
) -> dict[str, dict[str, str | None]]:
    """Return what -> side -> value, for all in which the sides differ and do not say so by name.

    `of_run` are the hosts that took part. Containers of one machine are no different hosts, but may
    have different limits. A side whose workers did not say what their host is, or which versions
    they have, does not differ in that: its value is None.
    """
    is_apart = hosts.apart(of_run, pools)
    where = {side: hosts.where(of_run, side) if is_apart else {} for side in pools}
    facts = {side: hosts.facts(of_run, side) for side in pools}
    told = {side: _told(side, of) for side, of in pools.items()}
    versions = {side: (of.get("terms") or {}).get("versions") or {} for side, of in pools.items()}
    return (
        _differing(where, _said(where))
        | _differing(facts, _said(facts))
        | _differing(told, list(pools))
        | _differing(versions, _said(versions))
    )


def _said(of: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [side for side, said in of.items() if said]


def _differing(
    of: Mapping[str, Mapping[str, str]], among: Sequence[str]
) -> dict[str, dict[str, str | None]]:
    """Return what -> side -> value, for all that these differ in, with the values of each."""
    rows = {
        name: {side: said.get(name) for side, said in of.items()}
        for name in dict.fromkeys(name for said in of.values() for name in said)
    }
    return {name: row for name, row in rows.items() if len({row[side] for side in among}) > 1}


def _told(side: str, of: Mapping[str, Any]) -> dict[str, str]:
    under = of.get("terms") or {}
    pool = {} if side == of["pool"] else {"pool": of["pool"]}
    last = of.get("settings") or {}
    timing = {
        words: f"{'every ' if key == 'sweep_s' else ''}{last[key]:g} s"
        for key, words in _REDELIVERY.items()
        if last.get(key) is not None
    }
    return {**pool, **under.get("settings", {}), **timing}
