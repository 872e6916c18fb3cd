#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A dump with more parts than a backend has places: the newest parts have them, the first one
# whatever is there, and that is no error. Memory, a disk and flash, an oops and a panic.
#
# vm: timeout=120 quiet=90 onethread
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-mtd.sh
plan 19
LOOP=/dev/loop0
SMALL="kmsg_bytes=0x10000 compress=none tty_size=0 pmsg_size=0 ftrace_size=0"

# The flash has two blocks of two zones.
two_blocks() { insmod /mpstore_mtd.ko address=$REGION_B size=0x10000; }
# Three records of 4 KiB and a console in memory.
in_memory() {
	# shellcheck disable=SC2086
	load_mpstore mem_address=$REGION_A mem_size=0x4000 record_size=0x1000 console_size=0x1000 $SMALL
}
on_disk() {
	# shellcheck disable=SC2086
	load_mpstore blkdev=$LOOP kmsg_size=4K console_size=4K $SMALL
}
in_flash() {
	# shellcheck disable=SC2086
	load_mpstore blkdev=mtd:mpstore_test kmsg_size=16K flush_ms=100 $SMALL
}
titles() { for _f in "$PSTORE/$1"/dmesg-*; do head -n 1 "$_f"; done | sort | tr '\n' ' '; }
titles_are() { [ "$(titles "$1")" = "$2" ] || { echo "there is '$(titles "$1")', wanted '$2'"; return 1; }; }
# unharmed BACKEND: it has counted neither a loss nor an error.
unharmed() {
	awk -v b="$1" '$1 == b && $2 == "dmesg" && $4 > 0 && $8 == 0 { n = 1 } END { exit !n }' $STATUS/status ||
		{ cat $STATUS/status; return 1; }
}
chat() { ttytool kmsg 1200 "<6>$(uuid "$1") and a line that is long enough to fill the log of a kernel"; }
another() { oops_now && sleep 0.5 && umount_pstore && mount_pstore; }

case $STAGE in
1)
	wipe $REGION_A $REGION_A_SIZE
	chat first
	check "three records of memory" in_memory || bail "no module"
	mount_pstore
	check "an oops" another
	check "has them all" titles_are ramoops "Oops#1 Part1 Oops#1 Part2 Oops#1 Part3 "
	check "without an error" unharmed ramoops
	check "another one" another
	check "has one of them" titles_are ramoops "Oops#1 Part2 Oops#1 Part3 Oops#2 Part1 "
	check "without an error" unharmed ramoops
	umount_pstore
	rmmod mpstore

	dd if=/dev/zero of=/tmp/image bs=4K count=5 2>/dev/null
	losetup $LOOP /tmp/image
	check "a disk with as many" on_disk || bail "no module"
	mount_pstore
	check "an oops" another
	check "has them all" titles_are blk "Oops#1 Part1 Oops#1 Part2 Oops#1 Part3 "
	check "without an error" unharmed blk
	umount_pstore
	rmmod mpstore
	losetup -d $LOOP

	insmod /modules/mtd.ko
	fill 0 2 '\377'
	two_blocks
	check "flash with four" in_flash || bail "no module"
	mount_pstore
	check "an oops" another
	check "leaves one to a panic" titles_are mtd "Oops#1 Part1 Oops#1 Part2 Oops#1 Part3 "
	check "without an error" unharmed mtd
	chat panic
	next_stage 2
	panic_now ;;
2)
	insmod /modules/mtd.ko
	two_blocks
	check "the flash, after the panic" in_flash || bail "no module"
	mount_pstore
	# The load has erased the oldest block for the next dump.
	check "has its newest part" titles_are mtd "Oops#1 Part3 Panic#2 Part1 "
	check "with the end of the log" has "$(grep -l '^Panic#2 Part1' $d/dmesg-*)" "sysrq triggered crash"
	check "nothing improper" well ;;
esac
