#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A block device that is memory (DAX): a panic is written to it, and with it what
# was in memory only. Whatever context it comes from, the record is whole.
#
# vm: timeout=120 quiet=60
# cmdline: memmap=4M!0x18800000
# kernels: custom debug
. /tests/lib.sh
[ -b /dev/pmem0 ] || exit 4
plan 24
STATUS=/sys/kernel/debug/mpstore
DEV=/dev/pmem0
# Nothing is written by the worker before the panic.
load() { load_mpstore blkdev=$DEV best_effort=N flush_ms=60000; }
has() { grep -aqF "$2" "$1" || { echo "$1 lacks '$2'"; ls -l "${1%/*}"; return 1; }; }
d=$PSTORE/blk
panicked() { # RECORD MARK
	check "mpstore loads after the panic of record $1" load || bail "no module"
	mount_pstore
	f=$d/dmesg-blk-$1
	check "record $1: its dump" sh -c "head -n 1 $f | grep -qE '^Panic#[0-9]+ Part1'"
	check "record $1: with what was logged" has $f "$2 kmsg"
	check "record $1: and the panic itself" has $f "Kernel panic - not syncing"
	check "record $1: console" has $d/console-blk-0 "$2 kmsg"
	check "record $1: pmsg" has $d/pmsg-blk-0 "$2 pmsg"
	check "record $1: tty" has $d/tty-blk-0 "ttyS2: $2 tty"
}
say() {
	echo "$1 kmsg" >/dev/kmsg
	echo "$1 pmsg" >/dev/pmsg0
	echo "$1 tty" >/dev/ttyS2
}

case $STAGE in
1)
	dd if=/dev/zero of=$DEV bs=1M count=4 conv=notrunc,fsync 2>/dev/null
	check "mpstore loads with best_effort=N" load || bail "no module"
	check "a panic would be written" grep "panic=armed: the device is memory" $STATUS/devices
	note "$(cat $STATUS/devices)"
	say "$(uuid one)"
	next_stage 2
	panic_now ;;
2)
	panicked 0 "$(uuid one)"
	# An oops right before waits for the worker, which does not come any more.
	say "$(uuid two)"
	check "an oops" oops_now
	next_stage 3
	panic_now ;;
3)
	panicked 2 "$(uuid two)"
	check "the oops before it" sh -c "head -n 1 $d/dmesg-blk-1 | grep -q '^Oops#1 Part1'"
	check "the first panic is still there" test -e $d/dmesg-blk-0
	# From an NMI.
	say "$(uuid three)"
	echo 1 >/proc/sys/kernel/unknown_nmi_panic
	next_stage 4
	expect_log_now 'Kernel panic - not syncing: NMI: Not continuing|Uhhuh|NMI received'
	expect_log_now 'Kernel panic - not syncing'
	sync_host
	echo "@nmi" >&3
	sleep 60 ;;
4)
	check "mpstore loads after an NMI" load || bail "no module"
	mount_pstore
	check "panic in NMI: its dump" has $d/dmesg-blk-3 "$(uuid three) kmsg"
	check "panic in NMI: pmsg" has $d/pmsg-blk-0 "$(uuid three) pmsg"
	check "no damage" sh -c "! dmesg | grep -E 'mpstore: blk.*(damaged|in part)'"
	check "and it is erased" rm $d/dmesg-blk-0 ;;
esac
