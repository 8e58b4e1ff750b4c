"""Whom a server lets ask for predictions: by a key, where it can be reached from other machines."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping

from starlette.exceptions import HTTPException

from evergreen.addresses import is_loopback
from evergreen.quoting import shown
from evergreen.serve.keys import Key, digest, id_of
from evergreen.settings import settings

_BEARER = "bearer "
_HOW = "send `Authorization: Bearer <key>` with a key that the server's operator made (`evergreen keys add`)"


def needed(bind: str) -> bool:
    """Whether a server that listens on this address asks for keys: `EVERGREEN_CLIENT_KEYS` says so, or else whether
    another machine can reach it."""
    stated = settings().client_keys
    return not is_loopback(bind) if stated == "auto" else stated == "on"


class Keyring:
    """The good keys, as they stood in Postgres a second ago; while Postgres is away, as they stood last.

    Args:
        needed: whether a request needs one.
    """

    def __init__(self, needed: bool) -> None:
        self.needed = needed
        self._keys: Mapping[str, Key] | None = None

    def replace(self, keys: Iterable[Key]) -> None:
        """These are the good ones from now on; called by another thread than `client`."""
        self._keys = {key.id: key for key in keys}

    def client(self, header: str, model: str) -> str | None:
        """Who asks for predictions of a model, by the key; None: no key is needed.

        Args:
            header: the request's `Authorization`; empty: it has none.

        Raises:
            HTTPException: 401, there is no key, or none that is good; 403, it is not for this model; 503, no keys could
                be read since the start.
        """
        if not self.needed:
            return None
        if self._keys is None:
            raise HTTPException(503, "this server has not yet read who may ask it", headers={"Retry-After": "1"})
        text = header[len(_BEARER) :].strip() if header.lower().startswith(_BEARER) else ""
        key = self._keys.get(id_of(text) or "")
        if key is None or not hmac.compare_digest(key.digest, digest(text)):
            why = "this key is not good (any more)" if text else "no key"
            raise HTTPException(401, f"{why}: {_HOW}", headers={"WWW-Authenticate": "Bearer"})
        if key.models is not None and model not in key.models:
            raise HTTPException(403, f"the key {key.id} is not for the model {shown(model)}")
        return f"key {key.id}"
