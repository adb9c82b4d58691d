#!/usr/bin/env bash
# Drives Debian's chromium over the archive's pages: browser.sh SCRIPT ARGUMENTS… runs a script of tests/browser.
# What drives it (playwright-core, axe-core) is installed into the build folder the first time; nothing of it is shipped.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scripts=$(cd "$here/../../tests/browser" && pwd)
folder=${CARGO_TARGET_DIR:-$here/../../target}/browser

for program in chromium node npm; do
    if ! command -v "$program" >/dev/null; then
        echo "browser: $program is not there; 'make setup-servers' installs it" >&2
        exit 1
    fi
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
# Several tests may come here at once: one installs.
exec 9>"$folder/lock"
flock 9
if ! cmp -s "$scripts/package-lock.json" "$folder/installed"; then
    cp "$scripts/package.json" "$scripts/package-lock.json" "$folder/"
    if ! npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund >"$folder/install.log" 2>&1; then
        tail -n 15 "$folder/install.log" >&2
        echo "browser: playwright-core and axe-core could not be installed" >&2
        exit 1
    fi
    cp "$scripts/package-lock.json" "$folder/installed"
fi
flock -u 9
# Modules are looked for beside the script.
cp "$scripts"/*.mjs "$folder/"
script=$1
shift
exec node "$folder/$script" "$@"
