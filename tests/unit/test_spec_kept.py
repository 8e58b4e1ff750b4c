"""What is kept of the folders is handed out only as long as reading them anew would give the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evergreen import families
from evergreen.settings import PROJECT
from evergreen.spec import kept
from evergreen.spec.load import load


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Those that ship."""
    models, data = (Path(shutil.copytree(PROJECT / "include" / kind, tmp_path / kind)) for kind in ("models", "data"))
    kept.keep(models, data)
    yield models, data
    kept._kept.clear()


def _reading_is_counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []

    def counted(models: Path, data: Path) -> object:
        read.append(models)
        return load(models, data)

    monkeypatch.setattr(kept, "load", counted)
    return read


def test_folders_that_have_not_changed_are_not_read_anew(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = _reading_is_counted(monkeypatch)
    models, data = folders
    first = kept.declared(models, data)
    assert first == load(models, data) and first.valid_models and not first.errors
    first.models.clear()  # of whoever asked
    assert kept.declared(models, data) == load(models, data)
    assert read == []


def _append(file: str, text: str = "\n") -> Callable[[Path], object]:
    return lambda root: (root / file).write_text((root / file).read_text() + text)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a model": _append("models/churn/model.yaml", "description: another one\n"),
    "a dataset": _append("data/churn/data.yaml", "# nothing but a remark\n"),
    "a query of features": _append("data/churn/features/activity.sql"),
    "the query of a label": _append("models/churn/label.sql"),
    "a contract": _append("data/churn/contracts/usage.yaml", "# a remark\n"),
    "a file that is gone": lambda root: (root / "models/churn/label.sql").unlink(),
    "a file that became a folder": lambda root: [
        (root / "models/churn/label.sql").unlink(),
        (root / "models/churn/label.sql").mkdir(),
    ],
    "a folder that is gone": lambda root: shutil.rmtree(root / "models/tickets"),
    "a new model": lambda root: shutil.copytree(root / "models/churn", root / "models/again"),
    "a new dataset": lambda root: shutil.copytree(root / "data/churn", root / "data/again"),
    "a dataset of a model's name": lambda root: shutil.copytree(root / "data/churn", root / "data/tickets"),
    "a link that leads elsewhere": lambda root: [
        (root / "models/churn/label.sql").rename(root / "models/churn/other.sql"),
        (root / "models/other_label.sql").write_text("select 1"),
        (root / "models/churn/label.sql").symlink_to(root / "models/other_label.sql"),
    ],
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_read(what: str, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read = _reading_is_counted(monkeypatch)
    models, data = folders
    CHANGES[what](models.parent)
    now, anew = kept.declared(models, data), load(models, data)
    assert read == [models]
    assert (now.valid_models, now.valid_datasets) == (anew.valid_models, anew.valid_datasets)
    assert [str(error) for error in now.errors] == [str(error) for error in anew.errors]


def test_a_family_that_came_or_went_is_seen(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read = _reading_is_counted(monkeypatch)
    monkeypatch.setattr(families, "names", lambda: ("one_more",))
    kept.declared(*folders)
    assert read == [folders[0]]


def test_other_folders_are_read(folders: tuple[Path, Path], tmp_path: Path) -> None:
    models, data = folders
    other = Path(shutil.copytree(models, tmp_path / "other"))
    shutil.rmtree(other / "tickets")
    assert "tickets" not in kept.declared(other, data).models
