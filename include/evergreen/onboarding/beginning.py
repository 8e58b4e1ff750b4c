"""From a sample to the checked folder of a model, and a file in the landing zone."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from evergreen import files, filesystems, object_store
from evergreen.errors import PermanentError
from evergreen.ingest import parse
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin
from evergreen.onboarding import databases, dealing, profiling, proposing, reading, writing
from evergreen.onboarding.databases import Asked
from evergreen.onboarding.outcome import Choices
from evergreen.onboarding.rules import Draft
from evergreen.quoting import shown
from evergreen.settings import Settings
from evergreen.spec.dataset import Source
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class Begun:
    """A folder that was written."""

    draft: Draft
    spec: ModelSpec
    folder: Path
    rows: pa.Table  # of the sample, as its source reads them: the declared columns and `_unparsed`


def begin(here: Settings, model: str, sample: Path | Asked, choices: Choices, command: str) -> Begun:
    """Write the folder of a model of a sample, and put a file where its source reads it.

    The folder appears whole, and only when every rule of a spec holds.

    Args:
        sample: a file, or rows of a database, which stay there.
        command: how it was asked for, which the folder tells.

    Raises:
        PermanentError: the name is none, or taken.
        SampleUnusable, LabelUnclear: nothing can be made of the sample, or not what is asked for.
        ConnectionUnknown, ServiceUnavailable, RequestRefused: as `databases.read` says.
    """
    _free(here, model)
    cells = reading.read(sample) if isinstance(sample, Path) else databases.read(sample)
    draft = proposing.draft(model, profiling.profile(cells, choices), choices.every, look_back=choices.look_back)
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / model
        for name, text in writing.folder(draft, command).items():
            (written / name).parent.mkdir(parents=True, exist_ok=True)
            (written / name).write_text(text, encoding="utf-8")
        spec = load_spec(written, here.data, deep=True)
        rows = None if draft.relation is None else databases.as_declared(draft, spec, cells)
        target = here.models / model
        shutil.copytree(written, target)
    landed = []
    for below, content in dealing.batches(draft, cells):
        _land(here, below, content)
        landed.append(Part(Origin(model, f"{here.landing.rstrip('/')}/{below}"), content))
    if rows is None:
        rows = parse.parse(landed, source_of(spec))
    return Begun(draft, load_spec(target, here.data), target, rows)


def source_of(spec: ModelSpec) -> Source:
    """The only source of a model that was made so, as ingestion reads it."""
    ((name, _),) = spec.sources.items()
    return spec.own_data().as_read(name)


def _free(here: Settings, model: str) -> None:
    doing = f"making the model {shown(model)}"
    if not _NAME.fullmatch(model):
        raise PermanentError(
            doing,
            found=shown(model),
            expected="a name of small letters, digits and _, at most 40, a letter first",
            next_step="choose another name",
        )
    for place in (here.models / model, here.data / model):
        if place.exists():
            raise PermanentError(
                doing,
                found=f"{place} is there already",
                expected="a name that no model and no dataset has",
                next_step="choose another name, or delete that folder",
            )


def _land(here: Settings, below: str, content: bytes) -> None:
    """Put a batch into the landing zone."""
    if here.landing.startswith(object_store.SCHEME):
        uri = f"{here.landing.rstrip('/')}/{below}"
        with object_store.answering("uploading the sample", uri, "EVERGREEN_LANDING"):
            object_store.put(uri, content)
        return
    if filesystems.holds(here.landing):
        filesystems.write(f"{here.landing.rstrip('/')}/{below}", content, "EVERGREEN_LANDING")
        return
    with files.whole(Path(here.landing) / below) as partial:
        partial.write_bytes(content)
