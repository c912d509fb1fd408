from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from poolproof.report import crash_tables, figures
from poolproof.report.markdown import markdown
from poolproof.report.terminal import show
from tests.unit.summaries import comparison_of_two, comparison_with_all


def _on_terminal(summary: dict[str, Any], *, width: int = 80, colour: bool = False) -> str:
    screen = io.StringIO()
    show(summary, Console(file=screen, width=width, force_terminal=colour))
    return screen.getvalue()


@pytest.fixture(params=[_on_terminal, markdown], ids=["terminal", "markdown"])
def report(request: pytest.FixtureRequest) -> Any:
    return request.param


def _lines(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


def test_every_pool_has_its_throughput_in_every_workload(report: Any) -> None:
    text = report(comparison_of_two())

    assert _lines(text, "square", "prefork:4", "1,012")
    assert _lines(text, "threads:4", "1,043")
    assert _lines(text, "cpu:5ms", "prefork:4", "342")


def test_no_figure_is_cut_off_for_a_workload_with_a_long_name() -> None:
    summary = comparison_of_two()
    long = "mix:payload:100KB=1,sleep:20ms=2,square=4"
    text = _on_terminal(summary)
    renamed = _on_terminal(json.loads(json.dumps(summary).replace('"square"', f'"{long}"')))

    assert "=2,square=4" in renamed  # the end of the name, in whatever line
    assert "…" not in renamed
    assert all(len(line) <= 80 for line in renamed.splitlines())
    for figure in ("1,012", "1,043", "0.97"):
        assert renamed.count(figure) == text.count(figure) > 0


def test_a_comparison_names_the_winner_or_says_why_there_is_none(report: Any) -> None:
    text = report(comparison_of_two())

    assert _lines(text, "cpu:5ms", "1.98", "1.92 - 2.05", "prefork:4")
    assert _lines(text, "square", "0.971", "too noisy to call (1.053 would show)")
    assert _lines(text, "sleep:50ms", "0.989", "too close to call (1.014 would show)")


def test_a_crash_says_what_it_took_along_on_each_pool(report: Any) -> None:
    text = report(comparison_of_two())

    (interrupted,) = _lines(text, "interrupted")
    assert [cell for cell in interrupted.split() if cell.isdigit()] == ["0", "3"]
    (stranded,) = _lines(text, "waiting in the worker")
    assert [cell for cell in stranded.split() if cell.isdigit()] == ["0", "16"]


def test_a_crash_says_who_restarted_what_and_how_long_it_all_took(report: Any) -> None:
    text = report(comparison_of_two())

    assert _lines(text, "restarted by", "pool", "supervisor")
    assert _lines(text, "slots worked again", "213 ms", "2.4 s")
    assert _lines(text, "due after", "-", "3.0 - 4.8 s")


def test_a_crash_says_what_became_of_the_poison_and_after_which_delay_a_worker_came_back(
    report: Any,
) -> None:
    text = report(comparison_of_two())

    assert _lines(text, "the faulty task itself", "failed", "lost")
    assert _lines(text, "after a delay of", "-", "500 ms")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hung": 2}, "still at it at the end"),
        ({"given_back": 5}, "waiting in the worker, put back"),
        ({"fates": {"failed": 3}}, "failed"),
        ({"fates": {"phantom": 1}}, "counted as running, but do not run"),
        ({"unknown": 2}, "what it did to them is not known"),
        ({"interrupted_first": 2}, "interrupted when it struck again"),
        ({"slots_gone_first": 1}, "slots gone when it struck again"),
        ({"strikes": 4}, "struck"),
        ({"overdue": 1}, "only by the short timeout"),
        ({"left": {"queued": 6}}, "left queued at the end"),
        ({"lingered_s": 30.3}, "the worker left, after its last task"),
        ({"ended": "the deadline of 45 s"}, "the wait was cut off by"),
    ],
)
def test_what_few_faults_do_is_told_where_it_happened(
    report: Any, fields: dict[str, Any], words: str
) -> None:
    summary = comparison_of_two()
    plain = len(report(summary).splitlines())
    summary["crashes"][1] |= fields

    text = report(summary)

    assert _lines(text, words)
    assert len(text.splitlines()) == plain + 1


