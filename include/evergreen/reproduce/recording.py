"""What came of making a version once more, in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evergreen.history import ledger, story
from evergreen.history.events import Event, Reproduced
from evergreen.history.story import Entry
from evergreen.reproduce.rules import Reproduction


def record(found: Reproduction, actor: str) -> None:
    """Record what came of it; each time, since it is another one's word."""

    def once_more(entries: Sequence[Entry]) -> Iterator[Event]:
        yield Reproduced(
            id=story.next_id(f"reproduced/{found.model}/{found.version}", entries),
            model=found.model,
            as_of=found.as_of,
            actor=actor,
            reason=found.reason,
            version=found.version,
            run_id=found.run_id,
            outcome=found.outcome,
            searched=found.searched,
            sha256={f"{each.of}: {each.what}": each.now for each in found.compared if each.now is not None},
            moved=tuple(each.what for each in found.moved),
        )

    ledger.extend(found.model, once_more, "reproduced")
