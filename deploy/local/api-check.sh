#!/usr/bin/env bash
# Asks a running site what its OpenAPI document promises, and what it does not, with schemathesis: api-check.sh URL TOKEN.
# Without arguments it is only installed: into the build folder, the first time, pinned, from Python packages; nothing is installed into the system.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$here/../checks/schemathesis.txt
folder=${CARGO_TARGET_DIR:-$here/../../target}/schemathesis

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
# Several may come here at once: one installs.
exec 9>"$folder/lock"
flock 9
if ! cmp -s "$requirements" "$folder/installed.txt"; then
    echo "api-check: installing schemathesis into the build folder" >&2
    rm -rf "$folder/venv"
    if ! python3 -m venv "$folder/venv" >"$folder/install.log" 2>&1; then
        echo "api-check: Python cannot make a virtual environment; Debian's package is python3-venv" >&2
        exit 1
    fi
    if ! "$folder/venv/bin/python" -m pip install --disable-pip-version-check --no-deps -r "$requirements" >>"$folder/install.log" 2>&1; then
        tail -n 15 "$folder/install.log" >&2
        echo "api-check: schemathesis could not be installed" >&2
        exit 1
    fi
    cp "$requirements" "$folder/installed.txt"
fi
flock -u 9
[ $# -gt 0 ] || exit 0
# What it remembers of earlier runs would make runs differ.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$folder/venv/bin/schemathesis" run "$1/api/v1/openapi.json" --url "$1" -H "Authorization: Bearer $2" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method \
    --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-30}" --seed 1 --no-shrink --continue-on-failure \
    --request-timeout 30 --warnings off
