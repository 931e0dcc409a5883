#!/bin/bash
# modules.sh - spl.ko and zfs.ko, compiled against Debian's kernel.
#
# The minutes of an image build; so what it leaves in $OUT is kept apart from
# the image. Nothing is installed on the machine: headers and DKMS source are
# unpacked below $WORK.
# Environment: APT_DIR OUT WORK kernel_package kernel_version zfs_version
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); . "$here/apt.sh"
papt_update
release=${kernel_package#linux-image-}

echo "== headers"
headers=linux-headers-$release
needed=$(papt apt-cache show "$headers=$kernel_version" | awk -F': ' '/^Depends:/ { print $2; exit }' |
	tr ',' '\n' | awk '{ print $1 }')
fetch_debs "$WORK/headers" "$headers=$kernel_version" $(for p in $needed; do echo "$p=$kernel_version"; done)
tree=$WORK/headers-tree
for deb in "$WORK"/headers/*.deb; do dpkg-deb -x "$deb" "$tree"; done
# Debian's generated Makefile includes the common part by its installed path.
sed -i "s|/usr/src/|$tree/usr/src/|" "$tree/usr/src/$headers/Makefile"

echo "== zfs-dkms $zfs_version"
fetch_debs "$WORK/zfs" "zfs-dkms=$zfs_version"
dpkg-deb -x "$WORK"/zfs/*.deb "$WORK/zfs-tree"
cd "$WORK"/zfs-tree/usr/src/zfs-*
./configure --with-config=kernel --disable-dependency-tracking \
	--with-linux="$tree/usr/src/${headers%-amd64}-common" --with-linux-obj="$tree/usr/src/$headers"
make -j"$(nproc)"
find module -name '*.ko' -exec cp -t "$OUT" {} +
strip --strip-debug "$OUT"/*.ko
[ -s "$OUT/zfs.ko" ] && [ -s "$OUT/spl.ko" ] || fail "no zfs.ko after make"
