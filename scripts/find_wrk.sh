#!/usr/bin/env bash
# Makes sure that wrk, which loads the servers under measurement, is there; gets Debian's where that is allowed.
set -euo pipefail

command -v wrk >/dev/null && exit 0

if [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
    echo 'No wrk found: installing the system package' >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq wrk; } </dev/null >&2 || true
    command -v wrk >/dev/null && exit 0
fi

cat >&2 <<'TEXT'
make bench loads the servers with wrk, and none was found.
  Debian, Ubuntu: apt-get install wrk     Fedora: dnf install wrk     macOS: brew install wrk
TEXT
exit 1
