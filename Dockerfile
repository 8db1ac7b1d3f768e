# Two images from one build: `loadtest`, the program alone; and `loadtest-asterisk`, with an Asterisk beside it,
# which is Debian's, and which docker-compose.yml makes its containers of.
#
#     docker build --target loadtest --tag loadtest .
#     docker build --target loadtest-asterisk --tag loadtest-asterisk .
#
# docs/containers.md says which does what.

FROM rust:1-slim-trixie AS build
WORKDIR /src
# The dependencies alone, against sources that are empty: they are built again only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/peers \
    && echo 'fn main() {}' | tee src/main.rs benches/hot_paths.rs >benches/peers/main.rs \
    && touch src/lib.rs \
    && cargo build --profile dist --locked --bin loadtest
COPY assets assets
COPY asterisk asterisk
COPY scenarios/scenario.schema.json scenarios/
COPY src src
COPY templates templates
# Newer than what was built from the empty sources.
RUN touch src/lib.rs src/main.rs \
    && cargo build --profile dist --locked --bin loadtest
COPY .ci/licences .ci/
COPY LICENSE-APACHE LICENSE-MIT ./
# All of the image: the program, the libraries that it names, where names are looked up, and a folder for scratch files.
RUN mkdir -p /image/etc /image/tmp /image/srv/loadtest /image/usr/local/bin /image/usr/share/doc/loadtest \
    && chmod 1777 /image/tmp /image/srv/loadtest \
    && echo 'hosts: files dns' >/image/etc/nsswitch.conf \
    && cp target/dist/loadtest /image/usr/local/bin/ \
    && ldd target/dist/loadtest | grep -o '/[^ ]*' | xargs cp --dereference --parents --target-directory=/image \
    && .ci/licences >/image/usr/share/doc/loadtest/LICENCES.txt

FROM debian:forky-slim AS loadtest-asterisk
RUN apt-get update \
    && apt-get install -y --no-install-recommends asterisk \
    && rm -rf /var/lib/apt/lists/*
# In docker-compose.yml the account of ARI goes from Asterisk's container to the others through /run/loadtest.
RUN groupadd --gid 10001 loadtest \
    && useradd --uid 10001 --gid loadtest --no-create-home --home-dir /srv/loadtest --shell /usr/sbin/nologin loadtest \
    && install -d -o loadtest -g loadtest -m 1777 /srv/loadtest \
    && install -d -o loadtest -g loadtest -m 2750 /run/loadtest
COPY docker/healthy docker/entrypoint /usr/local/bin/
COPY --from=build /image/usr/local/bin/loadtest /usr/local/bin/
COPY --from=build /image/usr/share/doc/loadtest /usr/share/doc/loadtest
USER loadtest
WORKDIR /srv/loadtest
ENTRYPOINT ["loadtest"]
CMD ["--help"]

# Last, so that it is what `docker build .` makes.
FROM scratch AS loadtest
COPY --from=build /image /
USER 10001:10001
WORKDIR /srv/loadtest
ENTRYPOINT ["loadtest"]
CMD ["--help"]
