"""The address of Feast's registry: SQLAlchemy's `?plugin=evergreen`, registered when this module is imported."""

from __future__ import annotations

from sqlalchemy.dialects import plugins
from sqlalchemy.engine import URL, CreateEnginePlugin, make_url

from evergreen.settings import settings


class EvergreenDatabase(CreateEnginePlugin):
    """SQLAlchemy's `?plugin=evergreen` on the registry's URL: the address of Evergreen's Feast database.

    Feast reads the registry's URL from feature_store.yaml alone; so `feast plan` works in a plain shell, without a
    password in the file or in the environment.
    """

    def update_url(self, url: URL) -> URL:
        """The URL that is connected to."""
        return make_url(settings().database_url("feast", driver=url.drivername))


plugins.register("evergreen", __name__, "EvergreenDatabase")
