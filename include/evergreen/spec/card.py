"""`card` of `model.yaml`: what only people know of a model, for the card of each of its versions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evergreen.spec.partial import Declared

MOST_SENTENCES = 30
Sentence = Annotated[str, Field(min_length=1, max_length=2000)]
Sentences = Annotated[tuple[Sentence, ...], Field(max_length=MOST_SENTENCES)]


class Card(Declared):
    """What the card of a version says beside what is recorded anyway."""

    intended_use: Sentence = Field(description="what the answers are for, and who uses them")
    out_of_scope: Sentences = Field(default=(), description="what they must not be used for")
    limits: Sentences = Field(default=(), description="where the model is known to be weak")
    ethics: Sentences = Field(default=(), description="whom it concerns, and what was considered about that")
