"""`evergreen check --against`: which models and owners a change of a dataset breaks, and why."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from evergreen import cli
from evergreen.settings import PROJECT, settings

INCLUDE = PROJECT / "include"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Copies of the shipped dataset of customers and of its models, to change."""
    shutil.copytree(INCLUDE / "data", tmp_path / "data")
    for model in ("churn", "tickets", "newsletter"):
        shutil.copytree(INCLUDE / "models" / model, tmp_path / "models" / model)
    monkeypatch.setenv("EVERGREEN_MODELS", str(tmp_path / "models"))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def breaks(
    folders: Path, capsys: pytest.CaptureFixture[str], dataset: str, *changes: tuple[str, str]
) -> tuple[int, list[str]]:
    """What the command says of a changed dataset, compared with the one that ships."""
    file = folders / "data" / dataset / "data.yaml"
    for old, new in changes:
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))
    status = cli.main(["check", dataset, "--against", str(INCLUDE / "data")])
    return status, [line for line in capsys.readouterr().out.splitlines() if ": breaks the model" in line]


def test_a_dataset_names_its_users_and_what_is_added_breaks_nobody(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", "churn", "--against", str(INCLUDE / "data")]) == 0
    assert (
        "churn: used by churn (retention <retention@example.com>), newsletter (marketing <marketing@example.com>), "
        "tickets (support <support@example.com>)" in capsys.readouterr().out
    )
    added = ("      topic: string\n", "      topic: string\n      agent: string\n")
    assert breaks(folders, capsys, "churn", added) == (0, [])


def test_a_column_that_is_retyped_breaks_the_models_whose_queries_read_it(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = breaks(folders, capsys, "churn", ("      topic: string\n", "      topic: int\n"))
    assert found == [], "no query of a model reads it"
    status, found = breaks(folders, capsys, "outreach", ("      opened: bool\n", "      opened: string\n"))
    assert (status, found) == (
        1,
        [
            "outreach: breaks the model newsletter of marketing <marketing@example.com>: the column opened of emails "
            "becomes string, and was bool: label.sql reads it"
        ],
    )


def test_a_feature_that_is_gone_or_retyped_breaks_the_models_that_learn_from_it(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = breaks(folders, capsys, "churn", ("      tenure_days: int\n", "      tenure_days: float\n"))
    assert status == 1
    assert found == [
        f"churn: breaks the model {model} of {owner} <{owner}@example.com>: the feature tenure_days of account becomes "
        "float, and was int: the model learns from tenure_days"
        for model, owner in (("churn", "retention"), ("newsletter", "marketing"), ("tickets", "support"))
    ]


ATTENTION = (
    "SELECT customer_id, count(*) AS emails_28d, 0.5 AS opened_share_28d, 1 AS opened_last FROM emails GROUP BY 1"
)


@pytest.mark.parametrize(
    ("removed", "owner", "found"),
    [
        pytest.param(
            ("outreach", "sources", "emails", "columns", "opened"),
            "newsletter of marketing",
            "the column opened of emails is gone: label.sql reads it",
            id="a column",
        ),
        pytest.param(
            ("outreach", "features", "attention", "features", "opened_last"),
            "newsletter of marketing",
            "the feature opened_last of attention is gone: the model learns from opened_last",
            id="a feature",
        ),
        pytest.param(
            ("outreach", "features", "attention"),
            "newsletter of marketing",
            "the view attention is gone: the model learns from emails_28d, opened_share_28d, opened_last",
            id="a view",
        ),
        pytest.param(
            ("churn", "sources", "cancellations"),
            "churn of retention",
            "the source cancellations is gone: label.sql reads it",
            id="a source",
        ),
    ],
)
def test_what_is_removed_breaks_the_models_that_use_it(
    folders: Path, capsys: pytest.CaptureFixture[str], removed: tuple[str, ...], owner: str, found: str
) -> None:
    dataset, *way, last = removed
    folder = folders / "data" / dataset
    content = yaml.safe_load((folder / "data.yaml").read_text())
    within = content
    for key in way:
        within = within[key]
    del within[last]
    (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    if last == "opened":  # the dataset's own view does without it
        (folder / "features" / "attention.sql").write_text(ATTENTION)
        expected = folder / "contracts" / "emails.yaml"
        expected.write_text("\n".join(line for line in expected.read_text().splitlines() if "opened" not in line))
    (folder / "contracts" / f"{last}.yaml").unlink(missing_ok=True)
    name = owner.rpartition(" ")[2]
    said = f"{dataset}: breaks the model {owner} <{name}@example.com>: {found}"
    assert breaks(folders, capsys, dataset) == (1, [said])
