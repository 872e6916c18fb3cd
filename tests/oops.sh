#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# An oops that the machine survives: kept in several records by a region that
# takes oopses, not by one that takes panics only.
#
# vm: timeout=120
# kernels: custom debug stock
. /tests/lib.sh
plan 27
LINES_N=400

load() {
	# 20 KiB of text in records of 8 KiB make three parts.
	load_mpstore mem_address=$REGION_A,$REGION_B mem_size=0x100000 record_size=0x2000 \
		console_size=0x10000 pmsg_size=0x1000 tty_size=0x1000 ftrace_size=0 \
		max_reason=2,1 compress=none kmsg_bytes=0x5000 tty_names=ttyS2
}
# parts BACKEND TITLE: how many parts a dump has.
parts() { head -qn 1 "$PSTORE/$1"/dmesg-* 2>/dev/null | grep -c "^$2 Part"; }
# join BACKEND TITLE: its text, oldest part first, without the first lines.
join() {
	_n=$(parts "$1" "$2")
	while [ "$_n" -gt 0 ]; do
		for _f in "$PSTORE/$1"/dmesg-*; do
			[ "$(head -n 1 "$_f")" = "$2 Part$_n" ] && tail -n +2 "$_f"
		done
		_n=$((_n - 1))
	done
}
numbers_are_whole() { # FILE: the numbers in it go up by one to the last
	grep -oE "$(uuid n) [0-9]{6}\$" "$1" | awk -v last=$LINES_N '
		{ n = $2 + 0; if (NR > 1 && n != prev + 1) { print prev " is followed by " n; bad = 1 } prev = n }
		END { if (NR < 100) { print NR " numbers only"; bad = 1 }
		      if (prev != last) { print "the last is " prev; bad = 1 } exit bad }'
}
# A piece of the log, whole lines, nothing missing: look its first line up and
# compare as many as there are.
piece_of() { # PIECE LOG
	_at=$(grep -nxF "$(head -n 1 "$1")" "$2" | head -n 1 | cut -d: -f1)
	[ -n "$_at" ] || { echo "not in the log: $(head -n 1 "$1")"; return 1; }
	tail -n "+$_at" "$2" | head -n "$(wc -l <"$1")" | diff "$1" -
}

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	check "mpstore loads" load || bail "no module"
	check "write numbered lines to the log" ttytool kmsg $LINES_N "$(uuid n)"
	check "an oops that the machine survives" oops_now || bail "no oops, nothing to see"
	dmesg -r >/tmp/log
	check "mount in the same boot" mount_pstore || bail "no file system"
	check "the oops is there at once, in three parts" test "$(parts ramoops "Oops#1")" = 3
	check "its records are the only ones" test "$(ls "$PSTORE/ramoops" | wc -l)" = 3
	join ramoops "Oops#1" >/tmp/joined
	# KASAN sees it first, and says it in words of its own.
	check "the oops itself is in it" \
		grep -qE 'BUG: kernel NULL pointer dereference|KASAN: null-ptr-deref' /tmp/joined
	check "its parts together miss and double no line" numbers_are_whole /tmp/joined
	check "they are a piece of the log as it is" piece_of /tmp/joined /tmp/log
	check "they are as much as kmsg_bytes asks for" test "$(wc -c </tmp/joined)" -gt 20400
	check "max_reason=1 keeps no oops" test "$(ls -A "$PSTORE/ramoops1" | wc -l)-$(ls "$PSTORE" | tr "\n" " ")" = "0-ramoops ramoops1 "
	save JOINED "$(sha256sum </tmp/joined | cut -d' ' -f1)"
	echo "$(uuid after)" >/dev/kmsg
	# The other frontends go on as well.
	echo "$(uuid pmsg)" >/dev/pmsg0
	echo "$(uuid tty)" >/dev/ttyS2
	next_stage 2
	panic_now ;;
2)
	check "mpstore loads again" load || bail "no module"
	check "mount after the panic" mount_pstore || bail "no file system"
	check "the oops outlives the panic and the reboot" \
		test "$(join ramoops "Oops#1" | sha256sum | cut -d' ' -f1)" = "$JOINED"
	check "the panic has three parts of its own" test "$(parts ramoops "Panic#2")" = 3
	check "max_reason=1 keeps the panic" test "$(parts ramoops1 "Panic#2")" = 3
	check "and nothing else" test "$(ls "$PSTORE"/ramoops1/dmesg-* | wc -l)" = 3
	join ramoops "Panic#2" >/tmp/a
	join ramoops1 "Panic#2" >/tmp/b
	check "both have the panic's own line" grep -q 'Kernel panic - not syncing: sysrq' /tmp/a
	check "both have what was logged after the oops" grep -q "$(uuid after)" /tmp/a
	check "the panic's parts miss and double no line" numbers_are_whole /tmp/a
	check "both regions hold the same" cmp /tmp/a /tmp/b
	uuid pmsg >/tmp/pmsg
	for b in ramoops ramoops1; do
		check "$b: the console has the oops and what came after" sh -c "
			grep -qE 'BUG: kernel NULL pointer|KASAN: null-ptr-deref' $PSTORE/$b/console-$b-0 &&
			grep -q '$(uuid after)' $PSTORE/$b/console-$b-0"
		check "$b: pmsg has what was written after the oops" cmp /tmp/pmsg "$PSTORE/$b/pmsg-$b-0"
		check "$b: tty has what was written after the oops" \
			grep -qx ".*\] ttyS2: $(uuid tty)" "$PSTORE/$b/tty-$b-0"
	done ;;
esac
