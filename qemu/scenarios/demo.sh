#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# `make demo`: two RAM regions, every frontend, a panic, and what is left.
#
# vm: timeout=180
# kernels: custom debug stock
. /tests/lib.sh
plan 14
MARK=$(uuid marker)
TTY=/dev/ttyS2

load() {
	load_mpstore mem_address=$REGION_A,$REGION_B mem_size=0x100000 record_size=0x4000 \
		console_size=0x10000 pmsg_size=0x10000 tty_size=0x10000 ftrace_size=0
}

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	note "load mpstore with two regions: backends ramoops and ramoops1"
	check "mpstore loads" load || bail "without the module there is nothing to show"
	note "write '$MARK' to /dev/kmsg, /dev/pmsg0 and $TTY"
	check "write to /dev/kmsg" sh -c "echo '$MARK kmsg' >/dev/kmsg"
	check "write to /dev/pmsg0" sh -c "echo '$MARK pmsg' >/dev/pmsg0"
	check "write to $TTY" sh -c "echo '$MARK tty' >$TTY"
	note "crash the machine"
	next_stage 2
	panic_now ;;
2)
	note "it is back. Load mpstore again and look"
	check "mpstore loads again" load || bail "no module"
	check "mount pstore" mount_pstore || bail "no file system"
	find "$PSTORE" -type f | sort | while read -r f; do
		note "$(printf '%-60s %7d bytes' "${f#"$PSTORE"/}" "$(wc -c <"$f")")"
		# The first line, and the first that is ours.
		tr -d '\0' <"$f" | tr '\r' '\n' | awk -v m="$MARK" '
			NR == 1 || (index($0, m) && !n++) { print "#       " substr($0, 1, 100) }'
	done
	for b in ramoops ramoops1; do
		for k in dmesg console pmsg tty; do
			case $k in
			dmesg | console) want="$MARK kmsg" ;;
			pmsg) want="$MARK pmsg" ;;
			# The runner's own line is a terminal too.
			tty) want="${TTY#/dev/}: $MARK tty" ;;
			esac
			check "$b: $k holds what was written" sh -c "cat $PSTORE/$b/$k-$b-* | grep -q '$want'"
		done
	done ;;
esac
