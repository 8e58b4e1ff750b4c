"""The pages behind a window's: Evidently's reports of its drift and its performance in a frame of ours, each one HTML
file, readable without a network.

Evidently writes the values into a script. Here they stand in a block of JSON that is never run, and the page's policy
lets nothing run but Evidently's own script and the line that starts it.
"""

from __future__ import annotations

import html
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.monitor import drift_tests
from evergreen.quoting import shown, visible
from evergreen.reports.evidently import content_policy, font, scripts
from evergreen.reports.pages import publish, render
from evergreen.spec import kinds
from evergreen.spec.columns import LABEL, PREDICTION, class_of
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

_SEED = 0
_LABEL = 80  # characters
_ASSIGNED = re.compile(
    r"<script>\s*var (\w+) = "
)  # in Evidently's page: its data, then `additional_graphs_` and the same name


def write(spec: ModelSpec, key: str, window: pd.DataFrame, reference: pd.DataFrame, bounds: Mapping[str, float]) -> str:
    """Write the page of drift, whole or not at all; returns its URL.

    It shows a sample of at most `report_rows` of each side, by the monitor's distances and bounds. The monitor's own
    distances are of all rows.

    Args:
        spec: the model.
        key: the window's partition.
        window: the features that are watched and the predictions, of the rows that were answered.
        reference: the same of the rows that the window is compared with.
        bounds: column → greatest distance that is normal.
    """
    from evidently import DataDefinition
    from evidently.presets import DataDriftPreset

    from evergreen.monitor.comparison import outputs, watched

    features = watched(spec, reference)
    predicted = [name for name in outputs(reference) if name in window]
    numbers, categories = [*kinds.numbers(features), *predicted], kinds.categories(features)
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    sides = [_sample(side[[*numbers, *categories]], spec.monitoring.report_rows) for side in (window, reference)]
    sides = [side.assign(**{name: side[name].map(_label, na_action="ignore") for name in categories}) for side in sides]
    # A column without values cannot be drawn; `distances` and `missing` have told about it.
    drawn = [name for name in [*numbers, *categories] if all(side[name].notna().any() for side in sides)]
    of_numbers, of_categories = drift_tests.distances()
    preset = DataDriftPreset(
        columns=drawn,
        num_method=of_numbers,
        cat_method=of_categories,
        per_column_threshold={name: bounds[name] for name in drawn if name in bounds},
    )
    about = (
        f"Distances and bounds are the monitor's, on a sample of at most {spec.monitoring.report_rows:,} rows of each "
        "side. Its verdict is of all rows, and may differ where a distance is close to its bound; that of the whole "
        "dataset below is Evidently's own."
    )
    return _page(spec, "drift", key, _drawn(preset, definition, sides), about)


def write_performance(spec: ModelSpec, key: str, scored: pd.DataFrame) -> str | None:
    """Write the page of performance, whole or not at all; returns its URL. None: Evidently has nothing to draw of it.

    Args:
        spec: the model.
        key: the window's partition.
        scored: predictions whose labels have matured, with their `label`.
    """
    from evidently import BinaryClassification, DataDefinition, MulticlassClassification, Regression
    from evidently.presets import ClassificationPreset, RegressionPreset

    problem, sampled = spec.problem, _sample(scored, spec.monitoring.report_rows)
    sampled = sampled.dropna(subset=[LABEL, *problem.outputs])
    if problem.lacking(set(problem.labels(sampled[LABEL]).tolist())):  # of one class no curve can be drawn
        return None
    definition, preset = (
        DataDefinition(regression=[Regression(target=LABEL, prediction=PREDICTION)]),
        RegressionPreset(),
    )
    side = sampled[[LABEL, *problem.outputs]]
    if problem.by_class:
        names = {output: _label(class_of(output)) for output in problem.outputs}
        side = side.rename(columns=names).assign(**{LABEL: side[LABEL].map(_label)})
        task = MulticlassClassification(target=LABEL, prediction_probas=[*names.values()])
        definition, preset = DataDefinition(classification=[task]), ClassificationPreset()
    elif problem.values is not None:
        task = BinaryClassification(target=LABEL, prediction_probas=PREDICTION, pos_label=1)
        definition, preset = DataDefinition(classification=[task]), ClassificationPreset()
    about = (
        f"Of a sample of at most {spec.monitoring.report_rows:,} answers whose labels matured; the monitor's own "
        "metric is of all of them."
    )
    return _page(spec, "performance", key, _drawn(preset, definition, [side]), about)


def _page(spec: ModelSpec, kind: str, key: str, drawn: dict[str, Any], about: str) -> str:
    from markupsafe import Markup

    page = render(
        Path(__file__).with_name("report.html"),
        model=spec.model,
        kind=kind,
        key=key,
        about=about,
        policy=content_policy(),
        font=Markup(font()),
        data=Markup(json.dumps(drawn).replace("<", "\\u003c")),
        scripts=[Markup(script) for script in scripts()],
    )
    return publish(f"{spec.model}/{kind}/{key}.html", page)


def _drawn(preset: Any, definition: Any, sides: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """What Evidently's script draws: `{"dashboard": …, "graphs": …}`."""
    from evidently import Dataset, Report

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy and plotly on constant columns, inside Evidently
        snapshot = Report([preset]).run(*(Dataset.from_pandas(side, definition) for side in sides))
        written = snapshot.get_html_str(as_iframe=False)
    decode = json.JSONDecoder(parse_constant=lambda _: None).raw_decode  # NaN is no JSON; a graph has a gap there
    assigned = _ASSIGNED.search(written)
    assert assigned is not None, "Evidently's page has another shape: see its file_html_template"
    dashboard, end = decode(written, assigned.end())
    graphs, _ = decode(written, written.index("{", end))
    return {"dashboard": dashboard, "graphs": graphs}


def _label(category: str) -> str:
    """A category as the graphs show it: Plotly reads markup in labels, so it is given text."""
    plain = len(category) <= _LABEL and visible(category) == category
    return html.escape(category if plain else shown(category, _LABEL), quote=False)


def _sample(side: pd.DataFrame, rows: int) -> pd.DataFrame:
    return side if len(side) <= rows else side.sample(rows, random_state=_SEED)
