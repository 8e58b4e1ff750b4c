"""Small charts over windows, as SVG that a page holds: no script, nothing to load, a few kilobytes each. Pure.

What a chart shows stands beside it in words or a table: each has a text of its own for who cannot see it, and each
point says its value when it is pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 860.0, 190.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 12.0, 12.0, 24.0  # margins
_DATES = 6  # keys below a chart, at most
_GAPS = 4  # between the lines of its scale, about
_COLOURS = 6  # that the style has; more lines begin again
_LARGEST = 1e15  # what is beyond it, or no number, is not drawn
_POINTS = 130  # windows whose points can be told from each other

Values = Sequence[float | None]
"""One value per window, the oldest first; None: there is none."""


@dataclass(frozen=True)
class Line:
    """Values that belong together.

    Attributes:
        colour: which of the style's.
    """

    name: str
    values: Values
    colour: int = 0


@dataclass(frozen=True)
class Band:
    """What values lie within by chance."""

    name: str
    low: Values
    high: Values


@dataclass(frozen=True)
class Mark:
    """A moment at which something happened: the position of its window."""

    at: int
    said: str


def over_windows(
    keys: Sequence[str],
    lines: Sequence[Line],
    *,
    said: str,
    bounds: Sequence[Line] = (),
    band: Band | None = None,
    marks: Sequence[Mark] = (),
    zero: bool = True,
) -> Markup:
    """A chart of values by window, with its legend.

    Args:
        keys: of the windows, the oldest first; each series has one value for each.
        said: what it shows, in words.
        bounds: what the lines are compared with; drawn as dashes.
        zero: whether the scale holds 0.
    """
    series = [*(line.values for line in (*lines, *bounds)), *((band.low, band.high) if band else ())]
    known = [value for values in series for value in values if _known(value)]
    if not known:
        return Markup("")
    ticks = _ticks(min(known + [0.0] * zero), max(known + [0.0] * zero))
    frame = _Frame(len(keys), ticks[0], ticks[-1])
    parts: list[str] = [*_scale(frame, ticks), *_dates(frame, keys)]
    if band is not None:
        parts += [_area(frame, part) for part in _stretches(zip(band.low, band.high, strict=True))]
    for mark in marks:
        x = frame.x(mark.at)
        parts.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}">'
            f"<title>{escape(mark.said)}</title></line>"
        )
    for bound in bounds:
        parts += [_path(frame, part, f"bound c{bound.colour % _COLOURS}") for part in _stretches(zip(bound.values))]
    for line in lines:
        parts += _line(frame, line, keys)
    drawing = "".join(parts)
    legend = "".join(
        [
            *(f'<span><i class="c{line.colour % _COLOURS}"></i>{escape(line.name)}</span>' for line in lines),
            *(f'<span><i class="bound c{each.colour % _COLOURS}"></i>{escape(each.name)}</span>' for each in bounds),
            *([f'<span><i class="band"></i>{escape(band.name)}</span>'] if band else []),
            *(['<span><i class="mark"></i>another version</span>'] if marks else []),
        ]
    )
    return Markup(
        f'<figure><svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{escape(said)}">{drawing}</svg>'
        f"<figcaption>{legend}</figcaption></figure>"
    )


def bar(value: float, bound: float, greatest: float) -> Markup:
    """A value as a bar with its bound as a line across it, on a scale that ends at the greatest of its table."""
    width, scale = 220.0, max(greatest, bound) or 1.0
    length, at = width * min(max(value, 0.0) / scale, 1.0), width * min(bound / scale, 1.0)
    kind = "over" if value > bound else "under"
    return Markup(
        f'<svg class="bar" viewBox="0 0 {width:.0f} 14" role="img" aria-label="{number(value)} of {number(bound)}">'
        f'<rect class="{kind}" y="3" width="{length:.1f}" height="8" rx="2"/>'
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="14"/></svg>'
    )


def number(value: float | None) -> str:
    """A number as people read it: four figures, no long tail of zeros."""
    if value is None or not math.isfinite(value):
        return "-"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    text = f"{value:.4f}" if abs(value) < 1 else f"{value:,.{max(0, 3 - int(math.log10(abs(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and abs(value) <= _LARGEST


@dataclass(frozen=True)
class _Frame:
    """Where values lie in the drawing."""

    count: int
    low: float
    high: float

    def x(self, position: int) -> float:
        inner = _WIDTH - _LEFT - _RIGHT
        return _LEFT + inner * ((position + 0.5) / self.count)

    def y(self, value: float) -> float:
        inner = _HEIGHT - _TOP - _BOTTOM
        return _TOP + inner * (self.high - value) / (self.high - self.low)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below the lowest value to above the highest."""
    if high - low <= 1e-12 * max(1.0, abs(low), abs(high)):
        reach = max(abs(high) / 2, 1e-6)
        low, high = low - reach, high + reach
    rough = (high - low) / _GAPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [position * step for position in range(first, last + 1)]


