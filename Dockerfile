# The operator's image: a virtual environment on a plain Python, nothing to build or install with in the last layer.
#
# The base is an argument: any image with Python 3.11 or newer as `python3`, its venv module, glibc and CA certificates.
# The builder and the last layer use the same one, since the environment refers to the base's Python. The default is a
# tag, not yet a digest.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_COMPILE=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
COPY hack/requirements/build.txt hack/requirements/runtime.txt hack/requirements/
# Two environments: one that builds the wheel and is left behind, one that becomes the image.
RUN python3 -m venv /build/tools \
    && /build/tools/bin/pip install --require-hashes --requirement hack/requirements/build.txt \
    && python3 -m venv /opt/replicated-proxy \
    && /opt/replicated-proxy/bin/pip install --require-hashes --only-binary :all: --requirement hack/requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /build/tools/bin/pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
    && /opt/replicated-proxy/bin/pip install --no-deps --no-index dist/*.whl
# Left out: what installs packages, and other packages' commands; sources of compiled modules, type stubs, tests; and the
# generated models and calls of the Kubernetes client, 120 MB that load only for callers that want typed objects. We send
# and get plain JSON; the two models that kopf looks for stay.
WORKDIR /opt/replicated-proxy
RUN rm -rf share include \
    && find bin -type f ! -name '*replicated*' -delete \
    && cd lib/python3*/site-packages \
    && rm -rf pip pip-* setuptools setuptools-* pkg_resources _distutils_hack distutils-precedence.pth \
    && find . -type f \( -name '*.c' -o -name '*.h' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.pyx' \
       -o -name '*_test.py' -o -name '_testcapi.*' \) -delete \
    && find kubernetes/client/models kubernetes/client/api kubernetes/aio/client/models kubernetes/aio/client/api \
       -type f ! -name __init__.py ! -name v1_managed_fields_entry.py ! -name v1_object_meta.py \
       ! -name v1_owner_reference.py -delete
# Every module of ours loads from what is left. Bytecode is made here, and trusted without a look at the source: the
# file system is read-only when it runs.
RUN bin/python -c 'import importlib, pkgutil, kopf, replicated_proxy; from kubernetes.client import V1ObjectMeta; \
    [importlib.import_module(found.name) for found in pkgutil.walk_packages(replicated_proxy.__path__, "replicated_proxy.") \
    if not found.name.endswith("__main__")]' \
    && bin/python -m compileall -q --invalidation-mode unchecked-hash lib

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="replicated-proxy-operator" \
      org.opencontainers.image.description="Makes every Pod of a Replicated application pull its private images through the proxy registry." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The base may bring a pip of its own; the operator needs none.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
       /usr/lib/python3*/ensurepip /usr/share/python-wheels
COPY --from=builder /opt/replicated-proxy /opt/replicated-proxy
# glibc keeps what a burst of objects took, in an arena for each thread; with these it gives most of it back.
ENV PATH=/opt/replicated-proxy/bin:/usr/local/bin:/usr/bin:/bin \
    MALLOC_ARENA_MAX=1 \
    MALLOC_MMAP_THRESHOLD_=65536 \
    MALLOC_TRIM_THRESHOLD_=131072 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532
ENTRYPOINT ["replicated-proxy"]