def test_where_the_lost_ones_were_is_told_unless_all_of_them_ran(report: Any) -> None:
    summary = comparison_of_two()
    (prefork, threads) = summary["crashes"]
    prefork["lost_by"] = {"interrupted": 0, "acknowledged": 0, "fetched": 0}
    threads["lost_by"] = {"interrupted": 3, "acknowledged": 0, "fetched": 0}
    plain = report(summary)
    assert not _lines(plain, "that ran")
    threads |= {"lost": 4, "lost_by": {"interrupted": 3, "acknowledged": 0, "fetched": 1}}

    text = report(summary)

    assert _lines(text, "lost for good", "0", "4")
    assert _lines(text, "that ran", "0", "3")
    assert _lines(text, "on the way from the queue", "0", "1")
    assert len(text.splitlines()) == len(plain.splitlines()) + 2


def test_what_waited_in_a_living_worker_is_told_with_how_long_it_would_by_default(
    report: Any,
) -> None:
    summary = comparison_of_two()
    summary["crashes"][0]["waited"] = 4

    text = report(summary)

    assert _lines(text, "waiting in it until the timeout", "4", "0")
    assert _lines(text, "what waited in it, with the defaults", "3,600 - 3,700 s", "-")


def test_a_run_of_one_fault_says_what_was_noticed_and_what_it_was_played_with(report: Any) -> None:
    summary = {**comparison_of_two(), "comparisons": []}
    summary["pools"]["prefork:4"]["settings"] = {"visibility_timeout_s": 9.0, "sweep_s": 1.0}

    text = report(summary)

    assert _lines(text, "segfault on prefork:4", "4", "9.0 s", "1.0 s", "WorkerLostError")
    assert _lines(text, "segfault on threads:4", "4", "4.0 s", "1.0 s", "worker ended by SIGSEGV")


def test_a_long_list_of_what_was_noticed_is_wrapped_and_not_cut_off() -> None:
    summary = {**comparison_of_two(), "comparisons": []}
    said = ["worker ended by SIGKILL", "the task's error", "revoked before it ran again"]
    summary["crashes"][0]["noticed"] = said

    text = _on_terminal(summary)

    assert "again" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_who_made_the_run_and_how_is_said(report: Any) -> None:
    text = report(comparison_of_two())

    assert _lines(text, "redis-py 8.1.0", "poolproof 0.1.0 (commit 0123456789ab)", "seed 7")
    assert _lines(text, "$ poolproof compare --out 'my runs'")


def test_fewer_cores_than_the_machine_has_are_said(report: Any) -> None:
    summary = comparison_of_two()
    summary["machine"] |= {"cores": 8, "usable_cores": 2}

    assert _lines(report(summary), "2 of 8 cores")


def test_a_summary_that_does_not_say_how_it_was_made_has_no_empty_lines(report: Any) -> None:
    summary = comparison_of_two()
    summary.pop("command")
    summary["plan"] = None
    summary["versions"] = {}

    text = report(summary)

    assert "None" not in text
    assert "$" not in text


def test_an_open_loop_says_what_was_done_of_what_was_due(report: Any) -> None:
    assert _lines(report(comparison_with_all()), "700 square tasks a second due, 698 and 699 done")


def test_a_terminal_has_what_measuring_took_in_one_line() -> None:
    text = _on_terminal(comparison_with_all())

    measuring = "measuring took 41 % of a core (producer)"
    assert _lines(text, f"{measuring} · other programmes 3 % · stolen 0 %")
    assert "What measuring took" not in text


def test_markdown_has_load_harness_surroundings_and_settings_folded() -> None:
    text = markdown(comparison_with_all())

    assert text.count("<details>") == text.count("</details>") == 4
    assert _lines(text, "| square | prefork:4 | 700 | 698 | 17 | 3 | 4.2 ms |")
    assert _lines(text, "| square | 41 % | 22 % | 8 % | 3 % | 2,470 |")
    assert _lines(text, "| threads@host | 62 % | 3 % | 0 % | - | 12 | 2.2 |")
    assert _lines(text, "| acknowledgement policy | early | early |")
    assert _lines(text, "Python: CPython 3.11.7", "GCC 13.3.0")


