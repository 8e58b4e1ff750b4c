"""The Feast objects of every dataset and model, built from what they declare. Hand-written definitions go into files
beside this one."""

from __future__ import annotations

from evergreen.features.objects import of_dataset, of_model
from evergreen.settings import settings
from evergreen.spec.load import load

declared = load(settings().models, settings().data)
if declared.errors:  # `feast apply` deletes what it does not see: an invalid folder must not cost its online features
    raise ExceptionGroup(f"{len(declared.errors)} invalid folder(s)", declared.errors)

# Feast collects module-level names.
globals().update(
    {
        f"{type(item).__name__}_{item.name}": item
        for item in (
            *(each for dataset in declared.valid_datasets for each in of_dataset(dataset)),
            *(of_model(model) for model in declared.valid_models if model.features),
        )
    }
)
