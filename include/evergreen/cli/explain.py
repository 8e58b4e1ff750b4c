"""The command that says what a prediction was made of: `explain`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from evergreen.cli.parsing import Commands
from evergreen.quoting import shown

if TYPE_CHECKING:
    from evergreen.explain.explaining import Explained


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    explain = commands.add_parser("explain", help="say what each input contributed to an answer, by its request_id")
    explain.add_argument("model", help="the model's name")
    explain.add_argument("request_id", help="of the answer")
    explain.add_argument("--json", action="store_true", help="print all of it as JSON")
    explain.set_defaults(command=_explain)


def _explain(options: argparse.Namespace) -> int:
    from evergreen.explain import explaining
    from evergreen.local import quiet

    quiet.begin_in_silence()
    explained = explaining.of_request(options.model, options.request_id)
    if options.json:
        print(json.dumps([_as_json(each) for each in explained], indent=1))
    else:
        print("\n".join(line for each in explained for line in _lines(each)))
    return 0 if all(each.explanation is not None for each in explained) else 1


def _as_json(explained: Explained) -> dict[str, object]:
    made, said = explained.explanation, explained.prediction
    return {
        "position": said.position,
        "version": said.version,
        "answer": said.answered,
        "scale": explained.scale,
        "reason": explained.reason or None,
        "explanation": None if made is None else asdict(made),
        "features": dict(said.features),
    }


def _lines(explained: Explained) -> Iterator[str]:
    said, made = explained.prediction, explained.explanation
    asked = f"{said.model}, entity {shown(said.entity)} as of {said.as_of.isoformat()}"
    yield f"{asked}, version {said.version}: {said.answered}"
    if made is None:
        yield f"  not explained: {explained.reason}"
        return
    how = "exact: the parts add up" if made.way == "one at a time" else "sampled: each part with its standard error"
    yield f"  {explained.scale}: {made.score:.4f}, usually {made.usual:.4f} ({how})"
    for part in made.parts:
        error = "" if made.way == "one at a time" else f" ± {part.error:.4f}"
        yield f"  {part.contribution:+10.4f}{error}  {part.input} = {shown(said.features.get(part.input))}"
