#!/usr/bin/env bash
# Builds the Debian package from programs that are already built.
#   build.sh PROGRAMS FOLDER [COMPRESSION]   PROGRAMS: where the programs lie; FOLDER: where the package goes;
#                                            COMPRESSION: xz (default), or none for a package that is only tested
# Prints the package's path; beside it lies the bill of materials (CycloneDX). Needs python3, cargo and dpkg-dev (of build-essential) alone: dependencies are read from the programs themselves.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

if (($# < 2)); then
    echo "usage: build.sh PROGRAMS FOLDER [COMPRESSION]" >&2
    exit 2
fi
programs=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
compression=${3:-xz}
names=(ocelli ocelli-producer ocelli-collector ocelli-ocr-worker ocelli-llm-worker ocelli-web)
for name in "${names[@]}"; do
    if [[ ! -x $programs/$name ]]; then
        echo "build.sh: $programs/$name is not built" >&2
        exit 1
    fi
done
version=$("$programs/ocelli" --version | cut -d ' ' -f 2)
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tree=$stage/tree
umask 022

put() { install -D -m "${3:-644}" "$1" "$tree/$2"; }
page() { install -d "$tree/usr/share/man/man1" && gzip -9n >"$tree/usr/share/man/man1/$1.1.gz"; }

for name in "${names[@]}"; do
    put "$programs/$name" "usr/bin/$name" 755
    strip --strip-unneeded --remove-section=.comment "$tree/usr/bin/$name"
    if [[ $name == ocelli ]]; then "$programs/ocelli" man; else "$programs/$name" --manual; fi | page "$name"
done
for unit in "$root"/deploy/systemd/*.{service,target}; do
    put "$unit" "lib/systemd/system/$(basename "$unit")"
done
put "$root/deploy/systemd/ocelli.sysusers" usr/lib/sysusers.d/ocelli.conf
put "$root/deploy/systemd/ocelli.tmpfiles" usr/lib/tmpfiles.d/ocelli.conf
put "$root/deploy/config/ocelli.toml" etc/ocelli/ocelli.toml 640
put "$here/default" etc/default/ocelli
put "$here/copyright" usr/share/doc/ocelli/copyright
bill=$out/ocelli_$version.cdx.json
python3 "$here/sbom.py" "$version" >"$bill"
install -d "$tree/usr/share/doc/ocelli"
gzip -9n <"$bill" >"$tree/usr/share/doc/ocelli/ocelli.cdx.json.gz"
install -d "$tree"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
"$programs/ocelli" completions bash >"$tree/usr/share/bash-completion/completions/ocelli"
"$programs/ocelli" completions zsh >"$tree/usr/share/zsh/vendor-completions/_ocelli"
"$programs/ocelli" completions fish >"$tree/usr/share/fish/vendor_completions.d/ocelli.fish"
for page in OPERATIONS GUARANTEES SEARCH WEB settings metrics; do
    put "$root/docs/$page.md" "usr/share/doc/ocelli/$page.md"
done
gzip -9n <"$root/CHANGELOG.md" >"$tree/usr/share/doc/ocelli/changelog.gz"
for folder in prometheus/rules prometheus/prometheus.yml grafana/dashboards grafana/provisioning rabbitmq; do
    install -d "$tree/usr/share/ocelli/$(dirname "$folder")"
    cp -r "$root/deploy/$folder" "$tree/usr/share/ocelli/$(dirname "$folder")/"
done
find "$tree/usr/share/ocelli" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +

# Libraries, as the programs name them. dpkg-shlibdeps wants a source package around it.
mkdir -p "$stage/debian"
printf 'Source: ocelli\n\nPackage: ocelli\nArchitecture: any\n' >"$stage/debian/control"
libraries=$(cd "$stage" && dpkg-shlibdeps -O "${names[@]/#/tree/usr/bin/}" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')

install -d "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: ocelli
Version: $version
Architecture: $architecture
Section: graphics
Priority: optional
Maintainer: the ocelli maintainers <maintainers@ocelli.invalid>
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f 1)
Depends: $libraries, adduser | systemd, tesseract-ocr-eng, tesseract-ocr-osd
Recommends: ca-certificates, libheif-examples
Suggests: rabbitmq-server (>= 3.10), postgresql (>= 15), prometheus
Description: searchable archive of what models read in piles of images
 Turns images into records: when each was first seen, and what every analyzer
 read in it (Tesseract's text, and what vision models answered to a prompt).
 One command does it all on one machine; a fleet of workers on RabbitMQ does
 it for millions of images.
CONTROL
printf '/etc/ocelli/ocelli.toml\n/etc/default/ocelli\n' >"$tree/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "$here/$script" "$tree/DEBIAN/$script"
done
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
package=$out/ocelli_${version}_$architecture.deb
dpkg-deb --root-owner-group "-Z$compression" --build "$tree" "$package" >/dev/null
echo "$package"
