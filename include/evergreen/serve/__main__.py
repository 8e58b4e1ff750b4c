"""`python -m evergreen.serve`: the model server, until SIGTERM; requests under way are answered first."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from evergreen.exposure import UMASK

GRACE_SECONDS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; the exit status is 1 when a version to probe cannot be served, 75 when it may be another time."""
    options = _options(arguments)
    os.umask(UMASK)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for chatty in ("httpx", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Requests are answered side by side by threads of our own; a pool of numeric
    # threads in each would fight for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Its client's own patience is minutes: a server tells at once that MLflow is away, and asks again by itself.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    # Feast, where a process that starts us has imported it, leaves this behind. Counters would then be in files, for
    # servers of several processes: this is one, and to count there takes several times as long.
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR", "prometheus_multiproc_dir"):
        os.environ.pop(name, None)
    # A request of a thousand entities makes some ten thousand objects, none of them in a circle: to look for circles
    # ten times meanwhile, as Python does, takes a tenth of its time.
    gc.set_threshold(20_000, *gc.get_threshold()[1:])
    if options.until_stdin_closes:
        threading.Thread(target=_end_with_parent, daemon=True).start()

    from evergreen.errors import EvergreenError, TransientError
    from evergreen.serve.app import create_probe_app, create_serving_app
    from evergreen.serve.hosts import allowed
    from evergreen.serve.kept import Kept
    from evergreen.serve.keyring import needed
    from evergreen.serve.models import Models
    from evergreen.serve.protocol import listen
    from evergreen.settings import settings
    from evergreen.spec.load import names

    if options.model:
        name, number = options.model
        models = Models([name])
        try:
            models.slots[name].put(number)
        except EvergreenError as error:
            print(error, file=sys.stderr)  # noqa: T201 - the program's answer
            return os.EX_TEMPFAIL if isinstance(error, TransientError) else 1
    else:
        # By name alone: a version brings the spec that it was trained with, so a
        # folder that is being edited disturbs nothing.
        models = Models(names(settings().models), Kept(settings().home / "served"))
    hosts = allowed(options.host, settings().server_url)
    listen(
        create_probe_app(models, hosts)
        if options.model
        else create_serving_app(models, hosts, options.port, keys_needed=needed(options.host)),
        host=options.host,
        port=options.port,
        trusted=settings().trusted_proxies,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m evergreen.serve", description="Serve the champion of every model.")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)"
    )
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument(
        "--model", type=_version, metavar="NAME=VERSION", help="probe: serve exactly this version, from given features"
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that holds the other end of stdin"
    )
    return parser.parse_args(arguments)


def _version(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VERSION, such as churn=3")
    return name, int(number)


def _end_with_parent() -> None:
    """Whoever started us may be killed without a chance to stop us; its end of the pipe closes in any case."""
    while os.read(0, 1024):  # not through sys.stdin, whose lock this thread would hold when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
