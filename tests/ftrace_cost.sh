#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What the function trace costs, in instructions: QEMU counts them, one is one
# nanosecond of the guest's clock. Off it costs nothing; on, less than in the C
# ramoops, which does the same on the same kernel.
#
# vm: timeout=300 quiet=120 smp=1 onethread
# cmdline: no_timer_check
# qemu: -icount shift=0,sleep=off
# kernels: custom
. /tests/lib.sh
plan 6

ZONES="mem_address=$REGION_A mem_size=$REGION_A_SIZE ftrace_size=0x10000"
now() { sed -n 's/^now at \([0-9]*\) nsecs.*/\1/p' /proc/timer_list; }
# cost COUNT: instructions for one read() and write() of 64 bytes, in $cost
cost() {
	_from=$(now)
	dd if=/dev/zero of=/dev/null bs=64 count="$1" 2>/dev/null
	cost=$((($(now) - _from) / $1))
}
# What the processes around it cost is spread over so many that it does not count.
cost 100000
before=$cost
# shellcheck disable=SC2086
check "mpstore loads" load_mpstore $ZONES tty_size=0 || bail "no module"
cost 100000
off=$cost
echo 1 >/sys/kernel/debug/mpstore/record_ftrace
cost 20000
ours=$((cost - before))
echo 0 >/sys/kernel/debug/mpstore/record_ftrace
cost 100000
after=$cost
rmmod mpstore
# shellcheck disable=SC2086
check "mpstore loads with parity" load_mpstore $ZONES tty_size=0 ecc=1
echo 1 >/sys/kernel/debug/mpstore/record_ftrace
cost 2000
parity=$((cost - before))
rmmod mpstore
load_c() {
	for _m in reed_solomon pstore; do [ ! -e /modules/$_m.ko ] || insmod /modules/$_m.ko || return; done
	# shellcheck disable=SC2086
	insmod /modules/ramoops.ko $ZONES
}
check "the C ramoops loads" load_c
echo 1 >/sys/kernel/debug/pstore/record_ftrace
cost 10000
c=$((cost - before))
echo 0 >/sys/kernel/debug/pstore/record_ftrace
note "a read and a write: $before without mpstore, $off with it and the trace off, $after after it was on"
note "tracing adds $ours, $parity with ecc=1, and $c in the C ramoops"
check "before it was ever on it costs nothing" test $((off * 100)) -le $((before * 102))
check "after it was on it costs nothing" test $((after * 100)) -le $((before * 102))
check "on it costs at most 0.7 of what it costs in the C ramoops" test $((ours * 10)) -le $((c * 7))
