"""Small multilayer perceptrons of tf.keras, as scikit-learn estimators."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import LabelBinarizer

Floats = npt.NDArray[np.float64]


class _KerasNetwork(BaseEstimator, ABC):
    """Dense layers, fitted by tf.keras; the same seed fits the same weights.

    What is kept of a fitted network is its weights, as arrays of scikit-learn's class for the same layers (`plain`). So
    it is saved like every other estimator, without pickled code, and answers without TensorFlow: a server neither
    imports it (seconds) nor holds it (hundreds of megabytes).
    """

    def __init__(
        self,
        units: int = 16,
        layers: int = 1,
        learning_rate: float = 1e-3,
        dropout: float = 0.0,
        epochs: int = 10,
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        self.units = units
        self.layers = layers
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed

    @abstractmethod
    def _ends(self, outputs: int) -> tuple[str | None, str]:
        """The activation of a last layer of so many outputs, and the name of the Keras loss."""

    def _fit(self, x: Floats, y: Floats, sample_weight: Floats | None) -> None:
        """Fit on arrays of rows by inputs, and of rows by outputs; `sample_weight` is how much each row counts."""
        import keras
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # a process that has computed already keeps its thread counts
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(self.seed)
        outputs = y.shape[1]
        network = self._network(keras, x.shape[1], outputs)
        weights = network.trainable_variables
        optimizer = keras.optimizers.Adam(self.learning_rate)
        optimizer.build(weights)
        loss = getattr(keras.losses, self._ends(outputs)[1])()
        size = self.batch_size

        # One graph call per epoch. `Model.fit` makes one per batch and traces a
        # larger graph: five times slower at this size.
        @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def epoch(inputs: Any, labels: Any, order: Any, counts: Any = None) -> None:
            for start in tf.range(0, tf.shape(order)[0], size):
                rows = order[start : start + size]
                counted = {} if counts is None else {"sample_weight": tf.gather(counts, rows)}
                with tf.GradientTape() as tape:
                    value = loss(tf.gather(labels, rows), network(tf.gather(inputs, rows), training=True), **counted)
                optimizer.apply(tape.gradient(value, weights), weights)

        inputs = tf.constant(np.asarray(x, np.float32))
        labels = tf.constant(np.asarray(y, np.float32))
        counts = None if sample_weight is None else tf.constant(np.asarray(sample_weight, np.float32))
        random = np.random.default_rng(self.seed)
        for _ in range(self.epochs):
            epoch(inputs, labels, tf.constant(random.permutation(len(x)).astype(np.int32)), counts)
        self.n_features_in_ = int(x.shape[1])
        self.weights_ = network.get_weights()

    def _last_layer(self, x: Floats) -> Floats:
        """The last layer before its activation, in double precision: one row alone is answered as among others."""
        layer = np.asarray(x, np.float64)
        *hidden, (weights, bias) = zip(self.weights_[::2], self.weights_[1::2], strict=True)
        for kernel, offset in hidden:
            layer = np.maximum(layer @ kernel + offset, 0.0)
        outputs: Floats = layer @ weights + bias
        return outputs

    def network(self) -> Any:
        """The fitted network as a keras model, to export."""
        import keras

        network = self._network(keras, self.n_features_in_, self.weights_[-1].shape[0])
        network.set_weights(self.weights_)
        return network

    def _plain(self, same: MLPClassifier | MLPRegressor, activation: str) -> Any:
        """The fitted network, as scikit-learn's class for the same layers would have it, had it fitted them."""
        same.set_params(hidden_layer_sizes=(self.units,) * self.layers, random_state=self.seed, max_iter=self.epochs)
        same.coefs_ = [np.asarray(each, np.float64) for each in self.weights_[::2]]
        same.intercepts_ = [np.asarray(each, np.float64) for each in self.weights_[1::2]]
        same.n_features_in_, same.n_outputs_ = self.n_features_in_, len(same.intercepts_[-1])
        same.n_layers_, same.n_iter_, same.out_activation_ = len(same.coefs_) + 1, self.epochs, activation
        return same

    def _network(self, keras: Any, inputs: int, outputs: int) -> Any:
        hidden = []
        for _ in range(self.layers):
            hidden.append(keras.layers.Dense(self.units, activation="relu"))
            if self.dropout:
                hidden.append(keras.layers.Dropout(self.dropout))
        last = keras.layers.Dense(outputs, activation=self._ends(outputs)[0])
        return keras.Sequential([keras.layers.Input((inputs,)), *hidden, last])


