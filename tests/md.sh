#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# An md device, which is none of its members: it takes an oops, but no panic, says why, is refused
# if that is not enough, and a panic writes not a byte to the disks behind it.
#
# vm: timeout=120
# disk: virtio 8M
# disk: virtio 8M
# kernels: stock
. /tests/lib.sh
plan 11
MD=/sys/block/md127/md
STATUS=/sys/kernel/debug/mpstore/devices
WHY='panic=no: no PCI device is behind it alone'

# Without mdadm, and so without a superblock.
mirror() {
	[ -d /sys/module/md_mod ] || insmod /modules/md-mod.ko || return 1
	insmod /modules/raid1.ko || return 1
	echo md127 >/sys/module/md_mod/parameters/new_array || return 1
	for _set in metadata_version=none level=raid1 raid_disks=2 component_size=4096 \
		new_dev="$(cat /sys/block/vda/dev)" new_dev="$(cat /sys/block/vdb/dev)" \
		dev-vda/slot=0 dev-vdb/slot=1 resync_start=none array_state=active; do
		echo "${_set#*=}" >"$MD/${_set%%=*}" || { echo "$_set"; return 1; }
	done
	for _i in 1 2 3 4 5; do [ -b /dev/md127 ] && break; sleep 1; done
	blockdev --getsize64 /dev/md127
	[ "$(cat /sys/block/md127/size)" = 8192 ]
}
load() {
	load_mpstore blkdev=/dev/md127 console_size=0 pmsg_size=0 ftrace_size=0 tty_size=0 flush_ms=50 "$@"
}
says() { grep -q "$1" $STATUS || { cat $STATUS; return 1; }; }
settled() {
	for _i in $(seq 100); do
		says 'waiting=N' >/dev/null && return 0
		sleep 0.1
	done
	return 1
}

case $STAGE in
1)
	check "a mirror of two disks" mirror || bail "no md"
	check "with best_effort=N it is refused" eval \
		'! load best_effort=N 2>/dev/null && dmesg | grep -q "best_effort=N: no PCI device is behind it alone"'
	check "it loads" load || bail "no module"
	mount_pstore
	note "$(cat $STATUS)"
	check "a panic is not written, and why is said" says "^blk md127 .*$WHY"
	echo "$(uuid oops)" >/dev/kmsg
	check "an oops is survived" oops_now
	check "it gets to the device" settled
	umount_pstore
	mount_pstore
	check "and is there" grep -q "$(uuid oops)" $PSTORE/blk/dmesg-blk-0
	sync
	for n in 0 1; do
		digest $n
		save "DIGEST$n" "$ANSWER"
	done
	next_stage 2
	panic_now ;;
2)
	for n in 0 1; do
		digest $n
		check "the panic left disk $n as it was" eval "[ \"\$ANSWER\" = \"\$DIGEST$n\" ]"
	done
	check "the mirror again" mirror || bail "no md"
	load && mount_pstore
	check "the oops is still there" grep -q "$(uuid oops)" $PSTORE/blk/dmesg-blk-0 ;;
esac
