"""The loops without Airflow: hand-overs that pass from command to command, skipping, red gates, bad days."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evergreen import cli
from evergreen.errors import (
    BatchUnreadable,
    DiskFull,
    EvergreenError,
    EvidenceMissing,
    HandoverRefused,
    RunError,
    ServiceUnavailable,
    StageSkipped,
)
from evergreen.handovers.handover import Handover
from evergreen.handovers.monitor import Conf, Decided, Retraining
from evergreen.interval import Interval
from evergreen.loops import inline
from evergreen.loops.inline import Skipped
from evergreen.loops.wire import Loop, LoopName, Wire
from evergreen.loops.wiring import LOOPS
from evergreen.monitor import stages as monitor
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec

SPECS = Path(__file__).parents[1] / "specs" / "valid"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelSpec]:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EVERGREEN_MODELS", str(SPECS))
    settings.cache_clear()
    yield load_spec(SPECS / "renewals")
    settings.cache_clear()


ran: list[str] = []


class Begun(Handover):
    day: str


class Middle(Begun):
    part: str


class Ended(Handover):
    parts: tuple[str, ...]


def begin(run: Run) -> Begun:
    ran.append("begin")
    return Begun(day=run.interval.partition)


def middle(run: Run, begun: Begun, family: str) -> Middle:
    ran.append(f"middle {family}")
    if run.reason == "refused":
        raise StageSkipped("not wanted")
    if run.reason == "red":
        raise EvidenceMissing("deciding", found="nothing", expected="something", next_step="look")
    return Middle(day=begun.day, part=family)


def end(run: Run, middles: tuple[Middle, ...]) -> Ended:
    ran.append("end")
    return Ended(parts=tuple(one.part for one in middles))


def last_of_all(run: Run) -> Begun:
    ran.append("last")
    return Begun(day="")


def _three(loop: Wire) -> None:
    begun = loop.stage(begin)
    middles = loop.each(middle, begun, over="family")
    loop.stage(end, middles, name="finish")


def _wired(monkeypatch: pytest.MonkeyPatch, name: LoopName, wiring: Callable[[Wire], None]) -> None:
    monkeypatch.setattr(
        inline, "LOOPS", {**LOOPS, name: Loop(name, "dataset" if name == "ingest" else "model", "a test", wiring)}
    )


@pytest.fixture
def run(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of a loop of three stages, the second of them once for each family."""
    _wired(monkeypatch, "train", _three)
    ran.clear()
    return inline.of(spec, Interval.of_day(spec.first_day))


def _parts(run: Run) -> tuple[str, ...]:
    return tuple(run.spec.families)


def _of(run: Run, reason: str) -> Run:
    return Run(run.spec, run.interval, run.run_id, reason)


def test_later_stages_go_on_from_kept_results(run: Run) -> None:
    assert inline.steps("train") == ["begin", "middle", "finish"] and ran == []
    assert list(inline.run(run, "train", last="begin")) == ["begin"]
    assert list(inline.run(run, "train", first="middle", last="middle")) == ["middle"]
    assert inline.run(run, "train", first="finish") == {"finish": Ended(parts=_parts(run))}
    assert ran == ["begin", *(f"middle {part}" for part in _parts(run)), "end"], "each ran once"


def test_each_task_that_has_run_is_named_as_in_airflow(run: Run) -> None:
    names: list[str] = []
    inline.run(run, "train", done=names.append)
    assert names == ["begin", *(f"middle ({part})" for part in _parts(run)), "finish"] and len(_parts(run)) > 1


def test_a_stage_that_runs_anew_takes_back_what_followed(run: Run) -> None:
    inline.run(run, "train")
    inline.run(run, "train", last="begin")
    with pytest.raises(RunError, match="no result of middle"):
        inline.run(run, "train", first="finish")


def _kept(run: Run, step: str) -> Path:
    return settings().home / "runs" / run.spec.model / "train" / run.run_id / f"{step}.json"


def test_what_another_release_kept_is_refused_and_says_where_to_begin(run: Run) -> None:
    inline.run(run, "train", last="begin")
    _kept(run, "begin").write_text(json.dumps({"day": "2026-01-01"}))
    with pytest.raises(HandoverRefused, match="--from begin"):
        inline.run(run, "train", first="middle")
    assert ran == ["begin"]


def test_a_family_that_handed_nothing_over_is_missed(run: Run) -> None:
    inline.run(run, "train", last="middle")
    kept = json.loads(_kept(run, "middle").read_text())
    _kept(run, "middle").write_text(json.dumps(kept[:-1]))
    with pytest.raises(HandoverRefused, match=f"{len(kept) - 1} hand-overs"):
        inline.run(run, "train", first="finish")


