# A gateway in a container: no shell is needed to run it, and nothing of its file system is written but the two
# folders below. See compose.yaml for how it is meant to be started.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Without the demo, which a server has no use for.
RUN cargo build --locked --profile dist --no-default-features --bin ringward

FROM debian:bookworm-slim
# Authorities of the public web: issuers and upstreams are verified with them. The user owns the two folders.
# They are to be the newest ones: no version is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin ringward \
    && install -d -o ringward -g ringward -m 0700 /var/lib/ringward /run/ringward
COPY --from=build /src/target/dist/ringward /usr/bin/ringward
USER 10001:10001
WORKDIR /var/lib/ringward
VOLUME ["/var/lib/ringward"]
ENV RINGWARD_ADMIN=unix:/run/ringward/admin.sock
EXPOSE 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/bin/ringward", "healthcheck"]
ENTRYPOINT ["/usr/bin/ringward"]
CMD ["run", "-c", "/etc/ringward/ringward.toml"]
