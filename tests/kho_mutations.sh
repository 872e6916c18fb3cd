#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What the kernel before handed over is believed in nothing: it hands over copies of
# its index with one thing wrong in each, and checksums that are right where that
# would give it away. Each is one line in the log and an empty directory, nothing of
# the memory is touched, and the true index is still good after all of them.
#
# vm: mem=2G kexec timeout=600
# cmdline: kho=on kho_scratch=16M,64M,16M
# cmdline@debug: kho_scratch=64M,512M,64M
# disk: virtio 64M
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-kho.sh
# As many as DAMAGE_COUNT in src/format/kho.rs.
COUNT=73
plan $((COUNT + 8))

LOST='kho: records of earlier kernels are lost'
one() {
	dmesg -c >/dev/null
	load_kho kho_keep=0 test_kho="$1" || return 1
	_said=$(dmesg | grep -c "$LOST")
	kho_mount && empty "$K" && generations_are ""
	_rc=$?
	umount_pstore
	rmmod mpstore || return 1
	[ "$_said" = 1 ] || { echo "$_said lines"; dmesg | grep mpstore; return 1; }
	[ ! -e /sys/devices/platform/mpstore-kho ] || { echo "something was left"; return 1; }
	return $_rc
}

case $STAGE in
1)
	check "the kernel's files outlive a jump" chain_begin || bail "no disk"
	# Two generations, so that first and last are not the same.
	check "load" load_kho kho_size=512K kho_record_size=16K kho_console_size=64K || bail "no module"
	speak first
	check "unload" rmmod mpstore
	check "load again" load_kho kho_size=512K kho_record_size=16K kho_console_size=64K test_kho=mutate || bail "no module"
	speak second
	check "kexec -l" chain_load
	next_stage 2
	chain_jump ;;
2)
	n=0
	while [ $n -lt $COUNT ]; do
		check "damage $n is noticed" one $n
		n=$((n + 1))
	done
	check "the true index is good" load_kho || bail "no module"
	kho_mount
	check "the first generation is whole" has "$(file console 1)" "first $(uuid) kmsg"
	check "so is the second" said second 2 ;;
esac
