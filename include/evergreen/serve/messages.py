"""The body of a prediction request, and that of its answer, typed by the model's spec."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, WithJsonSchema, create_model, model_validator

from evergreen.spec.kinds import KINDS
from evergreen.spec.schema import ModelSpec

MAX_BATCH = 1_000  # entities of one request
MOST_EXPLAINED = 10  # of them: each takes a thousand times as long as a prediction

_ENTITY = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Body(Protocol):
    """What every model's request has."""

    entity: Any
    as_of: AwareDatetime | None
    explain: bool

    @property
    def requested(self) -> list[Any]:
        """The entities, each with the key as an attribute."""
        ...


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _one_way_of_asking(self) -> _Request:
        if (getattr(self, "entity", None) is None) == (getattr(self, "entities", None) is None):
            raise ValueError("either `entity` or `entities`")
        if getattr(self, "explain", False) and len(self.requested) > MOST_EXPLAINED:
            raise ValueError(f"at most {MOST_EXPLAINED} entities where the answer is explained")
        return self

    @property
    def requested(self) -> list[Any]:
        alone: Any = getattr(self, "entity", None)
        return [alone] if alone is not None else list(getattr(self, "entities", None) or ())


class Contribution(BaseModel):
    """What an input contributed."""

    input: str
    contribution: float
    error: float = Field(description="its standard error; 0: it is exact")


class Explained(BaseModel):
    """What a prediction was made of: usual and parts add up to the score."""

    scale: str = Field(description="of score and parts")
    usual: float | None = Field(default=None, description="the mean score of the version's reference")
    score: float | None = None
    parts: list[Contribution] = Field(default=[], description="the greatest first")
    reason: str = Field(default="", description="why there are no parts; empty: there are")


def request_type(spec: ModelSpec) -> type[BaseModel]:
    """The type of the model's requests: `{"entity": {…}}` or `{"entities": [{…}, …]}`, and in replay mode `as_of`.

    An entity has the keys of everything that the request names, and what the spec's `request.inputs` say. All of them
    must be there; what is not known is null, but for the entity's own keys.
    """
    title = _title(spec)
    names: dict[str, Any] = {name: (kind, ...) for name, kind in spec.asking.sent.items()}
    entity: Any = create_model(f"{title}Entity", __config__=_ENTITY, **names)
    fields: dict[str, Any] = {
        "entity": (entity | None, Field(default=None, description="one, answered alone")),
        "entities": (
            list[entity] | None,
            # Read as far as the first that is wrong, or one too many: a body has room for half a million mistakes.
            Field(
                default=None,
                min_length=1,
                max_length=MAX_BATCH,
                fail_fast=True,
                description="several, answered in their order",
            ),
        ),
        "as_of": (
            AwareDatetime | None,
            Field(default=None, description="the moment of the prediction; only in replay mode"),
        ),
        "explain": (
            bool,
            Field(default=False, description=f"what each input contributed too; of at most {MOST_EXPLAINED} entities"),
        ),
    }
    return create_model(f"{title}Request", __base__=_Request, **fields)


def answer_type(spec: ModelSpec) -> type[BaseModel]:
    """The type of the model's answers, to document them; `serve.answering` writes them.

    A prediction is a number, or of a label with several classes an object: class → probability. Beside it stands the
    class that is decided on, where the label has classes.
    """
    title, problem = _title(spec), spec.problem
    prediction: Any = Annotated[float, Field(description=problem.answered)]
    if problem.by_class:
        names = [str(name) for name in problem.values or ()]
        schema = {"type": "object", "properties": {name: {"type": "number"} for name in names}, "required": names}
        prediction = Annotated[dict[str, float], WithJsonSchema({**schema, "description": problem.answered})]
    of_class: dict[str, Any] = {}
    if (values := problem.values) is not None:
        by = "the most probable one" if problem.by_class else "1 from the version's operating threshold on, else 0"
        listed = WithJsonSchema({"enum": list(values), "description": by})
        decided: Any = Annotated[type(values[0]), listed]
        of_class = {"class": (decided | None, Field(default=None, description="only where there is a prediction"))}
    fields: dict[str, Any] = {
        **{name: (KINDS[kind].sent, ...) for name, kind in spec.entity.columns.items()},
        "prediction": (prediction | None, Field(description="null: nothing is known of the entity")),
        **of_class,
        "features_at": (AwareDatetime | None, Field(description="as of when the features are")),
        "stale": (list[str], Field(default=[], description="views whose features are older than their bound, if any")),
        "error": (str, Field(default="", description="only where the prediction is null: why")),
        "explanation": (Explained | None, Field(default=None, description="only where it was asked for")),
        "version": (int | None, Field(default=None, description="only where the version beside the champion answered")),
        "role": (str | None, Field(default=None, description="likewise: that version's")),
    }
    each: Any = create_model(f"{title}Prediction", **fields)
    return create_model(
        f"{title}Answer",
        request_id=(str, ...),
        model=(str, ...),
        version=(int, ...),
        as_of=(AwareDatetime, ...),
        predictions=(list[each], Field(description="one per entity, in their order")),
        role=(str | None, Field(default=None, description="only where it is not the champion")),
    )


def _title(spec: ModelSpec) -> str:
    return "".join(part.title() for part in spec.model.split("_"))
