"""The model server beside MLServer, BentoML and LitServe."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import load, shops, workload
from benchmarks.document import table
from benchmarks.measure import percentile
from benchmarks.shops import FAMILY, Client, Shop
from evergreen.addresses import free_port
from evergreen.local.processes import Service, answers
from evergreen.settings import PROJECT, Settings

SIZES, CLIENTS = (1, 50), (1, 8)
ROUNDS, SECONDS = 3, 2.5
_UV = PROJECT / ".venv" / ".uv" / "bin" / "uv"
_OURS = ("scikit-learn", "numpy", "pandas", "joblib")  # that the model was fitted with: the same versions everywhere
_KINDS = {"float": "FP64", "int": "FP64", "bool": "FP64", "category": "BYTES"}  # of a tensor, by a feature's type
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Rows = Sequence[Sequence[Any]]
Asking = Callable[[Sequence[list[str]]], tuple[str, list[bytes]]]  # keys of requests → address, and whole requests


@dataclass(frozen=True)
class Rival:
    """A server in an environment of its own, on the same model.

    Attributes:
        packages: that make it.
        files: its smallest server, as its own documentation has it: name → text, with `{port}` and two more.
        command: its arguments after the environment's Python or program.
        path, ready: where it is asked, and where it says that it is ready.
        body: a request, of the columns with their types and of rows.
        told: the predictions of an answer.
    """

    name: str
    packages: tuple[str, ...]
    files: Mapping[str, str]
    command: tuple[str, ...]
    path: str
    ready: str
    body: Callable[[Mapping[str, str], Rows], dict[str, Any]]
    told: Callable[[Any], list[float]]


def _framed(columns: Mapping[str, str], rows: Rows) -> dict[str, Any]:
    return {"columns": [*columns], "rows": rows}


def _tensors(columns: Mapping[str, str], rows: Rows) -> dict[str, Any]:
    """A tensor for each column: the Open Inference Protocol's data frame, as MLServer reads it."""
    inputs = [
        {"name": name, "shape": [len(rows), 1], "datatype": _KINDS[kind], "data": [row[at] for row in rows]}
        | ({"parameters": {"content_type": "str"}} if kind == "category" else {})
        for at, (name, kind) in enumerate(columns.items())
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": [{"name": "predict_proba"}]}


RIVALS = (
    Rival(
        "MLServer",
        ("mlserver==1.7.1", "mlserver-sklearn==1.7.1"),
        {
            "settings.json": json.dumps(
                {"debug": False, "host": "127.0.0.1", "parallel_workers": 0, "metrics_endpoint": None}
            ),
            "model-settings.json": json.dumps(
                {
                    "name": "model",
                    "implementation": "mlserver_sklearn.SKLearnModel",
                    "parameters": {"uri": "./model.joblib"},
                }
            ),
        },
        ("mlserver", "start", "."),
        "/v2/models/model/infer",
        "/v2/health/ready",
        _tensors,
        lambda answer: answer["outputs"][0]["data"][1::2],
    ),
    Rival(
        "BentoML",
        ("bentoml==1.4.40",),
        {
            "service.py": """
                import bentoml
                import joblib
                import pandas as pd


                @bentoml.service(workers=1)
                class Model:
                    def __init__(self):
                        self.model = joblib.load("model.joblib")

                    @bentoml.api
                    def predict(self, columns: list, rows: list) -> list:
                        return self.model.predict_proba(pd.DataFrame(rows, columns=columns))[:, 1].tolist()
            """
        },
        ("bentoml", "serve", "service:Model", "--host", "127.0.0.1", "--port", "{port}", "--quiet"),
        "/predict",
        "/readyz",
        _framed,
        lambda answer: answer,
    ),
    Rival(
        "LitServe",
        ("litserve==0.2.19",),
        {
            "server.py": """
                import sys

                import joblib
                import litserve as ls
                import pandas as pd


                class Model(ls.LitAPI):
                    def setup(self, device):
                        self.model = joblib.load("model.joblib")

                    def decode_request(self, request):
                        return pd.DataFrame(request["rows"], columns=request["columns"])

                    def predict(self, frame):
                        return self.model.predict_proba(frame)[:, 1]

                    def encode_response(self, output):
                        return {"predictions": output.tolist()}


                if __name__ == "__main__":
                    server = ls.LitServer(Model(), accelerator="cpu", devices=1, workers_per_device=1)
                    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
            """
        },
        ("python", "server.py", "{port}"),
        "/predict",
        "/health",
        _framed,
        lambda answer: answer["predictions"],
    ),
)


def run() -> str:
    """The section's text."""
    os.environ |= _ONE_THREAD  # before any library that reads it is loaded
    with workload.home() as here, shops.opened(here) as shop, ExitStack() as started:
        asking: dict[str, Asking] = {"Evergreen": shop.asking}
        expected = [item["prediction"] for item in shop.evergreen().post(shop.request(shop.keys[:50]))["predictions"]]
        for rival in RIVALS:
            print(f"  {rival.name}: {', '.join(rival.packages)}")
            url = started.enter_context(_serving(here, shop, rival))
            body = _body(shop, rival)
            theirs = rival.told(Client(url, rival.path).post(body(shop.keys[:50])))
            apart = max(abs(one - other) for one, other in zip(expected, theirs, strict=True))
            assert apart < 1e-6, f"{rival.name} answers by another model, or features: {apart} apart"
            asking[rival.name] = _asking(url, rival.path, body)
        return "\n\n".join([_PROSE, table(_HEAD, _measured(shop, asking))])


def _measured(shop: Shop, asking: Mapping[str, Asking]) -> Iterator[tuple[str, ...]]:
    for size in SIZES:
        batches = shop.batches(size)
        keys = [next(batches) for _ in range(100)]
        sides = {name: ask(keys) for name, ask in asking.items()}
        for clients in CLIENTS:
            loads = load.in_turns(sides, clients, SECONDS, ROUNDS)
            ours = loads["Evergreen"].rate
            for name, of in loads.items():
                waits = (f"{percentile(of.seconds, share) * 1e3:.1f} ms" for share in (0.5, 0.99))
                times = "" if name == "Evergreen" else f"{ours / of.rate:.1f}"
                yield (str(size), str(clients), name, f"{of.rate:,.0f}", *waits, times)


@contextmanager
def _serving(here: Settings, shop: Shop, rival: Rival) -> Iterator[str]:
    """Make its environment, write its server, start it, and wait until it is ready; its address."""
    folder, port = here.home / rival.name.lower(), free_port()
    environment, url = folder / "environment", f"http://127.0.0.1:{port}"
    pinned = [f"{name}=={version(name)}" for name in _OURS]
    for arguments in (
        ["venv", "-q", "--python", sys.executable, environment],
        ["pip", "install", "-q", "--compile-bytecode", *pinned, *rival.packages],
    ):
        subprocess.run([_UV, *arguments], check=True, env=os.environ | {"VIRTUAL_ENV": str(environment)})
    for name, text in rival.files.items():
        (folder / name).write_text(textwrap.dedent(text))
    _save(shop, folder / "model.joblib")
    program, *rest = (part.format(port=port) for part in rival.command)
    variables = {
        **_ONE_THREAD,
        "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(free_port()),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    # Processes have a folder of their own: a shell that goes to the server's first.
    command = ["sh", "-c", 'cd "$0" && exec "$@"', str(folder), str(environment / "bin" / program), *rest]
    service = Service(rival.name.lower(), command, variables, lambda: answers(f"{url}{rival.ready}"))
    with workload.service(here, service):
        yield url


def _save(shop: Shop, file: Path) -> None:
    """The champion's pipeline, as joblib loads it."""
    from evergreen.registry import pipelines, records

    file.write_bytes(pickle.dumps(pipelines.pipeline(records.version(shop.spec.model, 1).run_id)))


def _asking(url: str, path: str, body: Callable[[list[str]], bytes]) -> Asking:
    return lambda keys: (url, [load.request(url, path, body(some)) for some in keys])


def _body(shop: Shop, rival: Rival) -> Callable[[list[str]], bytes]:
    """What it is sent: the features themselves, numbers as numbers and categories as text."""
    columns = shop.spec.feature_types

    def value(key: str, name: str) -> Any:
        known = shop.features[key][name]
        return known if known is None or columns[name] == "category" else float(known)

    def body(keys: list[str]) -> bytes:
        return json.dumps(rival.body(columns, [[value(key, name) for name in columns] for key in keys])).encode()

    return body


_PROSE = f"""The same {FAMILY} model and rows, one worker and one numeric thread each, in turns ({ROUNDS} times
{SECONDS:g} s), by connections that are kept open. Each of the others runs in an environment of its own that this
benchmark makes ({", ".join(package for rival in RIVALS for package in rival.packages)}, with our versions of
{", ".join(_OURS)}): the smallest server that its documentation shows, without batching, given the features, and logging
nothing. Evergreen is asked with keys alone: it reads the features from the store, checks the request, and commits every
prediction to the log before it answers. The clients run beside the servers, on the same processors."""
_HEAD = ("entities", "clients", "server", "requests/s", "p50", "p99", "Evergreen is so many times as fast")
