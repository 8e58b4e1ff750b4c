"""Models that no valid folder declares: what their folder said stands with what they were trained from."""

from __future__ import annotations

from evergreen.erasure.learning import Unsearched
from evergreen.errors import PermanentError, SpecError
from evergreen.registry import artifacts, loading, records
from evergreen.registry.contents import SpecCopy
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import Declared
from evergreen.spec.schema import ModelSpec


def with_them(declared: Declared) -> tuple[Declared, list[Unsearched]]:
    """What is declared, and each such model as its newest candidate has it, with its data where it was alone with them.

    Returns:
        it, and whose folder has mistakes, or whose candidate cannot be read.

    Raises:
        ServiceUnavailable: the database or MLflow does not answer.
    """
    datasets, models = dict(declared.datasets), dict(declared.models)
    unsearched: list[Unsearched] = []
    for name, candidate in records.newest().items():
        if isinstance(models.get(name), ModelSpec):
            continue
        whose = f"MLflow run {candidate.run_id} of {name}"
        try:
            spec = loading.parse_spec(artifacts.read(candidate, SpecCopy.NAME), whose)
        except PermanentError as error:
            unsearched.append(Unsearched(f"the model {name}, which no valid folder declares, by {whose}", error.found))
            continue
        models[name] = spec
        if not spec.data and not isinstance(datasets.get(name), DatasetSpec):
            datasets[name] = spec.own_data()
    unsearched += [
        Unsearched(f"what {name} has", "its folder has mistakes: `evergreen check` names them")
        for name, each in {**datasets, **models}.items()
        if isinstance(each, SpecError)
    ]
    return Declared(datasets, models), unsearched
