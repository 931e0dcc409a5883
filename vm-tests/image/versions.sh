#!/bin/bash
# versions.sh ZFS - which kernel and which OpenZFS an image of ZFS (2.1, 2.3,
# 2.4) is made of today, as KEY=VALUE lines. The harness keys its cache by them.
# Environment: APT_DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); . "$here/apt.sh"
zfs=${1:?which ZFS release}
papt_update >&2

# The release's own kernel, not the backported one: each OpenZFS of the list
# supports it, so all images share it.
image=$(papt apt-cache madison linux-image-amd64 | awk -F'|' '$3 ~ /bookworm(-security)?\// && $3 !~ /backports/ { gsub(/ /, "", $2); print $2 }' |
	sort -V | tail -1)
[ -n "$image" ] || fail "no linux-image-amd64 in the package lists"
kernel_package=$(papt apt-cache show "linux-image-amd64=$image" | awk '/^Depends:/ { print $2; exit }')
# Where each comes from: a root file system has to carry its libraries too.
case $zfs in
2.1) suite=bookworm ;;
2.3) suite=bookworm-backports ;;
2.4) suite=trixie-backports ;;
*) fail "no image for OpenZFS $zfs; known are 2.1, 2.3 and 2.4" ;;
esac
zfs_version=$(papt apt-cache madison zfs-dkms |
	awk -F'|' -v want="$zfs." -v suite=" $suite/" \
		'{ gsub(/ /, "", $2) } index($2, want) == 1 && index($3, suite) { print $2 }' | sort -V | tail -1)
[ -n "$zfs_version" ] || fail "no zfs-dkms $zfs in the package lists"
echo "kernel_package=$kernel_package"
echo "kernel_version=$image"
echo "zfs_version=$zfs_version"
