# The service alone: ONNX Runtime and OpenVINO on the CPU, no torch, no compiler, no root.
#   docker build -t millisight .
#   docker run --rm -p 3000:3000 millisight
#   docker run --rm -p 3000:3000 -v "$PWD/runs:/app/runs:ro" millisight     # your own bundles come before the zoo
# It also runs with a read-only root: docker run --read-only --tmpfs /tmp ...

FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/venv
ENV PATH="/opt/venv/bin:$PATH"
WORKDIR /src
# Only what the wheel is made of, so that a change in docs or tests does not install everything again.
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY export/ export/
COPY millisight/ millisight/
COPY models/ models/
COPY runtime/ runtime/
COPY search/ search/
COPY serving/ serving/
COPY tasks/ tasks/
COPY training/ training/
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt ".[serve,cpu,openvino]"

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="millisight" \
      org.opencontainers.image.description="Image restoration within a latency budget, over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin millisight
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY zoo/ zoo/
# BENTOML_HOME: the only place BentoML writes to, and /tmp may be a tmpfs.
# BENTOML_CONTAINERIZED: when the worker dies the container ends, and whoever runs the container starts it again.
# BENTOML_DO_NOT_TRACK: nothing leaves the container.
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_CONTAINERIZED=true \
    BENTOML_DO_NOT_TRACK=True
USER 10001
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
CMD ["bentoml", "serve", "serving.service:RestorationService", "--host", "0.0.0.0", "--port", "3000"]
