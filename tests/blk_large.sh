#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Disks whose blocks are larger than a page, up to the largest that Linux takes: a panic can't be written
# there by a driver of ours, and that is told; all the rest is recorded, is there after the next load, and
# can be removed.
#
# vm: timeout=150
# kernels: stock
# disk: virtio 8M logical_block_size=8192,physical_block_size=8192
# disk: virtio 8M logical_block_size=65536,physical_block_size=65536
. /tests/lib.sh
plan 22
DEVICES=/sys/kernel/debug/mpstore/devices

for disk in vda:8192 vdb:65536; do
	size=${disk#*:} disk=/dev/${disk%:*}
	check "blocks of $size bytes" test "$(cat /sys/block/${disk#/dev/}/queue/logical_block_size)" = "$size"
	dd if=/dev/zero of=$disk bs=64k 2>/dev/null
	check "are taken" load_mpstore blkdev=$disk tty_names=ttyS2 || bail "no module"
	check "but not for a panic" grep -q \
		"^blk .*panic=no: blocks of $size bytes, only 512 to 4096 are supported" $DEVICES
	echo "$(uuid "$size") pmsg" >/dev/pmsg0
	echo "$(uuid "$size") tty" >/dev/ttyS2
	mount_pstore
	check "an oops" oops_now
	sleep 1
	umount_pstore
	check "unload" rmmod mpstore
	check "load" load_mpstore blkdev=$disk
	mount_pstore
	check "the oops is there" grep -q mpstore_oops $PSTORE/blk/dmesg-blk-0
	check "so is pmsg" grep -q "$(uuid "$size") pmsg" $PSTORE/blk/pmsg-blk-0
	check "and the terminal" grep -q "$(uuid "$size") tty" $PSTORE/blk/tty-blk-0
	check "it can be removed" rm $PSTORE/blk/dmesg-blk-0
	umount_pstore
	rmmod mpstore
	load_mpstore blkdev=$disk
	mount_pstore
	check "and stays so" sh -c "! grep mpstore_oops $PSTORE/blk/dmesg-*"
	umount_pstore
	rmmod mpstore
done
