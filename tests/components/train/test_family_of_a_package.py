"""A family that an installed package brings: one class and one entry point;
its model is trained, registered, and answers in a server."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evergreen import families, packages
from evergreen.errors import ModelUnloadable
from evergreen.families import OURS
from evergreen.handovers.train import SoundTrainingSet
from evergreen.model.code import code_hash
from evergreen.spec import rules
from evergreen.spec.schema import ModelSpec
from tests.handovers import gated, judged

from .conftest import run_as_of, spec_in

PYPROJECT = """
[project]
name = "acme-trees"
version = "1.2"

[project.entry-points."evergreen.families"]
extra_trees = "acme_trees:ExtraTrees"

[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[tool.setuptools]
py-modules = ["acme_trees", "acme_preparation"]
"""
TREES = """
from evergreen.families import Family, Parameter


class ExtraTrees(Family):
    labels = ("binary",)
    parameters = {
        "n_estimators": Parameter(low=5, high=20, default=100, least=1, most=1000),
        "min_samples_leaf": Parameter(low=1, high=50, default=1, log=True, least=1, most=1000),
    }
    types = ("acme_preparation.Scaled", "sklearn.tree._tree.Tree", "numpy.dtype")

    def prepare(self, columns):
        from acme_preparation import Scaled
        from evergreen.model.preparation import binned

        return binned(columns, Scaled())

    def estimator(self, label, parameters, columns, seed):
        from sklearn.ensemble import ExtraTreesClassifier

        return ExtraTreesClassifier(**parameters, random_state=seed)
"""
PREPARATION = """
import numpy as np
from evergreen.model.preparation import SinglePrecision


class Scaled(SinglePrecision):
    def transform(self, x):
        return super().transform(x) / 10
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed: built from its pyproject by its build backend,
    and unpacked as an installer does."""
    source, site = tmp_path_factory.mktemp("acme"), tmp_path_factory.mktemp("site")
    for name, text in {"pyproject.toml": PYPROJECT, "acme_trees.py": TREES, "acme_preparation.py": PREPARATION}.items():
        (source / name).write_text(text)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def _forget() -> None:
    importlib.invalidate_caches()
    for cached in (packages.brought, families._load, code_hash):
        cached.cache_clear()
    for module in ("acme_trees", "acme_preparation"):
        sys.modules.pop(module, None)


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """The package can be imported, in this process and in those that it starts; gives what uninstalls it."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))

        def uninstall() -> None:
            patch.undo()
            _forget()

        _forget()
        yield uninstall
    _forget()


def test_a_family_that_a_package_brings_is_trained_registered_and_answers_in_a_server_of_its_own(
    spec: ModelSpec, training_set: Callable[..., SoundTrainingSet], installed: Callable[[], None], tmp_path: Path
) -> None:
    from evergreen.registry import artifacts, contents, loading, pipelines, records
    from evergreen.registry import stages as registry
    from evergreen.serve import stages as serve
    from evergreen.train import stages

    assert families.names() == (*OURS, "extra_trees")
    assert families.package("extra_trees") == ("acme-trees", "1.2")
    wrong = spec_in(tmp_path / "wrong", families={"extra_trees": {"n_estimators": [5, 5000]}})
    assert [mistake.key for mistake in rules.of_model(wrong) if "families" in mistake.key] == [
        "families.extra_trees.n_estimators"
    ]

    spec = spec_in(tmp_path / "model", model=spec.model, families={"extra_trees": {"min_samples_leaf": [2, 9]}})
    assert not [mistake for mistake in rules.of_model(spec) if "families" in mistake.key]
    run = run_as_of(spec)
    data = training_set(run)
    candidate = stages.tune(run, data, "extra_trees")
    run_id = candidate.run.id

    trials = json.loads(artifacts.read(records.candidate(run_id), "trials.json"))
    assert (trials[0]["proposed_by"], trials[0]["parameters"]) == (
        "defaults",
        {"n_estimators": 20, "min_samples_leaf": 2},
    )
    assert json.loads(artifacts.read(records.candidate(run_id), "environment.json"))["acme-trees"] == "1.2"

    registered = registry.register(run, gated(run, judged(run_id, key=data.key, family="extra_trees")))
    assert serve.probe(run, registered).probed > 0

    content = artifacts.read(records.candidate(run_id), contents.PIPELINE)
    installed()
    with pytest.raises(ModelUnloadable, match="no installed package brings it") as raised:
        loading.load(spec.model, registered.version)
    assert "install the package" in str(raised.value)
    with pytest.raises(ModelUnloadable, match="acme_preparation"):
        pipelines.parse_pipeline(content, "random_forest", "a file that says another family")


def test_the_sources_of_a_familys_package_are_part_of_what_identifies_a_training(
    site: Path, installed: Callable[[], None]
) -> None:
    before = code_hash(("extra_trees", "mlp"))
    assert code_hash(("mlp",)) == code_hash() != before
    module = site / "acme_trees.py"
    module.write_text(module.read_text() + "# changed\n")
    _forget()
    assert code_hash(("extra_trees", "mlp")) != before
