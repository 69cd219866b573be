# The whole service in one image. Alone it runs both processes under the supervisor; in Kubernetes the same image runs twice,
# once as the proxy and once as TorchServe (deploy/kubernetes/).
#
#   docker build -t mnist .                            CPU
#   docker build -t mnist --build-arg DEVICE=cu130 .   CUDA 13.0; run it with --gpus all
#   docker build -t mnist --build-arg VERSION=2.0 .    another version of the model, as metrics and details show it
#   docker run --read-only --tmpfs /run/mnist:exec,uid=10001,mode=700 --stop-timeout 40 -p 3001:3001 mnist

ARG PYTHON=3.11
ARG BASE=python:${PYTHON}-slim-bookworm

FROM ${BASE} AS build
# Which of PyTorch's own indices torch comes from: its builds are named after what they run on.
ARG DEVICE=cpu
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/mnist
COPY requirements.txt .
COPY serve/install.py serve/
# Only what serving needs. A Java runtime comes with it, in a wheel.
RUN python -m venv .venv \
    && PIP_EXTRA_INDEX_URL="https://download.pytorch.org/whl/${DEVICE} ${PIP_EXTRA_INDEX_URL:-}" PIP_NO_CACHE_DIR=1 \
       .venv/bin/python -m serve.install serving \
    # a tenth of the image that only building against torch needs
    && rm -rf .venv/lib/python*/site-packages/torch/test .venv/lib/python*/site-packages/torch/include
COPY . .
ARG VERSION=1.0
# A checkout made under umask 077 can be read by its owner only.
RUN chmod -R g+rX . && touch .venv/.client && make .venv/torchserve.aot model_store/mnist.mar VERSION="$VERSION"

FROM ${BASE}
# Any user of group 0 may run it, as OpenShift wants: the group has the user's rights.
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /run/mnist --shell /usr/sbin/nologin mnist \
    && install -d -o 10001 -g 0 -m 770 /run/mnist
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
USER 10001:0
EXPOSE 3001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-m", "serve.health_check"]
CMD ["python", "-m", "serve"]
