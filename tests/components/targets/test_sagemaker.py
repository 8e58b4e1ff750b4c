"""SageMaker: the suite against moto; shadow variants, alarms and failures against botocore's stubs.

moto knows neither `UpdateEndpoint` nor shadow variants: what they do to an endpoint is added to it here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws
from moto.sagemaker.models import FakeEndpoint, SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse

from evergreen.errors import DeployRefused, RequestRefused, ServiceUnavailable
from evergreen.targets.protocol import Packaged, Target
from evergreen.targets.rules import Placed
from evergreen.targets.sagemaker import Hosting, SageMaker

from .conformance import Conformance, Versions

ROLE = "arn:aws:iam::123456789012:role/serves"
HOSTING = Hosting("123456789012.dkr.ecr.eu-west-1.amazonaws.com/mlflow:3", ROLE, wait=0.0, patience=5.0)
SHADOWS = "ShadowProductionVariants"


def client() -> Any:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client("sagemaker", region_name="eu-west-1", **keys)


@pytest.fixture
def packaged() -> Versions:
    return lambda number: Packaged("no_show", number, f"s3://models/no_show/{number}/model.tar.gz")


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """moto with what it lacks."""
    shadows: dict[str, list[dict[str, Any]]] = {}
    create, describe = SageMakerResponse.create_endpoint_config, SageMakerModelBackend.describe_endpoint

    def create_endpoint_config(self: Any) -> Any:
        shadows[self._get_param("EndpointConfigName")] = self._get_param(SHADOWS) or []
        return create(self)

    def describe_endpoint(self: Any, name: str) -> dict[str, Any]:
        described: dict[str, Any] = describe(self, name)
        beside = [{"VariantName": each["VariantName"]} for each in shadows[described["EndpointConfigName"]]]
        return described | ({SHADOWS: beside} if beside else {})

    def update_endpoint(self: Any) -> str:
        name, config = self._get_param("EndpointName"), self._get_param("EndpointConfigName")
        endpoint: FakeEndpoint = self.sagemaker_backend.endpoints[name]
        variants = self.sagemaker_backend.describe_endpoint_config(config)["ProductionVariants"]
        endpoint.endpoint_config_name = config
        endpoint.production_variants = endpoint._process_production_variants(variants)
        return f'{{"EndpointArn": "{endpoint.arn}"}}'

    monkeypatch.setattr(SageMakerResponse, "create_endpoint_config", create_endpoint_config)
    monkeypatch.setattr(SageMakerModelBackend, "describe_endpoint", describe_endpoint)
    monkeypatch.setattr(SageMakerResponse, "update_endpoint", update_endpoint, raising=False)
    with mock_aws():
        yield


class TestSuite(Conformance):
    @pytest.fixture
    def target(self, moto: None) -> Target:
        return SageMaker("no_show", HOSTING, client())

    def test_what_is_made_is_named_after_model_and_version(self, target: SageMaker, packaged: Versions) -> None:
        target.put(packaged(1), "champion")
        there = client()
        model = there.describe_model(ModelName="no-show-v1")
        assert model["PrimaryContainer"] == {"Image": HOSTING.image, "ModelDataUrl": packaged(1).location}
        assert model["ExecutionRoleArn"] == ROLE
        (variant,) = there.describe_endpoint(EndpointName="no-show")["ProductionVariants"]
        assert variant["VariantName"] == "champion-v1"


@pytest.fixture
def stubbed() -> Iterator[Stubber]:
    """Amazon's own description of its API checks what is asked and what is answered."""
    there = client()
    with Stubber(there) as stub:
        yield stub
        stub.assert_no_pending_responses()


def target_of(stub: Stubber, **hosting: Any) -> SageMaker:
    return SageMaker("no_show", Hosting(HOSTING.image, ROLE, wait=0.0, patience=5.0, **hosting), stub.client)


def endpoint(status: str, config: str, *variants: tuple[str, float], shadow: str = "", why: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {
        "EndpointName": "no-show",
        "EndpointArn": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/no-show",
        "EndpointConfigName": config,
        "EndpointStatus": status,
        "CreationTime": 0,
        "LastModifiedTime": 0,
        "ProductionVariants": [{"VariantName": name, "CurrentWeight": weight} for name, weight in variants],
    }
    found |= {SHADOWS: [{"VariantName": shadow, "CurrentWeight": 100.0}]} if shadow else {}
    return found | ({"FailureReason": why} if why else {})


def missing(stub: Stubber, what: str) -> None:
    stub.add_client_error(what, "ValidationException", "Could not find what was asked for", http_status_code=400)


def prepared(stub: Stubber, expected: dict[str, Any] | None = None) -> None:
    """Up to the update: the champion serves, and neither model nor configuration is there."""
    stub.add_response("describe_endpoint", endpoint("InService", "before", ("champion-v1", 100.0)))
    missing(stub, "describe_model")
    stub.add_response("create_model", {"ModelArn": "arn:aws:sagemaker:eu-west-1:123456789012:model/no-show-v2"})
    missing(stub, "describe_endpoint_config")
    stub.add_response("create_endpoint_config", {"EndpointConfigArn": "arn:aws:sagemaker:eu-west-1:1:c/x"}, expected)


def variant(name: str, version: int, weight: float) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": f"no-show-v{version}",
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
        "InitialVariantWeight": weight,
    }


