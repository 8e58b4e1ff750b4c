"""The command `evergreen evidence`: one archive of all that says why a version is good, and the look at one."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from evergreen.cli.history import witness
from evergreen.cli.parsing import Commands
from evergreen.errors import RunError
from evergreen.quoting import shown, visible

_VERIFY = "verify"


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    evidence = commands.add_parser(
        "evidence",
        help="write all that says why a version is good into one archive; `evidence verify FILE` checks one by itself",
    )
    evidence.add_argument("model", metavar="MODEL", help=f"the model's name, or `{_VERIFY}`")
    evidence.add_argument("version", metavar="VERSION", help="the version's number; after `verify` the archive")
    evidence.add_argument("--output", type=Path, metavar="FILE", help="default: <model>-<version>-evidence.zip, here")
    evidence.add_argument(
        "--witness",
        action="append",
        default=[],
        type=witness,
        metavar="NUMBER:HASH",
        help="of `verify`: an entry that the ledger must have had, as `evergreen audit verify` printed it",
    )
    evidence.add_argument(
        "--public-key",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="of `verify`: a key, in PEM, whose signature of the version counts; known from elsewhere than the archive",
    )
    evidence.set_defaults(command=_evidence)


def _evidence(options: argparse.Namespace) -> int:
    if options.model == _VERIFY:
        return _verify(Path(options.version), options)
    if not options.version.isdecimal():
        raise RunError(
            f"packing the evidence of {shown(options.model)}",
            found=shown(options.version),
            expected="a version's number",
            next_step=f"`evergreen history {options.model}` lists them",
        )
    from evergreen.govern import packing
    from evergreen.local import quiet

    quiet.begin_in_silence()
    target = options.output or Path(f"{options.model}-{options.version}-evidence.zip")
    written = packing.write(options.model, int(options.version), target)
    print(f"{written}: sha256 {hashlib.sha256(written.read_bytes()).hexdigest()}")
    return 0


def _verify(file: Path, options: argparse.Namespace) -> int:
    from evergreen.govern import pack
    from evergreen.registry import signing_keys

    keys = [signing_keys.read(path, "--public-key") for path in options.public_key]
    try:
        packed = pack.read(file)
    except ValueError as error:
        print(f"{file}: {visible(str(error))}", file=sys.stderr)
        return 1
    flaws = list(pack.flaws(packed, options.witness, keys))
    for flaw in flaws:
        print(f"{file}: {visible(flaw)}", file=sys.stderr)
    if not flaws:
        print(f"{file}: {len(packed)} files, as they were recorded; {pack.told(packed, keys)}")
    return 1 if flaws else 0
