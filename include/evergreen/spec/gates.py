"""`gates` of `model.yaml`: what a candidate must meet before it may be promoted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, SerializerFunctionWrapHandler, model_serializer, model_validator

from evergreen.spec.behaviour import MOST_TESTS, Behaviour
from evergreen.spec.fairness import Fairness
from evergreen.spec.leaning import Leaks, Noise
from evergreen.spec.measures import MetricName
from evergreen.spec.packaged import Packaged
from evergreen.spec.partial import Declared, unsaid
from evergreen.spec.problem import Problem
from evergreen.spec.slices import Slices


class BetterThanChampion(Declared):
    """How a candidate is compared with the champion: a paired test on the same rows, where those of one entity, or of
    one day of requests, count as alike. A number alone is a margin by superiority."""

    by: Literal["superiority", "non_inferiority"] | None = Field(
        default=None,
        description=(
            "superiority: the gain is surely above 0, and at least the margin; non_inferiority: the candidate is "
            "surely not worse by the margin, and fresher. Null: non_inferiority; where the training follows a change "
            "of the world superiority, on rows from after it"
        ),
    )
    margin: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description=(
            "the gain, or loss, of the search metric that matters; null: a tenth of what the champion gains over the "
            "baseline on the same rows"
        ),
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        default=0.95,
        description=(
            "how sure: at 0.95, of a hundred candidates that are as good as the champion (superiority), or worse by "
            "the margin (non_inferiority), five are promoted at most. Each end of a gate's interval holds with it"
        ),
    )

    @classmethod
    def written_out(cls, given: Any) -> Any:
        """As a mapping, where a number stands for it."""
        stated = isinstance(given, int | float) and not isinstance(given, bool)
        return {"by": "superiority", "margin": float(given)} if stated else given

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return cls.written_out(given)

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> Any:
        """A number where it says all: specs that versions have stored keep their words."""
        short = self.margin is not None and self == type(self)(by="superiority", margin=self.margin)
        return self.margin if short else handler(self)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema.pop("type", None)
        return schema | {"anyOf": [{"type": "number", "minimum": 0}, {"type": "object"}]}


class Gates(Declared):
    """Bounds that a candidate must meet. Missing evidence fails closed."""

    minimum_rows: Annotated[int, Field(ge=1)] = Field(description="fewest evaluation rows")
    minimum_positives: Annotated[int, Field(ge=1)] = Field(
        default=20, description="fewest evaluation rows of each class of a binary label"
    )
    minimum_per_class: Annotated[int, Field(ge=1)] = Field(
        default=20, description="fewest evaluation rows of each class of a multiclass label"
    )
    floor: dict[MetricName, float] = Field(
        min_length=1, description="absolute bound per metric (a ceiling where lower is better)"
    )
    baseline: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description=(
            "what a candidate must beat: an input, or an expression of inputs in DuckDB's SQL, such as `price` for "
            "'the price stays'; of a binary label a probability, of a multiclass one the name of a class. Where it is "
            "null, the default counts: what the rows that were learned from have on average"
        ),
    )
    better_than_baseline: float = Field(
        default=0.0, ge=0.0, description="least gain over the baseline, in the search metric"
    )
    better_than_champion: BetterThanChampion = Field(
        default=BetterThanChampion(), exclude_if=unsaid(BetterThanChampion())
    )

    refit_loss: float = Field(
        default=0.1,
        exclude_if=unsaid(0.1),
        ge=0.0,
        description=(
            "with `refit`: the share of the gated fit's gain over the baseline that the refit may lose on the newest "
            "rows, in the search metric"
        ),
    )
    refit_distance: Annotated[float, Field(gt=0)] = Field(
        default=2.0,
        exclude_if=unsaid(2.0),
        description=(
            "with `refit`: largest distance of the two fits' answers on the newest rows, in standard deviations of the "
            "gated fit's"
        ),
    )

    slices: Slices | None = Field(default=None, exclude_if=unsaid(None), description="null: no slice is looked at")
    fairness: Fairness | None = Field(
        default=None, exclude_if=unsaid(None), description="of a binary label; null: no groups are compared"
    )
    behaviour: tuple[Behaviour, ...] = Field(
        default=(),
        max_length=MOST_TESTS,
        exclude_if=unsaid(()),
        description="tests of answers, each a gate; of a label with one number per answer",
    )
    noise: Noise | None = Field(default=None, exclude_if=unsaid(None), description="null: no noise is tried")
    packaged: Packaged | None = Field(
        default=None, exclude_if=unsaid(None), description="null: neither size nor latency is looked at"
    )
    leaks: Leaks | None = Field(default=None, exclude_if=unsaid(None), description="null: no leak is looked for")

    def fewest_of_class(self, problem: Problem) -> int:
        """How many evaluation rows each class needs; 0 where the label has no classes."""
        return 0 if problem.class_bound is None else int(getattr(self, problem.class_bound))
