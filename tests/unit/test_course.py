"""When a run says that it will take longer than it was given."""

from __future__ import annotations

from dataclasses import dataclass, field

from poolproof.experiments.compare import Course


@dataclass
class Ear:
    """Keeps what a listener is told."""

    steps: list[tuple[int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def phase(self, text: str) -> None: ...

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)


def _course(ear: Ear, budget_s: float, times: list[float]) -> Course:
    return Course(ear, budget_s, lambda: times.pop(0))


def test_a_run_that_keeps_its_budget_only_tells_how_far_it_is() -> None:
    ear = Ear()
    course = _course(ear, 60.0, [100.0, 100.0, 130.0, 155.0])

    for left_s in (40.0, 20.0, 6.0):
        course.expect(left_s)

    assert ear.steps == [(0, 60), (30, 60), (55, 61)]
    assert ear.notes == []


def test_a_run_that_cannot_keep_its_budget_says_so_at_once_with_its_estimate() -> None:
    ear = Ear()
    course = _course(ear, 25.0, [0.0, 0.0])

    course.expect(48.0)

    (note,) = ear.notes
    assert "about 48 s, more than the budget of 25 s" in note
    assert ear.steps == [(0, 48)]


def test_it_says_so_again_only_when_it_has_become_much_longer() -> None:
    ear = Ear()
    course = _course(ear, 25.0, [0.0, 0.0, 20.0, 40.0, 60.0])

    for left_s in (48.0, 30.0, 150.0, 140.0):
        course.expect(left_s)

    assert ["about 48 s" in ear.notes[0], "about 190 s" in ear.notes[1]] == [True, True]
    assert len(ear.notes) == 2
