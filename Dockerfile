# The operator's image: an interpreter, the libraries it loads, our dependencies, the operator; no shell, no package
# manager, nothing to build or install with. docs/image.md says what each layer costs.
#
# The base is an argument: any Debian or Ubuntu with Python 3.11 as `python3`, its venv module and ca-certificates. It
# must be pinned by digest. The default is Docker's official image as that project's own record (repo-info, 2026-09-19)
# has it: an index of all platforms.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
# The same for the machine that builds; another one only where PYTHON_IMAGE is no index of several platforms.
ARG BUILD_IMAGE=${PYTHON_IMAGE}

# Files are taken from this one. Nothing in it runs, so it may be for any processor.
FROM ${PYTHON_IMAGE} AS base

FROM --platform=${BUILDPLATFORM} ${BUILD_IMAGE} AS builder
ARG PYTHON_IMAGE
ARG BUILD_IMAGE
ARG TARGETARCH
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_COMPILE=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=hack
WORKDIR /build
RUN for image in "${PYTHON_IMAGE}" "${BUILD_IMAGE}"; do case "${image}" in *@sha256:*) ;; *) \
    echo "the base ${image} is not pinned: name it with its digest, as name@sha256:..." >&2; exit 1;; esac; done
COPY hack/requirements/build.txt hack/requirements/runtime.txt hack/requirements/
COPY hack/image hack/image
# tools builds the wheel and is left behind.
RUN python3 -m venv tools \
    && tools/bin/pip install --require-hashes --requirement hack/requirements/build.txt \
    && python3 -m image --architecture "${TARGETARCH}" install --pip tools/bin/pip --target dependencies \
       -- --require-hashes --requirement hack/requirements/runtime.txt
COPY --from=base / /base
RUN python3 -m image --architecture "${TARGETARCH}" below --base /base --installed dependencies --output /image
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
ARG VERSION=0.1.0
RUN tools/bin/pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
    && python3 -m image --architecture "${TARGETARCH}" install --pip tools/bin/pip --target package -- --no-index dist/*.whl \
    && python3 -m image --architecture "${TARGETARCH}" operator --installed package --output /image --version "${VERSION}"

FROM scratch
COPY --from=builder /image/system /
COPY --from=builder /image/dependencies /
COPY --from=builder /image/operator /
ARG VERSION=0.1.0
# Where the image is from (commit, time, base) --label says: buildah keeps a LABEL of an earlier build with the same files,
# whatever its arguments were then.
LABEL org.opencontainers.image.title="replicated-proxy-operator" \
      org.opencontainers.image.description="Makes every Pod of a Replicated application pull its private images through the proxy registry." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# glibc keeps what a burst of objects took, in an arena for each thread; with these it gives most of it back.
ENV PATH=/opt/replicated-proxy/bin:/usr/local/bin:/usr/bin \
    LANG=C.UTF-8 \
    MALLOC_ARENA_MAX=1 \
    MALLOC_MMAP_THRESHOLD_=65536 \
    MALLOC_TRIM_THRESHOLD_=131072 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532
ENTRYPOINT ["replicated-proxy"]
