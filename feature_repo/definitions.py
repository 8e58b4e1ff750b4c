"""Every model's Feast objects, built from its spec. Hand-written definitions go into files beside this one."""

from __future__ import annotations

from evergreen.features.objects import objects
from evergreen.settings import settings
from evergreen.spec.load import load_all

specs, mistakes = load_all(settings().models)
if mistakes:  # `feast apply` deletes what it does not see: an invalid spec must not cost a model its online features
    raise ExceptionGroup(f"{len(mistakes)} invalid model folder(s)", mistakes)

# Feast collects module-level names.
globals().update({f"{type(item).__name__}_{item.name}": item for spec in specs for item in objects(spec)})
