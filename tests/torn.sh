#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The reset button while everything is written to: what is there is whole lines,
# none missing in between, without parity and with it. Then several writers at
# once: their parity is right.
#
# vm: timeout=150
# kernels: custom debug stock
. /tests/lib.sh
plan 33

load() {
	load_mpstore mem_address=$REGION_A,$REGION_B mem_size=$REGION_A_SIZE ecc=0,16 record_size=0x8000 \
		console_size=0x8000 pmsg_size=0x2000 tty_size=0x2000 ftrace_size=0 tty_names='ttyS2,ttyS3'
}
# numbered FILE LETTER: lines with ascending numbers, until killed.
numbered() {
	_i=0
	while :; do
		_i=$((_i + 1))
		printf "$2 $(uuid) %06d %0$((_i % 50 + 1))d.\n" $_i 0 >"$1"
	done
}
writers() {
	numbered /dev/pmsg0 p & echo $! >/tmp/writers
	numbered /dev/ttyS2 s & echo $! >>/tmp/writers
	numbered /dev/ttyS3 t & echo $! >>/tmp/writers
	numbered /dev/kmsg k & echo $! >>/tmp/writers
}
# whole FILE LETTER: all lines of that letter, less the oldest, of which a ring
# may have a part only. A notice of parity is none of them.
whole() {
	[ -s "$1" ] || { echo "nothing in $1"; return 1; }
	tail -n +2 "$1" | grep -a "$2 $(uuid)" | sed "s/.*$2 $(uuid)/$2/" >/tmp/lines
	[ "$(wc -l </tmp/lines)" -gt 20 ] || { echo "$(wc -l </tmp/lines) lines"; return 1; }
	grep -vE "^$2 [0-9]{6} 0+\.$" /tmp/lines && return 1
	awk '{ if (NR > 1 && $2 != last + 1) { print last " and then " $2; exit 1 } last = $2 }' /tmp/lines
}
# Nothing behind the last line feed but the notice.
ends() { [ "$(grep -av "^ECC: " "$1" | tail -n 2 | tr -d '\n' | tail -c 1)" = . ]; }
no_errors() { tail -n 1 "$1" | grep -qx "ECC: No errors detected" || { tail -n 1 "$1"; return 1; }; }
all_whole() { # WHAT
	for b in ramoops ramoops1; do
		d=$PSTORE/$b
		check "$1: $b: pmsg has whole lines, none missing" whole $d/pmsg-$b-0 p
		check "$1: $b: and no half of one at its end" ends $d/pmsg-$b-0
		check "$1: $b: tty has the first writer's" whole $d/tty-$b-0 s
		check "$1: $b: and the second one's" whole $d/tty-$b-0 t
		check "$1: $b: and no half of one at its end" ends $d/tty-$b-0
		check "$1: $b: console has whole lines, none missing" whole $d/console-$b-0 k
	done
}

case $STAGE in
1)
	wipe $REGION_A $REGION_A_SIZE
	wipe $REGION_B $REGION_B_SIZE
	# What is printed through the serial line takes its time.
	dmesg -n 8
	check "mpstore loads" load || bail "no module"
	writers
	sleep 15
	next_stage 2
	hard_reset ;;
2)
	check "after a reset in the middle: mpstore loads" load || bail "no module"
	mount_pstore
	all_whole "a reset in the middle"
	umount_pstore
	rmmod mpstore
	check "mpstore loads for several writers" load || bail "no module"
	writers
	sleep 15
	# shellcheck disable=SC2046
	kill $(cat /tmp/writers)
	wait
	next_stage 3
	reboot_now ;;
3)
	check "after several writers: mpstore loads" load || bail "no module"
	mount_pstore
	all_whole "several writers"
	d=$PSTORE/ramoops1
	check "several writers: the parity of pmsg is right" no_errors $d/pmsg-ramoops1-0
	check "several writers: the parity of tty is right" no_errors $d/tty-ramoops1-0
	check "several writers: the parity of the console is right" no_errors $d/console-ramoops1-0
	# A killed writer may have been between two lines only.
	check "several writers: no dump came of it" sh -c "! ls $d/dmesg-* 2>/dev/null"
	check "they can be removed" sh -c "rm $PSTORE/ramoops/* $d/*" ;;
esac
