"""A small multilayer perceptron of tf.keras, as a scikit-learn estimator."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

Floats = npt.NDArray[np.float64]


class KerasClassifier(ClassifierMixin, BaseEstimator):
    """Two classes, dense layers, fitted by tf.keras; the same seed fits the same weights.

    What is kept of a fitted network is its weights, as arrays. So it is saved like every other estimator, without pickled code,
    and answers without TensorFlow: a server neither imports it (seconds) nor holds it (hundreds of megabytes).
    """

    def __init__(
        self, units: int = 16, layers: int = 1, learning_rate: float = 1e-3, dropout: float = 0.0,
        epochs: int = 10, batch_size: int = 256, seed: int = 0,
    ) -> None:  # fmt: skip
        self.units = units
        self.layers = layers
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed

    def fit(self, x: Floats, y: npt.ArrayLike) -> KerasClassifier:
        """Fit on an array of rows by inputs, without missing values, and labels 0 or 1."""
        import keras
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # a process that has computed already keeps its thread counts
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(self.seed)
        network = self._network(keras, x.shape[1])
        weights = network.trainable_variables
        optimizer = keras.optimizers.Adam(self.learning_rate)
        optimizer.build(weights)
        loss = keras.losses.BinaryCrossentropy()
        size = self.batch_size

        # One graph call an epoch. `Model.fit` calls one a batch and traces a larger graph: five times slower at this size.
        @tf.function  # type: ignore[untyped-decorator]
        def epoch(inputs: Any, labels: Any, order: Any) -> None:
            for start in tf.range(0, tf.shape(order)[0], size):
                rows = order[start : start + size]
                with tf.GradientTape() as tape:
                    value = loss(tf.gather(labels, rows), network(tf.gather(inputs, rows), training=True))
                optimizer.apply(tape.gradient(value, weights), weights)

        inputs = tf.constant(np.asarray(x, np.float32))
        labels = tf.constant(np.asarray(y, np.float32).reshape(-1, 1))
        random = np.random.default_rng(self.seed)
        for _ in range(self.epochs):
            epoch(inputs, labels, tf.constant(random.permutation(len(x)).astype(np.int32)))
        self.classes_ = np.array([0, 1])
        self.n_features_in_ = int(x.shape[1])
        self.weights_ = network.get_weights()
        return self

    def predict_proba(self, x: Floats) -> Floats:
        """Two probabilities a row, in double precision: one row alone is answered as among others."""
        layer = np.asarray(x, np.float64)
        *hidden, (weights, bias) = zip(self.weights_[::2], self.weights_[1::2], strict=True)
        for kernel, offset in hidden:
            layer = np.maximum(layer @ kernel + offset, 0.0)
        positive = 1.0 / (1.0 + np.exp(-np.clip(layer @ weights + bias, -500.0, 500.0)))
        return np.column_stack([1.0 - positive, positive])

    def predict(self, x: Floats) -> npt.NDArray[np.int64]:
        """The likelier class of each row."""
        return (self.predict_proba(x)[:, 1] >= 0.5).astype(np.int64)

    def network(self) -> Any:
        """The fitted network as a keras model, to export."""
        import keras

        network = self._network(keras, self.n_features_in_)
        network.set_weights(self.weights_)
        return network

    def _network(self, keras: Any, inputs: int) -> Any:
        hidden = []
        for _ in range(self.layers):
            hidden.append(keras.layers.Dense(self.units, activation="relu"))
            if self.dropout:
                hidden.append(keras.layers.Dropout(self.dropout))
        return keras.Sequential([keras.layers.Input((inputs,)), *hidden, keras.layers.Dense(1, activation="sigmoid")])
