"""`<model>__monitor`: an Airflow DAG for every valid model spec, one run per interval, apart from training."""

from __future__ import annotations

from evergreen.features import stages as features
from evergreen.monitor import stages as monitor
from evergreen.orchestration import assets
from evergreen.orchestration.loops import loop, valid_specs
from evergreen.orchestration.notify import of_warnings
from evergreen.orchestration.retrain import retrain

for spec in valid_specs():
    with loop(spec, "monitor") as stage:
        collected = stage(monitor.collect, on_success_callback=of_warnings(spec))()
        quality = stage(monitor.quality)(collected=collected)
        drift = stage(monitor.drift)(collected=collected)
        performance = stage(monitor.performance, awaits=features.awaited)(collected=collected)
        decision = stage(monitor.decide, outlets=[assets.decisions(spec)])(
            collected=collected, quality=quality, drift=drift, performance=performance
        )
        stage(monitor.alert, on_success_callback=of_warnings(spec))(decision=decision)
        retrain(spec, decision)
