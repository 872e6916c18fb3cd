#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Disks that fail: one that can't be written to at all, one that fails once, one
# whose flushes fail, one that takes 100 ms for everything, and one that can't be
# read. Each costs at most a line and nobody has to wait for it; the good one
# beside them keeps everything.
#
# vm: timeout=150 quiet=90
# kernels: custom debug
# disk: virtio 1M
# qemu: -blockdev '{"driver":"blkdebug","node-name":"b1","image":{"driver":"null-co","size":1048576,"read-zeroes":true},"inject-error":[{"event":"none","iotype":"write","errno":5}]}' -device virtio-blk-pci,drive=b1,werror=report
# qemu: -blockdev '{"driver":"blkdebug","node-name":"b2","image":{"driver":"null-co","size":1048576,"read-zeroes":true},"inject-error":[{"event":"none","iotype":"write","errno":5,"once":true}]}' -device virtio-blk-pci,drive=b2,werror=report
# qemu: -blockdev '{"driver":"blkdebug","node-name":"b3","image":{"driver":"null-co","size":1048576,"read-zeroes":true},"inject-error":[{"event":"none","iotype":"flush","errno":5}]}' -device virtio-blk-pci,drive=b3,werror=report
# qemu: -blockdev '{"driver":"null-co","node-name":"b4","size":524288,"read-zeroes":true,"latency-ns":100000000}' -device virtio-blk-pci,drive=b4
# qemu: -blockdev '{"driver":"blkdebug","node-name":"b5","image":{"driver":"null-co","size":1048576,"read-zeroes":true},"inject-error":[{"event":"none","iotype":"read","errno":5}]}' -device virtio-blk-pci,drive=b5,rerror=report
. /tests/lib.sh
plan 21
STATUS=/sys/kernel/debug/mpstore
lines() { dmesg | grep -c "mpstore: $1"; }
once() { _n=$(lines "$1"); [ "$_n" = 1 ] || { dmesg | grep mpstore; return 1; }; }
field() { grep -q "^$1 .*$2" $STATUS/devices || { cat $STATUS/devices; return 1; }; }

case $STAGE in
1)
	check "one that can't be read is refused" sh -c "ttytool insmod /mpstore.ko blkdev=/dev/vdf 2>&1 | grep EIO"
	check "with a line" once "blk: vdf can't be read"
	dmesg -c >/dev/null
	# The slow one has four zones only, to be read before it begins. Nothing is armed: writing the
	# signature would use up the error of the one that fails once.
	check "mpstore loads on five" load_mpstore blkdev=/dev/vda,/dev/vdb,/dev/vdc,/dev/vdd,/dev/vde,/dev/vdf \
		blk_takeover=N flush_ms=200 kmsg_size=64K,64K,64K,64K,256K,64K || bail "no module"
	check "but not on the sixth" sh -c "! grep -q '^blk5 ' $STATUS/devices"
	# A shell's own fork for each message would be most of the time.
	mark=$(uuid)
	start=$(cut -d' ' -f1 /proc/uptime | tr -d .)
	for i in $(seq 100); do echo "$mark-$i pmsg" >/dev/pmsg0; done
	end=$(cut -d' ' -f1 /proc/uptime | tr -d .)
	note "100 messages took $((end - start)) hundredths of a second"
	# Each would take some 500 ms.
	check "nobody waits for the slow one" test $((end - start)) -lt 800
	check "an oops" oops_now
	echo "$(uuid) kmsg" >/dev/kmsg
	sleep 6
	check "a disk that can't be written to costs a line" once "blk1: vdb can't be written to"
	check "so does one that can't be flushed" once "blk3: vdd can't be written to"
	check "one that fails once too" once "blk2: vdc can't be written to"
	check "and is written to again" once "blk2: the device can be written to again"
	check "the good one costs none" sh -c "! dmesg | grep 'blk: vda can.t'"
	check "nor does the slow one" sh -c "! dmesg | grep 'blk4: vde can.t'"
	check "the first is known as failing" field blk1 "last_error=-5 state=failing"
	check "the second works" field blk2 "last_error=-5 state=ok"
	check "the good one works" field blk "last_error=0 state=ok"
	check "it is listed with the others" mount_pstore
	check "the dump is there" test -e $PSTORE/blk/dmesg-blk-0
	umount_pstore
	next_stage 2
	reboot_now ;;
2)
	check "the bad ones did not keep it from the reboot" load_mpstore blkdev=/dev/vda || bail "no module"
	mount_pstore
	check "the dump is there after it" test -e $PSTORE/blk/dmesg-blk-0
	check "the last message is" grep -aq "$(uuid 100) pmsg" $PSTORE/blk/pmsg-blk-0
	check "the console is" grep -aq "$(uuid) kmsg" $PSTORE/blk/console-blk-0 ;;
esac
