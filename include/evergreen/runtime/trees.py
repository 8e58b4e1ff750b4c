"""Trees of scikit-learn as one node of ONNX, with what its own converters lose: sets of categories, and where a missing
number goes.

Both kinds of tree keep their nodes in arrays that are no public interface of scikit-learn, and no public one has them.
What a release changes there shows at packaging, where the graph's answers are compared with the pipeline's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import numpy_helper
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from evergreen.runtime.graph import Graph

_AT_MOST, _MEMBER = 0, 6  # ONNX's modes of a node
_NO_CATEGORY = -1.0  # a set that no value is in still has a member
_SUM = 1

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Tree:
    """A tree, its nodes by their places; where a node is a leaf only `ends` and `values` are meant.

    Attributes:
        values: what a leaf adds to the answer.
        sets: node → the categories that go left; of all others `splits` is the largest number that does.
        missing: whether a missing number goes left.
    """

    ends: npt.NDArray[np.bool_]
    values: Floats
    features: Places
    splits: Floats
    left: Places
    right: Places
    missing: npt.NDArray[np.bool_]
    sets: Mapping[int, Sequence[float]] = field(default_factory=dict)


def boosted(graph: Graph, rows: str, predictors: Sequence[Sequence[Any]]) -> str:
    """The raw answers of gradient boosting without its baseline, rows by outputs.

    Args:
        predictors: of each iteration a tree per output.
    """
    return _ensemble(
        graph,
        rows,
        [(_of_boosting(each), target) for iteration in predictors for target, each in enumerate(iteration)],
        len(predictors[0]),
    )


def forest(graph: Graph, rows: str, model: RandomForestClassifier | RandomForestRegressor) -> str:
    """The mean answer of a forest's trees, rows by outputs; of two classes the second one's alone.

    A leaf of ONNX adds to one output: of several classes each tree is there once per class.
    """
    trees = [tree for each in model.estimators_ for tree in _of_forest(each.tree_, len(model.estimators_))]
    outputs = len(trees) // len(model.estimators_)
    return _ensemble(graph, rows, [(tree, place % outputs) for place, tree in enumerate(trees)], outputs)


def _of_boosting(predictor: Any) -> _Tree:
    nodes = predictor.nodes
    branches = np.flatnonzero(nodes["is_categorical"])
    return _Tree(
        nodes["is_leaf"].astype(bool),
        nodes["value"],
        nodes["feature_idx"].astype(np.int64),
        np.where(nodes["is_categorical"], 0.0, nodes["num_threshold"]),
        nodes["left"].astype(np.int64),
        nodes["right"].astype(np.int64),
        nodes["missing_go_to_left"].astype(bool),
        {int(node): _members(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]) for node in branches},
    )


def _members(bits: Any) -> list[float]:
    """The categories of a set, which has one bit for each."""
    there = np.unpackbits(np.ascontiguousarray(bits).view(np.uint8), bitorder="little")
    return [*map(float, np.flatnonzero(there))] or [_NO_CATEGORY]


def _of_forest(tree: Any, trees: int) -> list[_Tree]:
    """A tree of a forest, once for each output."""
    ends = tree.children_left == -1
    values = tree.value[:, 0, :]
    if values.shape[1] > 1:
        values = values / values.sum(axis=1, keepdims=True)
    return [
        _Tree(
            ends, output, tree.feature, tree.threshold, tree.children_left, tree.children_right,
            tree.missing_go_to_left.astype(bool),
        )
        for output in (values[:, 1:] if values.shape[1] == 2 else values).T / trees
    ]  # fmt: skip


def _ensemble(graph: Graph, rows: str, trees: Sequence[tuple[_Tree, int]], outputs: int) -> str:
    """The sum of trees, each of which adds to one of the outputs."""
    starts = np.cumsum([0, *(max(1, int((~tree.ends).sum())) for tree, _ in trees)])
    firsts = np.cumsum([0, *(int(tree.ends.sum()) for tree, _ in trees)])
    columns = [_branches(tree, *at) for (tree, _), *at in zip(trees, starts, firsts, strict=False)]
    features, modes, splits, left, left_ends, right, right_ends, missing = map(
        np.concatenate, zip(*columns, strict=True)
    )
    members = [value for tree, _ in trees for node in sorted(tree.sets) for value in (*tree.sets[node], np.nan)]
    tensors = {
        "nodes_modes": modes.astype(np.uint8),
        "nodes_splits": splits,
        "leaf_weights": np.concatenate([tree.values[tree.ends] for tree, _ in trees]),
        **({"membership_values": np.array(members)} if members else {}),
    }
    return graph.trees(
        "TreeEnsemble",
        rows,
        n_targets=outputs,
        aggregate_function=_SUM,
        tree_roots=starts[:-1].tolist(),
        nodes_featureids=features.tolist(),
        nodes_truenodeids=left.tolist(),
        nodes_trueleafs=left_ends.tolist(),
        nodes_falsenodeids=right.tolist(),
        nodes_falseleafs=right_ends.tolist(),
        nodes_missing_value_tracks_true=missing.tolist(),
        leaf_targetids=[target for tree, target in trees for _ in range(int(tree.ends.sum()))],
        **{name: numpy_helper.from_array(values, name) for name, values in tensors.items()},
    )


def _branches(tree: _Tree, start: int, first: int) -> tuple[npt.NDArray[Any], ...]:
    """The branches of a tree as ONNX has them: feature, mode, split, where left and right lead and whether these are
    leaves, and whether a missing number goes left.

    Args:
        start, first: how many branches and leaves stand before this tree's.
    """
    if tree.ends[0]:  # one leaf: both ways of a branch lead there
        return tuple(np.array([each]) for each in (0, _AT_MOST, 0.0, first, 1, first, 1, 0))
    places = np.where(tree.ends, first + np.cumsum(tree.ends) - 1, start + np.cumsum(~tree.ends) - 1)
    inner = np.flatnonzero(~tree.ends)
    left, right = tree.left[inner], tree.right[inner]
    return (
        tree.features[inner],
        np.array([_MEMBER if int(node) in tree.sets else _AT_MOST for node in inner]),
        tree.splits[inner],
        places[left],
        tree.ends[left].astype(int),
        places[right],
        tree.ends[right].astype(int),
        tree.missing[inner].astype(int),
    )
