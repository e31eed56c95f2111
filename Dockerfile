# The service in a container: no torch, no compiler, no root. Targets: cpu (the default), gpu, bundles.
#   make image                                      # or: docker build -t millisight .
#   make image-gpu                                  # or: docker build -t millisight:gpu --target gpu .
#   make image TARGET=bundles IMAGE=my-bundles IMAGE_OPTIONS='--build-context zoo=FOLDER'      # bundles alone, your own
#   docker run --rm -p 3000:3000 --read-only --tmpfs /tmp --cap-drop ALL millisight
# A package index of your own: --secret id=pip,src=pip.conf; it is mounted while pip runs and is in no layer.
# docs/containers.md says what is in the images and what of this was run.

ARG PYTHON_IMAGE=docker.io/library/python:3.11.15-slim-bookworm
ARG BUSYBOX_IMAGE=docker.io/library/busybox:1.37.0

# --build-context zoo=FOLDER puts other bundles in its place, in every target.
FROM scratch AS zoo
COPY zoo/ /

# Packages are installed from outside, by the base's pip, into an environment that has none of its own.
FROM ${PYTHON_IMAGE} AS build
# Wheels and compiled modules hold no times: the same sources give the same bytes.
ENV SOURCE_DATE_EPOCH=315532800
RUN python -m venv --without-pip /opt/venv
WORKDIR /src

# The project without its code: what it asks for changes rarely, so the large layers below stay as they are.
FROM build AS needs
COPY pyproject.toml constraints.txt ./
RUN touch README.md LICENSE

FROM needs AS cpu-packages
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --constraint constraints.txt ".[serve,cpu,openvino,client,redis]"

# NVIDIA's libraries are pip packages and only the driver comes from the host, so the base need not be one of CUDA's.
# TensorRT itself is not on PyPI (its package there fetches from NVIDIA's index): GPU_EXTRAS=serve,gpu,tensorrt,client
# adds it where that index can be reached. cuda-python is what the extra tensorrt asks for and tensorrt-rtx leaves out.
FROM needs AS gpu-packages
ARG GPU_EXTRAS=serve,gpu,tensorrt-rtx,client,redis
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --constraint constraints.txt ".[${GPU_EXTRAS}]" "cuda-python>=12.8"

# The code alone, in its place below /installed. It is copied, not mounted: buildah and podman do not notice in their
# caches that what is mounted has changed.
FROM build AS code
COPY pyproject.toml README.md LICENSE ./
COPY export/ export/
COPY millisight/ millisight/
COPY models/ models/
COPY monitoring/ monitoring/
COPY runtime/ runtime/
COPY search/ search/
COPY serving/ serving/
COPY tasks/ tasks/
COPY training/ training/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --no-deps --root /installed .

# What cpu and gpu share.
FROM ${PYTHON_IMAGE} AS service
LABEL org.opencontainers.image.title="millisight" \
      org.opencontainers.image.description="Image restoration within a latency budget, over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
# /var/lib/millisight: for MILLISIGHT_STATE, where a volume is mounted there; a new volume takes its owner over.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin millisight \
 && install --directory --owner 10001 --group 10001 /var/lib/millisight
WORKDIR /app
# BENTOML_HOME: the only place BentoML writes to, and /tmp may be a tmpfs.
# BENTOML_CONTAINERIZED: when the worker dies the container ends, and whoever runs the container starts it again.
# BENTOML_DO_NOT_TRACK: nothing leaves the container.
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_CONTAINERIZED=true \
    BENTOML_DO_NOT_TRACK=True
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
CMD ["bentoml", "serve", "serving.service:RestorationService", "--host", "0.0.0.0", "--port", "3000"]

FROM service AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=gpu-packages /opt/venv/ /opt/venv/
COPY --from=code /installed/opt/venv/ /opt/venv/
COPY --from=zoo / zoo/
USER 10001

# Bundles alone: a volume of its own for Kubernetes, or an init container that fills a shared folder at /models.
FROM ${BUSYBOX_IMAGE} AS bundles
COPY --from=zoo / /bundles/
USER 10001
CMD ["cp", "-R", "/bundles/.", "/models"]

FROM service AS cpu
COPY --from=cpu-packages /opt/venv/ /opt/venv/
COPY --from=code /installed/opt/venv/ /opt/venv/
COPY --from=zoo / zoo/
USER 10001
