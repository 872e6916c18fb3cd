#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Disks that are not what they were when they were armed, or never were any: a panic writes nothing to
# one whose partition was given another size, that was unplugged, lost its driver, became read-only, or
# is reached through dm, by the host's checksum of each whole disk, and is written to the good one
# beside them. Zoned disks, disks with checksums and disks without a controller are refused. While the
# machine is about to sleep nothing is armed.
#
# vm: timeout=180 quiet=120 hotplug
# kernels: custom debug
# disk: virtio 8M parts=1:noise,1 disable-legacy=on
# disk: virtio 8M parts=1:noise,1 disable-legacy=on id=gone
# disk: nvme 8M parts=1:noise,1
# disk: ahci 8M parts=1:noise,1
# disk: virtio 8M parts=1:noise,1 disable-legacy=on
# disk: virtio 8M parts=1:noise,1 disable-legacy=on
. /tests/lib.sh
. /tests/lib-takeover.sh
plan 30

says() { state | grep -qE "$1" || { state; dmesg | grep mpstore | tail -n 5; return 1; }; }
line() { dmesg | grep -q "$1" || { dmesg | grep mpstore | tail -n 5; return 1; }; }
ONLY_DUMPS="console_size=0 pmsg_size=0 ftrace_size=0 tty_size=0"
load() {
	# shellcheck disable=SC2086
	load_mpstore blkdev=/dev/vda2,/dev/vdb2,/dev/nvme0n1p2,/dev/sda2,/dev/dm-0,/dev/vdd2 $ONLY_DUMPS
}
NAMES="0:resized 1:unplugged 2:without-driver 3:read-only 4:dm-linear"
# unchanged STAGE DISK WHAT
unchanged() {
	digest "$1"
	check "$2: not a byte is written" eval "[ \"\$ANSWER\" = \"\$DIGEST$1\" ]"
}
has_dump() {
	for _f in "$PSTORE/$1"/dmesg-*; do
		head -n 1 "$_f" | grep -q '^Panic#[0-9]* Part1' && grep -q "$2" "$_f" && return 0
	done
	ls -l "$PSTORE/$1"
	return 1
}

case $STAGE in
1)
	# Disks that are refused.
	insmod /modules/null_blk.ko zoned=1 zone_size=4 memory_backed=1 gb=1 nr_devices=1
	check "a zoned disk is refused" eval "! load_mpstore blkdev=/dev/nullb0 && line 'a zoned device can.t be used'"
	rmmod null_blk
	insmod /modules/null_blk.ko memory_backed=1 size=8 nr_devices=1
	check "a disk without a controller is used, but for panics" eval \
		"load_mpstore blkdev=/dev/nullb0 && says 'panic=no: no PCI device is behind it alone'"
	rmmod mpstore
	rmmod null_blk
	insmod /modules/scsi_debug.ko dev_size_mb=8 dif=1 dix=1
	for _i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/sdb ] || sleep 1; done
	check "a disk with checksums is used, but for panics" eval \
		"load_mpstore blkdev=/dev/sdb && says 'panic=no: the device wants checksums'"
	rmmod mpstore
	# In one go its exit removes debugfs' files, which work that it has begun then removes again.
	echo -1 >/sys/bus/pseudo/drivers/scsi_debug/add_host
	sleep 1
	rmmod scsi_debug

	# Those that change.
	check "a dm-linear device" disktool linear linear /dev/vdc2 0 2048
	for _i in 1 2 3 4 5; do [ -b /dev/dm-0 ] || sleep 1; done
	check "it loads with six" load || bail "no module"
	check "dm is not armed, and why is said" says '^blk4 .*panic=no: no PCI device is behind it alone \(dm'
	check "the others are" [ "$(state | grep -c 'panic=armed: ')" = 5 ]

	_first=$(cat /sys/class/block/vda2/start)
	check "a partition shrinks" disktool resize /dev/vda 2 "$_first" 1024
	check "its device is not armed" says '^blk .*panic=no: the device is not where it was, or not as large'

	unplug gone
	for _i in $(seq 50); do [ -e /sys/block/vdb ] || break; sleep 0.2; done
	check "a disk is unplugged" [ ! -e /sys/block/vdb ]
	check "it is not armed" says '^blk1 .*panic=no: '

	_pci=$(ls /sys/bus/pci/drivers/nvme | grep : | head -n 1)
	echo "$_pci" >/sys/bus/pci/drivers/nvme/unbind
	check "one loses its driver" says '^blk2 .*panic=no: '
	check "that is said" line "controller leaves its driver: panics are not written"
	echo "$_pci" >/sys/bus/pci/drivers/nvme/bind
	for _i in $(seq 50); do [ ! -b /dev/nvme0n1p2 ] || break; sleep 0.2; done
	check "it is not armed again by the driver's return" says '^blk2 .*panic=no: '

	blockdev --setro /dev/sda2
	check "one becomes read-only" says '^blk3 .*panic=no: the device is read-only'
	check "the last one still is armed" says '^blk5 .*panic=armed: '
	note "$(state)"
	sync
	for n in 0 1 2 3 4; do
		digest $n
		save "DIGEST$n" "$ANSWER"
	done
	digest 5 2
	save DIGEST5 "$ANSWER"
	echo "$(uuid one) last words" >/dev/kmsg
	next_stage 2
	panic_now
	;;
2)
	for n in $NAMES; do unchanged "${n%:*}" "${n#*:}"; done
	digest 5 2
	check "the good one: every byte outside is as it was" [ "$ANSWER" = "$DIGEST5" ]
	# One disk less, hence other names.
	GOOD=/dev/vdc2
	# shellcheck disable=SC2086
	load_mpstore blkdev=$GOOD $ONLY_DUMPS || bail "no module"
	mount_pstore
	check "the good one: the panic is there" has_dump blk "$(uuid one) last words"
	rm "$PSTORE/blk/dmesg-blk-0"
	umount_pstore

	# Sleep.
	check "it is armed" says 'panic=armed: '
	insmod /mpstore_crash.ko || bail "no crash module"
	expect_log 'Kernel panic - not syncing: mpstore_crash'
	sync
	digest 5
	save DIGEST5 "$ANSWER"
	next_stage 3
	# Its notifiers were called, its devices still work.
	(crash "panic in=suspend_devices_and_enter" && echo freeze >/sys/power/state)
	_down "a panic on the way to sleep"
	;;
3)
	unchanged 5 "on the way to sleep"
	insmod /mpstore_crash.ko || bail "no crash module"
	# shellcheck disable=SC2086
	load_mpstore blkdev=/dev/vdc2 $ONLY_DUMPS || bail "no module"
	# One that can't be put to sleep keeps the machine from it, after the notifiers.
	expect_log_now 'Call Trace'
	echo sleep@process >/proc/mpstore_crash &
	echo 500 >/sys/power/pm_freeze_timeout
	check "the machine does not go to sleep after all" sh -c '! echo freeze >/sys/power/state'
	check "that was when it had said so" eval "dmesg | grep -q 'Freezing user space processes failed'"
	check "it is armed again" says 'panic=armed: '
	digest 5 2
	save DIGEST5 "$ANSWER"
	echo "$(uuid three) last words" >/dev/kmsg
	next_stage 4
	panic_now
	;;
4)
	digest 5 2
	check "after that: every byte outside is as it was" [ "$ANSWER" = "$DIGEST5" ]
	# shellcheck disable=SC2086
	load_mpstore blkdev=/dev/vdc2 $ONLY_DUMPS || bail "no module"
	mount_pstore
	check "after that: the panic is there" has_dump blk "$(uuid three) last words"
	;;
esac
