#!/bin/bash
# rootfs.sh - kernel, initrd and root file system of the guests.
#
# Leaves in $OUT: vmlinuz, initrd.cpio, rootfs.squashfs, packages (name and
# version of everything inside). No key is baked in: the harness hands the keys
# of a run to the guests at boot.
# Environment: APT_DIR OUT WORK MODULES GUEST kernel_package kernel_version zfs_version
#   MODULES  result of modules.sh      GUEST  directory of the guest's own files
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); . "$here/apt.sh"
papt_update
release=${kernel_package#linux-image-}

# The libraries come from the release that packages this OpenZFS.
case $zfs_version in
2.1.*) suite=bookworm; from=; libraries="libzfs4linux libzpool5linux" ;;
2.3.*) suite=bookworm; from=/bookworm-backports; libraries="libzfs6linux libzpool6linux" ;;
2.4.*) suite=trixie; from=/trixie-backports; libraries="libzfs7linux libzpool7linux" ;;
*) fail "no recipe for OpenZFS $zfs_version" ;;
esac

# ---- root file system --------------------------------------------------------
# No kernel package and no systemd as PID 1: QEMU loads the kernel itself, and
# emulated systemd would take longer to start than everything else together.
packages=busybox-static,kmod,udev,iproute2,openssh-server,openssh-client,procps,util-linux,openssl
# For syncoid and for looking around with --keep.
packages+=,mbuffer,pv,lzop,zstd,lz4,strace,e2fsprogs,netcat-openbsd
{
	deb_line MAIN "$suite" main contrib
	deb_line MAIN "$suite-updates" main contrib
	deb_line SECURITY "$suite-security" main contrib
	[ -z "$from" ] || deb_line MAIN "${from#/}" main contrib
} > "$WORK/sources.list"
zfs_packages=$(for p in zfsutils-linux $libraries libnvpair3linux libuutil3linux; do echo "$p$from"; done)
mmdebstrap --mode=root --variant=minbase --include="$packages" \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
	--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
	--aptopt='Acquire::Check-Valid-Until "false"' \
	--customize-hook="chroot \"\$1\" apt-get install -y -q $(echo $zfs_packages)" \
	--customize-hook='chroot "$1" apt-get install -y -q sanoid' \
	"$suite" "$WORK/root" "$WORK/sources.list"
root=$WORK/root
chroot "$root" dpkg-query -W > "$OUT/packages"

# ---- kernel and modules ----------------------------------------------------------
boot_modules="virtio_pci virtio_blk squashfs overlay"
# veth, bridge: the harness' own-machine mode is tested inside a guest.
guest_modules="virtio_net virtio_rng 9p 9pnet_virtio loop veth sch_netem sch_tbf ext4
	aesni_intel ghash_clmulni_intel crc32c_intel sha256_ssse3 sha512_ssse3"
fetch_debs "$WORK/kernel" "$kernel_package=$kernel_version"
dpkg-deb -x "$WORK"/kernel/*.deb "$WORK/all"
cp "$WORK/all/boot/vmlinuz-$release" "$OUT/vmlinuz"
all=$WORK/all/lib/modules/$release
depmod -b "$WORK/all" "$release"
# pick DIRECTORY MODULE... : the modules with what they depend on
pick() {
	local to=$1 module path; shift
	mkdir -p "$to/lib/modules/$release"
	cp "$all"/modules.{builtin,builtin.modinfo,order} "$to/lib/modules/$release/"
	for module; do
		modprobe -d "$WORK/all" -S "$release" --show-depends "$module"
	done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r path; do
		install -D -m 644 "$path" "$to/${path#"$WORK/all/"}"
	done
	depmod -b "$to" "$release"
}
pick "$WORK/initrd" $boot_modules
pick "$WORK/extra" $boot_modules $guest_modules
install -D -m 644 -t "$WORK/extra/lib/modules/$release/extra" "$MODULES"/*.ko
depmod -b "$WORK/extra" "$release"
mkdir -p "$root/usr/lib/modules"; cp -a "$WORK/extra/lib/modules/$release" "$root/usr/lib/modules/"

# ---- the guest's own files ---------------------------------------------------
install -D -m 755 "$GUEST/setup" "$root/usr/local/sbin/guest-setup"
install -m 644 "$GUEST/inittab" "$root/etc/inittab"
install -D -m 644 "$GUEST/sshd.conf" "$root/etc/ssh/sshd_config.d/vm-tests.conf"
printf '127.0.0.1 localhost\n10.77.0.1 source\n10.77.0.2 target\n' > "$root/etc/hosts"
mkdir -p "$root/host"
# Each boot gets its keys from the harness; none may be left over from the packages.
rm -f "$root"/etc/ssh/ssh_host_*
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/etc/apt/sources.list* \
	"$root"/usr/share/{doc,man,info} "$root"/etc/resolv.conf

# ---- pack --------------------------------------------------------------------
# lz4: an emulated CPU unpacks it on every read.
mksquashfs "$root" "$OUT/rootfs.squashfs" -comp lz4 -b 64K -noappend -no-progress -quiet
mkdir -p "$WORK"/initrd/{bin,proc,sys,dev,lower,upper,root}
cp "$root/bin/busybox" "$WORK/initrd/bin/busybox"
install -m 755 "$GUEST/initrd-init" "$WORK/initrd/init"
(cd "$WORK/initrd" && find . | cpio --create --format=newc --owner=0:0 --quiet) > "$OUT/initrd.cpio"
