# The whole service in one image. Alone it runs both processes under the supervisor; in Kubernetes the same image runs twice,
# once as the proxy and once as TorchServe (deploy/kubernetes/).
#
#   docker build -t mnist .                            CPU
#   docker build -t mnist --build-arg DEVICE=cu130 .   CUDA 13.0; run it with --gpus all
#   docker run --read-only --tmpfs /run/mnist:uid=10001,mode=700 -p 3001:3001 mnist

ARG PYTHON=3.11
ARG BASE=docker.io/library/python:${PYTHON}-slim-bookworm

FROM ${BASE} AS build
# Which of PyTorch's own indices torch comes from: its builds are named after what they run on.
ARG DEVICE=cpu
WORKDIR /srv/mnist
COPY requirements.txt .
# Only what serving needs: the file's first section. The rest of the environment (a JVM included) comes in wheels.
RUN python -m venv /opt/venv \
    && sed '/^# training/,$d' requirements.txt > /tmp/serving.txt \
    && PIP_EXTRA_INDEX_URL="https://download.pytorch.org/whl/${DEVICE} ${PIP_EXTRA_INDEX_URL:-}" \
       /opt/venv/bin/pip install --no-cache-dir --only-binary :all: -r /tmp/serving.txt
ENV PATH=/opt/venv/bin:$PATH
COPY handler/ handler/
COPY proxy/ proxy/
COPY serve/ serve/
COPY train/ train/
COPY samples/ samples/
COPY config.properties Makefile ./
RUN python -m train pack

FROM ${BASE}
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /run/mnist --shell /usr/sbin/nologin mnist
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/mnist /srv/mnist
# Everything that is written at run time lies under /run/mnist: give it a tmpfs, and the rest can be read-only.
ENV PATH=/opt/venv/bin:$PATH \
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
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --start-interval=1s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz', timeout=4)"]
CMD ["python", "-m", "serve"]
