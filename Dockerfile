# The image of any controller, built from the workspace root:
#
#   docker build --build-arg CONTROLLER=source-controller -t source-controller .
#
# Whoever publishes the image pins the digest of their registry here (docs/security.md).
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm
FROM ${RUST_IMAGE} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates
ARG CONTROLLER
WORKDIR /src
COPY . .
# A static binary on the gnu target: its allocator is several times as fast as musl's. Relocations are packed, since
# reading a megabyte of them at the start would stay in the process's memory.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo rustc --locked --release \
        --package "${CONTROLLER:?}" --bin "${CONTROLLER}" -- \
        -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs \
    && cp "target/release/${CONTROLLER}" /controller

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /controller /controller
# Threads share one heap of glibc's allocator. Each would have its own, and keep there what an earlier reconcile has
# freed, while the memory budget counts what is in use: of several large sources in a row the process would hold more than
# half of the container's memory, which it is to stay below (ARCHITECTURE.md).
ENV MALLOC_ARENA_MAX=1
# Works with a read-only root: what is temporary goes to /tmp, source-controller's artifacts to /data, volumes of the
# Deployment both.
USER 65534:65534
ENTRYPOINT ["/controller"]