def _scale(frame: _Frame, ticks: Sequence[float]) -> Iterator[str]:
    for tick in ticks:
        y = frame.y(tick)
        kind = "axis" if abs(tick) < 1e-12 * abs(ticks[-1] - ticks[0]) else "grid"
        yield f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="y" x="{_LEFT - 8}" y="{y + 4:.1f}">{number(tick)}</text>'


def _dates(frame: _Frame, keys: Sequence[str]) -> Iterator[str]:
    step = max(1, math.ceil(len(keys) / _DATES))
    for position in range((len(keys) - 1) % step, len(keys), step):  # the newest has one
        at = "end" if position == len(keys) - 1 and len(keys) > 1 else "middle"
        yield (
            f'<text class="x" text-anchor="{at}" x="{frame.x(position):.1f}" y="{_HEIGHT - 6}">'
            f"{escape(keys[position])}</text>"
        )


def _line(frame: _Frame, line: Line, keys: Sequence[str]) -> Iterator[str]:
    colour = f"c{line.colour % _COLOURS}"
    for part in _stretches(zip(line.values)):
        yield _path(frame, part, colour)
    for position, value in enumerate(line.values):
        if not _known(value):
            continue
        kind = f"{colour} point" if len(keys) <= _POINTS else "hidden"
        yield (
            f'<circle class="{kind}" cx="{frame.x(position):.1f}" cy="{frame.y(value):.1f}" r="2.6">'
            f"<title>{escape(f'{keys[position]} {line.name}: {number(value)}')}</title></circle>"
        )


def _stretches(rows: Iterable[tuple[float | None, ...]]) -> Iterator[list[tuple[int, tuple[float, ...]]]]:
    """Positions and values of the stretches in which all values are known."""
    stretch: list[tuple[int, tuple[float, ...]]] = []
    for position, row in enumerate(rows):
        values = tuple(value for value in row if _known(value))
        if len(values) == len(row):
            stretch.append((position, values))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _path(frame: _Frame, stretch: Sequence[tuple[int, tuple[float, ...]]], kind: str) -> str:
    points = [(frame.x(position), frame.y(value)) for position, (value,) in stretch]
    if len(points) == 1:  # a line as short as its window is wide, so that it can be seen
        ((x, y),) = points
        half = (_WIDTH - _LEFT - _RIGHT) / frame.count / 2
        points = [(x - half, y), (x + half, y)] if "bound" in kind else []
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>' if points else ""


def _area(frame: _Frame, stretch: Sequence[tuple[int, tuple[float, ...]]]) -> str:
    half = (_WIDTH - _LEFT - _RIGHT) / frame.count / 2
    xs = [frame.x(position) for position, _ in stretch]
    xs = [xs[0] - half, *xs, xs[-1] + half]
    sides = [[frame.y(values[side]) for _, values in stretch] for side in (1, 0)]
    high, low = ([ys[0], *ys, ys[-1]] for ys in sides)
    around = [*zip(xs, high, strict=True), *reversed(list(zip(xs, low, strict=True)))]
    return f'<polygon class="band" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in around)}"/>'
