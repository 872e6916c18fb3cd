#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A restart while everything is being written to: what was reported stored before is on the disks, a
# slow one among them, and no ring is cut off between its data and its header, by which its newest
# lines would be taken for the oldest. The restart is not held up for as long as somebody writes.
#
# vm: timeout=150 quiet=60 boots=8
# disk: virtio 1M drive.throttling.bps-write=400000
# disk: nvme 1M
# kernels: custom debug
. /tests/lib.sh
RESTARTS=3
plan $((6 * RESTARTS + 1))
load() {
	load_mpstore blkdev=/dev/vda,/dev/nvme0n1 kmsg_size=64K pmsg_size=64K console_size=64K ftrace_size=0 tty_size=0 \
		flush_ms=100 && mount_pstore
}
# writer NAME DEVICE PREFIX: numbered lines; the last that the kernel took is in /tmp/ack.NAME.
writer() {
	echo 0 >/tmp/ack.$1
	_i=0
	while :; do
		_i=$((_i + 1))
		echo "$3life $STAGE $1 $_i ........................................................" >"$2" || break
		echo $_i >/tmp/new.$1
		mv /tmp/new.$1 /tmp/ack.$1
	done
}
# in_order BACKEND KIND NAME LEAST: its lines have no gap, and end with LEAST or a later one.
in_order() {
	grep -ao "life $((STAGE - 1)) $3 [0-9]*" "$PSTORE/$1/$2-$1-0" | awk -v least="$4" '
		NR > 1 && $4 != last + 1 { print "after " last " comes " $4; bad = 1 }
		{ last = $4 + 0 }
		END {
			if (NR < 10) { print NR " lines"; bad = 1 }
			if (last < least) { print "ends with " last ", " least " was reported stored"; bad = 1 }
			exit bad
		}'
}

# soon UPTIME: the last line on the quick disk is from less than six seconds after that.
soon() {
	tail -n 1 $PSTORE/blk1/console-blk1-0 | tr -d '[]' | awk -v up="$1" '
		{ print "asked for at " up ", went on to " $1; exit !($1 > 0 && $1 - up < 6) }'
}

if [ "$STAGE" = 1 ]; then
	for d in /dev/vda /dev/nvme0n1; do dd if=/dev/zero of=$d bs=64k 2>/dev/null; done
	sync
fi
check "load" load || bail "no module"
if [ "$STAGE" -gt 1 ]; then
	# shellcheck disable=SC2086
	set -- $ACKS
	for b in blk blk1; do
		check "restart $((STAGE - 1)): pmsg of $b" in_order $b pmsg pmsg "$1"
		check "restart $((STAGE - 1)): the console of $b" in_order $b console kmsg "$2"
	done
	check "restart $((STAGE - 1)): it was not held up" soon "$UP"
fi
if [ "$STAGE" -le $RESTARTS ]; then
	exec 7>/dev/pmsg0
	writer pmsg /proc/self/fd/7 "" &
	writer kmsg /dev/kmsg "<5>" &
	sleep 2
	save UP "$(cut -d ' ' -f 1 /proc/uptime)"
	save ACKS "$(cat /tmp/ack.pmsg) $(cat /tmp/ack.kmsg)"
	next_stage $((STAGE + 1))
	reboot_now
fi