class KerasClassifier(ClassifierMixin, _KerasNetwork):
    """A network for two classes, with one output, or for more, with an output per class."""

    def _ends(self, outputs: int) -> tuple[str, str]:
        return ("sigmoid", "BinaryCrossentropy") if outputs == 1 else ("softmax", "CategoricalCrossentropy")

    def fit(self, x: Floats, y: npt.ArrayLike, sample_weight: Floats | None = None) -> KerasClassifier:
        """Fit on an array of rows by inputs, without missing values, and labels: 0 or 1, or each class's number."""
        labels = np.asarray(y, np.int64)
        two = labels.max(initial=0) <= 1
        self.classes_ = np.array([0, 1]) if two else np.unique(labels)
        outputs = labels[:, None] if two else labels[:, None] == self.classes_
        self._fit(x, outputs.astype(np.float64), sample_weight)
        return self

    def plain(self) -> MLPClassifier:
        """The same of scikit-learn's own class."""
        same = self._plain(MLPClassifier(), "logistic" if len(self.weights_[-1]) == 1 else "softmax")
        same._label_binarizer = LabelBinarizer().fit(self.classes_)
        same.classes_ = self.classes_
        return same

    def predict_proba(self, x: Floats) -> Floats:
        """A probability per row and class."""
        layer = self._last_layer(x)
        if layer.shape[1] == 1:
            positive = 1.0 / (1.0 + np.exp(-np.clip(layer[:, 0], -500.0, 500.0)))
            return np.column_stack([1.0 - positive, positive])
        powers = np.exp(layer - layer.max(axis=1, keepdims=True))
        probabilities: Floats = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, x: Floats) -> npt.NDArray[np.int64]:
        """The likeliest class of each row."""
        probabilities = self.predict_proba(x)
        two = probabilities.shape[1] == 2
        places = (probabilities[:, 1] >= 0.5).astype(np.int64) if two else probabilities.argmax(axis=1)
        likeliest: npt.NDArray[np.int64] = self.classes_[places]
        return likeliest


class KerasRegressor(RegressorMixin, _KerasNetwork):
    """A network for a number; it learns the number's distance from the mean, in standard deviations."""

    def _ends(self, outputs: int) -> tuple[None, str]:
        return None, "MeanSquaredError"

    def fit(self, x: Floats, y: npt.ArrayLike, sample_weight: Floats | None = None) -> KerasRegressor:
        """Fit on an array of rows by inputs, without missing values, and numbers."""
        labels = np.asarray(y, np.float64)
        counted = labels if sample_weight is None else labels[np.asarray(sample_weight) > 0]
        self.mean_, self.scale_ = float(counted.mean()), float(counted.std()) or 1.0
        self._fit(x, ((labels - self.mean_) / self.scale_)[:, None], sample_weight)
        return self

    def plain(self) -> MLPRegressor:
        """The same of scikit-learn's own class; its last layer has the mean and the deviation in it."""
        same = self._plain(MLPRegressor(), "identity")
        same.coefs_[-1] = same.coefs_[-1] * self.scale_
        same.intercepts_[-1] = same.intercepts_[-1] * self.scale_ + self.mean_
        return same

    def predict(self, x: Floats) -> Floats:
        """A number a row."""
        return self._last_layer(x)[:, 0] * self.scale_ + self.mean_
