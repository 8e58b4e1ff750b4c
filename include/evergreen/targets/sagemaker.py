"""An endpoint of Amazon SageMaker: a variant for each version, weights for their shares, a shadow variant, and alarms
that put back what served before."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evergreen.answers import Remote, refusal, silence
from evergreen.errors import DeployRefused, RequestRefused, ServiceUnavailable
from evergreen.targets import rules
from evergreen.targets.protocol import Packaged
from evergreen.targets.rules import Placed, Role, Serving

if TYPE_CHECKING:
    from botocore.client import BaseClient

_ENDED = {"InService", "OutOfService", "Failed", "UpdateRollbackFailed"}
_BUSY = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "ResourceInUse"}
_HERE = Remote("SageMaker", "the standard AWS variables", "AWS_DEFAULT_REGION", "its console")


@dataclass(frozen=True)
class Hosting:
    """How a version is run.

    Attributes:
        image: that serves an MLflow model (`mlflow sagemaker build-and-push-container`), or another one.
        role: ARN of the role that the containers have.
        instances: of each variant.
        alarms: names of CloudWatch alarms; one that goes off during an update puts back what served before.
        wait: seconds between two looks.
        patience: seconds that a step may take.
    """

    image: str
    role: str
    instance_type: str = "ml.m5.large"
    instances: int = 1
    alarms: tuple[str, ...] = ()
    wait: float = 15.0
    patience: float = 3600.0


class SageMaker:
    """The endpoint of a model, of the model's name with hyphens."""

    def __init__(self, model: str, hosting: Hosting, client: BaseClient) -> None:
        """Args: client: `boto3.client("sagemaker")`."""
        self.endpoint = model.replace("_", "-")
        self._hosting, self._client = hosting, client

    def serving(self) -> Serving:
        """What the endpoint has, by its own word."""
        return _placed(self._described())

    def put(self, version: Packaged, role: Role) -> None:
        """Make the version a variant; raises as `Target.put` does."""
        described = self._described()
        now = _placed(described)
        wanted = rules.put(now, version.number, role)
        if wanted == now:
            return
        with _asking(f"putting version {version.number} on the endpoint {self.endpoint}"):
            self._create_model(version)
            config = self._create_config(wanted)
            if described is None:
                self._client.create_endpoint(EndpointName=self.endpoint, EndpointConfigName=config)
            else:
                self._client.update_endpoint(
                    EndpointName=self.endpoint,
                    EndpointConfigName=config,
                    **self._guarded(),
                    RetainAllVariantProperties=False,
                )
        self._wait(f"putting version {version.number} as {role}", config)

    def route(self, weights: Mapping[int, int]) -> None:
        """Give the variants their weights; raises as `Target.route` does."""
        now = self.serving()
        wanted = rules.route(now, weights)
        if wanted == now:
            return
        with _asking(f"dealing out requests to the endpoint {self.endpoint}"):
            self._client.update_endpoint_weights_and_capacities(
                EndpointName=self.endpoint,
                DesiredWeightsAndCapacities=[
                    {"VariantName": rules.named(number, placed.role), "DesiredWeight": float(placed.share)}
                    for number, placed in wanted.items()
                    if placed.role != "shadow"
                ],
            )
        self._wait("dealing out requests", None)

    def _guarded(self) -> dict[str, Any]:
        """What an update does beside: new instances take over at once, and go again where an alarm goes off."""
        if not self._hosting.alarms:
            return {}
        routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300}
        return {
            "DeploymentConfig": {
                "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 120},
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in self._hosting.alarms]},
            }
        }

    def _create_model(self, version: Packaged) -> None:
        name = self._name_of(version.number)
        if not self._there(lambda: self._client.describe_model(ModelName=name)):
            container = {"Image": self._hosting.image, "ModelDataUrl": version.location}
            self._client.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=self._hosting.role)

    def _create_config(self, wanted: Serving) -> str:
        """The name of a configuration that says all that is wanted: the same for the same."""
        variants, shadows = (
            [self._variant(number, placed) for number, placed in wanted.items() if (placed.role == "shadow") == shadow]
            for shadow in (False, True)
        )
        for shadow in shadows:  # as many of the champion's requests as its weight is of the champion's: all
            shadow["InitialVariantWeight"] = 100.0
        stated = {"ProductionVariants": variants} | ({"ShadowProductionVariants": shadows} if shadows else {})
        name = f"{self.endpoint}-{hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:12]}"
        if not self._there(lambda: self._client.describe_endpoint_config(EndpointConfigName=name)):
            self._client.create_endpoint_config(EndpointConfigName=name, **stated)
        return name

    def _variant(self, number: int, placed: Placed) -> dict[str, Any]:
        return {
            "VariantName": rules.named(number, placed.role),
            "ModelName": self._name_of(number),
            "InitialInstanceCount": self._hosting.instances,
            "InstanceType": self._hosting.instance_type,
            "InitialVariantWeight": float(placed.share),
        }

    def _name_of(self, number: int) -> str:
        return f"{self.endpoint}-v{number}"

    def _described(self) -> dict[str, Any] | None:
        with _asking(f"looking at the endpoint {self.endpoint}"):
            return self._there(lambda: self._client.describe_endpoint(EndpointName=self.endpoint))

    def _there(self, describe: Any) -> dict[str, Any] | None:
        """What is described; None: there is no such thing, which SageMaker tells by a message alone."""
        from botocore.exceptions import ClientError

        try:
            found: dict[str, Any] = describe()
        except ClientError as error:
            told = error.response.get("Error", {})
            if told.get("Code") in ("ValidationException", "ValidationError") and "ould not find" in told.get(
                "Message", ""
            ):
                return None
            raise
        return found

    def _wait(self, doing: str, config: str | None) -> None:
        """Until the endpoint serves, by the wanted configuration if there is one."""
        until = time.monotonic() + self._hosting.patience
        while True:
            described = self._described() or {}
            status = described.get("EndpointStatus", "Failed")
            if status in _ENDED:
                break
            if time.monotonic() > until:
                raise ServiceUnavailable(
                    f"{doing} on the endpoint {self.endpoint}",
                    found=f"{status} after {self._hosting.patience:.0f} s",
                    expected="InService",
                    next_step="look at the endpoint in SageMaker's console, then do this again",
                )
            time.sleep(self._hosting.wait)
        other = config is not None and described.get("EndpointConfigName") != config
        if status != "InService" or other:
            reason = described.get("FailureReason") or f"{described.get('EndpointConfigName')} serves"
            raise DeployRefused(
                f"{doing} on the endpoint {self.endpoint}",
                found=f"{status}: {reason}",
                expected=f"the configuration {config or 'that was there'} in service",
                next_step="look at the variant's log in CloudWatch, and at the alarms; what served before serves still",
            )


