"""What a fit depends on beside its rows and its recipe, where it is made: code, packages, machine."""

from __future__ import annotations

import platform
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from evergreen import cores
from evergreen.model.code import code_version
from evergreen.model.families import REQUIREMENTS, requirements
from evergreen.registry.contents import Environment
from evergreen.registry.papers import Lock

_PACKAGES = (*REQUIREMENTS, "scipy", "tensorflow", "keras", "optuna", "mlflow", "feast", "duckdb", "deltalake")


def of(family: str) -> Environment:
    """What a fit of a family depends on, here and now.

    Raises:
        FamilyUnusable: no package brings the family.
    """
    machine = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": str(cores.usable()),
        "blas": _blas(),
        "code": code_version(),
    }
    packages = {**dict.fromkeys(_PACKAGES), **dict.fromkeys(requirements(family))}
    return Environment(machine | {name: version(name) for name in packages})


@cache
def installed() -> Lock:
    """Every installed distribution, by the names of what an installer leaves; of several of one name the first, which
    is imported. (To read the metadata of all of them takes half a second.)"""
    found: dict[str, str] = {}
    for place in map(Path, sys.path):
        for each in sorted(place.glob("*.dist-info")):
            name, _, number = each.name.removesuffix(".dist-info").rpartition("-")
            found.setdefault(name.lower().replace("_", "-"), number)
    return Lock("".join(f"{name}=={found[name]}\n" for name in sorted(found)))


@cache
def _processor() -> str:
    """The processor's name: what it can decides in which order numbers are added."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part")))
    return f"{platform.machine()}, {next(named, platform.processor() or 'unknown')}"


def _blas() -> str:
    """The libraries of linear algebra, each with the processor that its code is for."""
    from threadpoolctl import threadpool_info

    found = {
        f"{each['internal_api']} {each.get('version')} for {each.get('architecture')}"
        for each in threadpool_info()
        if each["user_api"] == "blas"
    }
    return ", ".join(sorted(found))
