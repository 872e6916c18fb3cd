#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A panic is written to a namespace of NVMe that two controllers share: the kernel does not tell which of
# them is behind the disk, so blk_controller= names one, here the second. As tests/takeover.sh else.
#
# vm: timeout=150 quiet=120 boots=4
# kernels: custom
# disk: drive 32M parts=2:noise,1,16:ext4
# qemu: -device nvme-subsys,id=ss0,nqn=mpstore -device nvme,id=one,serial=disk0,subsys=ss0
# qemu: -device nvme,id=two,serial=disk0,subsys=ss0 -device nvme-ns,drive=disk0,bus=one,shared=on
. /tests/lib.sh
. /tests/lib-takeover.sh

# The numbers of controllers and disk are not those of the boot before.
[ "$(echo /sys/class/nvme-subsystem/*/nvme[0-9] | wc -w)" = 2 ] &&
	[ "$(echo /sys/class/nvme-subsystem/* | wc -w)" = 1 ] || bail "no two paths to one namespace"
SECOND=$(cat /sys/class/nvme/*/address | sort | tail -n 1)
DISK=$(cd /sys/class/block && echo nvme?n1)
load_mpstore() { insmod /mpstore.ko blk_controller="$SECOND" "$@"; }

CASES="
	multipath $DISK 0 process"
run_takeovers
