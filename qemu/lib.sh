# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts in this folder. Source it; it sets TOP and CACHE.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Whoever runs this without an environment has a home all the same.
[ -n "${HOME-}" ] || HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
# Everything that takes long to make lives outside the checkout, under a key
# made from what it is made of, so that a changed input is a new entry and
# checkouts share what they have in common.
CACHE=${MPSTORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mpstore}
ARCH_DEB=amd64
# The suite that compilers and kernels come from. sid is a second build root, for
# KERNEL=sid only; QEMU and all other programs are always the first one's.
SUITE=${MPSTORE_SUITE:-trixie}
# Kernel series this code knows, newest first.
case $SUITE in
trixie) KERNEL_SERIES=${MPSTORE_KERNEL_SERIES:-"7.3"} ;;
sid) KERNEL_SERIES=${MPSTORE_SID_SERIES:-"7.2"} ;;
*) echo "mpstore: MPSTORE_SUITE is trixie or sid, not '$SUITE'" >&2; exit 1 ;;
esac

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'mpstore: %s\n' "$*" >&2; exit 1; }

# hash_of FILE_OR_STRING...: a short key; an argument that names a file counts
# by its content.
hash_of() {
	local a
	for a in "$@"; do
		if [ -f "$a" ]; then cat "$a"; else printf '%s\n' "$a"; fi
	done | sha256sum | cut -c1-12
}

# elapsed START: seconds since START (a value of $SECONDS).
elapsed() { echo "$((SECONDS - $1)) s"; }

# with_lock NAME COMMAND...: two runs must not build the same thing at once.
with_lock() {
	local name=$1
	shift
	mkdir -p "$CACHE"
	(
		flock 9
		"$@"
	) 9>"$CACHE/.lock-$name"
}

need_root() {
	[ "$(id -u)" = 0 ] || die "must run as root: the build root is a chroot"
}

# apt_install PACKAGE...: for the host, when one of its own tools is missing.
apt_install() {
	command -v apt-get >/dev/null ||
		die "please install: $* (no apt-get on this host)"
	say "installing on the host: $*"
	{ DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" ||
	  { apt-get update &&
	    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }
	} >/dev/null 2>"$CACHE/host-apt.log" ||
		{ tail -n 20 "$CACHE/host-apt.log" >&2; die "apt-get install $* failed"; }
}
