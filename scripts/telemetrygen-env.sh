#!/bin/sh
# Makes .cache/telemetrygen/telemetrygen, OpenTelemetry's own sender of test data, pinned; prints its path. It is built with Go, which is
# installed where it is missing (Debian, as root); an older Go fetches the one that it needs.
set -eu
version=v0.161.0
root=$(cd "$(dirname "$0")/.." && pwd)
folder="$root/.cache/telemetrygen"
mkdir -p "$folder"
exec 9>"$folder.lock"
flock 9
if [ "$(cat "$folder/.version" 2>/dev/null || true)" != "$version" ]; then
  PATH="$PATH:/usr/local/go/bin"
  if ! command -v go >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
      echo "telemetrygen-env.sh: Go is missing (Debian: apt-get install golang-go)" >&2
      exit 1
    fi
    { apt-get update -q && apt-get install -y -q --no-install-recommends golang-go; } >&2
  fi
  GOTOOLCHAIN=auto GOBIN="$folder" go install "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@$version" >&2
  printf '%s\n' "$version" >"$folder/.version"
fi
flock -u 9
echo "$folder/telemetrygen"
