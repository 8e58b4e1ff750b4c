"""`evergreen history`: who was the champion, when, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evergreen.cli import main
from evergreen.history import ledger
from evergreen.history.events import Decided, Judged, Promoted, Registered, RolledBack
from evergreen.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
EVIDENCE: dict[str, Any] = {
    "rows": 120,
    "drift": {
        "distances": {"plan": 0.25, "\x1bcity": 1 / 3},
        "prediction": 0.61,
        "classes": {},
        "report": "http://page",
    },
    "missing": {},
    "performance": {"metric": "roc_auc", "value": None, "significant": False, "rows": 0},
    "labels": {"learn": 500, "evaluate": 200, "folds": 3},
}
NUMBERS = [
    r"drift: distances.\x1bcity 0.3333, distances.plan 0.25, prediction 0.61",
    "labels: evaluate 200, folds 3, learn 500",
    "performance: rows 0",
    "rows: 120",
]


def common(id: str, day: int, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "model": "churn",
        "as_of": START + timedelta(days=day),
        "actor": "ada, run r",
        "reason": "better",
        **more,
    }


@pytest.fixture
def said(home: Settings, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the command prints about a model with two versions,
    the second of which was asked for by a decision and left again."""

    def version(number: int, day: int, **promoted: Any) -> None:
        ledger.append(
            Judged(
                **common(f"judged/run{number}", day, reason=f"{number} rows"),
                run_id=f"run{number}",
                key="k",
                family="ridge",
                judgement=1,
                gate="evaluation rows",
                observed=float(number),
                bound=1.0,
                verdict="pass",
                compared_with=None,
            ),
            Registered(
                **common(f"registered/{number}", day), version=number, run_id=f"run{number}", key="k", family="ridge"
            ),
            Promoted(**common(f"promotion/{number}", day, **promoted), version=number),
        )

    version(1, 5, replaced=None)
    ledger.append(
        Decided(
            **common("decided/d", 9, actor="run m", reason="predictions \x1b[31mdrifted\n"),
            decision_id="d",
            start=START + timedelta(days=8),
            end=START + timedelta(days=9),
            version=1,
            action="retrain",
            triggers=True,
            changed_at=None,
            evidence=EVIDENCE,
        )
    )
    version(2, 9, replaced=1, decision_id="d")

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["history", "churn", *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_the_whole_life_is_told_in_its_order(said: Callable[..., str]) -> None:
    ledger.append(RolledBack(**common("rollback/2", 9, actor="grace", reason="complaints"), version=1, left=2))
    output = said()
    lines = output.splitlines()
    assert lines[0] == "churn: version 1 is the champion"
    assert "  2: rolled back (complaints); as of 2026-01-10, ridge, MLflow run run2" in lines
    assert [line.split(": ")[-1].split(" (")[0] for line in lines if " to now: " in line] == ["version 1"]
    order = [
        "version 1 was registered",
        "version 1 is the champion (better)",
        "decision d about 2026-01-09: retrain",
        "version 2 is the champion (decision d)",
        "version 1 is the champion again; version 2 was rolled back from (complaints)",
    ]
    places = [output.index(line) for line in order]
    assert places == sorted(places)
    assert "[ada, run r]" in output and "[grace]" in output
    place = next(number for number, line in enumerate(lines) if "decision d about 2026-01-09" in line)
    assert [line.strip() for line in lines[place + 1 : place + 1 + len(NUMBERS)]] == NUMBERS, "with its evidence"
    assert "\x1b" not in output and r"\x1b[31mdrifted\n" in output, (
        "foreign words neither colour a terminal nor make lines"
    )


def test_who_was_the_champion_then_and_why(said: Callable[..., str]) -> None:
    now = ledger.entries("churn")[-1].at
    output = said("--at", (now + timedelta(seconds=1)).isoformat())
    assert "version 2" in output.splitlines()[0]
    for part in (
        "by ada, run r",
        "decision d about 2026-01-09: retrain",
        "gate evaluation rows: pass (2 rows)",
        *NUMBERS,
    ):
        assert part in output
    assert said("--at", "2020-01-01").strip().endswith("no champion")
    first = ledger.entries("churn", "promoted")[0].at
    assert "version 1" in said("--at", first.isoformat()).splitlines()[0]


@pytest.mark.parametrize(
    ("moment", "champion"),
    [
        ("2026-01-05", "no champion"),
        ("2026-01-06", "version 1"),
        ("2026-01-09", "version 1"),
        ("2026-01-10", "version 2"),
    ],
)
def test_who_was_the_champion_of_an_interval(said: Callable[..., str], moment: str, champion: str) -> None:
    """By what each knew, whenever it was recorded: a replay of months takes minutes."""
    assert said("--as-of", moment).splitlines()[0].endswith(champion)


@pytest.mark.parametrize(
    ("option", "moment", "meant"),
    [
        ("--as-of", "2026-01-31", "2026-02-01 00:00:00 CET"),
        ("--as-of", "2026-07-31T12:00", "2026-07-31 12:00:00 CEST"),
        ("--as-of", "2026-07-31T12:00:00Z", "2026-07-31 12:00:00 UTC"),
        ("--at", "2026-01-31", "2026-02-01 00:00:00 CET"),
    ],
)
def test_a_day_is_one_of_the_models_calendar(
    home: Settings, models: Path, capsys: pytest.CaptureFixture[str], option: str, moment: str, meant: str
) -> None:
    """The day of meters ends at midnight in Berlin, an hour or two before that of UTC."""
    assert main(["history", "meters", option, moment]) == 0
    assert meant in capsys.readouterr().out
    (models / "meters" / "model.yaml").unlink()
    assert main(["history", "meters", option, moment]) == 0, "a model's life is told when its folder is gone"
    assert "UTC" in capsys.readouterr().out


def test_a_model_without_a_history_says_so(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "churn"]) == 0
    assert capsys.readouterr().out == "churn: nothing has happened yet\n"
    assert main(["audit", "verify"]) == 0
    assert capsys.readouterr().out == "the ledger has no entry\n"


@pytest.mark.parametrize(
    "arguments", [["history", "churn", "--at", "yesterday"], ["audit", "verify", "--witness", "12"]]
)
def test_what_is_no_moment_or_witness_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "is not" in capsys.readouterr().err
