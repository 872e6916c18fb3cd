# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# For tests on a Debian guest (`# vm: debian`), beside lib.sh. The guest has its own
# userland: dash, systemd, dpkg; what the test brings along is in /payload.

ARCHIVE=/var/lib/systemd/pstore

# panic_saved: what is on the disk stays there, and then panic.
panic_saved() { sync; panic_now; }
# reboot_clean: as an administrator does it.
reboot_clean() { sync_host; systemctl reboot; _down "systemctl reboot"; }

# in_initramfs FILE...: whether the initramfs for this kernel has files of that name.
in_initramfs() {
	_list=$(lsinitramfs "/boot/initrd.img-$(uname -r)") || return
	for _f; do
		echo "$_list" | grep -q "$_f" || { echo "no $_f in the initramfs"; return 1; }
	done
}
# journal UNIT: what a unit said in this boot.
journal() { journalctl -q -b -u "$1" -o cat --no-pager; }
# list_files: every file of the system, for a comparison. What a running system
# writes anyway is left out.
list_files() {
	find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /payload \
		-o -path /var/log -o -path /var/tmp -o -path /var/lib/systemd/pstore -o -path /var/cache/apt \
		-o -path /var/lib/apt \) -prune -o -print | LC_ALL=C sort
}
# mount_of DIRECTORY: type and options of the mount that one sees there.
mount_of() { awk -v at="$1" '$2 == at { m = $3 " " $4 } END { print m }' /proc/self/mounts; }
