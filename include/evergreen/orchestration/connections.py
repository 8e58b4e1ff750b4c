"""Airflow's connections, for the sources that name one: from the UI, the environment or a secrets backend."""

from __future__ import annotations


def connection_uri(name: str) -> str:
    """The URI of a connection.

    Raises:
        LookupError: Airflow knows no such connection.
    """
    from airflow.sdk import Connection  # here, since run identity is also asked for where no Airflow runs
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        uri: str = Connection.get(name).get_uri()
    except AirflowNotFoundException as error:
        raise LookupError(name) from error
    return uri
