"""TensorFlow Serving: the suite on a folder, its SavedModels in a clean process, and its configuration as TensorFlow
Serving's own message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evergreen.errors import DeployRefused
from evergreen.families import Columns
from evergreen.handovers.calibration import Calibration
from evergreen.model import calibrating, families
from evergreen.model.rows import inputs, predict
from evergreen.runtime import savedmodel
from evergreen.runtime.exporting import NotExported
from evergreen.spec.kinds import FeatureType
from evergreen.spec.problem import LabelType
from evergreen.targets.protocol import Packaged, Target
from evergreen.targets.tensorflow_serving import TensorFlowServing
from tests.environments import environment

from .conformance import Conformance, Versions

TYPES: dict[str, FeatureType] = {"plan": "category", "minutes": "float", "city": "category", "sessions": "int"}
COLUMNS = Columns(("minutes", "sessions"), ("plan", "city"))
CLEAN = """
import json, sys
import numpy as np
import tensorflow as tf

folder, rows = sys.argv[1:]
stated = json.loads(open(rows).read())
answer = tf.saved_model.load(folder).signatures["serving_default"]
kinds = {name: spec.dtype for name, spec in answer.structured_input_signature[1].items()}
asked = {name: tf.constant(values, kinds[name]) for name, values in stated.items()}
assert "evergreen" not in sys.modules
print(json.dumps([sorted(kinds), answer(**asked)["prediction"].numpy().tolist()]))
"""


@pytest.fixture
def packaged(tmp_path: Path) -> Versions:
    def made(number: int) -> Packaged:
        folder = tmp_path / "made" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pb").write_bytes(b"a model")
        return Packaged("no_show", number, str(folder))

    return made


class TestSuite(Conformance):
    deals = False

    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return TensorFlowServing("no_show", tmp_path / "models")


def test_what_serves_no_more_loses_its_folder_and_what_is_no_savedmodel_is_refused(
    tmp_path: Path, packaged: Versions
) -> None:
    target = TensorFlowServing("no_show", tmp_path / "models")
    target.put(packaged(1), "champion")
    with pytest.raises(DeployRefused, match=r"saved_model\.pb"):
        target.put(Packaged("no_show", 2, str(tmp_path)), "challenger")
    target.put(packaged(3), "challenger")
    there = tmp_path / "models"
    assert sorted(each.name for each in there.iterdir()) == ["Dockerfile", "models.config", "no_show"]
    assert sorted(each.name for each in (there / "no_show").iterdir()) == ["1", "3"]
    target.put(packaged(3), "champion")
    assert sorted(each.name for each in (there / "no_show").iterdir()) == ["1", "3"], "until the server has read it"
    target.put(packaged(4), "challenger")
    assert sorted(each.name for each in (there / "no_show").iterdir()) == ["3", "4"]
    docker = (there / "Dockerfile").read_text()
    assert "FROM tensorflow/serving:" in docker and "--model_config_file=/models/models.config" in docker


def rows_of(seed: int, rows: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "plan": random.choice(np.array(["basic", "plus", None], object), rows),
            "minutes": np.where(random.random(rows) < 0.1, np.nan, random.gamma(2.0, 50.0, rows)),
            "city": [f"c{number}" for number in random.integers(0, 5, rows)],
            "sessions": random.integers(0, 20, rows).astype(float),
        }
    )


ODD = pd.DataFrame(
    {
        "plan": ["never seen", None, "basic", None],
        "minutes": [np.nan, 1e30, -5.0, np.nan],
        "city": ["c1", "never seen", None, None],
        "sessions": [3.0, np.nan, 0.0, np.nan],
    }
)


def test_a_savedmodel_answers_in_a_clean_process_as_the_pipeline_that_it_was_made_of(tmp_path: Path) -> None:
    kinds: dict[str, LabelType] = {"logistic_regression": "multiclass", "ridge": "numeric", "mlp": "binary"}
    learn, asked = rows_of(7), pd.concat([inputs(TYPES, ODD), inputs(TYPES, rows_of(8, 50))], ignore_index=True)
    place = learn["minutes"].fillna(0).rank(pct=True).to_numpy()
    stated = {name: asked[name].fillna("").tolist() for name in COLUMNS.categories}
    (tmp_path / "rows.json").write_text(json.dumps(stated | {name: asked[name].tolist() for name in COLUMNS.numbers}))
    for family, label in kinds.items():
        labels = place if label == "numeric" else np.digitize(place, [0.5] if label == "binary" else [0.3, 0.6])
        small = {"epochs": 2} if family == "mlp" else {}
        made = families.build(family, small, TYPES, 7, label=label)
        pipeline = families.fit(made, inputs(TYPES, learn), labels, None)
        if label == "binary":
            sigmoid = Calibration(method="sigmoid", rows=1, slope=2.0, intercept=-0.5)
            pipeline = calibrating.calibrated(pipeline, sigmoid)
        savedmodel.save(pipeline, COLUMNS, tmp_path / family)
        clean = subprocess.run(
            [sys.executable, "-c", CLEAN, str(tmp_path / family), str(tmp_path / "rows.json")],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            check=False,
            timeout=300,
        )
        assert clean.returncode == 0, clean.stderr[-2000:]
        takes, answers = json.loads(clean.stdout.splitlines()[-1])
        assert takes == sorted(TYPES)
        np.testing.assert_allclose(np.array(answers), predict(pipeline, asked), rtol=1e-9, atol=1e-9, err_msg=family)


def test_of_trees_there_is_no_savedmodel(tmp_path: Path) -> None:
    made = families.build("random_forest", {"n_estimators": 2}, TYPES, 7)
    fitted = families.fit(made, inputs(TYPES, rows_of(7)), np.arange(300) % 2, None)
    with pytest.raises(NotExported, match="RandomForestClassifier"):
        savedmodel.save(fitted, COLUMNS, tmp_path / "model")
    isotonic = Calibration(method="isotonic", rows=2, scores=(0.0, 1.0), probabilities=(0.1, 0.9))
    with pytest.raises(NotExported, match="isotonic map"):
        savedmodel.save(calibrating.calibrated(fitted, isotonic), COLUMNS, tmp_path / "model")


@pytest.mark.long
def test_the_configuration_is_a_message_of_tensorflow_serving(tmp_path: Path, packaged: Versions) -> None:
    target = TensorFlowServing("no_show", tmp_path / "models")
    target.put(packaged(1), "champion")
    target.put(packaged(2), "challenger")
    needed = tmp_path / "requirements.txt"
    needed.write_text("tensorflow-serving-api==2.19.1\nprotobuf<6\n")
    python = environment(tmp_path / "environment", needed)
    read = (
        "import sys\n"
        "from google.protobuf import text_format\n"
        "from tensorflow_serving.config import model_server_config_pb2 as messages\n"
        "config = text_format.Parse(open(sys.argv[1]).read(), messages.ModelServerConfig())\n"
        "(one,) = config.model_config_list.config\n"
        "versions = list(one.model_version_policy.specific.versions)\n"
        "print(one.name, one.base_path, versions, sorted(one.version_labels.items()))\n"
    )
    done = subprocess.run(
        [python, "-c", read, str(tmp_path / "models" / "models.config")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = "no_show /models/no_show [1, 2] [('challenger', 2), ('champion', 1)]"
    assert done.stdout.splitlines()[-1] == told
