# The image of imapped: the static binary, the certificates it trusts and the time zones, nothing else.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t imapped .
#
# The base images come from a registry, or from `tools/provision/provision.sh bases` where none is reached. Both only
# build: nothing of them but Debian's certificates and time zones is in the result.
ARG BASE_IMAGE=debian:bookworm-slim
ARG GO_IMAGE=golang:1.26-bookworm

FROM ${BASE_IMAGE} AS files
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates tzdata \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -m 0700 /folders/data \
 && install -d -m 1777 /folders/tmp

FROM ${GO_IMAGE} AS build
ARG GOPROXY=https://proxy.golang.org
ENV CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false"
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /imapped ./cmd/imapped

FROM scratch
ARG VERSION=unknown
LABEL org.opencontainers.image.title="imapped" \
      org.opencontainers.image.description="An IMAP caching proxy and mirror" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION"
COPY --from=files /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=files /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=files --chown=65532:65532 /folders/ /
COPY --from=build /imapped /imapped
# Plain connections from other containers are what there is to publish; LOGINDISABLED holds for them until there is a
# certificate (STARTTLS) or ALLOW_PLAIN_AUTH is set.
ENV IMAPPED_DATA=/data IMAP_PLAINTEXT_BIND=0.0.0.0:1143 LOG_FORMAT=json PATH=/
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 1143
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/imapped", "healthcheck"]
ENTRYPOINT ["/imapped"]
CMD ["run"]
