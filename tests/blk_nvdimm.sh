#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# An nvdimm without labels, whose namespace is raw: its driver offers no DAX, and a panic is written to
# its memory all the same.
#
# vm: timeout=120 quiet=90
# qemu: -machine nvdimm=on -m slots=2,maxmem=2G
# qemu: -object memory-backend-file,id=nv,share=on,mem-path=nv.img,size=32M,align=2M -device nvdimm,id=nvdimm0,memdev=nv
# kernels: custom debug
. /tests/lib.sh
plan 8
STATUS=/sys/kernel/debug/mpstore
DEV=/dev/pmem0
load() { load_mpstore blkdev=$DEV best_effort=N flush_ms=60000; }
has() { grep -aqF "$2" "$1" || { echo "$1 lacks '$2'"; ls -l "${1%/*}"; return 1; }; }
d=$PSTORE/blk

case $STAGE in
1)
	check "there is one" [ -b $DEV ] || bail "no $DEV"
	check "without DAX" [ "$(cat /sys/block/pmem0/queue/dax)" = 0 ]
	check "it loads with best_effort=N" load || bail "no module"
	check "a panic would be written" grep "panic=armed: the device is memory" $STATUS/devices
	echo "$(uuid) kmsg" >/dev/kmsg
	echo "$(uuid) pmsg" >/dev/pmsg0
	next_stage 2
	panic_now ;;
2)
	check "it loads after the panic" load || bail "no module"
	mount_pstore
	check "the dump is there" sh -c "head -n 1 $d/dmesg-blk-0 | grep -q '^Panic#1 Part1'"
	check "and ends with the panic" has $d/dmesg-blk-0 "Kernel panic - not syncing"
	check "pmsg, too" has $d/pmsg-blk-0 "$(uuid) pmsg" ;;
esac
