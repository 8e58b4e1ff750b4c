"""Landing zone and lake in a real S3 server: the same day as on the disk, and errors that say what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote, urlsplit

import boto3
import pytest

from evergreen import folders
from evergreen.addresses import free_port
from evergreen.errors import (
    BatchMissing,
    BatchUnreadable,
    ConnectionUnknown,
    RequestRefused,
    ServiceUnavailable,
    TransientError,
)
from evergreen.ingest import landing
from evergreen.ingest import stages as ingestion
from evergreen.lake import staging, tables
from evergreen.lake.schema import RAW
from evergreen.orchestration import datasets
from evergreen.settings import Settings, settings
from evergreen_simulator.landing import write_days
from tests.components.lake.ranges import corrected

from .conftest import FIRST, WORLD, Json, churn, ingest, lake, run_of, says

ZONE = "s3://evergreen/landing"
DAY = "2026-01-01"


@pytest.fixture(scope="module")
def landed_in_s3(s3: str) -> str:
    for _ in write_days(WORLD, FIRST, FIRST + timedelta(days=0), ZONE):
        pass
    return ZONE


@pytest.fixture
def in_s3(home: Settings, landed_in_s3: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Landing zone and lake in the bucket."""
    monkeypatch.setenv("EVERGREEN_LANDING", landed_in_s3)
    monkeypatch.setenv("EVERGREEN_LAKE", f"s3://evergreen/lake/{home.database_prefix}ingest")
    settings.cache_clear()
    with corrected(s3) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield
    settings.cache_clear()


def test_a_day_from_s3_to_s3_is_the_day_on_the_disk(in_s3: None, reference: Json) -> None:
    ingest(run_of(0))
    stored = lake(churn())
    assert stored == {name: reference["lake"][name] for name in stored}
    assert {name.split("/")[0] for name in stored} == {"raw", "quarantine", "features"}


