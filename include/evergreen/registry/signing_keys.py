"""The keys that sign versions, and those that verify: files of PEM, or a key that never leaves AWS KMS.

Ed25519 in a file; in KMS an elliptic key of NIST's P-256, whose signatures this process verifies by itself with the
public half.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen.answers import Remote, login_refused, refusal, silence
from evergreen.errors import PermanentError
from evergreen.quoting import shown
from evergreen.settings import settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

KMS = "awskms:"  # before the id, ARN or alias of a key in AWS KMS
_HERE = Remote("AWS KMS", "the standard AWS variables", "EVERGREEN_SIGNING_KEY", "its console")
_NEXT = "correct it where the processes get their environment (docs/deployment.md)"


@dataclass(frozen=True)
class PublicKey:
    """What verifies signatures.

    Attributes:
        id: the first 16 digits of the sha256 of its public half, by which signatures name it.
        pem: the public half, as a file has it.
    """

    id: str
    pem: str

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether it is this key's signature of the message."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519

        key = _parsed(self.pem.encode())
        try:
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            else:
                return False
        except InvalidSignature:
            return False
        return True

    @classmethod
    def of(cls, content: bytes) -> PublicKey:
        """Of PEM or DER; raises ValueError where it is no public key of a kind that signs versions."""
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519

        key = _parsed(content)
        if not isinstance(key, ed25519.Ed25519PublicKey) and not (
            isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        ):
            raise ValueError(f"a {type(key).__name__}")
        info = form.PublicFormat.SubjectPublicKeyInfo
        pem = key.public_bytes(form.Encoding.PEM, info).decode()
        return cls(hashlib.sha256(key.public_bytes(form.Encoding.DER, info)).hexdigest()[:16], pem)


@dataclass(frozen=True)
class SigningKey:
    """What signs.

    Attributes:
        sign: message → signature.
    """

    public: PublicKey
    sign: Callable[[bytes], bytes]


def signing_key() -> SigningKey | None:
    """The key that signs what is registered; None: none is set.

    Raises:
        PermanentError: it cannot be read, or is of another kind.
        RequestRefused, ServiceUnavailable: KMS refuses, or does not answer.
    """
    stated = settings().signing_key
    if not stated:
        return None
    if stated.startswith(KMS):
        return _in_kms(stated.removeprefix(KMS))
    return _in_file(Path(stated))


def public_keys() -> dict[str, PublicKey]:
    """The keys whose signatures count, by their ids: those that are set, and the one that signs here."""
    keys = [read(Path(path), "EVERGREEN_PUBLIC_KEYS") for path in settings().public_keys]
    signer = None if not settings().signing_key else signing_key()
    return {key.id: key for key in ([*keys, signer.public] if signer else keys)}


def read(path: Path, named_by: str) -> PublicKey:
    """The public key of a file.

    Args:
        named_by: the setting or option, for messages.

    Raises:
        PermanentError: there is none.
    """
    with _readable(path, named_by, "the public half of an Ed25519 or P-256 key, in PEM"):
        return PublicKey.of(path.read_bytes())


def generate() -> tuple[bytes, bytes]:
    """A new Ed25519 key: its private half and its public one, in PEM."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    info = form.PublicFormat.SubjectPublicKeyInfo
    return private, key.public_key().public_bytes(form.Encoding.PEM, info)


def _in_file(path: Path) -> SigningKey:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    with _readable(path, "EVERGREEN_SIGNING_KEY", "the private half of an Ed25519 key, in PEM, without a password"):
        key = form.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"a {type(key).__name__}")
        der = key.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
        return SigningKey(PublicKey.of(der), key.sign)


@cache
def _in_kms(key: str) -> SigningKey:
    import boto3

    client = boto3.client("kms")
    doing = f"reading the public half of the key {key} in AWS KMS"
    with _asking(doing):
        public = client.get_public_key(KeyId=key)["PublicKey"]
    try:
        verifying = PublicKey.of(public)
    except ValueError as error:
        raise PermanentError(
            doing, found=str(error), expected="a key ECC_NIST_P256 that signs (SIGN_VERIFY)", next_step=_NEXT
        ) from error

    def sign(message: bytes) -> bytes:
        with _asking(f"signing by the key {key} in AWS KMS"):
            answer = client.sign(KeyId=key, Message=message, MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256")
        return bytes(answer["Signature"])

    return SigningKey(verifying, sign)


def _parsed(content: bytes) -> PublicKeyTypes:
    from cryptography.hazmat.primitives import serialization as form

    pem = content.lstrip().startswith(b"-----BEGIN")
    return form.load_pem_public_key(content) if pem else form.load_der_public_key(content)


@contextmanager
def _readable(path: Path, named_by: str, expected: str) -> Iterator[None]:
    """Nothing of a file is shown: it may be a private key."""
    try:
        yield
    except (OSError, ValueError, TypeError) as error:
        found = error.strerror if isinstance(error, OSError) else f"no such key: {type(error).__name__}"
        raise PermanentError(
            f"reading the key {shown(str(path))} of {named_by}", found=found or "", expected=expected, next_step=_NEXT
        ) from error


@contextmanager
def _asking(doing: str) -> Iterator[None]:
    """Turns AWS's errors into ours."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        raise refusal(doing, error.response["ResponseMetadata"]["HTTPStatusCode"], str(error), _HERE) from error
    except NoCredentialsError as error:
        raise login_refused(doing, str(error), _HERE) from error
    except BotoCoreError as error:
        raise silence(doing, f"{type(error).__name__}: {error}", _HERE) from error
