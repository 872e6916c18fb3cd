#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Losses of power: everything that is written to three disks, by the worker at run time and by the
# takeover in a panic, is logged by QEMU (blklogwrites). The host cuts each log at every write, up to
# every block of it, and with what was not flushed in another order: in each such disk every dump is
# whole or not there, and what was flushed before is.
#
# vm: timeout=180 quiet=120
# kernels: custom debug
# disk: virtio 8M parts=1:noise,1 log disable-legacy=on
# disk: nvme 8M parts=1:noise,1 log
# disk: ahci 8M parts=1:noise,1 log
. /tests/lib.sh
. /tests/lib-takeover.sh
plan 15

# Room for six dumps, so that the last ones replace the first.
SIZES="kmsg_size=128K console_size=64K pmsg_size=64K tty_size=64K ftrace_size=0"
load() {
	# shellcheck disable=SC2086
	load_mpstore blkdev=/dev/vda2,/dev/nvme0n1p2,/dev/sda2 $SIZES kmsg_bytes=100000 compress=none flush_ms=50 "$@"
}
settled() {
	for _i in $(seq 200); do
		state | grep -q 'waiting=Y' || return 0
		sleep 0.05
	done
	state
	return 1
}
ZONES="kmsg=131072 console=65536 pmsg=65536 tty=65536 ftrace=0"
# whole_or_none DISK: by the host, and it has looked at something.
whole_or_none() {
	# shellcheck disable=SC2086
	cuts "$1" 2 $ZONES || return 1
	# shellcheck disable=SC2086
	set -- $ANSWER
	# STATUS cuts N flushes N dumps N ...
	[ "$3" -gt 200 ] && [ "$5" -gt 10 ] && [ "$7" = 6 ]
}
has_dump() {
	for _f in "$PSTORE/$1"/dmesg-*; do
		head -n 1 "$_f" | grep -q '^Panic#[0-9]* Part1' && grep -q "$(uuid) last words" "$_f" && return 0
	done
	ls -l "$PSTORE/$1"
	head -qn 1 "$PSTORE/$1"/dmesg-*
	return 1
}

case $STAGE in
1)
	check "it loads with three disks" load best_effort=N || bail "no module"
	check "all are armed" [ "$(state | grep -c 'panic=armed: ')" = 3 ]
	for n in 1 2 3 4 5 6 7; do
		echo "$(uuid $n)" >/dev/pmsg0
		echo "$(uuid $n)" >/dev/kmsg
		check "oops $n" oops_now
		settled
	done
	echo "$(uuid) last words" >/dev/kmsg
	next_stage 2
	panic_now
	;;
2)
	# Before anything else writes.
	check "virtio-blk: whole dumps or none" whole_or_none 0
	note "${ANSWER#* }"
	check "NVMe: whole dumps or none" whole_or_none 1
	note "${ANSWER#* }"
	check "AHCI: whole dumps or none" whole_or_none 2
	note "${ANSWER#* }"
	# What finds nothing there can find something.
	# shellcheck disable=SC2086
	check "were flushes not honoured, a dump would be torn" eval '! cuts 1 2 $ZONES flushes=0 && echo "$ANSWER" | grep -q " torn [1-9]"'
	load || bail "no module"
	mount_pstore
	check "the panic is on all of them" eval "has_dump blk && has_dump blk1 && has_dump blk2"
	check "nothing is damaged" eval "! dmesg | grep -E 'mpstore: blk.*(in part|garbage)'"
	;;
esac
