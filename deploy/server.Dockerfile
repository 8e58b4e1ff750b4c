# The model server, and with another command MLflow's server and the reports. Build it from the project's folder:
#   docker build -f deploy/server.Dockerfile -t evergreen-server .
# The same Python and the same lock as in ./Dockerfile: a version is loaded by the libraries that it was trained with.
FROM python:3.11-slim-trixie

ENV PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    EVERGREEN_PROJECT=/opt/evergreen \
    EVERGREEN_HOME=/home/evergreen/home

COPY requirements-runtime.txt /tmp/requirements.txt
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --system --no-cache --compile-bytecode --requirement /tmp/requirements.txt \
    && useradd --create-home --uid 10001 evergreen \
    && install --directory --mode=700 --owner=evergreen /home/evergreen/home # a volume takes its owner from here

COPY pyproject.toml README.md LICENSE /opt/evergreen/
COPY include /opt/evergreen/include
COPY feature_repo /opt/evergreen/feature_repo
RUN uv pip install --system --no-cache --compile-bytecode --no-deps --editable /opt/evergreen

USER 10001
WORKDIR /home/evergreen
EXPOSE 8090
# Alive, not ready: a server that waits for its first version is not to be restarted (`/readyz` is for load balancers).
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8090/healthz', timeout=4)"]
CMD ["python", "-m", "evergreen.serve", "--host", "0.0.0.0"]
