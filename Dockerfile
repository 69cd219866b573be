# The whole service in one image. Alone it runs both processes under the supervisor; in Kubernetes the same image runs twice,
# once as the proxy and once as TorchServe (deploy/kubernetes/).
#
#   docker build -t mnist .                            CPU
#   docker build -t mnist --build-arg DEVICE=cu130 .   CUDA 13.0; run it with --gpus all
#   docker run --read-only --tmpfs /run/mnist:uid=10001,mode=700 -p 3001:3001 mnist

ARG PYTHON=3.11
ARG BASE=python:${PYTHON}-slim-bookworm

FROM ${BASE} AS build
# Which of PyTorch's own indices torch comes from: its builds are named after what they run on.
ARG DEVICE=cpu
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/mnist
COPY requirements.txt .
# Only what serving needs: the file's first section. A Java runtime comes with it, in a wheel.
RUN python -m venv .venv \
    && sed '/^# training/,$d' requirements.txt > /tmp/serving.txt \
    && PIP_EXTRA_INDEX_URL="https://download.pytorch.org/whl/${DEVICE} ${PIP_EXTRA_INDEX_URL:-}" \
       .venv/bin/pip install --no-cache-dir -r /tmp/serving.txt \
    # a tenth of the image that only building against torch needs
    && rm -rf .venv/lib/python*/site-packages/torch/test .venv/lib/python*/site-packages/torch/include
COPY . .
RUN touch .venv/.installed && make .venv/torchserve.aot model_store/mnist.mar

FROM ${BASE}
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /run/mnist --shell /usr/sbin/nologin mnist \
    && install -d -o mnist -g mnist -m 700 /run/mnist
COPY --from=build /srv/mnist /srv/mnist
# Everything that is written at run time lies under /run/mnist: give it a tmpfs, and the rest can be read-only.
ENV PATH=/srv/mnist/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/run/mnist \
    TMPDIR=/run/mnist \
    RUN_DIR=/run/mnist \
    HOST=0.0.0.0 \
    PORT=3001
WORKDIR /srv/mnist
USER 10001:10001
EXPOSE 3001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz', timeout=4)"]
CMD ["python", "-m", "serve"]
