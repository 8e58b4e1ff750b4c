"""Signatures of versions: what each of them is, by a key that neither MLflow nor Postgres has.

Without a key set nothing is signed and nothing asked for. With one, only a version whose signature verifies is loaded:
signed when it was registered, or by a named person who adopted it.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from evergreen.errors import ArtifactUntrusted, EvidenceMissing
from evergreen.history import extracts, ledger, story
from evergreen.history.events import Event, Signed
from evergreen.history.story import Entry
from evergreen.registry import records, rules, signing_keys
from evergreen.registry.contents import signed
from evergreen.registry.records import Candidate
from evergreen.registry.rules import Version
from evergreen.registry.signing_keys import PublicKey

log = logging.getLogger(__name__)


def sign(
    model: str, version: Version, *, actor: str, reason: str, by: Literal["registration", "adoption"]
) -> Signed | None:
    """Sign a version, and record that; None: no key is set, or its registration was signed before.

    Raises:
        EvidenceMissing: the ledger has no entry that registered it, or adopted it.
        PermanentError: the key cannot be read.
        RequestRefused, ServiceUnavailable: KMS, or the database.
    """
    key = signing_keys.signing_key()
    if key is None:
        log.info("Version %d of %s is not signed: EVERGREEN_SIGNING_KEY is not set", version.number, model)
        return None
    if by == "registration" and any(each.version == version.number for each in of_model(model)):
        return None
    entry = extracts.registration(model, version.number)
    if entry is None:
        raise EvidenceMissing(
            f"signing version {version.number} of {model}",
            found="no entry of the ledger that registered it",
            expected="`registered`, or `adopted`",
            next_step=f"`evergreen registry adopt {model} --version {version.number}`",
        )
    files = _files(records.candidate(version.run_id))
    message = rules.to_sign(model, version.number, version.run_id, version.key, files, entry)
    signature = base64.b64encode(key.sign(message)).decode()

    def once_more(entries: Sequence[Entry]) -> Iterator[Event]:
        yield Signed(
            id=story.next_id(f"signed/{model}/{version.number}", entries),
            model=model,
            as_of=version.as_of,
            actor=actor,
            reason=reason,
            version=version.number,
            run_id=version.run_id,
            key=version.key,
            sha256=files,
            entry=entry,
            by=by,
            signed_by=key.public.id,
            public_key=key.public.pem,
            signature=signature,
        )

    ledger.extend(model, once_more, "signed")
    log.info("Version %d of %s is signed by the key %s", version.number, model, key.public.id)
    return of_version(model, version.number)[-1]


def check(model: str, version: Version, candidate: Candidate) -> None:
    """Hold a version against its signature, where keys are set.

    Raises:
        ArtifactUntrusted: nobody whose key counts has signed what is recorded of it now.
        PermanentError: a key cannot be read.
    """
    keys = signing_keys.public_keys()
    if not keys:
        return
    found = of_version(model, version.number)
    problems = [_problem(each, version, candidate, keys) for each in found]
    if "" in problems:
        return
    raise ArtifactUntrusted(
        f"checking the signature of version {version.number} of {model}",
        found=problems[-1] if problems else "it is not signed",
        expected=f"a signature by one of the keys {', '.join(sorted(keys))} of what is recorded of it",
        next_step=(
            "find out who changed it; roll back, or train again. If it is sound and older than the key: "
            f"`evergreen registry adopt {model} --version {version.number} --actor NAME --reason TEXT`"
        ),
    )


def of_model(model: str) -> list[Signed]:
    """The signatures of a model's versions, the oldest first."""
    return [entry.event for entry in ledger.entries(model, "signed") if isinstance(entry.event, Signed)]


def of_version(model: str, number: int) -> list[Signed]:
    """Those of one version."""
    return [each for each in of_model(model) if each.version == number]


def _problem(said: Signed, version: Version, candidate: Candidate, keys: Mapping[str, PublicKey]) -> str:
    """Why a signature does not hold; empty: it does."""
    number = said.entry.partition(":")[0]
    return rules.unsound(
        said,
        said.model,
        version.number,
        version.run_id,
        version.key,
        files=_files(candidate),
        entries={f"{number}:{extracts.hash_of(int(number))}"},
        keys=keys,
    )


def _files(candidate: Candidate) -> dict[str, str]:
    """The digests that are signed."""
    return {name: digest.sha256 for name, digest in sorted(candidate.files.items()) if signed(name)}