@pytest.fixture
def by_connection(landed_in_s3: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a connection that opens the bucket, which the environment does not."""
    login, password = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return f"aws://{login}:{password}@/?region_name=us-east-1&endpoint_url={quote(s3, safe='')}"


CONNECTED = "s3://shop_s3@evergreen/landing"


def test_a_connection_in_the_address_opens_the_bucket(
    by_connection: str, home: Settings, reference: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_LANDING", CONNECTED)
    settings.cache_clear()
    run = replace(run_of(0), connections={"shop_s3": by_connection}.__getitem__)  # as Airflow resolves it
    ingest(run)
    stored = lake(churn())
    assert stored == {name: reference["lake"][name] for name in stored}
    extracted = ingestion.extract(run)
    staged = extracted.sources["customers"]
    assert staged.files[0].name == f"{CONNECTED}/churn/customers/2026-01-01.csv"
    (read_from, *_) = datasets.of(ingestion.extract, run.spec, {}, extracted).inputs
    assert read_from.namespace == "s3://evergreen", "lineage names the bucket, however it is opened"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_S3", by_connection)  # outside of Airflow
    several = landing.read(
        "s3://shop_s3@evergreen", "landing/churn/*.csv".replace("*", "usage/{partition}*"), DAY, "it"
    )
    assert several[0].origin.name == f"{CONNECTED}/churn/usage/{DAY}.csv"
    folders.write(f"{CONNECTED}/one/a@b.txt", b"x", "EVERGREEN_LANDING")
    assert folders.below(f"{CONNECTED}/one", "EVERGREEN_LANDING") == [f"{CONNECTED}/one/a@b.txt"]
    assert folders.read(f"{CONNECTED}/one/a@b.txt", "EVERGREEN_LANDING") == b"x"
    folders.remove([f"{CONNECTED}/one/a@b.txt"], "EVERGREEN_LANDING")
    assert folders.below(f"{CONNECTED}/one", "EVERGREEN_LANDING") == []


def test_a_connection_that_does_not_open_it_is_told_without_its_password(
    by_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, secret = urlsplit(by_connection).username, urlsplit(by_connection).password
    assert login and secret
    role = by_connection + "&role_arn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx"
    for uri, error, words in (
        (None, ConnectionUnknown, "no connection shop_s3"),
        ("postgresql://a:geheim@b/c", ConnectionUnknown, "a connection shop_s3 of type postgresql"),
        (role, ConnectionUnknown, "a connection shop_s3 with role_arn"),
        (by_connection.replace(secret, "geheim"), RequestRefused, "the connection shop_s3"),
        (by_connection.replace(login, "nobody"), RequestRefused, "the connection shop_s3"),
        (by_connection.replace("127.0.0.1", "127.0.0.1%3A1%2F"), ServiceUnavailable, "the connection shop_s3"),
    ):
        known = {} if uri is None else {"shop_s3": uri}
        with pytest.raises(error) as caught:
            landing.read(CONNECTED, "churn/usage/{partition}.csv", DAY, "churn/usage", known.__getitem__)
        assert words in str(caught.value) and "geheim" not in str(caught.value) and secret not in str(caught.value)
    with pytest.raises(RequestRefused, match="a login in the address that EVERGREEN_LANDING holds") as refused:
        landing.read(f"s3://{login}:geheim@evergreen", "churn/usage/{partition}.csv", DAY, "churn/usage")
    assert "geheim" not in str(refused.value)
    for setting in ("EVERGREEN_LAKE", "EVERGREEN_STAGING"):
        monkeypatch.setenv(setting, CONNECTED)
        settings.cache_clear()
        with pytest.raises(RequestRefused, match=f"leave the connection out of {setting}"):
            tables.read(RAW.of("churn", "usage")) if setting == "EVERGREEN_LAKE" else staging.clean("churn")
        monkeypatch.delenv(setting)
    settings.cache_clear()


def test_a_missing_key_is_a_missing_batch(in_s3: None) -> None:
    with pytest.raises(BatchMissing) as caught:
        ingestion.extract(run_of(1))
    says(
        caught.value,
        doing="reading the batch of churn/customers of 2026-01-02",
        found="no such file",
        expected=f"{ZONE}/churn/customers/2026-01-02.csv",
        next_step="ask the upstream system for the file, then clear this task",
    )


def test_a_missing_bucket_is_a_missing_batch(s3: str) -> None:
    with pytest.raises(BatchMissing, match=r"s3://nowhere/landing/a\.csv"):
        landing.read("s3://nowhere/landing", "a.csv", "2026-01-01", "shop/visits of 2026-01-01")


def test_several_files_of_a_day_are_one_batch_however_many_pages_their_list_has(s3: str) -> None:
    client, count = boto3.client("s3"), 1005  # a page of a list has at most 1000
    names = [f"part-{number:04}.csv" for number in range(count)]
    others = ["part-0000.csv.tmp", "other.csv", "part-9/part-1.csv"]
    with ThreadPoolExecutor(8) as pool:
        keys = [f"several/2026-01-01/{name}" for name in names + others]
        list(pool.map(lambda key: client.put_object(Bucket="evergreen", Key=key, Body=key.encode()), keys))
    parts = landing.read("s3://evergreen/several", "{partition}/part-*.csv", "2026-01-01", "shop/visits of 2026-01-01")
    assert [part.name for part in parts] == names
    assert parts[-1].content == b"several/2026-01-01/part-1004.csv"
    assert parts[-1].origin.name == "s3://evergreen/several/2026-01-01/part-1004.csv"
    with pytest.raises(BatchMissing, match=r"s3://evergreen/several/2026-01-02/part-\*\.csv"):
        landing.read("s3://evergreen/several", "{partition}/part-*.csv", "2026-01-02", "shop/visits of 2026-01-02")
    with pytest.raises(BatchMissing, match=r"s3://nowhere/a-\*"):
        landing.read("s3://nowhere", "a-*", "2026-01-01", "shop/visits of 2026-01-01")


def unavailable(path: str = "churn/usage/{partition}.csv") -> ServiceUnavailable:
    with pytest.raises(ServiceUnavailable) as caught:
        landing.read(ZONE, path, "2026-01-01", "churn/usage of 2026-01-01")
    assert isinstance(caught.value, TransientError), "Airflow would not try again"
    return caught.value


def test_a_server_that_does_not_answer_may_answer_later(landed_in_s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    says(
        unavailable(),
        doing="reading the batch of churn/usage of 2026-01-01",
        found="EndpointConnectionError",
        expected="an answer from the object store",
        next_step="correct AWS_ENDPOINT_URL",
    )
    assert "EndpointConnectionError" in unavailable("churn/usage/{partition}*").found, "nor does it list its files"


def test_refused_credentials_say_so(landed_in_s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials that it has seen
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 40)
    with pytest.raises(RequestRefused) as caught:
        landing.read(ZONE, "churn/usage/{partition}.csv", "2026-01-01", "churn/usage of 2026-01-01")
    error = caught.value
    assert "SignatureDoesNotMatch" in error.found or "AccessDenied" in error.found or "403" in error.found, error.found
    assert "AWS_SECRET_ACCESS_KEY" in error.next_step and ZONE in error.found
    assert "x" * 40 not in str(error), "a secret in a task's log"


def test_an_object_that_is_too_large_is_not_fetched(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("s3").put_object(Bucket="evergreen", Key="large/2026-01-01.csv", Body=b"x" * 1_000_001)
    monkeypatch.setenv("EVERGREEN_LARGEST_BATCH_MB", "1")
    settings.cache_clear()
    with pytest.raises(BatchUnreadable) as caught:
        landing.read("s3://evergreen/large", "{partition}.csv", "2026-01-01", "shop/visits of 2026-01-01")
    settings.cache_clear()
    assert (caught.value.found, caught.value.expected[:13]) == ("1,000,001 bytes", "at most 1 MB ")
