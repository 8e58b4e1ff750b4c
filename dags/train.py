"""`<model>__train`: an Airflow DAG for every valid model spec; scheduled, by hand, or triggered by the monitor."""

from __future__ import annotations

from evergreen.evaluate import stages as evaluate
from evergreen.features import stages as features
from evergreen.orchestration import assets
from evergreen.orchestration.loops import loop, valid_specs
from evergreen.orchestration.notify import of_warnings
from evergreen.registry import stages as registry
from evergreen.serve import stages as serve
from evergreen.train import stages as train
from evergreen.validate import stages as validate

for spec in valid_specs():
    with loop(spec, "train") as stage:
        data = stage(train.build, awaits=features.awaited)()
        sound = stage(validate.validate_training, on_success_callback=of_warnings(spec))(data=data)
        candidates = stage(train.tune).partial(data=sound).expand(family=list(spec.families))
        evaluated = stage(evaluate.evaluate)(data=sound, candidates=candidates)
        gated = stage(evaluate.gates)(evaluated=evaluated)
        registered = stage(registry.register)(gated=gated)
        probed = stage(serve.probe)(registered=registered)
        stage(serve.deploy, outlets=[assets.champion(spec)])(probed=probed)
