# The operator as one static binary on an empty image.
# By digest, of the list of all architectures: a tag can be moved. Change both together.
FROM rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
# The compiler that the image has, whatever else rust-toolchain.toml asks for: that is for those who change the operator.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates musl-tools
# The binary is static with musl.
RUN rustup target add "$(uname -m)-unknown-linux-musl"
# Writes the list of crates into the binary, where scanners look for it.
RUN cargo install --locked cargo-auditable@0.7.7
WORKDIR /src
COPY . .
# --locked: exactly the reviewed dependencies.
RUN cargo auditable build --release --locked --package sessionkill --bin sessionkill-operator \
        --target "$(uname -m)-unknown-linux-musl" && \
    mv target/*-unknown-linux-musl/release/sessionkill-operator /

FROM scratch
LABEL org.opencontainers.image.title="sessionkill-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /sessionkill-operator /sessionkill-operator
USER 65532:65532
ENTRYPOINT ["/sessionkill-operator"]
CMD ["run"]
