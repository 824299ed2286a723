#!/usr/bin/env bash
# Prints the path of a Chromium for the browser tests; gets Debian's where that is allowed; says clearly when there is none.
set -euo pipefail

find_one() {
    if [[ -n "${CHROMIUM:-}" ]]; then
        [[ -x "$CHROMIUM" ]] && { printf '%s\n' "$CHROMIUM"; return 0; }
        printf 'CHROMIUM=%s is not an executable file\n' "$CHROMIUM" >&2
        exit 1
    fi
    command -v chromium || command -v chromium-browser || command -v google-chrome
}

find_one && exit 0

if [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
    echo 'No Chromium found: installing the system package' >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; } </dev/null >&2 || true
    find_one && exit 0
fi

cat >&2 <<'TEXT'
The browser tests need Chromium, and none was found.
  Debian, Ubuntu: apt-get install chromium     Fedora: dnf install chromium
  Elsewhere: install it and say where it is:   make test CHROMIUM=/path/to/chromium
TEXT
exit 1
