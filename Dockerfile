# The image that deploy/ runs: one static program, and the certificate authorities for upstreams over TLS.
#
#   docker build --build-arg COMMIT="$(git describe --always --dirty)" --tag podzone .

# The compiler of Cargo.toml's rust-version; Debian 12 has the C library that deploy/dist links.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
# What -version and the metric coredns_build_info tell: the history stays outside (.dockerignore).
ARG COMMIT=unknown
ARG PROFILE=release
ARG SOURCE_DATE_EPOCH=0
RUN PODZONE_COMMIT="$COMMIT" make dist PROFILE="$PROFILE" DIST=/dist

# Nothing else: no shell, no package manager, nobody to log in.
FROM scratch
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="podzone" \
      org.opencontainers.image.description="A DNS server for Kubernetes that gives every pod its own name" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /dist/podzone.cdx.json /usr/share/podzone/podzone.cdx.json
COPY --from=build /dist/podzone /podzone
USER 65532:65532
EXPOSE 1053/udp 1053/tcp 8080/tcp 8181/tcp 9153/tcp
ENTRYPOINT ["/podzone"]
CMD ["-conf", "/etc/podzone/Corefile"]
