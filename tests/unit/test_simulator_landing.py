from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from evergreen_simulator import landing
from evergreen_simulator.__main__ import main
from evergreen_simulator.delivery import World
from evergreen_simulator.events import COLUMNS

DAY = date(2026, 1, 5)
WORLD = World(1, 60)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_writes_one_file_a_source(tmp_path: Path) -> None:
    landing.write_day(WORLD, DAY, str(tmp_path))
    assert files(tmp_path) == {f"churn/{source}/2026-01-05.csv" for source in COLUMNS}
    for source, batch in WORLD.batch(DAY).items():
        content = (tmp_path / f"churn/{source}/2026-01-05.csv").read_bytes()
        assert content.startswith(",".join(COLUMNS[source]).encode() + b"\n")
        assert content.count(b"\n") == len(batch) + 1


def test_a_batch_has_its_name_only_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: (seen.append({name for name in files(tmp_path) if name.endswith(".csv")}), sync(file))
    )
    landing.write_day(WORLD, DAY, str(tmp_path))
    assert [len(names) for names in seen] == [0, 1, 2, 3, 4]  # while the n-th is being written, n - 1 are there


def test_a_failed_write_leaves_the_old_batch_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    landing.write_day(WORLD, DAY, str(tmp_path))
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        landing.write_day(World(2, 60), DAY, str(tmp_path))
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_command_writes_the_days_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "write",
        "--from",
        "2026-01-04",
        "--to",
        "2026-01-05",
        "--seed",
        "1",
        "--size",
        "60",
        "--landing",
        str(tmp_path),
    ]
    assert main([*arguments, "--scenario", "sensor_outage@2026-01-05"]) == 0
    assert "2 days of batches" in capsys.readouterr().out
    assert files(tmp_path) == {f"churn/{source}/2026-01-0{day}.csv" for source in COLUMNS for day in (4, 5)}
    assert "Z,," in (tmp_path / "churn/usage/2026-01-05.csv").read_text()


@pytest.mark.parametrize("wrong", [["--scenario", "earthquake@2026-01-05"], ["--to", "2026-01-01"]])
def test_command_refuses_what_it_does_not_understand(
    tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["write", "--from", "2026-01-04", "--to", "2026-01-05", "--landing", str(tmp_path), *wrong])
    assert wrong[1] in capsys.readouterr().err
    assert not files(tmp_path)
