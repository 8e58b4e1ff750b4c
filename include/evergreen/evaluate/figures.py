"""Pictures of a search and of a candidate's answers, as files: what people expect beside a run in MLflow."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
_DPI = 80
_MOST = 20_000  # answers in a picture; more look the same
_BINS = 10
_FEWEST = 2  # trials; of one nothing can be compared, and Optuna draws empty pictures


def of_study(study: optuna.Study, folder: Path) -> None:
    """How a search went: its history, which parameters mattered, and each parameter against the score."""
    import optuna
    from matplotlib import pyplot, use
    from optuna.exceptions import ExperimentalWarning
    from optuna.visualization import matplotlib as drawn

    if len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))) < _FEWEST:
        log.info("No pictures of a search of fewer than %d trials that came to their end", _FEWEST)
        return
    use("agg")
    warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna says it of each picture, for years
    # Of a parameter that every trial had alike; its picture is good all the same.
    warnings.filterwarnings("ignore", "Attempting to set identical low and high xlims", UserWarning)
    plots: dict[str, Callable[[optuna.Study], object]] = {
        "history": drawn.plot_optimization_history,
        "importances": drawn.plot_param_importances,
        "slices": drawn.plot_slice,
    }
    for name, plot in plots.items():
        try:
            plot(study)
            pyplot.gcf().savefig(folder / f"{name}.png", dpi=_DPI, bbox_inches="tight")
        except (RuntimeError, ValueError) as error:  # too few trials, or a parameter that never moved
            log.info("No picture of the %s of the search: %s", name, error)
        finally:
            pyplot.close("all")


def of_classes(classes: tuple[str, ...], labels: Floats, predictions: Floats, folder: Path) -> None:
    """ROC, precision and recall, calibration and gain of probabilities: of each class against the others.

    Args:
        classes: the names of what has a column in the predictions; of a binary label the one.
        labels: the number of each row's class; of a binary label 1 or 0.
        predictions: a column for each class; of a binary label one number for each row.
    """
    columns = predictions.reshape(len(labels), -1)[:_MOST]
    of_class = {name: (labels[:_MOST] == (number if len(classes) > 1 else 1)) for number, name in enumerate(classes)}
    drawn: dict[str, Callable[[Axes, str, npt.NDArray[np.bool_], Floats], None]] = {
        "roc": _roc,
        "precision_recall": _precision_recall,
        "calibration": _calibration,
        "gain": _gain,
    }
    for name, draw in drawn.items():
        with _picture(folder / f"{name}.png") as axes:
            for number, (each, yes) in enumerate(of_class.items()):
                if 0 < yes.sum() < len(yes):
                    draw(axes, each, yes, columns[:, number])
            if name in ("roc", "calibration", "gain"):
                axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
            axes.legend()


def of_numbers(labels: Floats, predictions: Floats, folder: Path) -> None:
    """What came true against what was predicted, and how far they are apart."""
    true, said = labels[:_MOST], predictions[:_MOST]
    with _picture(folder / "predicted.png") as axes:
        axes.scatter(said, true, s=4, alpha=0.4)
        ends = [float(min(said.min(), true.min())), float(max(said.max(), true.max()))]
        axes.plot(ends, ends, color="grey", linewidth=0.8, linestyle="--")
        axes.set(xlabel="predicted", ylabel="came true")
    with _picture(folder / "residuals.png") as axes:
        axes.hist(true - said, bins=50)
        axes.set(xlabel="came true, less what was predicted", ylabel="rows")


class _picture:
    """A figure with one pair of axes, written to a file after the block."""

    def __init__(self, file: Path) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._file, self._figure = file, Figure(figsize=(6, 5))
        FigureCanvasAgg(self._figure)

    def __enter__(self) -> Axes:
        return self._figure.subplots()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            self._figure.savefig(self._file, dpi=_DPI, bbox_inches="tight")


def _roc(axes: Axes, name: str, yes: npt.NDArray[np.bool_], said: Floats) -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    false, true, _ = roc_curve(yes, said)
    axes.plot(false, true, label=f"{name} ({roc_auc_score(yes, said):.3f})")
    axes.set(xlabel="false positives, of all noes", ylabel="true positives, of all yeses", title="ROC")


def _precision_recall(axes: Axes, name: str, yes: npt.NDArray[np.bool_], said: Floats) -> None:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(yes, said)
    axes.plot(recall, precision, label=f"{name} ({average_precision_score(yes, said):.3f})")
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall")


def _calibration(axes: Axes, name: str, yes: npt.NDArray[np.bool_], said: Floats) -> None:
    from sklearn.calibration import calibration_curve

    true, told = calibration_curve(yes, said, n_bins=_BINS, strategy="quantile")
    axes.plot(told, true, marker="o", markersize=3, label=name)
    axes.set(xlabel="predicted", ylabel="came true", title="Calibration, tenths of the rows")


def _gain(axes: Axes, name: str, yes: npt.NDArray[np.bool_], said: Floats) -> None:
    found = np.cumsum(yes[np.argsort(-said, kind="stable")]) / yes.sum()
    axes.plot(np.arange(1, len(yes) + 1) / len(yes), found, label=name)
    axes.set(xlabel="rows, the highest answers first", ylabel="share of all yeses among them", title="Gain")