def test_the_cost_of_each_pool_is_its_memory_and_its_start(report: Any) -> None:
    text = report(comparison_of_two())

    assert _lines(text, "prefork:4", "146 MB", "152 MB", "1.3 s")
    assert _lines(text, "threads:4", "54 MB", "55 MB", "1.0 s")


def test_memory_that_nobody_could_measure_is_no_number(report: Any) -> None:
    summary = comparison_of_two()
    summary["pools"]["threads:4"]["memory"] = {"pss_idle_bytes": None, "pss_loaded_bytes": None}

    text = report(summary)

    assert "0 MB" not in text
    assert _lines(text, "threads:4", "-", "1.0 s")


def test_where_there_is_no_pss_memory_is_uss_and_says_so(report: Any) -> None:
    summary = comparison_of_two()
    for of in summary["pools"].values():
        of["memory"] = {
            "pss_loaded_bytes": None,
            "uss_loaded_bytes": 41e6,
            "rss_loaded_bytes": 88e6,
        }

    text = report(summary)

    assert _lines(text, "prefork:4", "41 MB", "88 MB", "1.3 s")
    assert "(USS)" in text
    assert "(PSS)" in report(comparison_of_two())


def test_only_percentiles_that_the_sample_supports_are_shown(report: Any) -> None:
    summary = comparison_of_two()
    _open_loop(summary, "prefork:4", {"n": 820, "p50": 0.0506, "p90": 0.0708})
    _open_loop(summary, "threads:4", {"n": 82, "p50": 0.0112})

    text = report(summary)

    assert _lines(text, "prefork:4", "50.6 ms", "70.8 ms")
    assert _lines(text, "threads:4", "11.2 ms", "-")
    assert "p99" not in text


def test_an_open_loop_shows_every_part_of_a_tasks_time(report: Any) -> None:
    summary = comparison_of_two()
    _open_loop(summary, "prefork:4", {"n": 820, "p50": 0.0123})

    text = report(summary)

    assert "574 square tasks a second" in text
    assert _lines(text, "from when it was due to its end", "prefork:4", "12.3 ms")


def test_a_side_that_could_not_keep_up_is_named(report: Any) -> None:
    summary = comparison_of_two()
    _open_loop(summary, "prefork:4", {"n": 820, "p50": 0.0123}, overloaded=True)

    assert "(prefork:4 could not keep up)" in report(summary)


def test_what_a_task_took_is_shown_where_it_is_known(report: Any) -> None:
    summary = comparison_of_two()
    summary["pools"]["prefork:4"]["workloads"]["square"] |= {
        "utilisation": 0.004,
        "effort": {
            "cpu_s_per_task": 0.000816,
            "ctx_voluntary_per_task": 2.59,
            "ctx_involuntary_per_task": 1.4,
        },
    }

    text = report(summary)

    assert _lines(text, "square", "prefork:4", "816 µs", "2.6", "1.4", "< 1 %")


def test_a_sweep_is_a_row_a_number_of_slots(report: Any) -> None:
    summary = comparison_of_two()
    point = {"concurrency": 2, "throughput_per_s": 150.0, "low": 148.0, "high": 152.0}
    lone = {"concurrency": 4, "throughput_per_s": 300.0, "low": None, "high": None}
    summary["sweep"] = {
        "concurrency": [2, 4],
        "curves": [
            {"pool": "prefork", "workload": "square", "points": [point, lone]},
            {"pool": "threads", "workload": "square", "points": [point]},
        ],
    }

    text = report(summary)

    assert _lines(text, "2", "150 (148 - 152)", "150 (148 - 152)")
    assert _lines(text, "4", "300", "-")


def _open_loop(
    summary: dict[str, Any], pool: str, total: dict[str, float], *, overloaded: bool = False
) -> None:
    summary["pools"][pool]["workloads"]["square"]["open_loop"] = {
        "offered_per_s": 574.0,
        "overloaded": overloaded,
        "latency_s": {"total": total},
    }


