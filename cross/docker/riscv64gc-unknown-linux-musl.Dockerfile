# What `cross build --target riscv64gc-unknown-linux-musl` works in: 64-bit RISC-V.
FROM docker.io/library/debian:12-slim
# hadolint ignore=DL3008 # the base image pins what these are; a version that Debian has replaced cannot be had any more
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev python3-venv qemu-user \
    && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /cross/
RUN python3 -m venv /cross/python \
    && /cross/python/bin/pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r /cross/requirements.txt
COPY docker/compiler docker/archiver /cross/
ENV PATH="/cross/python/bin:$PATH" \
    ZIG_TARGET="riscv64-linux-musl" \
    ZIG_GLOBAL_CACHE_DIR=/tmp/zig ZIG_LOCAL_CACHE_DIR=/tmp/zig CARGO_ZIGBUILD_CACHE_DIR=/tmp/zigbuild \
    CC_riscv64gc_unknown_linux_musl=/cross/compiler AR_riscv64gc_unknown_linux_musl=/cross/archiver \
    CARGO_TARGET_RISCV64GC_UNKNOWN_LINUX_MUSL_LINKER=/cross/compiler \
    CARGO_TARGET_RISCV64GC_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-Clink-self-contained=no -Ctarget-feature=+crt-static -Clink-arg=-Wl,-u,getrandom" \
    CARGO_TARGET_RISCV64GC_UNKNOWN_LINUX_MUSL_RUNNER=qemu-riscv64
