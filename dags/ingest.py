"""`<model>__ingest`: an Airflow DAG for every valid model spec, one run per interval, backfillable in any order."""

from __future__ import annotations

from evergreen.features import stages as features
from evergreen.ingest import stages as ingest
from evergreen.orchestration import assets
from evergreen.orchestration.loops import loop, valid_specs
from evergreen.orchestration.notify import of_warnings
from evergreen.validate import stages as validate

for spec in valid_specs():
    with loop(spec, "ingest") as stage:
        extracted = stage(ingest.extract, awaits=ingest.awaited)()
        validated = stage(validate.validate, on_success_callback=of_warnings(spec))(extracted=extracted)
        published = stage(ingest.publish)(validated=validated)
        computed = stage(features.compute, task_id="features")(published=published)
        approved = stage(validate.validate_features, on_success_callback=of_warnings(spec))(computed=computed)
        stored = stage(features.publish, task_id="publish_features", outlets=[assets.features(spec)])(computed=approved)
        labelled = stage(features.labels)(stored=stored)
        stage(features.materialize)(labelled=labelled)
