#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Flash that can't be used, and flash that fails: a block that can't be erased keeps its records and
# gets no more, a neighbour that can't be written back is lost with a line in the log, and the panic
# still finds a place.
#
# vm: timeout=120 quiet=90 onethread
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-mtd.sh
plan 29

# The module of the flash anew, with the same memory.
anew() { rmmod mpstore_mtd && flash "$@"; }
logged() { dmesg | grep -qF "$1" || { dmesg | tail -n 12; return 1; }; }

case $STAGE in
1)
	insmod /modules/mtd.ko
	fill 0 8 '\377'
	check "the flash, read-only" flash readonly=1 || bail "no flash"
	check "is refused" refused "mtd: mtd0 is read-only"
	check "with blocks of several sizes" anew uneven=1
	check "is refused" refused "mtd: the blocks of mtd0 are of several sizes; give a partition where they are not"
	check "as it should be" anew
	for m in nandcore nand; do insmod /modules/$m.ko; done
	insmod /modules/nandsim.ko parts=16,16,16,16,16,16,16,16
	check "a ninth MTD is refused" refused "at most 8 MTDs at once" strict=1 \
		blkdev=mtd:mpstore_test,mtd:1,mtd:2,mtd:3,mtd:4,mtd:5,mtd:6,mtd:7,mtd:8 kmsg_size=16K
	check "eight are not" load_mpstore blkdev=mtd:mpstore_test,mtd:1,mtd:2,mtd:3,mtd:4,mtd:5,mtd:6,mtd:7 kmsg_size=16K flush_ms=100
	rmmod mpstore
	rmmod nandsim
	fill 0 8 '\377'

	# --- zones 0 and 1 are block 0
	check "loads" load || bail "no module"
	mount_pstore
	for i in 0 1 2 3; do check "oops $i" oops $i; done
	cp $d/dmesg-mtd-1 /tmp/one
	echo 0 >$TEST/fail_erase
	check "a record of a block that can't be erased is removed" rm $d/dmesg-mtd-0
	sleep 1
	check "that is told" logged "mtd: block 0 can't be erased and is not used: "
	umount $PSTORE
	mount_pstore
	check "it is not shown any more" test ! -e $d/dmesg-mtd-0
	check "its neighbour is as it was" same /tmp/one $d/dmesg-mtd-1
	check "the next oops goes elsewhere" oops 4
	check "into the next block" has $d/dmesg-mtd-4 "$(uuid 4) kmsg"
	echo -1 >$TEST/fail_erase
	unload
	check "loads again" load
	mount_pstore
	check "what could not be erased is there again" has $d/dmesg-mtd-0 "$(uuid 0) kmsg"
	check "and its neighbour as it was" same /tmp/one $d/dmesg-mtd-1
	check "now it can be erased" rm $d/dmesg-mtd-0
	sleep 1
	check "and stays so" names_are "dmesg-mtd-1 dmesg-mtd-2 dmesg-mtd-3 dmesg-mtd-4"

	# --- zone 3, of block 1, can't be written back
	echo $((3 * 8)) >$TEST/fail_page
	check "a record is removed whose neighbour can't be written back" rm $d/dmesg-mtd-2
	sleep 1
	check "what is lost is told" logged "mtd: dmesg record 3 is lost: "
	again
	check "and not shown" names_are "dmesg-mtd-1 dmesg-mtd-4"
	check "nothing improper" well
	say panic
	next_stage 2
	panic_now ;;
2)
	insmod /modules/mtd.ko
	flash
	check "loads after the panic" load || bail "no module"
	mount_pstore
	check "the panic found a place" sh -c "cat $d/* | grep -aqF '$(uuid panic) kmsg'" ;;
esac
