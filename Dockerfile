# The operator as one static binary on an empty image.
FROM rust:1.95.0-alpine AS build
RUN apk add --no-cache musl-dev make
# Writes the list of crates into the binary, where scanners look for it.
RUN cargo install --locked cargo-auditable@0.7.7
WORKDIR /src
COPY . .
# Alpine's own target is musl: the binary is static. --locked: exactly the reviewed dependencies.
RUN cargo auditable build --release --locked --package sessionkill --bin sessionkill-operator

FROM alpine:3.22 AS roots
RUN apk add --no-cache ca-certificates

FROM scratch
LABEL org.opencontainers.image.title="sessionkill-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=roots /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/sessionkill-operator /sessionkill-operator
USER 65532:65532
ENTRYPOINT ["/sessionkill-operator"]
CMD ["run"]
