"""A model's folder is a spec, or the list of all its mistakes: valid and invalid examples, each with its message."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from evergreen.errors import PermanentError, SpecError
from evergreen.families import OURS, family
from evergreen.spec.contract import load_contract
from evergreen.spec.durations import Duration, duration_text
from evergreen.spec.families import space
from evergreen.spec.load import load, load_spec
from evergreen.spec.schema import ModelSpec

SPECS = Path(__file__).parents[1] / "specs"
RENEWALS = SPECS / "valid" / "renewals"
MODEL = (RENEWALS / "model.yaml").read_text()

# Pydantic's words.
_LIBRARYS = re.compile(
    r"should |Input|at least \d+ items?|\btuple\b|dictionary|validation error|valid (integer|number|string|date)"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a valid folder, to be broken."""
    return shutil.copytree(RENEWALS, tmp_path / "renewals")


def mistakes_of(folder: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(folder)
    return str(caught.value)


def count(message: str) -> int:
    return int(re.findall(r"found: +(\d+) mistake", message)[0])


# valid


def test_a_valid_folder_is_a_frozen_typed_spec() -> None:
    spec = load_spec(RENEWALS)
    assert (spec.model, spec.first_day, spec.last_day) == ("renewals", date(2026, 1, 1), date(2026, 2, 28))
    assert (spec.label.horizon, spec.split.window) == (timedelta(days=2), timedelta(weeks=4))
    assert spec.sources["visits"].keys == ("visit_id",)
    assert spec.feature_types == {"plan": "category", "pages_7d": "int", "pages_per_visit": "float"}
    assert spec.own_data().contract_file("reading") == RENEWALS / "contracts" / "reading.yaml"
    assert (spec.own_data().view_sql("reading"), spec.label_sql()) == (
        RENEWALS / "features" / "reading.sql",
        RENEWALS / "label.sql",
    )
    with pytest.raises(ValidationError):
        spec.model = "other"  # type: ignore[misc]


def test_a_folder_may_say_everything_that_may_be_said() -> None:
    spec = load_spec(SPECS / "valid" / "refunds")
    assert (spec.last_day, spec.label.horizon, spec.monitoring.budget) == (None, timedelta(days=1), 31)
    assert (
        spec.own_data().contract_file("orders")
        == spec.own_data().contract_file("size")
        == spec.folder / "contracts" / "all.yaml"
    )
    content = yaml.safe_load((SPECS / "valid" / "refunds" / "model.yaml").read_text())
    for part, kind in (
        (content, ModelSpec),
        (content["monitoring"], type(spec.monitoring)),
        (content["request"], type(spec.request)),
        (content["features"]["habits"], type(spec.features["habits"])),
    ):
        assert set(part) == set(kind.model_fields) - {"data"}, "the example leaves a key out"
    assert set(content["gates"]) == set(type(spec.gates).model_fields) - {"minimum_per_class"}, "of several classes"
    assert spec.keys == {"order_id": "int", "buyer_id": "string"}
    assert [spec.entity_of(view).name for view in spec.features] == ["order", "buyer"]
    assert list(spec.feature_types) == ["amount", "gift", "orders_2d", "express"], (
        "views first, then the request's inputs"
    )


def test_the_folder_is_not_a_key_and_no_part_of_the_identity(folder: Path) -> None:
    here, there = load_spec(RENEWALS), load_spec(folder)
    assert here.folder != there.folder
    assert here.model_dump_json() == there.model_dump_json()
    (folder / "model.yaml").write_text(f"folder: /elsewhere\n{MODEL}")
    assert "the unknown key folder" in mistakes_of(folder)


def test_a_spec_survives_its_own_dump() -> None:
    spec = load_spec(RENEWALS)
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec.at(Path())
    assert pickle.loads(pickle.dumps(spec)).folder == spec.folder


# invalid: what was replaced, by what → what the message must say, in this order

Case = tuple[str, str, list[str]]
CASES: dict[str, Case] = {
    "unknown key": (
        "look_back: 1w",
        "look_back: 1w\n    lookback: 1w",
        ["features.reading.lookback", "the unknown key lookback", "sql, sources, look_back", "write look_back"],
    ),
    "missing key": (
        "  trials: 4\n",
        "  seed: 4\n",
        ["search.trials", "nothing", "trials of each family's study", "add trials"],
    ),
    "missing section": (
        "search:\n  trials: 4\n",
        "",
        ["model.yaml:1: search", "nothing", "How families are tuned", "add search"],
    ),
    "a feature to keep that is none": (
        "search:\n",
        "selection: {keep: [pages_7]}\nsearch:\n",
        ["selection.keep", "pages_7", "plan, pages_7d or pages_per_visit", "write pages_7d"],
    ),
    "more features than there are": (
        "search:\n",
        "selection: {fewest: 4}\nsearch:\n",
        ["selection.fewest", "at most 3, the model's inputs", "lower it"],
    ),
    "wrong type": ("trials: 4", 'trials: "4"', ["search.trials", '"4"', "a whole number"]),
    "bounds": ("trials: 4", "trials: 0", ["search.trials", "0", "1 or more"]),
    "bool for text": ("name: readers", "name: true", ["owner.name", "true", "text", 'quote it: "true"']),
    "number for text": (
        "plan: string",
        "plan: 1",
        ["sources.readers.columns.plan", "1", "string, int, float, bool, timestamp or date"],
    ),
    "no list": (
        "keys: [visit_id]",
        "keys: visit_id",
        ["sources.visits.keys", '"visit_id"', "a list", "write [visit_id]"],
    ),
    "no mapping": (
        "logistic_regression: {}",
        "logistic_regression:",
        ["families.logistic_regression", "null", "keys with values below it"],
    ),
    "bad name": ("pages_7d: int", "Pages-7d: int", ["features.reading.features.Pages-7d", "a name in lower case"]),
    "bad type": (
        "pages: int",
        "pages: integer",
        ["sources.visits.columns.pages", '"integer"', "string, int, float", "write int"],
    ),
    "bad date": ("2026-01-01", "2026-02-30", ["first_day", '"2026-02-30"', "a day, such as 2026-01-31"]),
    "before the calendar": (
        "first_day: 2026-01-01",
        "first_day: 0001-01-01",
        ["first_day", "0001-01-01", "a day from 1900-01-01 to 2199-12-31"],
    ),
    "after the calendar": (
        "first_day: 2026-01-01",
        "first_day: 9999-12-31",
        ["first_day", "9999-12-31", "a day from 1900-01-01 to 2199-12-31"],
    ),
    "no calendar": (
        "first_day: 2026-01-01",
        "first_day: 10000-01-01",
        ["first_day", "10000-01-01", "a day, such as 2026-01-31"],
    ),
    "bad duration": ("look_back: 1w", "look_back: 1 week", ["features.reading.look_back", '"1 week"', "6h, 3d, 2w"]),
    "no duration": ("look_back: 1w", "look_back: 0d", ["features.reading.look_back", '"0d"', "6h, 3d, 2w"]),
    "endless duration": ("look_back: 1w", "look_back: 999999999w", ["features.reading.look_back", "6h, 3d, 2w"]),
    "not finite": ("roc_auc: 0.6", "roc_auc: 1e999", ["gates.floor.roc_auc", "a finite number"]),
    "unknown metric": (
        "roc_auc: 0.6",
        "roc_acu: 0.6",
        [
            "gates.floor.roc_acu",
            '"roc_acu"',
            "roc_auc, average_precision, log_loss, brier, accuracy, precision, recall, f1, macro_precision,",
            "write roc_auc",
        ],
    ),
    "floor": ("roc_auc: 0.6", "roc_auc: 60", ["gates.floor.roc_auc", "60", "from 0.5 (guessing) to below 1"]),
    "floor below guessing": (
        "roc_auc: 0.6",
        "roc_auc: 0.4",
        ["gates.floor.roc_auc", "0.4", "from 0.5 (guessing) to below 1"],
    ),
    "share": ("roc_auc: 0.6", "average_precision: 1.2", ["gates.floor.average_precision", "1.2", "from 0 to below 1"]),
    "ceiling": ("roc_auc: 0.6", "log_loss: 0.0", ["gates.floor.log_loss", "0.0", "lower is better"]),
    "positives": (
        "minimum_rows: 100\n  floor",
        "minimum_rows: 30\n  floor",
        ["gates.minimum_positives", "20", "at most half of gates.minimum_rows (30)"],
    ),
    "folder's name": (
        "model: renewals",
        "model: renewal",
        ["model.yaml:1: model", "renewal", "renewals, the folder's name", "write model: renewals"],
    ),
    "days": ("2026-02-28", "2025-12-31", ["last_day", "2025-12-31", "2026-01-01 (first_day) or later"]),
    "no cron": ("30 2 * * 1", "30 25 * * 1", ["schedule.train", "30 25 * * 1", "a cron of five fields"]),
    "six fields": ("30 2 * * 1", "0 30 2 * * 1", ["schedule.train", "0 30 2 * * 1", "a cron of five fields"]),
    "alias cron": ("30 2 * * 1", "@weekly", ["schedule.train", "@weekly", "a cron of five fields"]),
    "no daily interval": (
        "schedule:",
        'schedule:\n  ingest: "0 * * * *"',
        [
            "schedule.ingest",
            "0 * * * *",
            "ingest runs when an interval of the calendar, a day (UTC), is over",
            "remove it",
        ],
    ),
    "no midnight": (
        "schedule:",
        'schedule:\n  monitor: "0 6 * * *"',
        ["schedule.monitor", "0 6 * * *", "an interval of the calendar, a day (UTC)"],
    ),
    "a cron beside a calendar": (
        "schedule:",
        'calendar: {every: hour}\nschedule:\n  monitor: "0 0 * * *"',
        ["schedule.monitor", "0 0 * * *", "an interval of the calendar, an hour (UTC)"],
    ),
    "no such zone": (
        "schedule:",
        "calendar: {zone: Europe/Atlantis}\nschedule:",
        ["calendar.zone", "Europe/Atlantis", "a time zone by its name, such as Europe/Berlin"],
    ),
    "no such length": (
        "schedule:",
        "calendar: {every: hours}\nschedule:",
        ["calendar.every", "hours", "hour, day, week or month", "write hour"],
    ),
    "no key of a calendar": (
        "schedule:",
        "calendar: {length: hour}\nschedule:",
        ["calendar.length", "the unknown key length", "every or zone"],
    ),
    "a horizon of no whole weeks": (
        "schedule:",
        "calendar: {every: week, zone: Europe/Berlin}\nschedule:",
        ["label.horizon", "whole weeks: a partition is a week (Europe/Berlin)", "write 1w"],
    ),
    "a path that does not name the hour": (
        "visits/{partition}.csv",
        "visits/{year}{month}{day}/{hour}.csv",
        ["sources.visits.path", "{year}{month}{day}, and nothing else in braces"],
    ),
    "a look-back that is shorter than a month": (
        "schedule:",
        "calendar: {every: month}\nschedule:",
        ["look_back", "at least the interval, 31d", "write 31d"],
    ),
    "no partition": (
        "visits/{partition}.csv",
        "visits.csv",
        ["sources.visits.path", "renewals/visits.csv", "a path with {partition}"],
    ),
    "other placeholder": (
        "visits/{partition}.csv",
        "visits/{partition}/{hour}.csv",
        ["sources.visits.path", "{hour}", "nothing else in braces"],
    ),
    "absolute path": (
        "renewals/visits/",
        "/etc/",
        ["sources.visits.path", "/etc/{partition}.csv", "a path below the landing zone"],
    ),
    "path upwards": (
        "renewals/visits/",
        "../visits/",
        ["sources.visits.path", "../visits/{partition}.csv", "a path below the landing zone"],
    ),
    "url": (
        "renewals/visits/",
        "s3://bucket/",
        ["sources.visits.path", "s3://bucket/{partition}.csv", "a path below the landing zone"],
    ),
    "event time": (
        "event_time: visited_at",
        "event_time: visitd_at",
        ["sources.visits.event_time", "visitd_at", "visit_id, reader_id, visited_at or pages", "write visited_at"],
    ),
    "event time's type": (
        "visited_at: timestamp",
        "visited_at: string",
        ["sources.visits.event_time", "visited_at, a string", "a column of type timestamp"],
    ),
    "key": (
        "keys: [visit_id]",
        "keys: [visit]",
        ["sources.visits.keys", "visit", "visit_id, reader_id", "write visit_id"],
    ),
    "key twice": (
        "keys: [visit_id]",
        "keys: [visit_id, visit_id]",
        ["sources.visits.keys", "visit_id, 2 times", "each name once"],
    ),
    "entity's type": (
        "      reader_id: string\n      visited_at",
        "      reader_id: int\n      visited_at",
        ["sources.visits.columns.reader_id", "int", "string, the entity's type"],
    ),
    "added column": (
        "pages: int",
        "pages: int\n      known_at: timestamp",
        ["sources.visits.columns.known_at", "which Evergreen adds"],
    ),
    "view's source": (
        "    sources: [readers, visits]",
        "    sources: [readers, vists]",
        ["features.reading.sources", "vists", "readers or visits", "write visits"],
    ),
    "label's source": (
        "\n  sources: [readers, visits]",
        "\n  sources: [payments]",
        ["label.sources", "payments", "readers or visits", "declare payments under sources"],
    ),
    "no entity": (
        "key: reader_id",
        "key: account_id",
        ["features.plan_today.sources", "at least one source with the entity's key account_id"],
    ),
    "short look-back": (
        "look_back: 1w",
        "look_back: 6h",
        ["features.reading.look_back", "6h", "at least the interval, 1d"],
    ),
    "view like source": (
        "  reading:\n",
        "  visits:\n",
        ["features.visits", "a name that no source has", "visits_features"],
    ),
    "feature twice": (
        "pages_7d: int",
        "plan: category",
        ["features.plan_today.features.plan", "also in the view reading", "a name of one view only"],
    ),
    "feature like label": (
        "pages_7d: int",
        "renewed: int",
        ["features.reading.features.renewed", "a name other than", "rename the feature"],
    ),
    "feature like a column of ours": (
        "pages_7d: int",
        "prediction: float",
        ["features.reading.features.prediction", "a name other than"],
    ),
    **{
        f"feature called {name}": (
            "pages_7d: int",
            f"{name}: int",
            [f"features.reading.features.{name}", "a name other than", "rename the feature"],
        )
        for name in ("version", "as_of", "features_at", "request_id", "label")
    },
    "label like a column of ours": ("name: renewed", "name: request_id", ["label.name", "a name other than"]),
    "key like a column of ours": ("key: reader_id", "key: version", ["entity.key", "version", "a name other than"]),
    "key like a field of an answer": ("key: reader_id", "key: error", ["entity.key", "error", "a name other than"]),
    "column that the quarantine adds": (
        "pages: int",
        "pages: int\n      batch: string",
        ["sources.visits.columns.batch", "which Evergreen adds"],
    ),
    "label like key": ("name: renewed", "name: reader_id", ["label.name", "reader_id", "a name other than"]),
    "sql outside": (
        "look_back: 1w",
        "look_back: 1w\n    sql: ../../other.sql",
        ["features.reading.sql", "../../other.sql", "a file of the model's folder"],
    ),
    "broken days": ("horizon: 2d", "horizon: 36h", ["label.horizon", "36h", "whole days", "write 2d"]),
    "horizon and window": ("window: 4w", "window: 2d", ["label.horizon", "2d", "shorter than split.window (2d)"]),
    "horizon and history": ("2026-02-28", "2026-01-02", ["label.horizon", "2d", "shorter than the history, 2d"]),
    "evaluation and history": ("2026-02-28", "2026-01-07", ["split.evaluation", "4d", "shorter than 3d"]),
    "window": ("window: 4w", "window: 8d", ["split.window", "8d", "longer than 8d", "write 12d"]),
    "cooldown": ("cooldown: 1w", "cooldown: 1d", ["monitoring.cooldown", "1d", "at least label.horizon (2d)"]),
    "budget": ("cooldown: 1w", "cooldown: 2w\n  budget: 9", ["monitoring.budget", "9", "at most 3", "write 3 or less"]),
    "unknown family": (
        "logistic_regression: {}",
        "logistic_regresion: {}",
        [
            "families.logistic_regresion",
            "logistic_regression, ridge, random_forest, gradient_boosting or mlp",
            "write logistic_regression",
        ],
    ),
    "unknown parameter": (
        "l2_regularization: 0",
        "l2_regularisation: 0",
        ["families.gradient_boosting.l2_regularisation", "write l2_regularization"],
    ),
    "range the wrong way": (
        "[4, 16]",
        "[16, 4]",
        [
            "families.gradient_boosting.max_leaf_nodes",
            "[16, 4]",
            "one value or [low, high], whole numbers from 2 to 4096",
        ],
    ),
    "range not whole": (
        "[4, 16]",
        "[4, 16.5]",
        ["families.gradient_boosting.max_leaf_nodes", "[4, 16.5]", "whole numbers"],
    ),
    "range of three": (
        "[4, 16]",
        "[4, 8, 16]",
        ["families.gradient_boosting.max_leaf_nodes", "[4, 8, 16]", "[low, high]"],
    ),
    "no number": ("[4, 16]", "many", ["families.gradient_boosting.max_leaf_nodes", "many", "one value or [low, high]"]),
    "range of a logarithm": (
        "l2_regularization: 0",
        "l2_regularization: [0, 1]",
        ["families.gradient_boosting.l2_regularization", "[0, 1]", "from above 0"],
    ),
}


OF_REQUESTS: dict[str, Case] = {
    "unknown entity": (
        "entity: shop",
        "entity: shops",
        ["features.shop_record.entity", "shops", "parcel, shop or depot", "write shop"],
    ),
    "unused reference": (
        "entity: depot",
        "entity: shop",
        ["references.depot", "depot", "an entity that a feature view is about"],
    ),
    "a key twice": (
        "depot: {key: depot_id, type: int}",
        "depot: {key: shop_id}",
        ["references.depot.key", "shop_id", "not the key of shop"],
    ),
    "reference named as the entity": (
        "shop: {key: shop_id}",
        "parcel: {key: shop_id}",
        ["references.parcel", "another name than the entity's"],
    ),
    "key of another type": (
        "depot: {key: depot_id, type: int}",
        "depot: {key: depot_id}",
        ["sources.parcels.columns.depot_id", "int", "string, the entity's type"],
    ),
    "no request": (
        "request:\n"
        "  sources: [parcels, roads]\n"
        "  inputs: {weight: float, express: bool, hour: int, congestion: float}\n",
        "",
        ["references", "shop or depot", "none without request", "declare request"],
    ),
    "unknown source of a request": (
        "sources: [parcels, roads]",
        "sources: [parcels, streets]",
        ["request.sources", "streets", "parcels or roads"],
    ),
    "an input that is a feature": (
        "congestion: float}\n\nlabel",
        "shop_hours_3d: float}\n\nlabel",
        ["request.inputs.shop_hours_3d", "also a feature of shop_record"],
    ),
    "an input that is a key": (
        "congestion: float}\n\nlabel",
        "shop_id: category}\n\nlabel",
        ["request.inputs.shop_id", "a name other than parcel_id, shop_id, depot_id"],
    ),
    "an input like a column of ours": (
        "congestion: float}\n\nlabel",
        "as_of: float}\n\nlabel",
        ["request.inputs.as_of", "a name other than", "rename the input"],
    ),
    "a reference's key like a column of ours": (
        "key: shop_id",
        "key: known_at",
        ["references.shop.key", "known_at", "a name other than"],
    ),
    "unknown outcome": (
        "outcome: {hours: 1d}",
        "outcome: {hour: 1d}",
        ["sources.parcels.outcome", "hour", "write hours"],
    ),
    "outcome that identifies": (
        "outcome: {hours: 1d}",
        "outcome: {ordered_at: 1d}",
        ["sources.parcels.outcome", "ordered_at", "columns other than event_time and keys"],
    ),
    "outcome later than the label": (
        "outcome: {hours: 1d}",
        "outcome: {hours: 60h}",
        [
            "label.horizon",
            "1d",
            "at least 36h: hours of parcels is known 60h after ordered_at",
            "leave the delay as it is",
        ],
    ),
    "outcome without a time": (
        "outcome: {hours: 1d}",
        "outcome: {hours: soon}",
        ["sources.parcels.outcome.hours", '"soon"', "a whole number and a unit"],
    ),
    "metric of another label": (
        "metric: rmse",
        "metric: roc_auc",
        [
            "search.metric",
            "roc_auc, of a numeric label",
            "rmse, mae, r2, median_absolute_error or wape",
            "write metric: rmse",
        ],
    ),
    "a metric that chooses nothing": (
        "metric: rmse",
        "metric: bias",
        ["search.metric", "bias, by which no model is chosen", "wape", "write metric: rmse"],
    ),
    "floor of another label": (
        "r2: 0.1",
        "brier: 0.1",
        ["gates.floor.brier", "brier, of a numeric label", "rmse, mae, r2, median_absolute_error, bias or wape"],
    ),
    "family of another label": (
        "ridge: {}",
        "logistic_regression: {}",
        ["families.logistic_regression", "of a numeric label", "ridge, random_forest, gradient_boosting or mlp"],
    ),
    "classes of a number": (
        "minimum_rows: 100\n  floor",
        "minimum_rows: 100\n  minimum_positives: 5\n  floor",
        ["gates.minimum_positives", "found:   5", "a numeric label has no classes"],
    ),
}


OF_CLASSES: dict[str, tuple[str, str, list[str]]] = {
    "two classes": (
        "[web, in store, phone]",
        "[web, phone]",
        ["label.classes", "web, phone", "at least 3 classes", "a label of two classes is binary"],
    ),
    "no classes": ("  classes: [web, in store, phone]\n", "", ["label.classes", "nothing", "at least 3 classes"]),
    "a class twice": (
        "[web, in store, phone]",
        "[web, in store, phone, web]",
        ["label.classes", "web, 2 times", "remove one web"],
    ),
    "a threshold of several classes": (
        "type: multiclass",
        "type: multiclass\n  threshold: 0.4",
        ["label.threshold", "0.4", "a multiclass label has no threshold", "remove it"],
    ),
    "a calibration of several classes": (
        "owner:",
        "calibrate: sigmoid\nowner:",
        ["calibrate", "sigmoid", "of a binary label", "this one is multiclass", "remove it"],
    ),
    "a class that is no name": ("[web, in store, phone]", "[web, <b>, phone]", ["label.classes", "<b>"]),
    "classes of a number": (
        "type: multiclass",
        "type: numeric",
        ["label.classes", "web, in store, phone", "a numeric label declares no classes", "type: multiclass"],
    ),
    "positives of several classes": (
        "minimum_per_class",
        "minimum_positives",
        ["gates.minimum_positives", "15", "a multiclass label has no such bound", "remove it"],
    ),
    "more rows of each class than there are": (
        "minimum_rows: 100",
        "minimum_rows: 40",
        ["gates.minimum_per_class", "15", "at most 1/3 of gates.minimum_rows (40)"],
    ),
    "metric of another label": (
        "metric: log_loss",
        "metric: brier",
        ["search.metric", "brier, of a multiclass label", "roc_auc, log_loss, accuracy, macro_recall or macro_f1"],
    ),
    "floor of another label": ("accuracy: 0.5", "r2: 0.5", ["gates.floor.r2", "r2, of a multiclass label"]),
    "a share above 1": ("accuracy: 0.5", "accuracy: 50", ["gates.floor.accuracy", "50", "from 0 to below 1"]),
    "family of another label": (
        "logistic_regression: {}",
        "ridge: {}",
        ["families.ridge", "of a multiclass label", "logistic_regression, random_forest, gradient_boosting or mlp"],
    ),
}
BROKEN = {"renewals": CASES, "parcels": OF_REQUESTS, "channels": OF_CLASSES}


@pytest.mark.parametrize(("model", "name"), [(model, name) for model, cases in BROKEN.items() for name in cases])
def test_a_mistake_is_told_with_key_value_what_is_allowed_and_the_fix(model: str, name: str, tmp_path: Path) -> None:
    old, new, said = BROKEN[model][name]
    folder = shutil.copytree(SPECS / "valid" / model, tmp_path / model)
    text = (folder / "model.yaml").read_text()
    assert old in text
    (folder / "model.yaml").write_text(text.replace(old, new, 1))
    message = mistakes_of(folder)
    assert not _LIBRARYS.search(message), message
    mistakes = [block for block in re.split(r"\n   \d+\. ", message) if all(part in block for part in said)]
    assert mistakes, f"no mistake says all of {said}:\n{message}"
    assert re.match(r"model\.yaml:\d+: ", mistakes[0]), mistakes[0]
    positions = [mistakes[0].index(part) for part in said]
    assert positions[0] == min(positions), "the key comes first"
    assert f"evergreen check {model}" in message.splitlines()[-1]


def test_a_misshapen_key_hides_no_mistake_of_the_request(tmp_path: Path) -> None:
    folder = shutil.copytree(SPECS / "valid" / "parcels", tmp_path / "parcels")
    text = (folder / "model.yaml").read_text()
    text = text.replace("horizon: 1d", "horizon: 1x").replace(
        "sources: [parcels, roads]", "sources: [parcels, streets]"
    )
    (folder / "model.yaml").write_text(text)
    message = mistakes_of(folder)
    assert "label.horizon" in message and "request.sources" in message and "streets" in message, message


def test_the_line_is_that_of_the_key(folder: Path) -> None:
    (folder / "model.yaml").write_text(MODEL.replace("look_back: 1w", "look_back: soon"))
    number = next(n for n, line in enumerate(MODEL.splitlines(), 1) if "look_back: 1w" in line)
    assert f"model.yaml:{number}: features.reading.look_back" in mistakes_of(folder)


def test_five_mistakes_are_five_mistakes_whatever_their_kind() -> None:
    message = mistakes_of(SPECS / "invalid" / "five_mistakes")
    assert count(message) == 5, message
    for key in (
        "features.reading.sources",
        "features.reading.look_back",
        "label.horizon",
        "search.trails",
        "gates.floor.macro_f1",
    ):
        assert key in message


FILES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no query": (
        lambda f: (f / "features" / "reading.sql").unlink(),
        ["features.reading.sql", "no file features/reading.sql", "add features/reading.sql"],
    ),
    "no label": (lambda f: (f / "label.sql").unlink(), ["label.sql", "no file label.sql", "add label.sql"]),
    "no contract": (
        lambda f: (f / "contracts" / "visits.yaml").unlink(),
        ["contracts/visits.yaml", "no such file", "the contract of visits"],
    ),
    "contract's key": (
        lambda f: (f / "contracts" / "visits.yaml").write_text("expectation: []"),
        ["contracts/visits.yaml:1: expectation", "unknown key", "write expectations"],
    ),
    "contract's severity": (
        lambda f: (f / "contracts" / "visits.yaml").write_text(
            "expectations:\n  - type: expect_x\n    severity: warn\n"
        ),
        ["contracts/visits.yaml:3: expectations.0.severity", '"warn"', "critical or warning", "write warning"],
    ),
    "contract's column": (
        lambda f: (f / "contracts" / "visits.yaml").write_text("expectations:\n  - type: expect_x\n    column: page\n"),
        [
            "contracts/visits.yaml",
            "expectations.0.column",
            "page",
            "visit_id, reader_id, visited_at or pages",
            "write pages",
        ],
    ),
    "contract's columns": (
        lambda f: (f / "contracts" / "reading.yaml").write_text(
            "expectations:\n  - {type: expect_x, column_A: pages_7d, column_B: pages_8d}\n"
        ),
        ["contracts/reading.yaml", "expectations.0.column_B", "pages_8d", "write pages_7d"],
    ),
    "empty contract": (
        lambda f: (f / "contracts" / "visits.yaml").write_text(""),
        ["contracts/visits.yaml", "an empty file"],
    ),
    "no model.yaml": (lambda f: (f / "model.yaml").unlink(), ["model.yaml", "no such file", "YAML in UTF-8"]),
    "empty model.yaml": (lambda f: (f / "model.yaml").write_text("# nothing\n"), ["model.yaml", "an empty file"]),
    "a list": (lambda f: (f / "model.yaml").write_text("- model: renewals\n"), ["model.yaml"]),
    "no YAML": (
        lambda f: (f / "model.yaml").write_text("model: renewals\nowner: {name: x\n"),
        ["model.yaml:", "expected ',' or '}'", "YAML in UTF-8"],
    ),
    "no UTF-8": (
        lambda f: (f / "model.yaml").write_bytes(b"model: renewals\ndescription: \xe9t\xe9\n"),
        ["model.yaml", "not UTF-8 at position 29"],
    ),
    "key twice": (
        lambda f: (f / "model.yaml").write_text(MODEL + "model: other\n"),
        [
            f"model.yaml:{MODEL.count(chr(10)) + 1}: model",
            "model for the second time (first in line 1)",
            "each key once",
        ],
    ),
    "no text as key": (
        lambda f: (f / "model.yaml").write_text(MODEL + "1: other\n"),
        ["model.yaml", "a key 1", "keys that are names"],
    ),
    "tag": (
        lambda f: (f / "model.yaml").write_text(MODEL.replace("model: renewals", "model: !!python/name:os.system x")),
        ["model.yaml:1: model", "the tag tag:yaml.org,2002:python", "leave out the tag"],
    ),
    "endless": (
        lambda f: (f / "model.yaml").write_text(MODEL.replace("owner:\n", "owner: &a\n  more: *a\n")),
        ["owner.more", "an alias of a key that it stands in"],
    ),
    "a folder as model.yaml": (
        lambda f: ((f / "model.yaml").unlink(), (f / "model.yaml").mkdir()),
        ["model.yaml", "a folder, where a file is read"],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_told_and_named(name: str, folder: Path) -> None:
    breaking, said = FILES[name]
    breaking(folder)
    message = mistakes_of(folder)
    assert any(all(part in block for part in said) for block in re.split(r"\n   \d+\. ", message)), message


def test_files_and_keys_are_told_together(folder: Path) -> None:
    (folder / "model.yaml").write_text(
        MODEL.replace("look_back: 1w", "look_back: soon").replace("trials: 4", "trials: 4\n  trials: 5")
    )
    (folder / "label.sql").unlink()
    (folder / "contracts" / "readers.yaml").write_text("expectations: []")
    message = mistakes_of(folder)
    assert count(message) == 4, message


def test_words_that_yaml_would_take_for_something_else_stay_words(folder: Path) -> None:
    (folder / "contracts" / "readers.yaml").write_text(
        "expectations:\n"
        "  - type: expect_x\n"
        "    column: plan\n"
        "    value_set: [no, on, 10:30, 010, 2026-01-01, 'true', true, 1e3]\n"
    )
    (expectation,) = load_contract(load_spec(folder).own_data(), "readers").expectations
    assert expectation.arguments["value_set"] == ["no", "on", "10:30", 10, "2026-01-01", "true", True, 1000.0]
    assert expectation.severity == "critical"


def test_a_contract_that_cannot_be_read_is_a_spec_error(folder: Path) -> None:
    spec = load_spec(folder)
    (folder / "contracts" / "readers.yaml").write_text("expectations:\n  - column: plan\n")
    with pytest.raises(SpecError, match=r"expectations\.0\.type"):
        load_contract(spec.own_data(), "readers")


# a folder of models


def test_an_invalid_folder_costs_only_its_own_model(tmp_path: Path) -> None:
    shutil.copytree(SPECS / "valid", tmp_path, dirs_exist_ok=True)
    shutil.copytree(SPECS / "invalid", tmp_path, dirs_exist_ok=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "model.schema.json").write_text("{}")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.yaml").write_bytes(b"\xff\x00")
    declared = load(tmp_path)
    specs, errors = declared.valid_models, declared.errors
    assert [spec.model for spec in specs] == ["channels", "meters", "parcels", "refunds", "renewals", "shelves", "spot"]
    assert [error.doing.rpartition("/")[2] for error in errors] == ["broken", "empty", "five_mistakes"]
    assert all(isinstance(error, PermanentError) for error in errors)
    assert str(pickle.loads(pickle.dumps(errors[2]))) == str(errors[2])


def test_models_that_share_an_entity_share_its_key(tmp_path: Path) -> None:
    shutil.copytree(SPECS / "valid", tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "renewals" / "model.yaml").read_text()
    (tmp_path / "renewals" / "model.yaml").write_text(text.replace("name: reader\n", "name: order\n"))
    declared = load(tmp_path)
    specs, errors = declared.valid_models, declared.errors
    assert [spec.model for spec in specs] == ["channels", "meters", "parcels", "refunds", "shelves", "spot"]
    assert "order by reader_id (string)" in str(errors[0]) and "order by order_id (int), as in refunds" in str(
        errors[0]
    )


def test_no_folder_names_those_that_there_are() -> None:
    assert "write renewals" in mistakes_of(SPECS / "valid" / "renewal")
    nothing = load(SPECS / "nowhere")
    assert (nothing.valid_models, nothing.errors) == ([], [])


# properties


def declared_keys(kind: type[BaseModel], content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key of the example that the schema names (not those that the user chooses)."""
    for name, value in content.items() if isinstance(content, dict) else ():  # text where a part is written in short
        at, annotation = (*path, name), kind.model_fields[name].annotation
        yield at
        inner = [
            part
            for part in getattr(annotation, "__args__", ())
            if isinstance(part, type) and issubclass(part, BaseModel)
        ]
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from declared_keys(annotation, value, at)
        elif inner:
            for chosen, entry in value.items():
                yield from declared_keys(inner[0], entry, (*at, chosen))


CONTENT = json.loads(json.dumps(yaml.safe_load(MODEL), default=str))
KEYS = sorted(declared_keys(ModelSpec, CONTENT))


def mutated(path: tuple[str, ...], change: Callable[[dict[str, Any], str], None]) -> str:
    content = json.loads(json.dumps(CONTENT))
    parent = content
    for part in path[:-1]:
        parent = parent[part]
    change(parent, path[-1])
    return json.dumps(content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(path=st.sampled_from(KEYS), tail=st.text("abcxyz_", min_size=1, max_size=4))
def test_any_mistyped_key_is_caught_and_named(folder: Path, path: tuple[str, ...], tail: str) -> None:
    def rename(parent: dict[str, Any], key: str) -> None:
        parent[key + tail] = parent.pop(key)

    (folder / "model.yaml").write_text(mutated(path, rename))
    message = mistakes_of(folder)
    assert f"{'.'.join(path)}{tail}\n" in message
    assert f"the unknown key {path[-1]}{tail}" in message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(path=st.sampled_from(KEYS), value=st.sampled_from([[[]], {"?": {}}, -1.5, [None]]))
def test_any_value_of_another_type_is_caught_and_named(folder: Path, path: tuple[str, ...], value: Any) -> None:
    (folder / "model.yaml").write_text(mutated(path, lambda parent, key: parent.update({key: value})))
    message = mistakes_of(folder)
    assert re.search(rf"\d+\. model\.yaml:\d+: {re.escape('.'.join(path))}\b", message), message


duration: TypeAdapter[timedelta] = TypeAdapter(Duration)


@given(st.integers(1, 99_999), st.sampled_from("hdw"))
def test_durations_survive_the_round_trip(number: int, unit: str) -> None:
    long = number * {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}[unit]
    if long > timedelta(days=36_525):  # no moment can be computed with it
        with pytest.raises(ValidationError, match="at most a century"):
            duration.validate_python(f"{number}{unit}")
        return
    value = duration.validate_python(f"{number}{unit}")
    assert value == long
    assert duration.validate_python(value) == value
    assert duration.validate_json(duration.dump_json(value)) == value
    assert duration.dump_python(value) == duration_text(value)


@given(st.text(max_size=6).filter(lambda text: not re.fullmatch(r"[1-9][0-9]{0,4}[hdw]", text)))
def test_no_other_text_is_a_duration(text: str) -> None:
    with pytest.raises(ValidationError, match="6h, 3d, 2w"):
        duration.validate_python(text)


@pytest.mark.parametrize("value", [timedelta(0), timedelta(minutes=90), -timedelta(days=1), 3, None])
def test_what_a_spec_could_not_say_is_no_duration(value: object) -> None:
    with pytest.raises(ValidationError):
        duration.validate_python(value)


# families


def test_overrides_replace_ranges_and_fix_values() -> None:
    ranges = space("gradient_boosting", {"max_leaf_nodes": [4, 16], "l2_regularization": 0})
    assert (ranges["max_leaf_nodes"].low, ranges["max_leaf_nodes"].high, ranges["max_leaf_nodes"].log) == (4, 16, True)
    fixed = ranges["l2_regularization"]
    assert (fixed.low, fixed.high, fixed.log, fixed.whole) == (0.0, 0.0, False, False)
    assert ranges["max_iter"] == family("gradient_boosting").parameters["max_iter"]


def test_every_declared_range_is_one_that_a_study_can_search() -> None:
    for name in OURS:
        for parameter, declared in family(name).parameters.items():
            assert declared.low < declared.high, f"{name}.{parameter}"
