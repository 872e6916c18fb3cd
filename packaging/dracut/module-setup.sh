#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# dracut module: mpstore and its options in the initramfs. kdump's has options of its
# own, /etc/mpstore/kdump.conf, or goes without.

check() {
	modinfo -k "$kernel" mpstore >/dev/null 2>&1 || return 255
	# kdump's initramfs is made with a dracut module of that name.
	if [[ " ${dracutmodules-} ${add_dracutmodules-} ${force_add_dracutmodules-} " == *" kdumpbase "* ]]; then
		[[ -e /etc/mpstore/kdump.conf ]] || return 255
	fi
	return 0
}

depends() { return 0; }

installkernel() { hostonly='' instmods mpstore; }

install() {
	inst_multiple modprobe cat sh
	inst_simple /usr/lib/mpstore/mpstore-start
	if [[ " ${dracutmodules-} ${add_dracutmodules-} ${force_add_dracutmodules-} " == *" kdumpbase "* ]]; then
		sed -i '/^[[:space:]]*options[[:space:]][[:space:]]*mpstore[[:space:]]/d' \
			"$initdir"/etc/modprobe.d/*.conf "$initdir"/usr/lib/modprobe.d/*.conf 2>/dev/null || :
		inst_simple /etc/mpstore/kdump.conf /etc/modprobe.d/mpstore.conf
	else
		inst_multiple -o /usr/lib/modprobe.d/50-mpstore.conf
		for f in /etc/modprobe.d/*.conf; do
			if grep -q '^[[:space:]]*options[[:space:]]*mpstore' "$f" 2>/dev/null; then inst_simple "$f"; fi
		done
	fi
	inst_hook pre-udev 00 "$moddir/load-mpstore.sh"
}
