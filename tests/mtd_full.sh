#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Flash with too little room: more dumps wait than there are places for, or erased zones; a block that
# is there by half is not used; nothing can be written, at run time and in a panic; the device goes
# while a block of it is erased. Dumps that wait when the machine panics are written by the panic. What
# is lost is counted, and the memory beside the flash has it.
#
# vm: timeout=150 quiet=90 onethread
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-mtd.sh
plan 57
RAM="mem_address=$REGION_A mem_size=$REGION_A_SIZE"
# Nothing is written before somebody asks for it.
# shellcheck disable=SC2086
late() { load $RAM record_size=16K,0 flush_ms=60000 "$@"; }
# counted BACKEND N: for that many of its dumps there was no place.
counted() {
	_n=$(awk -v b="$1" '$1 == b && $2 == "dmesg" { print $7 }' $STATUS/status)
	[ "$_n" = "$2" ] || { cat $STATUS/status; return 1; }
}
waits() { state "waiting=$1"; }
count() { find "$PSTORE/$1" -name 'dmesg*' | wc -l; }
# all_have BACKEND MARK...: each is in a dump of it.
all_have() {
	_dir=$PSTORE/$1
	shift
	for _m; do cat "$_dir"/dmesg-* | grep -aqF "$(uuid "$_m") kmsg" || { ls -l "$_dir"; echo "no $_m"; return 1; }; done
}
several() { for _i in $(seq "$1" "$2"); do say "$_i" && oops_now || return; done; }
# soon COMMAND...: within some seconds.
soon() {
	for _i in $(seq 100); do "$@" >/dev/null && return; usleep 100000; done
	"$@"
}
# The device goes as soon as an erasure has begun.
goes() {
	while [ "$(cat $TEST/erasing)" = N ]; do usleep 20000; done
	echo 1 >$TEST/gone
}
anew() { rmmod mpstore_mtd && flash "$@"; }

case $STAGE in
1)
	wipe $REGION_A $REGION_A_SIZE
	insmod /modules/mtd.ko
	fill 0 9 '\377'

	# --- half a block more
	check "the flash, with half a block at its end" flash size=0x44000 || bail "no flash"
	check "loads" load || bail "no module"
	check "the half is not used" state bad=1
	mount_pstore
	check "nothing improper" well
	unload

	# --- eight places for what waits, four erased zones
	check "as it should be" anew
	check "loads" late || bail "no module"
	check "ten oopses" several 1 10
	check "eight wait" waits Y
	check "two are lost" counted mtd 2
	check "none in memory" counted ramoops 0
	mount_pstore
	check "eight are on the flash" test "$(count mtd)" = 8
	check "the first of them" all_have mtd 1 2 3 4 5 6 7 8
	check "all are in memory" all_have ramoops 1 2 3 4 5 6 7 8 9 10
	check "nothing waits" waits N
	umount_pstore
	check "three more" several 11 13
	mount_pstore
	check "are there, too" all_have mtd 11 12 13
	rm $d/* $PSTORE/ramoops/*
	sync
	check "all erased" state live=0

	# --- nothing can be written
	check "an oops" several 20 20
	echo 1 >$TEST/fail_writes
	check "and sync, which reports no errors" sync
	check "nothing can be written, which is told" says "mtd: mtd0 can't be written to"
	check "every zone was tried" state erased=0
	check "it waits" waits Y
	check "and a panic would not be written" state "panic=no: no zone is erased"
	echo 0 >$TEST/fail_writes
	unload
	check "loads again" late compress=none
	mount_pstore
	check "it is not on the flash" test "$(count mtd)" = 0
	check "it is in memory" all_have ramoops 20
	rm $PSTORE/ramoops/*
	sync
	check "the zones can be written to" oops 21
	check "as ever" all_have mtd 21
	umount_pstore

	# --- what can't be read, and what can't be erased
	unload
	# Of a zone that has a record the fourth page, then the first one.
	load
	mount_pstore
	used=$(cd $d && echo dmesg-mtd-*) && used=${used##*-}
	unload
	echo $((used * 8 + 3)) >$TEST/fail_read
	check "a record that can't be read to its end" load
	check "is one that was written in part" says "1 of 1 dumps were written in part only"
	unload
	echo $((used * 8)) >$TEST/fail_read
	check "a zone that can't be read at all" load
	check "is not used" state bad=1
	unload
	echo -1 >$TEST/fail_read
	at $((BLOCK * 5)) 'something else'
	echo 5 >$TEST/fail_erase
	check "a block with something else, which can't be erased" load force=1
	check "is not used" soon state bad=2
	check "that is told" says "mtd: block 5 can't be erased and is not used"
	unload
	echo -1 >$TEST/fail_erase
	check "it is, once it can be" load force=1
	sleep 0.5
	check "not known as bad" state bad=0
	unload
	check "load" late
	mount_pstore
	check "nothing of all that is lost" all_have mtd 21
	umount_pstore

	# --- what waits in a panic
	check "two oopses" several 30 31
	check "wait" waits Y
	say 32
	next_stage 2
	panic_now ;;
2)
	insmod /modules/mtd.ko
	flash
	check "loads after the panic" late || bail "no module"
	mount_pstore
	check "panic, oopses and what was there are on the flash" all_have mtd 21 30 31 32
	check "each with its reason" test "$(for f in $d/dmesg-*; do head -n 1 "$f" | cut -d '#' -f 1; done | sort | uniq -c | xargs)" = "3 Oops 1 Panic"
	rm $d/* $PSTORE/ramoops/*
	sync
	umount_pstore
	check "nothing improper" well
	say 40
	echo 1 >$TEST/fail_writes
	next_stage 3
	panic_now ;;
3)
	insmod /modules/mtd.ko
	flash
	check "loads after a panic that could not be written" late || bail "no module"
	mount_pstore
	check "it is not on the flash" test "$(count mtd)" = 0
	check "it is in memory" all_have ramoops 40
	check "two oopses" several 50 51
	again
	check "are there" test "$(count mtd)" = 2
	expect_log_now "mpstore: mtd: the device is gone"
	echo 2000 >$TEST/slow_erase
	rm $d/* 2>/dev/null &
	check "the device goes while it is erased" goes
	wait
	check "that is told" state state=gone
	umount_pstore
	check "unload" rmmod mpstore
	check "everything can be unloaded" rmmod mpstore_mtd
	flash
	at $((BLOCK * 5)) 'something else'
	expect_log_now "mpstore: mtd: the device is gone"
	echo 2000 >$TEST/slow_erase
	goes &
	check "the device goes while it is made ready" late force=1 flush_ms=100
	wait
	sleep 2
	check "that is told" soon state state=gone
	check "unload" rmmod mpstore ;;
esac
