#!/bin/bash
# setup.sh [build] - makes a bare Debian 12 ready to build the workspace and to
# run its virtual machines. Run it as root, as often as you like: with nothing
# missing it does nothing, and asks no package mirror.
#
#   build   only what building, ZFS in user space and tests against sshd need
#
# It adds one file to apt's sources, with the components and the suite that
# Debian 12 does not enable by itself (contrib: OpenZFS; backports: OpenZFS 2.3
# and a QEMU that reconnects network sockets). Mirror and keyring are those that
# the machine uses already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/image/apt.sh"
fail() { echo "setup.sh: $*" >&2; exit 1; }
sources=/etc/apt/sources.list.d/zferry.sources

# From the release.
packages=(
	# the workspace
	gcc libc6-dev make pkg-config clang libclang-dev
	# a real sshd, for tests and the demonstration
	openssh-client openssh-server
)
# From backports, with the lowest version that will do.
declare -A backports=(
	# headers, and the libraries that go with them: libzfs, and libzpool for
	# ZFS in user space
	[libzfslinux-dev]=2.3
)
case ${1:-machines} in
	build) ;;
	machines)
		packages+=(
			# the image: kernel module, root file system, packing
			binutils cpio debian-archive-keyring iproute2 kmod libelf1 libssl3 lz4 mmdebstrap
			openssl squashfs-tools tar util-linux xz-utils zstd
		)
		backports[qemu-system-x86]=1:9.2
		;;
	*) fail "usage: setup.sh [build]" ;;
esac

# source_entry SUITES COMPONENTS : an entry of apt's sources, for $uri and $key
source_entry() {
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n' "$uri" "$1" "$2"
	[ "$key" = - ] || echo "Signed-By: $key"
}

# One question for all of them: this runs before every test run.
declare -A installed=()
while read -r package state version; do
	[ "$state" != ii ] || installed[${package%%:*}]=$version
done < <(dpkg-query --show --showformat='${Package} ${db:Status-Abbrev} ${Version}\n' \
	"${packages[@]}" "${!backports[@]}" 2>/dev/null || true)

missing=() missing_backports=()
for package in "${packages[@]}"; do
	[ -n "${installed[$package]:-}" ] || missing+=("$package")
done
for package in "${!backports[@]}"; do
	dpkg --compare-versions "${installed[$package]:-0}" ge "${backports[$package]}" ||
		missing_backports+=("$package")
done

if [ ${#missing[@]} -gt 0 ] || [ ${#missing_backports[@]} -gt 0 ]; then
	[ "$(id -u)" = 0 ] || fail "missing ${missing[*]} ${missing_backports[*]}; run this as root"
	. /etc/os-release
	[ "${ID:-} ${VERSION_ID:-}" = "debian 12" ] ||
		fail "this is ${PRETTY_NAME:-not Debian}; on anything but Debian 12 install these by hand: ${missing[*]} ${missing_backports[*]}"
	if [ ${#missing_backports[@]} -gt 0 ] && [ ! -e "$sources" ]; then
		read -r uri key < <(mirror_of MAIN) || fail "no Debian mirror in this machine's apt sources"
		{
			# contrib depends on main, which is there already.
			source_entry "bookworm bookworm-updates" contrib
			echo
			source_entry bookworm-backports "main contrib"
		} > "$sources"
		echo "wrote $sources"
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q update
	install="apt-get -q install -y --no-install-recommends"
	[ ${#missing[@]} -eq 0 ] || $install "${missing[@]}"
	[ ${#missing_backports[@]} -eq 0 ] || $install -t bookworm-backports "${missing_backports[@]}"
fi

if ! command -v cargo > /dev/null; then
	echo "The system is ready, but cargo is missing. Debian 12's own is too old: install Rust" >&2
	echo "1.89 or later with rustup (https://rustup.rs), and open a new shell." >&2
	exit 1
fi