def test_books_that_do_not_balance_are_said_aloud(report: Any) -> None:
    summary = comparison_of_two()
    summary["books"]["balanced"] = False

    text = report(summary)

    assert "THE BOOKS DO NOT BALANCE" in text
    assert "THE BOOKS DO NOT BALANCE" not in report(comparison_of_two())


def test_a_run_that_is_no_benchmark_says_so_before_any_figure(report: Any) -> None:
    summary = {**comparison_of_two(), "valid": False}

    text = report(summary)

    assert text.index("NOT A BENCHMARK RESULT") < text.index("Throughput")
    assert "NOT A BENCHMARK RESULT" not in report(comparison_of_two())


def test_warnings_come_with_their_advice(report: Any) -> None:
    summary = comparison_of_two()
    summary["warnings"] = [{"code": "cpu_steal", "advice": "Use a machine of your own."}]

    text = report(summary)

    assert _lines(text, "cpu steal: Use a machine of your own.")


def test_the_sentences_are_in_the_report(report: Any) -> None:
    text = report(comparison_of_two())

    assert "For CPU work prefork:4 did 1.98 times as much as threads:4." in text


def test_a_run_without_a_crash_or_figures_still_has_its_books(report: Any) -> None:
    summary = comparison_of_two()
    summary.update(pools={}, comparisons=[], crashes=[], machine={}, versions={})

    text = report(summary)

    assert _lines(text, "completed", "12,341")
    assert "Throughput" not in text


@pytest.mark.parametrize("width", [80, 200])
def test_no_line_on_a_terminal_is_longer_than_80_columns(width: int) -> None:
    text = _on_terminal(comparison_with_all(), width=width)

    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_there_is_colour_on_a_terminal_only() -> None:
    assert "\x1b[" in _on_terminal(comparison_of_two(), colour=True)
    assert "\x1b[" not in _on_terminal(comparison_of_two())


def test_markup_in_what_was_measured_is_shown_as_it_is() -> None:
    summary = comparison_of_two()
    summary["sentences"] = ["[bold]not markup[/bold]"]

    assert "[bold]not markup[/bold]" in _on_terminal(summary)


def test_every_row_of_a_markdown_table_has_the_cells_of_its_heading() -> None:
    summary = comparison_of_two()
    summary["crashes"][0]["restarted_by"] = "a | b"

    rows = [line.replace(r"\|", "") for line in _lines(markdown(summary), "|")]

    blocks = markdown(summary).split("\n\n")
    for table in (block.splitlines() for block in blocks if block.startswith("|")):
        assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    assert rows


def test_repeats_of_a_crash_are_added_up_and_their_times_are_medians() -> None:
    summary = comparison_of_two()
    _, threads = summary["crashes"]
    slower = {**threads, "recovery_s": {"slot_back": 4.41}, "due_s": None}
    summary["crashes"] = [threads, slower]

    (table,) = crash_tables.crashes(summary)

    assert [column.heading for column in table.columns] == ["", "threads:4 x2"]
    assert ("lost for good", "6") in table.rows
    assert ("until the slots worked again", "3.4 s") in table.rows


@pytest.mark.parametrize(
    ("per_s", "text"), [(1012.4, "1,012"), (99.94, "99.9"), (77.0, "77.0"), (0.52, "0.52")]
)
def test_a_rate_is_written_with_three_digits(per_s: float, text: str) -> None:
    assert figures.rate(per_s) == text


@pytest.mark.parametrize(("share", "text"), [(1.0, "█" * 18), (0.5, "█" * 9), (0.0, "")])
def test_a_bar_is_as_long_as_its_share(share: float, text: str) -> None:
    assert figures.bar(share) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0.0, "0 ms"),
        (0.0000214, "21 µs"),
        (0.0506, "50.6 ms"),
        (0.213, "213 ms"),
        (2.41, "2.4 s"),
        (3600.0, "3,600 s"),
    ],
)
def test_a_time_has_the_unit_that_suits_it(number: float | None, text: str) -> None:
    assert figures.seconds(number) == text
