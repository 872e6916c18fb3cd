#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The function trace: off it costs nothing, its switches work, and after a panic
# all CPUs' records are one text in order, named rightly although the next kernel
# lies somewhere else. Removing it removes every CPU's.
#
# vm: timeout=240 kaslr onethread
# cmdline: no_timer_check
# kernels: custom debug stock
. /tests/lib.sh
plan 75

DEBUGFS=/sys/kernel/debug
ENABLED=$DEBUGFS/tracing/enabled_functions
KNOB=$DEBUGFS/mpstore/record_ftrace
PARAM=/sys/module/mpstore/parameters/record_ftrace
# The place of the in-tree switch, which is left alone where the kernel has an in-tree pstore,
# whether that has the frontend (tests/stock.sh loads one) or, as Debian's, has not.
INTREE_KNOB=$DEBUGFS/pstore/record_ftrace
grep -qw pstore /proc/filesystems && [ ! -d /sys/module/mpstore ] && BESIDE=y
mount -t debugfs debugfs $DEBUGFS 2>/dev/null
FILE=ramoops/ftrace-ramoops-0
# Zones: dmesg 5 of 0x19999 & ~1 bytes from 0, the trace's two of 0x40000 at the
# end. Without a tty zone there is no probe, so that all that ftrace does is ours.
SIZES="record_size=0x10000 console_size=0 pmsg_size=0 tty_size=0 ftrace_size=0x80000"
load() {
	# shellcheck disable=SC2086
	load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE $SIZES "$@"
}
reload() { umount_pstore; rmmod mpstore; dmesg -c >/dev/null; load "$@" && mount_pstore; }
is() { _got=$(cat "$1"); [ "$_got" = "$2" ] || { echo "$1 is '$_got', not '$2'"; return 1; }; }
log_has() { dmesg | grep -Eq "$1" || { echo "no line '$1':"; dmesg | grep mpstore; return 1; }; }
# Functions that somebody traces; the list has one a line.
none_traced() { [ ! -s $ENABLED ] || { echo "$(wc -l <$ENABLED) functions, such as"; head -n 2 $ENABLED; return 1; }; }
many_traced() { [ "$(wc -l <$ENABLED)" -gt 1000 ] || { echo "only $(wc -l <$ENABLED)"; return 1; }; }
refused() { ! echo "$1" >$KNOB 2>/dev/null; }
work() { # on each CPU: something that can be recognised
	for _cpu in 1 2; do taskset $_cpu dd if=/dev/zero of=/dev/null bs=64 count=${1:-20} 2>/dev/null; done
}
no_file() { [ ! -e "$PSTORE/$1" ] || { echo "there is $1"; return 1; }; }
# Every line is one of the in-tree form.
lines_are_whole() {
	[ -s "$1" ] || { echo "no line"; return 1; }
	! grep -vE '^CPU:[0-9]+ ts:[0-9]+ [0-9a-f]{8,16}  [0-9a-f]{8,16}  [^ ]+( \[[^]]+\])? <- [^ ]+( \[[^]]+\])?$' "$1"
}
in_order() { sed 's/.* ts:\([0-9]*\) .*/\1/' "$1" | awk 'NR > 1 && $1 <= last { print "after " last ": " $1; bad = 1 } { last = $1 } END { exit bad }'; }
# cpus_are FILE LIST
cpus_are() {
	_got=$(cut -d' ' -f1 "$1" | sort | uniq | tr '\n' ' ')
	[ "$_got" = "$2" ] || { echo "there are '$_got'"; return 1; }
}
# calls FILE CALLEE CALLER: at least one such line
calls() { grep -Eq "  $2 <- $3\+0x[0-9a-f]+/0x[0-9a-f]+\$" "$1" || { echo "no $2 <- $3 among $(wc -l <"$1") lines"; tail -n 3 "$1"; return 1; }; }
size_is_records() { [ "$(stat -c %s "$1")" = $(($(wc -l <"$1") * 24)) ]; }
text_base() { grep ' _text$' /proc/kallsyms | cut -d' ' -f1; }
le32() {
	for _shift in 0 8 16 24; do
		# shellcheck disable=SC2059
		printf "\\$(printf %03o $((($1 >> _shift) & 255)))"
	done
}
# A trace's zone is signed with its kernel's version, which says whose functions it names.
# shellcheck disable=SC2046
signature() { set -- $(uname -r | tr -c '0-9\n' ' '); echo $((0x43474244 ^ ($1 << 16 | $2 << 8 | $3))); }
sig() { le32 "$(signature)"; }
SIG=$(le32 "$(signature)" | hexdump -v -e '1/1 "%02x"')
put() { dd of=/dev/mem bs=1 seek=$((REGION_A + $1)) conv=notrunc 2>/dev/null; }
bytes() { dd if=/dev/mem bs=1 skip=$((REGION_A + $1)) count="$2" 2>/dev/null | hexdump -v -e '1/1 "%02x"'; }
bytes_are() { _got=$(bytes "$1" $((${#2} / 2))); [ "$_got" = "$2" ] || { echo "at $1: $_got, wanted $2"; return 1; }; }

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	check "mpstore loads" load || bail "no module"
	mount_pstore
	check "off: the switch says so" is $KNOB 0
	if [ "${BESIDE-}" ]; then
		check "off: the in-tree place is left alone" test ! -e $INTREE_KNOB
	else
		check "off: so does the one in the in-tree place" is $INTREE_KNOB 0
	fi
	check "off: so does the parameter" is $PARAM N
	check "off: no function is traced" none_traced
	check "only root may look at the switch" test "$(stat -c %a $KNOB)" = 600
	check "'2' is refused, as in-tree" refused 2
	check "'' is refused" refused ""
	check "'y' is refused" refused y
	check "more than a byte is refused" refused 100000000
	check "so is a sign alone" refused +
	check "and more than any number has digits" refused 0000000000001
	check "still no function is traced" none_traced
	check "the switch takes 1" sh -c "echo 1 >$KNOB"
	check "on: the switch says so" is $KNOB 1
	if [ "${BESIDE-}" ]; then
		check "on: it still is" test ! -e $INTREE_KNOB
	else
		check "on: the other one, too" is $INTREE_KNOB 1
	fi
	check "on: so does the parameter" is $PARAM Y
	check "on: the kernel's functions are traced" many_traced
	if [ "${BESIDE-}" ]; then
		check "the switch takes 0" sh -c "echo 0 >$KNOB"
	else
		check "the in-tree switch takes 0" sh -c "echo 0 >$INTREE_KNOB"
	fi
	check "off again: no function is traced" none_traced
	check "no zone has any content of ours by name" no_file $FILE
	echo 10 >$KNOB
	check "'10' is on, as in-tree" is $KNOB 1

	# Unloaded while everything is traced, and somebody works.
	(while :; do dd if=/dev/zero of=/dev/null bs=64 count=50 2>/dev/null; done) &
	one=$!
	(while :; do cat /proc/uptime >/dev/null; done) &
	two=$!
	umount_pstore
	check "unload while it is on, under load" rmmod mpstore
	check "unloaded: no function is traced" none_traced
	check "load with record_ftrace=1, under load" load record_ftrace=1
	mount_pstore
	kill $one $two
	check "the parameter alone turns it on" is $KNOB 1
	check "the parameter alone has the functions traced" many_traced
	work
	save BASE "$(text_base)"
	check "the zones are signed as in-tree" bytes_are 0x80000 $SIG
	next_stage 2
	panic_now ;;
2)
	note "_text was at $BASE, is at $(text_base)"
	check "after the panic: mpstore loads" load || bail "no module"
	mount_pstore
	check "after the panic: there is one file" test "$(cd $PSTORE/ramoops && ls ftrace* | tr '\n' ' ')" = "ftrace-ramoops-0 "
	f=$PSTORE/$FILE
	check "it is read" sh -c "cat $f >/tmp/trace" || bail "nothing to look at"
	check "its size is that of the records" size_is_records $f
	check "every line is one of the in-tree form" lines_are_whole /tmp/trace
	check "all CPUs' records are in one order" in_order /tmp/trace
	check "both CPUs are in it" cpus_are /tmp/trace "CPU:0 CPU:1 "
	check "there are many" test "$(wc -l </tmp/trace)" -gt 10000
	# What led to the panic, though the kernel was somewhere else.
	check "the panic's own write is named rightly" calls /tmp/trace vfs_write ksys_write
	check "so is what came of it" calls /tmp/trace __handle_sysrq write_sysrq_trigger
	# On the CPU that panics a few functions run before the kernel says that it does, and then
	# nothing is recorded; the other one may have gone on until then.
	grep -nE '  (vpanic|panic) <- ' /tmp/trace | tail -n 1 >/tmp/panic
	at=$(cut -d: -f1 /tmp/panic)
	tail -n +$((${at:-0} + 1)) /tmp/trace >/tmp/after
	cpu=$(sed 's/^[0-9]*:\([^ ]*\) .*/\1/' /tmp/panic)
	own=$(grep -c "^${cpu:-none} " /tmp/after)
	note "behind the panic on $cpu: $(wc -l </tmp/after) of $(wc -l </tmp/trace) lines, $own of this CPU"
	check "the panic is in the trace" test -s /tmp/panic
	check "the panic is at the end of its CPU's trace" test "$own" -le 10
	check "the panic is at the end" test "$(wc -l </tmp/after)" -lt 200
	if [ "$BASE" = "$(text_base)" ]; then
		skip "the kernel lies elsewhere now" "KASLR chose the same place"
	else
		check "the kernel lies elsewhere now" test "$BASE" != "$(text_base)"
	fi
	check "removing it works" rm $f
	umount_pstore; mount_pstore
	check "it is gone after another mount" no_file $FILE
	reload
	check "no CPU's zone comes back after another load" no_file $FILE

	# A record of each CPU by hand, then of another kernel's version.
	umount_pstore; rmmod mpstore
	wipe "$REGION_A" "$REGION_A_SIZE"
	SYM=$((0x$(grep ' T vfs_write$' /proc/kallsyms | cut -d' ' -f1) - 0x$(text_base) + 0xffffffff81000000))
	rec() { le32 $1; le32 $(($1 >> 32)); le32 0x12345678; le32 0x7fffffff; le32 $2; le32 0; }
	{ sig; le32 53; le32 53; printf 'cut..'; rec $SYM $((2 << 8)); rec $((SYM + 8)) $((4 << 8)); } | put 0x80000
	{ sig; le32 24; le32 24; rec $SYM $((3 << 8 | 1)); } | put 0xc0000
	load && mount_pstore
	check "by hand: merged, the cut record is left out" sh -c "[ \"\$(cut -d' ' -f1,2 $PSTORE/$FILE | tr '\n' ' ')\" = 'CPU:0 ts:2 CPU:1 ts:3 CPU:0 ts:4 ' ]"
	check "by hand: a function is named" grep -q '  vfs_write <- 0xffffffff12345678$' $PSTORE/$FILE
	check "the load says what it found" log_has 'mpstore: ramoops: 1 records of earlier kernels'
	umount_pstore; rmmod mpstore
	wipe "$REGION_A" "$REGION_A_SIZE"
	{ printf '\102\115\101\103'; le32 24; le32 24; rec 0x7fffffffc0001000 0; } | put 0x80000
	load && mount_pstore
	check "6.15.6: numbers for its System.map" grep -qx 'CPU:0 ts:0 ffffffffc0001000  ffffffff12345678  0xffffffffc0001000 <- 0xffffffff12345678' $PSTORE/$FILE
	umount_pstore; rmmod mpstore

	# Noise and lies: reported, emptied, and then as good as new.
	wipe "$REGION_A" "$REGION_A_SIZE"
	dd if=/dev/urandom of=/dev/mem bs=4096 seek=$(((REGION_A + 0x80000) / 4096)) count=128 conv=notrunc 2>/dev/null
	for i in 0 1 2 3 4 5 6 7; do { printf DBGC; le32 0; le32 0; } | put $((i * 0x10000)); done
	dmesg -c >/dev/null
	load && mount_pstore
	check "noise: it is reported" log_has 'mpstore: ramoops: 2 of 10 zones hold garbage'
	check "noise: no file" no_file $FILE
	check "noise: the zone is empty now" bytes_are 0x80000 ${SIG}0000000000000000
	umount_pstore; rmmod mpstore
	{ sig; le32 0x7fffffff; le32 0x80000000; } | put 0x80000
	{ sig; le32 0; le32 262133; } | put 0xc0000
	dmesg -c >/dev/null
	load && mount_pstore
	check "lies: they are reported" log_has 'mpstore: ramoops: 2 of 10 zones hold garbage'
	# Whole rings of nonsense: all of it is shown, nothing of it is believed.
	umount_pstore; rmmod mpstore
	dd if=/dev/urandom of=/dev/mem bs=4096 seek=$(((REGION_A + 0x80000) / 4096)) count=128 conv=notrunc 2>/dev/null
	{ sig; le32 1001; le32 262132; } | put 0x80000
	{ sig; le32 262131; le32 262132; } | put 0xc0000
	load && mount_pstore
	check "nonsense: every record is a line" sh -c "[ \$(wc -l <$PSTORE/$FILE) = $((262132 / 24 * 2)) ]"

	# One zone for all CPUs, and the filter of tracefs.
	reload ftrace_per_cpu=N
	echo vfs_write >$DEBUGFS/tracing/set_ftrace_filter
	echo 1 >$KNOB
	check "filter: one function is traced" test "$(wc -l <$ENABLED)" = 1
	for cpu in 1 2; do taskset $cpu dd if=/dev/zero of=/dev/null bs=1 count=20000 2>/dev/null & done
	wait
	check "one zone: it is full" bytes_are 0x80008 f4ff0700
	next_stage 3
	reboot_now ;;
3)
	check "one zone: mpstore loads" load ftrace_per_cpu=N record_ftrace=0
	mount_pstore
	cat $PSTORE/$FILE >/tmp/trace
	check "one zone: whole lines" lines_are_whole /tmp/trace
	check "one zone: in order" in_order /tmp/trace
	check "one zone: both CPUs" cpus_are /tmp/trace "CPU:0 CPU:1 "
	check "one zone: nothing but what the filter let through" sh -c "! grep -v '  vfs_write <- ' /tmp/trace"
	check "one zone: as much as it holds" test "$(wc -l </tmp/trace)" = $((524276 / 24))
	umount_pstore; rmmod mpstore

	# A wrong value, and no room.
	check "a wrong switch is refused" sh -c "! insmod /mpstore.ko test_mem=1 ftrace_per_cpu=maybe 2>/dev/null"
	check "the line names it" log_has 'mpstore: ftrace_per_cpu=maybe: give Y or N'
	check "without zones it loads" load_mpstore test_mem=1 ftrace_size=0 tty_size=0 record_ftrace=1
	check "and says that there is no trace" log_has 'record_ftrace=Y: no backend has room'
	check "and has no switch" test ! -e $KNOB
	rmmod mpstore

	# Live, with parity: every record is written with that of its block.
	echo 'vfs_* ksys_*' >$DEBUGFS/tracing/set_ftrace_filter
	check "parity: it loads" load_mpstore test_mem=1 tty_size=0 ecc=1 ftrace_size=0x8000 record_ftrace=1
	work 200
	echo 0 >$KNOB
	echo >$DEBUGFS/tracing/set_ftrace_filter
	mount_pstore
	cat $PSTORE/mem0/ftrace-mem0-0 >/tmp/trace
	check "parity: the notice is at the end" sh -c "tail -n 1 /tmp/trace | grep -qx 'ECC: No errors detected'"
	head -n -2 /tmp/trace >/tmp/lines
	check "parity: whole lines" lines_are_whole /tmp/lines
	check "parity: in order" in_order /tmp/lines
	check "parity: both CPUs" cpus_are /tmp/lines "CPU:0 CPU:1 "
	check "status: records are counted" sh -c "grep -E '^mem0 +ftrace' $DEBUGFS/mpstore/status | grep -Eq ' [1-9][0-9]{3}'"
	rm $PSTORE/mem0/ftrace-mem0-0
	umount_pstore; mount_pstore
	check "a live trace is emptied by its removal" no_file mem0/ftrace-mem0-0
	umount_pstore; rmmod mpstore
	check "at the end no function is traced" none_traced ;;
esac
