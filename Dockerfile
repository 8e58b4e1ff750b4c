# Evergreen on Airflow, as docs/deployment.md describes it.
# Build it with:  docker build -t evergreen-airflow .
FROM apache/airflow:slim-3.3.2-python3.11

ENV AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL=error \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False \
    DO_NOT_TRACK=1 \
    GX_ANALYTICS_ENABLED=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    EVERGREEN_PROJECT=/opt/airflow \
    EVERGREEN_HOME=/opt/airflow/home \
    PYTHONPATH=/opt/airflow/config:/opt/airflow/include

# The lock names every package, Airflow among them, but none that only tests, linters or the local stack need.
# Bytecode is compiled once here and not in every task.
COPY --chown=airflow:root requirements-runtime.txt /tmp/requirements.txt
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --no-cache --compile-bytecode --requirement /tmp/requirements.txt

COPY --chown=airflow:root pyproject.toml README.md LICENSE /opt/airflow/
COPY --chown=airflow:root include /opt/airflow/include
COPY --chown=airflow:root dags /opt/airflow/dags
COPY --chown=airflow:root plugins /opt/airflow/plugins
COPY --chown=airflow:root config /opt/airflow/config
COPY --chown=airflow:root feature_repo /opt/airflow/feature_repo
# The home is made here, so that a volume mounted on it belongs to Airflow's user.
RUN uv pip install --no-cache --no-deps --editable /opt/airflow \
    && mkdir -m 700 /opt/airflow/home
