"""What an evidence pack is, and what is wrong with one: by the archive alone, with no database and no network."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from evergreen.govern import sbom
from evergreen.history.chain import Link, Witness
from evergreen.history.events import Signed
from evergreen.registry.contents import (
    Environment,
    Evidence,
    Explanations,
    Fitting,
    Queries,
    Recipe,
    SpecCopy,
    Trials,
    signed,
)
from evergreen.registry.papers import CardPage, CardText, Lock, ReportPage, ReportText
from evergreen.registry.rules import unsound
from evergreen.registry.signing_keys import PublicKey

MANIFEST, LEDGER, CHAIN, DIGESTS = "manifest.json", "ledger.jsonl", "chain.jsonl", "digests.json"
FORMAT = 1
_MOST_FILES, _LARGEST = 100, 200_000_000  # of an archive, and bytes of all its files together
APPROVALS, LINEAGE, TRAINING_SET, BILL = "approvals.json", "lineage.json", "training_set.json", "sbom.cdx.json"
# Of the files that the ledger names, those that a pack has where the version has them; these it always has.
PAPERS = (CardText, CardPage, ReportText, ReportPage, Evidence, Lock)
RECORDED = (*PAPERS, Explanations, Recipe, Environment, SpecCopy, Queries, Fitting, Trials)
_ALWAYS = {*(each.NAME for each in PAPERS), APPROVALS, LINEAGE, TRAINING_SET, BILL}


def text(content: object) -> bytes:
    """As a file of the pack: JSON that is the same for the same content."""
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def lines(content: Sequence[Mapping[str, Any]]) -> bytes:
    """The same, a line for each."""
    return "".join(json.dumps(each, sort_keys=True, ensure_ascii=False) + "\n" for each in content).encode()


def manifest(model: str, number: int, packed: Mapping[str, bytes]) -> dict[str, Any]:
    """What the archive holds."""
    return {
        "format": FORMAT,
        "model": model,
        "version": number,
        "files": {name: {"sha256": _sha256(content), "size": len(content)} for name, content in packed.items()},
    }


def read(file: Path) -> dict[str, bytes]:
    """The files of an archive.

    Raises:
        ValueError: it is none, or one that nobody should unpack.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            if len(infos) > _MOST_FILES or sum(info.file_size for info in infos) > _LARGEST:
                raise ValueError(f"more than {_MOST_FILES} files, or {_LARGEST:,} bytes")
            if len({info.filename for info in infos}) != len(infos):
                raise ValueError("two files of one name")
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"no archive that can be read: {error}") from error


def flaws(
    packed: Mapping[str, bytes], witnesses: Sequence[Witness] = (), keys: Sequence[PublicKey] = ()
) -> Iterator[str]:
    """What is wrong with the files of a pack; nothing: they are what was recorded, and hold together.

    Args:
        keys: whose signatures count; none: a signature is held against the key that the pack names, which says that
            nothing was changed since, and not who signed.
    """
    missing = [name for name in (MANIFEST, LEDGER, CHAIN, DIGESTS) if name not in packed]
    if missing:
        yield f"{', '.join(missing)} is not there"
        return
    try:
        stated, digests = json.loads(packed[MANIFEST]), json.loads(packed[DIGESTS])
        own = [_link(each) for each in map(json.loads, packed[LEDGER].decode().splitlines())]
        chain = [(int(each["number"]), each["previous"], each["hash"]) for each in _rows(packed[CHAIN])]
        yield from _files(stated, packed)
        yield from _chain(own, chain, witnesses)
        yield from _documents(stated, digests, own, packed)
        yield from _signature(stated, digests, own, keys)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"it cannot be read: {type(error).__name__}: {error}"


def told(packed: Mapping[str, bytes], keys: Sequence[PublicKey] = ()) -> str:
    """Of what version a pack is, who signed it, and where the ledger's chain ended; of one without flaws."""
    stated = json.loads(packed[MANIFEST])
    *_, last = _rows(packed[CHAIN])
    said = [body for body in map(_body, _rows(packed[LEDGER])) if _signs(body, stated["version"])]
    if not said:
        by = "not signed"
    elif keys:
        by = "signed by a key that was given"
    else:
        by = f"signed by the key {said[-1]['signed_by']}, by the pack's own word: --public-key says whom to trust"
    return f"{stated['model']}, version {stated['version']}, {by}; the ledger as of {last['number']}:{last['hash']}"


def _files(stated: Mapping[str, Any], packed: Mapping[str, bytes]) -> Iterator[str]:
    if stated["format"] != FORMAT:
        yield f"format {stated['format']}, and this release reads {FORMAT}"
        return
    files, others = stated["files"], {name: content for name, content in packed.items() if name != MANIFEST}
    yield from (f"{name} is not there" for name in files if name not in others)
    for name, content in others.items():
        if name in files and _sha256(content) != files[name]["sha256"]:
            yield f"{name} is not what the manifest says"
    yield from (f"{name} stands in no manifest" for name in sorted(others.keys() - files.keys()))
    if packed[MANIFEST] != text({**manifest(stated["model"], stated["version"], others), "files": files}) or any(
        files[name]["size"] != len(content) for name, content in others.items() if name in files
    ):
        yield f"{MANIFEST} is not as it was written"


