# The images of docker-compose.yml: `loadtest`, and `asterisk`, which is Debian's with `loadtest` to
# configure and start it.

FROM rust:1-slim-trixie AS build
WORKDIR /src
# The dependencies alone, against sources that are empty: they are built again only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/peers \
    && echo 'fn main() {}' | tee src/main.rs benches/hot_paths.rs >benches/peers/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin loadtest
COPY assets assets
COPY asterisk asterisk
COPY scenarios/scenario.schema.json scenarios/
COPY src src
COPY templates templates
# Newer than what was built from the empty sources.
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin loadtest \
    && objcopy --strip-debug target/release/loadtest /loadtest

FROM debian:forky-slim AS asterisk
RUN apt-get update \
    && apt-get install -y --no-install-recommends asterisk \
    && rm -rf /var/lib/apt/lists/*
# The account of ARI goes to the other containers through /run/loadtest, by this group.
RUN groupadd --gid 10001 loadtest \
    && usermod --append --groups loadtest asterisk \
    && install -d -o asterisk -g loadtest -m 2750 /run/loadtest \
    && install -d -o asterisk -g asterisk /var/lib/loadtest
COPY docker/healthy docker/entrypoint /usr/local/bin/
COPY --from=build /loadtest /usr/local/bin/
USER asterisk
WORKDIR /var/lib/loadtest
ENTRYPOINT ["entrypoint", "loadtest", "asterisk", "--write-env", "/run/loadtest/ari.env"]

FROM debian:trixie-slim AS loadtest
RUN groupadd --gid 10001 loadtest \
    && useradd --uid 10001 --gid loadtest --no-create-home --home-dir /srv/loadtest --shell /usr/sbin/nologin loadtest \
    && install -d -o loadtest -g loadtest -m 755 /srv/loadtest \
    && install -d -o root -g loadtest -m 2750 /run/loadtest
COPY docker/healthy docker/entrypoint /usr/local/bin/
COPY --from=build /loadtest /usr/local/bin/
USER loadtest
WORKDIR /srv/loadtest
ENTRYPOINT ["entrypoint"]
CMD ["loadtest", "--help"]
