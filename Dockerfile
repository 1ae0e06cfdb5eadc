# One image for all processes; the command says which: api (the default), worker, flower, collect.
#     docker build -t ray-history-server .
#     docker run -e RAY_HISTORY_STORAGE=s3://bucket -e RAY_HISTORY_REDIS_URL=redis://... -p 8080:8080 ray-history-server
# There are no absolute paths in RUN lines but those of the variables: tests/integration/test_image.py runs this very file
# without a container engine.
ARG PYTHON=3.11-slim-bookworm
ARG RUST=1-slim-bookworm

# The engine's core. docker build --build-arg ENGINE=python: without it, the plain Python engine does its work.
FROM rust:${RUST} AS core
ARG ENGINE=native
ENV CORE=/core PYO3_NO_PYTHON=1
WORKDIR /core
COPY core core
RUN mkdir -p "$CORE/built" && if [ "$ENGINE" = native ]; then \
      cargo build --quiet --release --locked --manifest-path core/Cargo.toml --target-dir target \
      && cp target/release/libray_history_core.so "$CORE/built/ray_history_core.abi3.so"; fi

FROM python:${PYTHON} AS build
ENV VENV=/app VIRTUAL_ENV=/app UV_SYSTEM_CERTS=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
RUN python3 -m venv "$VENV"
COPY requirements.lock ./
# uv, of the version that is locked, takes seconds for what takes pip minutes.
RUN awk '/^uv==/, !/\\$/' requirements.lock > uv.lock && "$VENV/bin/pip" install --quiet --require-hashes --requirement uv.lock \
 && "$VENV/bin/uv" pip install --quiet --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY api api
COPY cli cli
COPY collector collector
COPY shared shared
COPY workers workers
RUN "$VENV/bin/uv" pip install --quiet --no-deps --no-build-isolation .

# The Ray dashboard's own pages, of some versions of Ray: docker build --build-arg RAY_VERSION="2.55.1 2.60.0". Empty: without them.
FROM build AS pages
ARG RAY_VERSION=
ENV PAGES=/pages
RUN mkdir -p "$PAGES" \
 && if [ -n "$RAY_VERSION" ]; then "$VENV/bin/ray-history" dashboard fetch $RAY_VERSION --directory "$PAGES"; fi

FROM build AS app
ENV CORE=/core
COPY --from=core /core/built /core/built
RUN cp -R "$CORE/built/." "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"
RUN "$VENV/bin/uv" pip uninstall --quiet hatchling pip uv && "$VENV/bin/python" -m compileall -q -j 0 "$VENV/lib"

FROM python:${PYTHON} AS runtime
ENV VENV=/app PAGES=/pages PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
COPY --from=app /app /app
COPY --from=pages /pages /pages
# What is written at run time goes below /tmp: the root file system may be read-only.
ENV RAY_HISTORY_HOST=0.0.0.0 RAY_HISTORY_PORT=8080 RAY_HISTORY_WORKER_HOST=0.0.0.0 RAY_HISTORY_WORKER_PORT=8081 \
    RAY_HISTORY_FLOWER_HOST=0.0.0.0 RAY_HISTORY_FLOWER_PORT=5555 RAY_HISTORY_LOG_FORMAT=json \
    RAY_HISTORY_DASHBOARD_DIR=/pages HEALTH_URL=http://127.0.0.1:8080/livez
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080 8081 5555
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['HEALTH_URL'], timeout=5)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["ray-history"]
CMD ["api"]

# For KubeRay's operator, which injects a container without saying its command: docker build --target collector.
FROM runtime AS collector
HEALTHCHECK NONE
CMD ["collect"]

# For compose.yaml: puts the bundled recorded sessions into an S3-compatible store.
FROM runtime AS recorded
ENV DATA=/recorded
COPY tests/data/recorded.py tests/data/recorded.tar.xz deploy/fill_bucket.py /recorded/
ENTRYPOINT ["python3", "/recorded/fill_bucket.py"]
CMD []

FROM runtime
