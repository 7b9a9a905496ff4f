# sijo serve with the built-in model: docs/serving.md, "In a container".
#
#   docker build --tag sijo .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges --publish 127.0.0.1:8000:8000 \
#       --volume "$PWD/keys.txt:/run/secrets/sijo-keys:ro" sijo
#
# A release pins the base image by its digest: --build-arg PYTHON=python:3.13-slim-trixie@sha256:…
ARG PYTHON=python:3.13-slim-trixie

FROM ${PYTHON} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY constraints.txt pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN python3 -m venv /opt/sijo \
    && /opt/sijo/bin/pip wheel --quiet --no-deps --wheel-dir wheels . \
    && /opt/sijo/bin/pip install --quiet --no-compile --constraint constraints.txt "$(echo wheels/sijo-*.whl)[serve]"
# What serving never opens goes; what Python would compile at every start, for nothing can be written, is compiled now.
RUN /opt/sijo/bin/pip uninstall --quiet --yes pip \
    && find /opt/sijo -name "*.dist-info" -prune -o -type d \
        \( -name tests -o -name include -o -name __pycache__ \) -prune -exec rm -r {} + \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/sijo/lib

FROM ${PYTHON}
LABEL org.opencontainers.image.title="sijo" \
      org.opencontainers.image.description="Compact language models that label text nobody trained them to label" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/sijo /opt/sijo
# HOME is written to by nobody: models of the Hub come from a volume at /models, or not at all.
ENV PATH=/opt/sijo/bin:$PATH \
    HOME=/tmp \
    HF_HOME=/models \
    HF_HUB_OFFLINE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /models
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["sijo"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--api-key-file", "/run/secrets/sijo-keys"]
