#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A panic that is written to an MTD by its driver's panic_write, where the second page of
# the zone that is next can't be written to; and, in the same panic, to NAND that the
# kernel simulates. Before it oopses, one of which is erased while its neighbour in the
# same block is kept, past blocks that are bad.
#
# vm: timeout=120 quiet=90 onethread
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-mtd.sh
plan 29

case $STAGE in
1)
	insmod /modules/mtd.ko
	fill 0 8 '\377'
	check "the flash" flash bad=1,2 || bail "no flash"
	check "loads, a panic must be possible" load best_effort=N || bail "no module"
	mount_pstore
	check "a panic would be written" state "panic=armed: the driver's panic_write"
	check "zones are erased beforehand" state erased=4
	check "bad blocks are known" state bad=4
	note "$(cat $STATUS/devices)"
	check "the flash can't be unloaded meanwhile" sh -c '! rmmod mpstore_mtd 2>/dev/null'
	check "an oops" oops one
	check "is recorded" has $d/dmesg-mtd-0 "$(uuid one) kmsg"
	check "another one" oops two
	check "in the same block" has $d/dmesg-mtd-1 "$(uuid two) kmsg"
	cp $d/dmesg-mtd-1 /tmp/two
	check "the first is erased" rm $d/dmesg-mtd-0
	check "at once" names_are dmesg-mtd-1
	sleep 1
	check "and on the flash" state live=1
	# One more, which is not written before the module goes.
	say late
	oops_now
	unload
	for m in nandcore nand; do insmod /modules/$m.ko; done
	insmod /modules/nandsim.ko parts=32 badblocks=1,4
	nand=$(sed -n 's/^mtd\([0-9]*\):.*"NAND simulator partition 0"/\1/p' /proc/mtd)
	check "loads again, with simulated NAND beside it" load_mpstore name=mtd,nand \
		blkdev=mtd:mpstore_test,mtd:$nand kmsg_size=16K,16K flush_ms=100
	mount_pstore
	note "$(cat $STATUS/devices)"
	# Zones 2 to 5 are in the bad blocks.
	check "the erased one is gone, its neighbour is not, and the last one was written" names_are "dmesg-mtd-1 dmesg-mtd-6"
	check "the neighbour has not changed" same /tmp/two $d/dmesg-mtd-1
	check "the last one is right" has $d/dmesg-mtd-6 "$(uuid late) kmsg"
	check "an oops" oops nand
	check "is on the NAND" has $PSTORE/nand/dmesg-nand-0 "$(uuid nand) kmsg"
	check "and on the flash" has $d/dmesg-mtd-7 "$(uuid nand) kmsg"
	check "nothing improper" well
	# The NAND's memory is lost in the reset: what is to be seen is that there is one.
	echo $((8 * 8 + 1)) >$TEST/stop_page
	head -c 4000 /dev/urandom | base64 -w 700 | while read -r l; do echo "noise $l" >/dev/kmsg; done
	say panic
	next_stage 2
	panic_now ;;
2)
	insmod /modules/mtd.ko
	flash bad=1,2
	check "loads after the panic" load || bail "no module"
	check "half a dump is known as such" says "1 of 5 dumps were written in part only"
	mount_pstore
	note "$(names)"
	check "it is shown, too" sh -c "ls $d | grep -q '^dmesg-mtd-8'"
	f=$d/dmesg-mtd-9
	check "the whole one is in the next zone" sh -c "head -n 1 $f | grep -qE '^Panic#[0-9]+ Part1'"
	check "with what was logged" has $f "$(uuid panic) kmsg"
	check "and the panic itself" has $f "Kernel panic - not syncing"
	check "and what was there before" has $d/dmesg-mtd-7 "$(uuid nand) kmsg"
	check "nothing improper" well ;;
esac
