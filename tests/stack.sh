#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The dump of an oops and of a panic fits in what little is left of a stack: all that the
# kernel's kmsg_dump_desc() uses with mpstore behind it is 2 KiB at most, with each way to
# compress, and with disks whose controllers are taken over. The C code is measured beside
# it, as it comes.
#
# vm: timeout=120
# disk: virtio 8M
# disk: nvme 8M
# disk: ahci 8M
# kernels: custom
. /tests/lib.sh
plan 19
LIMIT=2048
DISKS=/dev/vda,/dev/nvme0n1,/dev/sda
SIZES="record_size=0x8000 console_size=0x10000 pmsg_size=0x1000 tty_size=0x1000 ftrace_size=0 ecc=16"

used() { dmesg | sed -n 's/.*depth: kmsg_dump_desc used \([0-9]*\) bytes of stack.*/\1/p' | tail -n 1; }
# What is no more than OWN_FRAMES of mpstore_crash.c says nothing.
fits() { [ "${1:-0}" -gt 640 ] && [ "$1" -le $LIMIT ] || { echo "'$1' bytes"; return 1; }; }
measure() { # NAME
	dmesg -c >/dev/null
	check "$1: an oops" oops_now
	depth=$(used)
	note "$1: $depth bytes"
}
load() {
	# shellcheck disable=SC2086
	load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE $SIZES "$@"
}

case $STAGE in
1)
	check "the measure is there" sh -c \
		'insmod /mpstore_crash.ko && echo "depth in=kmsg_dump_desc" >/proc/mpstore_crash'
	for way in none deflate zstd; do
		check "$way: mpstore loads" load compress=$way || bail "no module"
		measure "an oops, $way"
		check "$way: it fits" fits "$depth"
		rmmod mpstore
	done
	insmod /modules/reed_solomon.ko 2>/dev/null
	insmod /modules/pstore.ko compress=deflate
	insmod /modules/ramoops.ko mem_address=$REGION_A mem_size=$((REGION_A_SIZE - 0x1000)) \
		record_size=0x8000 console_size=0x10000 pmsg_size=0x1000 ftrace_size=0 ecc=16
	check "the C ramoops loads" test "$(cat /sys/module/pstore/parameters/backend)" = ramoops
	measure "an oops, the C ramoops"
	rmmod ramoops
	rmmod pstore

	wipe $REGION_A $REGION_A_SIZE
	check "with disks: mpstore loads" load blkdev=$DISKS max_reason=1 || bail "no module"
	armed=$(grep -c 'panic=armed' /sys/kernel/debug/mpstore/devices)
	note "$(cat /sys/kernel/debug/mpstore/devices)"
	check "they are armed" test "$armed" = 3
	next_stage 2
	panic_now ;;
2)
	check "after the panic: mpstore loads" load blkdev=$DISKS || bail "no module"
	mount_pstore
	# The first is of the panic, the second of the restart after it.
	depth=$(sed -n '/Kernel panic/,$s/.*depth: kmsg_dump_desc used \([0-9]*\) bytes.*/\1/p' \
		$PSTORE/ramoops/console-ramoops-0 | head -n 1)
	note "a panic, with disks: $depth bytes"
	check "a panic with disks: it fits" fits "$depth"
	for d in blk blk1 blk2; do
		check "$d has the panic" test -e $PSTORE/$d/dmesg-$d-0
	done ;;
esac
