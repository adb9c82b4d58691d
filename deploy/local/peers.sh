#!/usr/bin/env bash
# Installs what `make bench` compares with, pinned, from Python packages into the build folder: half a minute, the first time.
# Nothing is installed into the system.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$here/../../crates/ocelli-bench/peers/requirements.txt
folder=${CARGO_TARGET_DIR:-$here/../../target}/bench/peers

cmp -s "$requirements" "$folder/installed.txt" && exit 0
echo "peers: installing celery, dramatiq, taskiq, faststream and tesserocr into the build folder" >&2
rm -rf "$folder"
mkdir -p "$folder"
if ! python3 -m venv "$folder" >"$folder/install.log" 2>&1; then
    echo "peers: Python cannot make a virtual environment; Debian's package is python3-venv" >&2
    exit 1
fi
if ! "$folder/bin/python" -m pip install --disable-pip-version-check --no-deps -r "$requirements" >>"$folder/install.log" 2>&1; then
    tail -n 15 "$folder/install.log" >&2
    echo "peers: they could not be installed" >&2
    exit 1
fi
cp "$requirements" "$folder/installed.txt"
