#!/usr/bin/env bash
# Installs a package, starts what its units start, reads images with it, and removes it again, all in a throw-away copy of
# this machine: an overlay in memory, in a mount namespace of its own. Needs root.
#   try.sh PACKAGE AMQP-URL IMAGES
set -euo pipefail

if [[ ${1:-} != --inside ]]; then
    exec unshare --mount --pid --fork --kill-child -- "$0" --inside "$@"
fi
shift
package=$1 broker=$2 images=$3
top=$(mktemp -d)
mount -t tmpfs tmpfs "$top"
trap 'umount -l "$top"; rmdir "$top"' EXIT
root=$top/root
mkdir "$top"/{upper,work} "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
# What lies on other disks here does not lie there.
mkdir -p "$root/tmp" "$root/run" && chmod 1777 "$root/tmp"
cp "$package" "$root/ocelli.deb"
cp -r "$images" "$root/images"
chmod -R a+rX "$root/images"

say() { echo "== $*"; }
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }
as_ocelli() { inside setpriv --reuid=ocelli --regid=ocelli --clear-groups -- "$@"; }
wait_until() {
    local deadline=$((SECONDS + 60))
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { echo "try.sh: waited in vain for: $*" >&2; exit 1; }
        sleep 0.1
    done
}

say install
inside dpkg --install /ocelli.deb
inside getent passwd ocelli
[[ $(stat -c '%U %a' "$root/etc/ocelli/ocelli.toml") != *" 644" ]]
inside ocelli config check

say "everything in one process, as its user"
as_ocelli env HOME=/var/lib/ocelli OCELLI_DATA__DIR=/var/lib/ocelli/alone ocelli run /images

say "what the units start"
# The site takes a free port: the one it would take is this machine's.
printf '[broker]\nurl = "%s"\n[catalog]\nurl = "sqlite:/var/lib/ocelli/catalog.db"\n[web]\nlisten = "127.0.0.1:0"\n' "$broker" \
    >"$root/etc/ocelli/ocelli.toml"
# start UNIT [INSTANCE]: its ExecStart with its environment, as its user.
start() {
    local unit=$root/lib/systemd/system/$1 command environment
    command=$(sed -n 's/^ExecStart=//p' "$unit")
    environment=$(sed -n 's/^Environment=//p' "$unit")
    # Words without quotes, by what the units hold.
    # shellcheck disable=SC2086
    chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 $environment \
        setpriv --reuid=ocelli --regid=ocelli --clear-groups -- ${command//%i/${2:-}} >"$top/${1%%[@.]*}.log" 2>&1 &
}
start ocelli-collector.service
collector=$!
start ocelli-ocr-worker@.service 19481
worker=$!
wait_until inside ocelli healthcheck 127.0.0.1:9464 --ready
wait_until inside ocelli-ocr-worker --healthcheck --listen 127.0.0.1:19481
# It serves an archive that is there: the collector has made it.
start ocelli-web.service
site=$!
wait_until inside ocelli healthcheck 127.0.0.1:9466 --ready
wait_until inside ocelli-web --healthcheck --listen 127.0.0.1:9466
count=$(find "$root/images" -type f | wc -l)
as_ocelli ocelli produce /images
complete() { as_ocelli ocelli status --json | grep -q "\"complete\": $count"; }
wait_until complete
as_ocelli ocelli audit
kill -TERM "$site" "$worker" "$collector"
wait "$site"
wait "$worker"
wait "$collector"

say remove
inside dpkg --remove ocelli
[[ ! -e $root/usr/bin/ocelli && -e $root/etc/ocelli/ocelli.toml && -e $root/var/lib/ocelli/catalog.db ]]
inside dpkg --purge ocelli
[[ ! -e $root/etc/ocelli/ocelli.toml && -e $root/var/lib/ocelli/catalog.db ]]
say "the package can be installed, used and removed"
