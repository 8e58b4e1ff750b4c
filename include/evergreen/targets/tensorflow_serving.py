"""A folder that TensorFlow Serving reads: a SavedModel for each version, `models.config` that says which are served and
by which label, and a Dockerfile.

TensorFlow Serving deals out no requests: who asks names a label (`/v1/models/<model>/labels/challenger:predict`). So a
challenger has no share here.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from evergreen.errors import DeployRefused, StepRefused
from evergreen.files import whole, whole_folder
from evergreen.targets import rules
from evergreen.targets.protocol import Packaged
from evergreen.targets.rules import Placed, Role, Serving

CONFIG = "models.config"
_LABEL = re.compile(r'version_labels \{ key: "(champion|challenger|shadow)" value: (\d+) \}')
_DOCKERFILE = """\
FROM tensorflow/serving:2.19.1
COPY . /models
# The file is read again every few seconds, so that a version may also come into a folder that is mounted over /models.
CMD ["--model_config_file=/models/models.config", "--model_config_file_poll_wait_seconds=10", \
"--allow_version_labels_for_unavailable_models=true"]
"""


class TensorFlowServing:
    """A model in such a folder, alone."""

    def __init__(self, model: str, folder: Path) -> None:
        """Args: folder: what becomes `/models` of the server."""
        self._model, self._folder = model, folder

    def serving(self) -> Serving:
        """What the configuration says; nobody asks a server."""
        config = self._folder / CONFIG
        stated = _LABEL.findall(config.read_text(encoding="utf-8")) if config.exists() else []
        return {int(number): Placed(role, 100 if role == "champion" else 0) for role, number in stated}

    def put(self, version: Packaged, role: Role) -> None:
        """Write the version's folder, then the configuration; raises as `Target.put` does.

        Args:
            version: its location is a folder with a SavedModel (`runtime.savedmodel.save`).
        """
        now = self.serving()
        wanted = rules.put(now, version.number, role)
        if wanted == now:
            return
        self._write(version)
        self._configure(wanted)
        for folder in (self._folder / self._model).iterdir():
            # What served until now goes with the next version: the server reads the configuration now and then.
            if folder.name.isdigit() and int(folder.name) not in {*wanted, *now}:
                shutil.rmtree(folder)

    def route(self, weights: Mapping[int, int]) -> None:
        """All requests are the champion's; raises as `Target.route` does."""
        now = self.serving()
        if rules.route(now, weights) != now:
            raise StepRefused(
                f"dealing out requests to {self._model}",
                found=", ".join(f"{share} % to version {version}" for version, share in sorted(weights.items())),
                expected="100 % to the champion: TensorFlow Serving deals out no requests",
                next_step="let clients, or a proxy, ask by the labels champion and challenger",
            )

    def _write(self, version: Packaged) -> None:
        """The folder is there completely, or not at all: TensorFlow Serving reads whatever has a number for a name."""
        of_version, made = self._folder / self._model / str(version.number), Path(version.location)
        if of_version.exists():
            return
        if not (made / "saved_model.pb").is_file():
            raise DeployRefused(
                f"putting version {version.number} of {self._model}",
                found=f"no saved_model.pb in {made}",
                expected="a folder with a SavedModel",
                next_step="write it (evergreen.runtime.savedmodel.save): of linear models and networks there is one",
            )
        with whole_folder(of_version) as folder:
            shutil.copytree(made, folder, dirs_exist_ok=True)
            folder.chmod(0o755)  # the server may be another user

    def _configure(self, wanted: Serving) -> None:
        versions = " ".join(f"versions: {number}" for number in sorted(wanted))
        label = '    version_labels {{ key: "{}" value: {} }}'
        labels = "\n".join(label.format(placed.role, number) for number, placed in sorted(wanted.items()))
        text = f"""\
model_config_list {{
  config {{
    name: "{self._model}"
    base_path: "/models/{self._model}"
    model_platform: "tensorflow"
    model_version_policy {{ specific {{ {versions} }} }}
{labels}
  }}
}}
"""
        for name, content in ((CONFIG, text), ("Dockerfile", _DOCKERFILE)):
            with whole(self._folder / name) as file:
                file.write_text(content, encoding="utf-8")
