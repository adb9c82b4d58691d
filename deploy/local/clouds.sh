#!/usr/bin/env bash
# Installs servers of the protocols of Google's and Azure's buckets, pinned, into the build folder: half a minute, the first time. Tests
# start them; nothing of them is shipped, and nothing is installed into the system.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pins=$(cd "$here/../../tests/clouds" && pwd)
folder=${CARGO_TARGET_DIR:-$here/../../target}/clouds

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
# Several tests may come here at once: one installs.
exec 9>"$folder/lock"
flock 9
if cat "$pins/requirements.txt" "$pins/package-lock.json" | cmp -s - "$folder/installed"; then
    exit 0
fi
failed() {
    tail -n 15 "$folder/install.log" >&2
    echo "clouds: $1" >&2
    exit 1
}
for program in node npm; do
    command -v "$program" >/dev/null || {
        echo "clouds: $program is not there; 'make setup-servers' installs it" >&2
        exit 1
    }
done
echo "clouds: installing azurite and fake-gcs-server into the build folder" >&2
python3 -m venv "$folder/python" >"$folder/install.log" 2>&1 ||
    failed "Python cannot make a virtual environment; Debian's package is python3-venv"
"$folder/python/bin/python" -m pip install --disable-pip-version-check --no-deps --only-binary :all: \
    -r "$pins/requirements.txt" >>"$folder/install.log" 2>&1 || failed "fake-gcs-server could not be installed"
cp "$pins/package.json" "$pins/package-lock.json" "$folder/"
npm ci --prefix "$folder" --omit=dev --ignore-scripts --no-audit --no-fund >>"$folder/install.log" 2>&1 ||
    failed "azurite could not be installed"
server=$(find "$folder/python" -type f -name 'fake-gcs-server-*' -print -quit)
chmod +x "$server"
ln -sf "$server" "$folder/fake-gcs-server"
cat "$pins/requirements.txt" "$pins/package-lock.json" >"$folder/installed"
