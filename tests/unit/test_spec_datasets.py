"""Datasets in folders of their own, and models that use them: put together, or the list of what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evergreen.calendar import Calendar
from evergreen.errors import SpecError
from evergreen.features import rules
from evergreen.settings import PROJECT
from evergreen.spec.load import load, load_dataset, load_spec
from tests.churn import one_folder

INCLUDE = PROJECT / "include"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Copies of the shipped datasets, and of the models that use them."""
    shutil.copytree(INCLUDE / "data", tmp_path / "data")
    for model in ("churn", "tickets", "newsletter"):
        shutil.copytree(INCLUDE / "models" / model, tmp_path / "models" / model)
    return tmp_path


def changed(file: Path, old: str, new: str) -> None:
    """Replace a text that the file has."""
    text = file.read_text()
    assert old in text, old
    file.write_text(text.replace(old, new, 1))


def mistakes_of(folders: Path, model: str) -> str:
    """What is wrong with a model's folder."""
    with pytest.raises(SpecError) as caught:
        load_spec(folders / "models" / model)
    return str(caught.value)


def test_a_model_has_what_it_names_of_each_dataset() -> None:
    spec = load_spec(INCLUDE / "models" / "newsletter")
    assert list(spec.datasets) == ["churn", "outreach"]
    assert {view: list(declared.features) for view, declared in spec.features.items()} == {
        "account": ["plan", "tenure_days"],
        "activity": ["sessions_7d", "days_since_last_session"],
        "attention": ["emails_28d", "opened_share_28d", "opened_last"],
    }
    assert {table: spec.dataset_of(table) for table in (*spec.sources, *spec.features)} == {
        "customers": "churn",
        "emails": "outreach",
        "account": "churn",
        "activity": "churn",
        "attention": "outreach",
    }
    assert (spec.entity.key, spec.keys) == ("customer_id", {"customer_id": "string"})
    whole = spec.data_of("account")
    assert whole == load_dataset(INCLUDE / "data" / "churn") and len(whole.features["account"].features) == 4


def test_a_version_that_keeps_its_spec_knows_where_its_views_stand() -> None:
    spec = load_spec(INCLUDE / "models" / "newsletter")
    kept = type(spec).model_validate_json(spec.model_dump_json())
    assert (
        kept.model_dump() == spec.model_dump()
        and kept.dataset_of("attention") == "outreach"
        and kept.entity_of("account").key == "customer_id"
    )


def test_a_model_that_is_alone_with_its_data_is_a_dataset_of_its_name(tmp_path: Path) -> None:
    """And its partitions, and those of its labels, are what they were before its data had a folder of its own."""
    alone, shared = load_spec(one_folder(tmp_path / "models" / "churn")), load_spec(INCLUDE / "models" / "churn")
    assert list(alone.datasets) == list(shared.datasets) == ["churn"]
    ours, theirs = alone.datasets["churn"], shared.datasets["churn"]
    for view in theirs.features:
        assert rules.feature_declaration(ours, view, "q") == rules.feature_declaration(theirs, view, "q")
    assert rules.label_declaration(alone, "q") == rules.label_declaration(shared, "q")
    assert alone.feature_types == shared.feature_types and alone.keys == shared.keys


def test_what_other_views_are_about_does_not_make_a_views_partitions_due_again(folders: Path) -> None:
    before = load_dataset(folders / "data" / "churn")
    file = folders / "data" / "churn" / "data.yaml"
    changed(file, "  customer: {key: customer_id}\n", "  customer: {key: customer_id}\n  region: {key: region_id}\n")
    for view in before.features:
        changed(file, f"  {view}:\n    sources", f"  {view}:\n    entity: customer\n    sources")
    after = load_dataset(folders / "data" / "churn")
    said = before.model_copy(
        update={
            "features": {name: view.model_copy(update={"entity": "customer"}) for name, view in before.features.items()}
        }
    )
    for view in before.features:
        assert rules.feature_declaration(after, view, "q") == rules.feature_declaration(said, view, "q")


