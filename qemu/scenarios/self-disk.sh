#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: every kind of disk is there and keeps its data.
# disk: virtio 16M
# disk: nvme 16M
# disk: ahci 16M
. /tests/lib.sh
plan 6
DISKS="/dev/vda /dev/nvme0n1 /dev/sda"
for d in $DISKS; do
	case $STAGE in
	1) check "$d: write" sh -c "[ -b $d ] && uuid= && echo $RUN_ID$d | dd of=$d conv=notrunc,fsync" ;;
	2) check "$d: read after a hard reset" sh -c "head -n 1 $d | grep -qx $RUN_ID$d" ;;
	esac
done
[ "$STAGE" = 2 ] || { next_stage 2; hard_reset; }
