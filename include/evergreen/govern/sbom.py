"""What a version was trained with, as a bill of materials: CycloneDX 1.6 in JSON. Pure."""

from __future__ import annotations

import re
import uuid
from typing import Any

_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # of URLs, by RFC 9562
_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)")


def of(model: str, number: int, lock: str) -> dict[str, Any]:
    """The bill.

    Args:
        lock: a line `name==version` for each distribution.
    """
    components = [_component(*found.groups()) for line in lock.splitlines() if (found := _LINE.fullmatch(line))]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, lock)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "machine-learning-model",
                "bom-ref": f"{model}@{number}",
                "name": model,
                "version": str(number),
            }
        },
        "components": components,
        "dependencies": [{"ref": f"{model}@{number}", "dependsOn": [each["bom-ref"] for each in components]}],
    }


def _component(name: str, version: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version.replace('+', '%2B')}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