def test_a_model_may_use_the_data_of_another_models_folder(tmp_path: Path) -> None:
    one_folder(tmp_path / "models" / "churn")
    shutil.copytree(INCLUDE / "models" / "tickets", tmp_path / "models" / "tickets")
    declared = load(tmp_path / "models")
    assert declared.errors == [] and list(declared.datasets) == ["churn"]
    assert [spec.datasets["churn"].of_a_model for spec in declared.valid_models] == [True, True]


WRONG = {
    "no such dataset": (
        "models/newsletter/model.yaml",
        "outreach:",
        "outreech:",
        "newsletter",
        ["data.outreech", "outreach"],
    ),
    "no such view": (
        "models/tickets/model.yaml",
        "[account,",
        "[acount,",
        "tickets",
        ["no view acount of churn", "write account"],
    ),
    "no such feature": (
        "models/newsletter/model.yaml",
        "account.plan",
        "account.plans",
        "newsletter",
        ["no feature plans in account of churn", "write plan"],
    ),
    "view gone": ("data/outreach/data.yaml", "attention:", "regard:", "newsletter", ["no view attention of outreach"]),
    "no such entity": (
        "models/tickets/model.yaml",
        "entity: customer",
        "entity: client",
        "tickets",
        ["entity", "customer"],
    ),
    "another key of the same entity": (
        "data/outreach/data.yaml",
        "{key: customer_id}",
        "{key: email_id}",
        "newsletter",
        ["customer by customer_id", "as in the other datasets"],
    ),
    "a source that no dataset has": (
        "models/tickets/model.yaml",
        "sources: [customers, tickets]",
        "sources: [customers, calls]",
        "tickets",
        ["label.sources", "calls"],
    ),
    "keys of the data": (
        "models/tickets/model.yaml",
        "entity: customer\n",
        "entity: customer\nsources: {}\n",
        "tickets",
        ["the unknown key sources"],
    ),
    "a feature like the label": (
        "models/tickets/model.yaml",
        "name: tickets_7d",
        "name: tickets_28d",
        "tickets",
        ["data.churn", "tickets_28d"],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_model_names_and_its_datasets_lack_is_told(folders: Path, name: str) -> None:
    file, old, new, model, parts = WRONG[name]
    changed(folders / file, old, new)
    if name == "view gone":  # the dataset's own files follow its new name
        for kind, end in (("features", "sql"), ("contracts", "yaml")):
            (folders / "data" / "outreach" / kind / f"attention.{end}").rename(
                folders / "data" / "outreach" / kind / f"regard.{end}"
            )
        changed(folders / "models" / "newsletter" / "model.yaml", '["*"]', "[attention]")
    message = mistakes_of(folders, model)
    assert all(part in message for part in parts), message


def test_two_tables_of_one_name_are_told_with_the_way_out(folders: Path) -> None:
    file = folders / "data" / "outreach" / "data.yaml"
    changed(file, "  attention:\n", "  account:\n")
    for kind, end in (("features", "sql"), ("contracts", "yaml")):
        folder = folders / "data" / "outreach" / kind
        (folder / f"attention.{end}").rename(folder / f"account.{end}")
    message = mistakes_of(folders, "newsletter")
    assert "churn has account too" in message and "rename account in one of the two" in message


def test_a_dataset_with_mistakes_costs_itself_and_the_models_that_use_it(folders: Path) -> None:
    changed(folders / "data" / "outreach" / "data.yaml", "look_back: 4w", "look_back: 4 weeks")
    declared = load(folders / "models")
    assert [each.name for each in declared.valid_datasets] == ["churn"]
    assert [each.name for each in declared.valid_models] == ["churn", "tickets"]
    dataset, model = declared.errors
    assert "data.yaml" in str(dataset) and "features.attention.look_back" in str(dataset)
    assert "outreach, which has mistakes of its own" in str(model) and "evergreen check outreach" in str(model)


CHURN, TICKETS, FLIGHTS = "data/churn/data.yaml", "models/tickets/model.yaml", "models/flight_delay/model.yaml"
VIEWS = "churn: [account, activity, payments_support]"
ONE_MISTAKE = {  # file, old, new, and the key of the one mistake of each folder that has any
    "no YAML": (CHURN, "\nsources:", "\n : ][\nsources:", {"churn": "data.churn", "tickets": "data.churn"}),
    "misspelt": (
        CHURN,
        "event_time: snapshot_at",
        "event_tim: snapshot_at",
        {"churn": "data.churn", "tickets": "data.churn"},
    ),
    "one of two datasets": (
        "data/outreach/data.yaml",
        "look_back: 4w",
        "look_back: 4 weeks",
        {"newsletter": "data.outreach"},
    ),
    "its entity": (
        "data/churn/data.yaml",
        "{key: customer_id}",
        "{key: 7}",
        {"churn": "data.churn", "tickets": "data.churn", "newsletter": "data.churn"},
    ),
    "the name of a dataset": (TICKETS, VIEWS, VIEWS.replace("churn", "churm"), {"tickets": "data.churm"}),
    "the names of views": (TICKETS, VIEWS, "churn: [acount]", {"tickets": "data.churn"}),
    "no names": (TICKETS, f"  {VIEWS}", "  [churn]", {"tickets": "data"}),
    "a required key": (FLIGHTS, "\nlabel:", "\nlable:", {"flight_delay": "lable"}),
    "a part": (FLIGHTS, "\nentity:", "\nentit:", {"flight_delay": "entit"}),
    "a key with a default": (FLIGHTS, "\nrequest:", "\nrequst:", {"flight_delay": "requst"}),
    "views": (FLIGHTS, "\nfeatures:", "\nfeaturs:", {"flight_delay": "featurs"}),
    "a key of a part": (FLIGHTS, "event_time:", "event_tim:", {"flight_delay": "sources.departures.event_tim"}),
}


@pytest.mark.parametrize("name", ONE_MISTAKE)
def test_what_follows_from_a_mistake_is_not_told_as_another(folders: Path, name: str) -> None:
    file, old, new, keys = ONE_MISTAKE[name]
    shutil.copytree(INCLUDE / "models" / "flight_delay", folders / "models" / "flight_delay")
    changed(folders / file, old, new)
    declared = load(folders / "models")
    for model, key in keys.items():
        error = declared.models[model]
        assert isinstance(error, SpecError) and "1 mistake\n" in str(error) and f": {key}\n" in str(error), error
    assert all("1 mistake\n" in str(error) for error in declared.errors), declared.errors


def test_a_model_that_uses_a_model_whose_sources_are_misspelt_is_told_of_that_one(folders: Path) -> None:
    shutil.copytree(INCLUDE / "models" / "flight_delay", folders / "models" / "flight_delay")
    changed(folders / FLIGHTS, "\nsources:", "\nsourcs:")
    changed(folders / TICKETS, VIEWS, 'flight_delay: ["*"]')
    message = mistakes_of(folders, "tickets")
    assert "1 mistake\n" in message and "evergreen check flight_delay" in message, message


def test_a_folder_of_a_model_may_not_take_the_name_of_a_dataset_that_it_does_not_use(folders: Path) -> None:
    shutil.copytree(folders / "models" / "tickets", folders / "models" / "outreach")
    changed(folders / "models" / "outreach" / "model.yaml", "model: tickets", "model: outreach")
    assert "a dataset's name too" in mistakes_of(folders, "outreach")


def test_a_model_follows_the_calendar_of_its_datasets_which_is_one(folders: Path) -> None:
    file = folders / "data" / "outreach" / "data.yaml"
    changed(file, "first_day:", "calendar: {zone: Europe/Berlin}\nfirst_day:")
    mistakes = mistakes_of(folders, "newsletter")
    assert "data.outreach" in mistakes and "outreach, whose interval is a day (Europe/Berlin)" in mistakes
    assert "datasets of one calendar: churn has a day (UTC)" in mistakes
    changed(folders / "data" / "churn" / "data.yaml", "first_day:", "calendar: {zone: Europe/Berlin}\nfirst_day:")
    spec = load_spec(folders / "models" / "newsletter")
    assert spec.calendar == Calendar("day", "Europe/Berlin") == load_dataset(folders / "data" / "churn").calendar
    assert f"{spec.first_interval.start:%H:%M}" in ("22:00", "23:00"), "midnight in Berlin"
