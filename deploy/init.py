"""What the production column needs before its first start, and harmlessly again
before any other: run by compose, or by hand.

Databases, buckets, Airflow's tables and Evergreen's own, every model's Feast objects, the pools of
`airflow_settings.yaml`, the login `admin`. Connections (SMTP, Slack) are yours to set in Airflow or by
`AIRFLOW_CONN_…`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import yaml
from botocore.exceptions import ClientError

from evergreen import exposure
from evergreen.local.stack import create_databases, write_login
from evergreen.settings import settings


def main() -> int:
    """Raises what stands in the way."""
    here = settings()
    os.umask(exposure.UMASK)
    exposure.check(
        "the production column",
        {
            "EVERGREEN_AIRFLOW_PASSWORD": here.airflow_password,
            "MLFLOW_TRACKING_PASSWORD": here.mlflow_password,
        },
    )
    create_databases(here)
    for bucket in {
        urlsplit(place).netloc for place in (here.landing, here.lake, here.staging) if place.startswith("s3://")
    }:
        _bucket(bucket)
    for folder in (here.staging, str(here.reports)):
        if "://" not in folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
    write_login(here)
    _run("airflow", "db", "migrate")
    _run("evergreen", "apply")
    for pool in yaml.safe_load((here.project / "airflow_settings.yaml").read_text())["airflow"]["pools"]:
        _run("airflow", "pools", "set", pool["pool_name"], str(pool["pool_slot"]), pool["pool_description"])
    return 0


def _bucket(name: str) -> None:
    client = boto3.client("s3")
    try:
        client.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise
        client.create_bucket(Bucket=name)


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