def test_a_skipped_stage_skips_what_needs_it_also_from_another_command(run: Run) -> None:
    skipped = Skipped("not wanted")
    assert inline.run(_of(run, "refused"), "train")["finish"] == skipped
    assert inline.run(run, "train", first="finish") == {"finish": skipped}
    assert "end" not in ran


def test_a_skipped_stage_skips_what_only_comes_after_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def wiring(loop: Wire) -> None:
        middles = loop.each(middle, loop.stage(begin), over="family")
        loop.stage(last_of_all, after=[middles])

    _wired(monkeypatch, "train", wiring)
    assert inline.run(_of(run, "refused"), "train")["last_of_all"] == Skipped("not wanted") and "last" not in ran
    assert inline.run(run, "train")["last_of_all"] == Begun(day="") and ran[-1] == "last"


def test_a_red_stage_keeps_no_result_and_raises(run: Run) -> None:
    inline.run(run, "train")
    with pytest.raises(EvidenceMissing):
        inline.run(_of(run, "red"), "train", first="middle")
    with pytest.raises(RunError, match="no result of middle"):
        inline.run(run, "train", first="finish")


def test_a_disk_that_is_full_when_a_result_is_kept_is_said_to_be_full(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", no_room)
    with pytest.raises(DiskFull, match=f"keeping what begin of {run.subject} left"):
        inline.run(run, "train")


@pytest.mark.parametrize(("first", "last"), [("finnish", None), (None, "tune"), ("finish", "begin")])
def test_stages_that_make_no_sense_are_refused_before_anything_runs(
    run: Run, first: str | None, last: str | None
) -> None:
    with pytest.raises(RunError):
        inline.run(run, "train", first, last)
    assert ran == []


def test_the_command_prints_the_last_result_of_each_day(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    day = run.spec.first_day
    assert cli.main(["run", "renewals", "train", "--day", f"{day}..{date(day.year, day.month, day.day + 1)}"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"parts": list(_parts(run))}] * 2
    assert cli.main(["run", "renewals", "train", "--as-of", f"{run.as_of:%Y-%m-%dT%H:%MZ}", "--from", "finish"]) == 0
    assert ran.count("end") == 3


def _some_bad(
    run: Run, monkeypatch: pytest.MonkeyPatch, errors: dict[str, Exception], loop: LoopName = "train"
) -> None:
    """A loop of one stage, which raises the error of its day, or returns the day."""

    def work(run: Run) -> Begun:
        if error := errors.get(run.interval.partition):
            raise error
        return Begun(day=run.interval.partition)

    def wiring(loop: Wire) -> None:
        loop.stage(work)

    _wired(monkeypatch, loop, wiring)


def _bad() -> BatchUnreadable:
    return BatchUnreadable("reading", found="nonsense", expected="sense", next_step="ask")


def _days_of(run: Run, count: int) -> list[str]:
    return [(run.spec.first_day + timedelta(days=n)).isoformat() for n in range(count)]


def _ran(
    run: Run, loop: str, days: list[str], capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[int, list[str], str]:
    """What the command returns, the days that it did, and what it says beside."""
    status = cli.main(["run", "renewals", loop, "--day", f"{days[0]}..{days[-1]}", *more])
    output = capsys.readouterr()
    return status, [json.loads(line)["day"] for line in output.out.splitlines()], output.err


def test_a_bad_day_costs_itself_and_is_named_at_the_end(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it is: a batch that nobody can read, or a defect."""
    days = _days_of(run, 7)
    _some_bad(run, monkeypatch, {days[1]: _bad(), days[4]: ZeroDivisionError("a defect"), days[5]: _bad()})
    status, done, stderr = _ran(run, "train", days, capsys, "--until", "work")
    assert (status, done) == (1, [days[0], days[2], days[3], days[6]])
    assert stderr.count("  found:     nonsense") == 2 and stderr.count("ZeroDivisionError: a defect") == 1
    assert stderr.splitlines()[-3:] == [
        "3 of 7 days are left. To run them:",
        f"  evergreen run renewals train --day {days[1]} --until work",
        f"  evergreen run renewals train --day {days[4]}..{days[5]} --until work",
    ]
    _some_bad(run, monkeypatch, {})
    assert _ran(run, "train", days[4:6], capsys)[:2] == (0, days[4:6]), "the command that it names"


def test_a_stage_that_is_none_leaves_no_days_to_run(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands for them would fail in the same way."""
    _some_bad(run, monkeypatch, {})
    status, done, stderr = _ran(run, "train", _days_of(run, 3), capsys, "--from", "typo")
    assert (status, done) == (1, []) and "no stage 'typo'" in stderr and "left" not in stderr


@pytest.mark.parametrize("kind", [ServiceUnavailable, DiskFull])
def test_what_no_later_day_can_do_without_ends_the_days_early(
    kind: type[EvergreenError], run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    days = _days_of(run, 4)
    _some_bad(run, monkeypatch, {days[1]: kind("writing", found="none", expected="one", next_step="mend it")})
    status, done, stderr = _ran(run, "train", days, capsys)
    assert (status, done) == (1, days[:1])
    assert stderr.splitlines()[-1] == f"  evergreen run renewals train --day {days[1]}..{days[3]}"


def test_the_monitor_goes_no_further_than_a_bad_day(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of its windows counts those before it."""
    days = _days_of(run, 3)
    _some_bad(run, monkeypatch, {days[1]: _bad()}, "monitor")
    status, done, stderr = _ran(run, "monitor", days, capsys)
    assert (status, done) == (1, days[:1])
    assert stderr.splitlines()[-1] == f"  evergreen run renewals monitor --day {days[1]}..{days[2]}"


def test_days_that_were_interrupted_are_named_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    days = _days_of(run, 3)
    _some_bad(run, monkeypatch, {days[1]: KeyboardInterrupt()})  # type: ignore[dict-item]
    assert cli.main(["run", "renewals", "train", "--day", f"{days[0]}..{days[2]}"]) == 130, "as a shell says it"
    assert capsys.readouterr().err.splitlines()[-1] == f"  evergreen run renewals train --day {days[1]}..{days[2]}"


def test_the_command_refuses_days_without_data(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "renewals", "train", "--day", "1999-01-01"]) == 1
    assert "first_day" in capsys.readouterr().err and ran == []


@pytest.mark.parametrize(
    "when",
    [
        ["--day", "soon"],
        ["--day", "2026-01-02..2026-01-01"],
        ["--as-of", "never"],
        ["--day", "9999-12-31"],
        ["--day", "0001-01-01..9999-12-31"],
        ["--as-of", "0001-01-01"],
        ["--as-of", "9999-12-31T23:59:59-12:00"],
    ],
)
def test_the_command_refuses_unreadable_days(run: Run, when: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "renewals", "train", *when]) == 1 and ran == []
    assert "evergreen run --help" in (message := capsys.readouterr().err) or "turn the two round" in message


def _decided(**changes: Any) -> Decided:
    fields: dict[str, Any] = {
        "action": "retrain",
        "triggers": True,
        "decision_id": "d",
        "reasons": (),
        "changed_at": datetime(2026, 1, 1, tzinfo=UTC),
        "page": "http://w",
    }
    return Decided(**fields | changes)


def test_the_monitor_trains_only_when_its_decision_says_so(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Run] = []

    def train(run: Run) -> Begun:
        trained.append(run)
        return Begun(day="trained")

    def watch(decided: Decided) -> inline.Results:
        def decide(run: Run) -> Decided:
            return decided

        def wiring(loop: Wire) -> None:
            wanted = loop.stage(monitor.retrain_wanted, loop.stage(decide))
            loop.start("train", wanted, name="retrain")

        def training(loop: Wire) -> None:
            loop.stage(train)

        loops = {"monitor": Loop("monitor", "model", "", wiring), "train": Loop("train", "model", "", training)}
        monkeypatch.setattr(inline, "LOOPS", loops)
        return inline.run(watched, "monitor")

    watched = inline.of(spec, Interval.of_day(spec.first_day))
    for quiet in (_decided(action="none"), _decided(triggers=False)):
        results = watch(quiet)
        assert isinstance(results["retrain_wanted"], Skipped) and results["retrain"] == results["retrain_wanted"]
    assert trained == []
    # A decision of a release before names no cause: its run, which may be there, has that release's id.
    for cause, named in (("loss", "loss"), ("calendar", "calendar"), (None, "drift")):
        results = watch(_decided(cause=cause))
        conf = Conf(as_of=watched.as_of, reason=named, decision_id="d", changed_at=datetime(2026, 1, 1, tzinfo=UTC))
        assert results["retrain_wanted"] == Retraining(run_id=f"{named}__d", conf=conf)
        assert results["retrain"] == {"train": Begun(day="trained")}
        training = trained[-1]
        assert (training.run_id, training.reason, training.decision_id) == (f"{named}__d", named, "d")
        assert (training.as_of, training.changed_at) == (watched.as_of, datetime(2026, 1, 1, tzinfo=UTC))
    assert len(trained) == 3
