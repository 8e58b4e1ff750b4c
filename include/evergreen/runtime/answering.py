"""A graph that answers, in one thread: neither scikit-learn nor TensorFlow is loaded for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnxruntime

from evergreen.runtime.encoding import ABOUT, INPUT, OUTPUT, Inputs, Values

if TYPE_CHECKING:
    import pandas as pd


class GraphPredictor:
    """A version that answers with its graph."""

    quick: ClassVar[bool] = True

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # requests have threads of their own
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        about = self._session.get_modelmeta().custom_metadata_map[ABOUT]
        self._inputs = Inputs.of_json(json.loads(about))

    def answer(self, rows: Sequence[Mapping[str, Any]] | Values) -> npt.NDArray[np.float64]:
        """An answer per row of features."""
        return self._run(self._inputs.encode(rows))

    def predict(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The same of a frame, as `evergreen.model.rows.inputs` makes it."""
        return self._run(self._inputs.encode_frame(frame))

    def categories(self) -> Mapping[str, frozenset[str]]:
        """The values of each category that it was trained with."""
        return {each.name: frozenset(each.codes) for each in self._inputs.categories}

    def _run(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        answers: npt.NDArray[np.float64] = self._session.run([OUTPUT], {INPUT: rows})[0]
        return answers