def _placed(described: Mapping[str, Any] | None) -> dict[int, Placed]:
    """The versions of an endpoint: a variant's name says which, and as what."""
    found: dict[int, Placed] = {}
    if described is None:
        return found
    for variant in described.get("ProductionVariants", []):
        if (named := rules.of_name(variant["VariantName"])) is not None:
            found[named[0]] = Placed(named[1], round(variant.get("CurrentWeight", 0.0)))
    for variant in described.get("ShadowProductionVariants", []):
        if (named := rules.of_name(variant["VariantName"])) is not None:
            found[named[0]] = Placed(named[1], 0)
    return found


@contextmanager
def _asking(doing: str) -> Iterator[None]:
    """Turns AWS's errors into ours."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

    try:
        yield
    except ClientError as error:
        # What may be taken a moment later has the status of a bad request, too.
        later = error.response["Error"]["Code"] in _BUSY or "in-progress" in error.response["Error"].get("Message", "")
        status = 503 if later else error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise refusal(doing, status, str(error), _HERE) from error
    except (NoCredentialsError, ParamValidationError) as error:
        raise RequestRefused(
            doing,
            found=f"{type(error).__name__}: {error}",
            expected="a login, and values that SageMaker takes",
            next_step="set the standard AWS variables, and look at what the target was given",
        ) from error
    except BotoCoreError as error:
        raise silence(doing, f"{type(error).__name__}: {error}", _HERE) from error