def _chain(own: Sequence[Link], chain: Sequence[tuple[int, str, str]], witnesses: Sequence[Witness]) -> Iterator[str]:
    """What is wrong with the extract: each entry of the model's by its content, all others by what holds them."""
    if not chain or not own:
        yield "the ledger's extract is empty"
        return
    hashes = {number: each for number, _, each in chain}
    for (number, _, before), (following, previous, _) in pairwise(chain):
        if following != number + 1 or previous != before:
            yield f"entry {following} does not follow entry {number}"
    held = {number: previous for number, previous, _ in chain}
    for link in own:
        if link.hash != link.content_hash:
            yield f"entry {link.number} of the ledger is not what was recorded"
        if hashes.get(link.number) != link.hash or held.get(link.number) != link.previous:
            yield f"entry {link.number} of the ledger does not stand in the chain"
    for witness in witnesses:
        if not hashes.get(witness.number, "").startswith(witness.hash):
            yield f"the chain does not have the witness {witness}"


def _documents(
    stated: Mapping[str, Any],
    digests: Mapping[str, Mapping[str, str]],
    own: Sequence[Link],
    packed: Mapping[str, bytes],
) -> Iterator[str]:
    """Whether the papers are those that the ledger names, of the version that the manifest names."""
    model, number = stated["model"], stated["version"]
    if strangers := sorted({link.model for link in own} - {model}):
        yield f"entries of other models: {', '.join(strangers)}"
    bodies = [json.loads(link.body) for link in own]
    of_version = [body for body in bodies if body.get("version") == number]
    registered = [body for body in of_version if body["event"] == "registered"]
    documented = [body for body in of_version if body["event"] == "documented"]
    if not registered or not documented:
        yield f"the ledger's extract has no registration of version {number}, or says nothing of its papers"
        return
    said = documented[-1]
    if said["run_id"] != registered[-1]["run_id"] or said["sha256"] != digests:
        yield "the digests are not those that the ledger has"
    recorded = said["sha256"][said["run_id"]]
    wanted = _ALWAYS | {kind.NAME for kind in RECORDED if kind.NAME in recorded}
    yield from (f"{name} is not there" for name in sorted(wanted - set(packed)))
    yield from (f"the ledger does not name {kind.NAME}" for kind in PAPERS if kind.NAME not in recorded)
    for name, content in packed.items():
        if name in recorded and _sha256(content) != recorded[name]:
            yield f"{name} is not the file that the ledger names"
    approvals = [link for link in own if link.event == "approval"]
    if APPROVALS in packed and json.loads(packed[APPROVALS]) != [as_json(link) for link in approvals]:
        yield f"{APPROVALS} is not what the ledger has"
    if BILL in packed and Lock.NAME in packed:
        listed = sbom.of(model, number, packed[Lock.NAME].decode())
        if _components(json.loads(packed[BILL])) != _components(listed):
            yield f"{BILL} does not list what {Lock.NAME} does"


def _components(bill: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a bill of materials lists. (Its form is another release's matter.)"""
    return sorted((each["name"], each["version"]) for each in bill["components"])


def _signature(
    stated: Mapping[str, Any],
    digests: Mapping[str, Mapping[str, str]],
    own: Sequence[Link],
    keys: Sequence[PublicKey],
) -> Iterator[str]:
    """Whether one of the signatures of the version holds for what the pack says of it."""
    number, problems = stated["version"], []
    entries = {f"{link.number}:{link.hash}" for link in own if link.event in ("registered", "adopted")}
    registered = [json.loads(link.body) for link in own if link.event == "registered"]
    version = next((body for body in reversed(registered) if body["version"] == number), None)
    if version is None:
        return  # which is a flaw of its own
    files = {name: each for name, each in digests.get(version["run_id"], {}).items() if signed(name)}
    for said in (Signed.model_validate_json(link.body, extra="ignore") for link in own if link.event == "signed"):
        if said.version != number:
            continue
        # Without keys that were given, by the one that the pack names.
        known = {key.id: key for key in keys or [PublicKey.of(said.public_key.encode())]}
        problem = unsound(
            said, stated["model"], number, version["run_id"], version["key"], files=files, entries=entries, keys=known
        )
        if not problem:
            return
        problems.append(problem)
    if problems:
        yield problems[-1]
    elif keys:
        yield "the version is not signed"


def _signs(body: Mapping[str, Any], version: int) -> bool:
    return bool(body["event"] == "signed" and body["version"] == version)


def _body(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["body"])
    return found


def as_json(link: Link) -> dict[str, Any]:
    """An entry of the ledger, whole."""
    return {
        "number": link.number,
        "id": link.id,
        "at": link.at.isoformat(timespec="microseconds"),
        "model": link.model,
        "event": link.event,
        "body": link.body,
        "previous": link.previous,
        "hash": link.hash,
    }


def _link(row: Mapping[str, Any]) -> Link:
    from datetime import datetime

    return Link(**{**row, "at": datetime.fromisoformat(row["at"])})


def _rows(content: bytes) -> Iterator[Mapping[str, Any]]:
    return (json.loads(line) for line in content.decode().splitlines())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