def updated(stub: Stubber, **more: Any) -> None:
    asked = {"EndpointName": "no-show", "EndpointConfigName": ANY, "RetainAllVariantProperties": False}
    stub.add_response(
        "update_endpoint", {"EndpointArn": "arn:aws:sagemaker:eu-west-1:1:endpoint/no-show"}, asked | more
    )


def test_a_shadow_is_a_shadow_variant_that_sees_all_requests(stubbed: Stubber, packaged: Versions) -> None:
    config = {
        "EndpointConfigName": ANY,
        "ProductionVariants": [variant("champion-v1", 1, 100.0)],
        SHADOWS: [variant("shadow-v2", 2, 100.0)],
    }
    prepared(stubbed, config)
    updated(stubbed)
    target = target_of(stubbed)
    wanted = named(target, {1: Placed("champion", 100), 2: Placed("shadow", 0)})
    serving = endpoint("InService", wanted, ("champion-v1", 100.0), shadow="shadow-v2")
    for status in ("Updating", "InService"):
        stubbed.add_response("describe_endpoint", serving | {"EndpointStatus": status})
    target.put(packaged(2), "shadow")
    stubbed.add_response("describe_endpoint", serving)
    assert target.serving() == {1: Placed("champion", 100), 2: Placed("shadow", 0)}


def named(target: SageMaker, wanted: dict[int, Placed]) -> str:
    """The name of the configuration that is made of it."""
    with mock_aws():
        there = SageMaker(target.endpoint, target._hosting, client())
        for number in wanted:
            there._create_model(Packaged("no_show", number, "s3://models/x"))
        return there._create_config(wanted)


def test_an_update_is_guarded_by_alarms_and_one_that_goes_off_is_told(stubbed: Stubber, packaged: Versions) -> None:
    prepared(stubbed)
    guarded = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300},
            "TerminationWaitInSeconds": 120,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "no-show-errors"}, {"AlarmName": "no-show-latency"}]},
    }
    updated(stubbed, DeploymentConfig=guarded)
    rolled_back = endpoint("InService", "before", ("champion-v1", 100.0), why="Alarm no-show-errors went off")
    for status in ("Updating", "RollingBack", "InService"):
        stubbed.add_response("describe_endpoint", rolled_back | {"EndpointStatus": status})
    target = target_of(stubbed, alarms=("no-show-errors", "no-show-latency"))
    with pytest.raises(DeployRefused, match="no-show-errors went off"):
        target.put(packaged(2), "champion")
    stubbed.add_response("describe_endpoint", rolled_back)
    assert target.serving() == {1: Placed("champion", 100)}


def test_a_version_that_does_not_start_is_told(stubbed: Stubber, packaged: Versions) -> None:
    prepared(stubbed)
    updated(stubbed)
    stubbed.add_response("describe_endpoint", endpoint("Failed", "x", ("champion-v1", 100.0), why="no such image"))
    with pytest.raises(DeployRefused, match="no such image"):
        target_of(stubbed).put(packaged(2), "champion")


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 400, RequestRefused),
        ("ThrottlingException", 400, ServiceUnavailable),
        ("InternalFailure", 500, ServiceUnavailable),
    ],
)
def test_what_amazon_refuses_is_told_as_ours(stubbed: Stubber, code: str, status: int, error: type[Exception]) -> None:
    stubbed.add_client_error("describe_endpoint", code, "no", http_status_code=status)
    with pytest.raises(error, match="looking at the endpoint no-show"):
        target_of(stubbed).serving()


def test_an_endpoint_that_is_being_updated_is_tried_again(stubbed: Stubber, packaged: Versions) -> None:
    prepared(stubbed)
    why = "Cannot update in-progress endpoint"
    stubbed.add_client_error("update_endpoint", "ValidationException", why, http_status_code=400)
    with pytest.raises(ServiceUnavailable, match="in-progress"):
        target_of(stubbed).put(packaged(2), "champion")
