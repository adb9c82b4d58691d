#!/usr/bin/env bash
# Installs the Debian packages that are missing, and nothing when none is.
#   setup.sh            what building and running ocelli needs
#   setup.sh --servers  also what its tests and `make up` need: RabbitMQ, PostgreSQL, Prometheus, a browser with what
#                       drives it, and checkers of files
#   setup.sh --bench    also language data of the images that `make bench-ocr` measures, and what `make bench-ingest` stands beside
# No system service is started: the servers are only ever run privately, with their data in a folder of ours.
set -euo pipefail

packages=(
    build-essential pkg-config clang libclang-dev   # leptess generates its bindings at build time
    libtesseract-dev libleptonica-dev               # the OCR engine
    tesseract-ocr tesseract-ocr-eng tesseract-ocr-osd
    libheif-examples                                # heif-convert, for AVIF and HEIC
    fonts-dejavu-core fonts-liberation              # typefaces of the sample images
    fonts-bebas-neue fonts-comic-neue fonts-lato
    util-linux
)
if [[ ${1:-} == --servers ]]; then
    packages+=(rabbitmq-server postgresql prometheus shellcheck systemd python3-venv chromium libxml2-utils)
    # Those of Debian, unless there are others.
    command -v npm >/dev/null || packages+=(nodejs npm)
elif [[ ${1:-} == --bench ]]; then
    packages+=(tesseract-ocr-deu tesseract-ocr-chi-sim tesseract-ocr-jpn wrk)
fi

if ! command -v cargo >/dev/null; then
    echo "setup: cargo is not on the PATH. Install Rust (https://rustup.rs), then try again." >&2
    exit 1
fi
if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is not Debian or Ubuntu, so nothing was installed. ocelli needs what these packages hold:" >&2
    echo "  ${packages[*]}" >&2
    echo "When you have them, go on with OCELLI_SKIP_SETUP=1 make …" >&2
    [[ ${OCELLI_SKIP_SETUP:-} == 1 ]] && exit 0
    exit 1
fi

installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true)
missing=()
for package in "${packages[@]}"; do
    grep -qx "$package installed" <<<"$installed" || missing+=("$package")
done
((${#missing[@]} == 0)) && exit 0
if [[ ${OCELLI_SKIP_SETUP:-} == 1 ]]; then
    echo "setup: not installed, as OCELLI_SKIP_SETUP=1 asks: ${missing[*]}" >&2
    exit 0
fi

sudo=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "setup: these Debian packages are missing, and there is no sudo. As root:" >&2
        echo "  apt-get install ${missing[*]}" >&2
        exit 1
    fi
    sudo=(sudo)
fi
echo "setup: installing ${missing[*]}" >&2
# The packages' own scripts must start no service: invoke-rc.d starts none in single-user mode, and systemctl none when it
# believes to be in a chroot.
apt=("${sudo[@]}" env RUNLEVEL=1 SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive apt-get -qq)
install=("${apt[@]}" -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${missing[@]}")
# The package lists of a fresh machine are empty or old: they are fetched when the first try fails.
"${install[@]}" >/dev/null 2>&1 || { "${apt[@]}" update && "${install[@]}"; } >&2
