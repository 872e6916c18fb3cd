#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The in-tree pstore and ramoops, all of them, against mpstore on one kernel: what
# either writes, the other shows to the byte as its writer does. Without and with
# ECC, damage included, without and with compression; dmesg of an oops and of a
# panic, console, pmsg, and the function trace of each CPU.
#
# Reading takes the console and pmsg zones over, so the first of two readers gets
# a copy of the region. The two are never loaded at once.
#
# vm: timeout=300 quiet=120
# kernels: custom debug
. /tests/lib.sh
plan 155

# Sixteen slots of a quarter MiB in the memory that the command line reserves.
# 0 to 3 are written by C, 4 to 7 by mpstore, 8 to 10 are small records.
SIZE=0x40000
COPY=12
TTY_SIZE=0x8000
# In a slot: dmesg 0 to 3 of 0x9000 bytes each, console at 0x24000, pmsg at
# 0x2c000, ftrace 0 and 1 at 0x30000 and 0x34000, tty at 0x38000.
ZONES="record_size=0x8000 console_size=0x8000 pmsg_size=0x4000 ftrace_size=0x8000"
KNOB=/sys/kernel/debug/pstore/record_ftrace
TRACING=/sys/kernel/debug/tracing
at() { echo $((REGION_A + $1 * SIZE)); }
# What of the matrix a slot is for.
ecc_of() { echo $((($1 & 1) * 16)); }
compress_of() { if [ $(($1 & 2)) = 0 ]; then echo none; else echo deflate; fi; }
label() { echo "ecc=$(ecc_of "$1") $(compress_of "$1")"; }

# c_load SLOT ECC COMPRESS [RAMOOPS PARAMETER...]
c_load() {
	_at=$(at "$1") _ecc=$2
	insmod /modules/pstore.ko compress="$3" || return
	shift 3
	# shellcheck disable=SC2086
	insmod /modules/ramoops.ko mem_address="$_at" mem_size=$((SIZE - TTY_SIZE)) $ZONES ecc="$_ecc" "$@" || return
	_got=$(cat /sys/module/pstore/parameters/backend)
	# A probe that failed is not reported otherwise.
	[ "$_got" = ramoops ] || { echo "the backend is '$_got'"; return 1; }
	mount -t pstore pstore $PSTORE
}
c_unload() { umount $PSTORE && rmmod ramoops && rmmod pstore; }
# m_load SLOT ECC [PARAMETER...]
m_load() {
	_at=$(at "$1") _ecc=$2
	shift 2
	# shellcheck disable=SC2086
	load_mpstore mem_address="$_at" mem_size=$((SIZE)) tty_size=$TTY_SIZE $ZONES ecc="$_ecc" "$@" &&
		mount_pstore
}
m_unload() { umount_pstore && rmmod mpstore; }
# Whether the module under test has such a thing.
has_param() { grep -aq "parm=$1:" /mpstore.ko; }
has_param compress && COMPRESS=1 || COMPRESS=
has_param record_ftrace && TRACE=1 || TRACE=

pmsg_bytes() { printf '%s one\n\0\377\r\n%s two' "$(uuid "$1")" "$(uuid "$1")"; }
# Calls on each CPU, more than there is room for.
trace() {
	[ -e $KNOB ] || return 0
	printf 'ksys_read\nksys_write\n' >$TRACING/set_ftrace_filter
	echo 1 >$KNOB || return
	for _cpu in 1 2; do taskset $_cpu dd if=/dev/zero of=/dev/null bs=64 count=500 2>/dev/null; done
	echo 0 >$KNOB
}
# fill NAME: something for every frontend.
fill() {
	echo "$(uuid "$1") kmsg" >/dev/kmsg
	pmsg_bytes "$1" >/dev/pmsg0
	echo "$(uuid "$1") tty" >/dev/ttyS2
	trace
	oops_now "$(uuid "$1")"
}
copy() { dd if=/dev/mem of=/dev/mem bs=4096 skip=$(($(at "$1") / 4096)) seek=$(($(at $COPY) / 4096)) count=$((SIZE / 4096)) conv=notrunc 2>/dev/null; }
spoil() { # SLOT OFFSET COUNT
	_i=0
	while [ $_i -lt "$3" ]; do printf '\252'; _i=$((_i + 1)); done |
		dd of=/dev/mem bs=1 seek=$(($(at "$1") + $2)) conv=notrunc 2>/dev/null
}
# Damage that parity can put right, and in the console's second block some that it can't.
spoil_some() {
	spoil "$1" 5 1
	spoil "$1" $((12 + 40)) 5
	spoil "$1" $((0x9000 + 12 + 200)) 1
	spoil "$1" $((0x2c000 + 12 + 3)) 1
	spoil "$1" $((0x30000 + 12 + 130)) 2
	spoil "$1" $((0x24000 + 12 + 128)) 20
}
# take FROM TO: all records but tty, which C does not have, with their times.
take() {
	rm -rf "$2"
	mkdir "$2"
	for _f in "$1"/*; do
		_n=${_f##*/}
		case $_n in tty-*) continue ;; esac
		# A file of /sys has another idea of its size.
		cat "$_f" >"$2/$_n" || return
		case $_n in dmesg-*) stat -c "$_n %Y" "$_f" >>"$2.times" ;; esac
	done
}
takes() { rm -f "$2.times"; take "$1" "$2"; }
names() { (cd "$1" && echo *); }
NOTICE="ECC: \(No errors detected\|[0-9]* Corrected bytes, [0-9]* unrecoverable blocks\)"
# same WHAT: the files of that kind that the two readers showed.
same() {
	_n=0
	for _f in /tmp/c/$1-*; do
		[ -e "$_f" ] || continue
		_n=$((_n + 1)) _m=/tmp/m/${_f##*/}
		if [ -z "$COMPRESS" ] && [ ! -e "$_m" ] && [ -e "$_m.enc.z" ]; then
			# The text, then what C says of its damage.
			regiontool inflate <"$_m.enc.z" >/tmp/text || return
			_m=/tmp/text
			head -c "$(wc -c </tmp/text)" "$_f" >/tmp/head
			_f=/tmp/head
		fi
		# The in-tree code counts the notice in the size of a trace, but does not show it.
		case $1 in ftrace) grep -aqx "$NOTICE" "$_m" && { head -n -2 "$_m" >/tmp/text; _m=/tmp/text; } ;; esac
		cmp "$_f" "$_m" || { ls -l /tmp/c /tmp/m; return 1; }
	done
	[ $_n -gt 0 ] || { echo "no $1 among '$(names /tmp/c)'"; return 1; }
}
same_times() { cmp /tmp/c.times /tmp/m.times || { cat /tmp/c.times /tmp/m.times; return 1; }; }
has() { grep -aqF "$2" "$1" || { echo "$1 lacks '$2'"; head -n 3 "$1"; return 1; }; }
first_is() { case $(head -n 1 "$1") in "$2"*) ;; *) echo "$1 begins with '$(head -n 1 "$1")'"; return 1 ;; esac; }
pmsg_is() { # FILE NAME
	pmsg_bytes "$2" >/tmp/want
	head -c "$(wc -c </tmp/want)" "$1" | cmp - /tmp/want
}
notice_is() { # FILE TEXT
	_got=$(tail -n 1 "$1" | tr -d '\0')
	[ "$_got" = "$2" ] || { echo "$1 ends with '$_got', not '$2'"; return 1; }
}
names_are() { _got=$(names "$1"); [ "$_got" = "$2" ] || { echo "$1 has '$_got', wanted '$2'"; return 1; }; }
# The names that mpstore gives what C shows by these.
our_names() {
	for _n in $1; do
		case $_n in
		ftrace-*) [ "$TRACE" ] || continue ;;
		dmesg-*) [ -z "$COMPRESS" ] && [ "$2" = deflate ] && _n=$_n.enc.z ;;
		esac
		printf '%s ' "$_n"
	done | sed 's/ $//'
}
trace_is_whole() {
	for _cpu in 0 1; do
		[ "$(grep -c "^CPU:$_cpu ts:.* ksys_[a-z]* <- " "$1")" -gt 500 ] || { echo "few of CPU $_cpu"; return 1; }
	done
}
# compare LABEL NAME COMPRESS: what is in /tmp/c and /tmp/m, and what NAME wrote. Nine results.
compare() {
	check "$1: the same records" names_are /tmp/m "$(our_names "$(names /tmp/c)" "$3")"
	check "$1: the same dumps" same dmesg
	if [ "$COMPRESS" ] || [ "$3" = none ]; then
		check "$1: of the same time" same_times
	else
		skip "$1: of the same time" "compressed records have another name"
	fi
	check "$1: the same console" same console
	check "$1: the same pmsg" same pmsg
	if [ "$TRACE" ]; then
		check "$1: the same trace, of both CPUs" same ftrace
		check "$1: the trace has what ran" trace_is_whole /tmp/c/ftrace-ramoops-0
	else
		skip "$1: the same trace, of both CPUs" "this module has no function trace"
		skip "$1: the trace has what ran" "this module has no function trace"
	fi
	check "$1: the panic has what was logged" has "$(grep -l '^Panic#' /tmp/c/dmesg-* | head -n 1)" "$(uuid "$2") kmsg"
	check "$1: pmsg has the very bytes" pmsg_is /tmp/c/pmsg-ramoops-0 "$2"
}

no_dumps() { case $(names "$1") in *dmesg-*) names "$1"; return 1 ;; esac; }
oops_and_panic() { first_is "$1/dmesg-ramoops-0" "Oops#1 Part1" && first_is "$1/dmesg-ramoops-1" "Panic#2 Part1"; }
# m_write SLOT: on two slots at once, the second with ECC.
m_write() {
	# shellcheck disable=SC2086
	load_mpstore mem_address="$(at "$1"),$(at $(($1 + 1)))" mem_size=$((SIZE)) tty_size=$TTY_SIZE $ZONES \
		ecc=0,16 ${COMPRESS:+compress=$(compress_of "$1")}
}
# C makes a block of fixed codes of it, whose first byte it may then take for white space.
small_dump() {
	dmesg -c >/dev/null
	reboot_now
}
GOLDEN="Shutdown#1 Part1
<6>ACPI: PM: Preparing to enter system sleep state S5
<0>reboot: Restarting system"
golden_is() {
	if [ "$COMPRESS" ]; then cat "$1"; else regiontool inflate <"$1.enc.z"; fi >/tmp/text
	[ "$(cat /tmp/text)" = "$GOLDEN" ] || { cat /tmp/text; return 1; }
}

case $STAGE in
[1-4])
	slot=$((STAGE - 1))
	[ $slot != 0 ] || wipe $REGION_A 0x400000
	check "C, $(label $slot): it loads" c_load $slot "$(ecc_of $slot)" "$(compress_of $slot)" || bail "no C ramoops"
	check "C, $(label $slot): an oops is survived" fill c$slot
	next_stage $((STAGE + 1))
	panic_now ;;
5)
	for slot in 0 1 2 3; do
		l="C wrote, $(label $slot)"
		[ "$(ecc_of $slot)" = 0 ] || spoil_some $slot
		copy $slot
		check "$l: C reads a copy" c_load $COPY "$(ecc_of $slot)" deflate || bail "no C ramoops"
		check "$l: C's files are read" takes $PSTORE /tmp/c
		c_unload
		check "$l: mpstore reads it" m_load $slot "$(ecc_of $slot)" || bail "no module"
		check "$l: mpstore's files are read" takes $PSTORE/ramoops /tmp/m
		compare "$l" c$slot "$(compress_of $slot)"
		check "$l: they are an oops and a panic" oops_and_panic /tmp/c
		if [ "$(ecc_of $slot)" != 0 ]; then
			check "$l: what was corrected is counted" notice_is /tmp/m/pmsg-ramoops-0 "ECC: 1 Corrected bytes, 0 unrecoverable blocks"
			check "$l: what can't be is counted" notice_is /tmp/m/console-ramoops-0 "ECC: 0 Corrected bytes, 1 unrecoverable blocks"
		fi
		rm $PSTORE/ramoops/*
		m_unload
	done
	check "C loads where mpstore removed all" c_load 3 16 deflate
	check "C finds no dump there" no_dumps $PSTORE
	c_unload

	# The other direction.
	check "mpstore, without compression: it loads on two regions" m_write 4 || bail "no module"
	check "mpstore, without compression: an oops is survived" fill m0
	next_stage 6
	panic_now ;;
6)
	if [ -z "$COMPRESS" ]; then
		skip "mpstore, deflate: it loads on two regions" "this module does not compress"
		skip "mpstore, deflate: an oops is survived" "this module does not compress"
		next_stage 7
		reboot_now
	fi
	check "mpstore, deflate: it loads on two regions" m_write 6 || bail "no module"
	check "mpstore, deflate: an oops is survived" fill m2
	next_stage 7
	panic_now ;;
7)
	for slot in 4 5 6 7; do
		l="mpstore wrote, $(label $slot)"
		if [ -z "$COMPRESS" ] && [ "$(compress_of $slot)" = deflate ]; then
			i=0
			while [ $i -lt 16 ]; do
				skip "$l" "this module does not compress"
				i=$((i + 1))
			done
			continue
		fi
		[ "$(ecc_of $slot)" = 0 ] || spoil_some $slot
		copy $slot
		check "$l: mpstore reads a copy" m_load $COPY "$(ecc_of $slot)" || bail "no module"
		check "$l: mpstore's files are read" takes $PSTORE/ramoops /tmp/m
		m_unload
		check "$l: C reads it" c_load $slot "$(ecc_of $slot)" deflate || bail "no C ramoops"
		check "$l: C's files are read" takes $PSTORE /tmp/c
		compare "$l" m$((slot & 2)) "$(compress_of $slot)"
		check "$l: they are an oops and a panic" oops_and_panic /tmp/c
		check "$l: C removes them" sh -c "rm $PSTORE/*"
		c_unload
		m_load $slot "$(ecc_of $slot)"
		check "$l: mpstore finds no dump any more" no_dumps $PSTORE/ramoops
		m_unload
	done
	# A dump so small that deflate would begin with what C takes for white space.
	check "mpstore, a small dump: it loads" m_load 9 0 max_reason=4
	next_stage 8
	small_dump ;;
8)
	copy 9
	check "mpstore wrote a small dump: mpstore reads a copy" m_load $COPY 0 || bail "no module"
	check "mpstore wrote a small dump: mpstore's file is read" takes $PSTORE/ramoops /tmp/m
	check "mpstore wrote a small dump: it is small" test "$(wc -c </tmp/m/dmesg-ramoops-0)" -lt 400
	m_unload
	check "mpstore wrote a small dump: C reads it" c_load 9 0 deflate || bail "no C ramoops"
	check "mpstore wrote a small dump: C's file is read" takes $PSTORE /tmp/c
	c_unload
	check "mpstore wrote a small dump: it has what was logged" has /tmp/c/dmesg-ramoops-0 "reboot: Restarting system"
	check "mpstore wrote a small dump: both show the same" same dmesg

	check "C, a small dump: it loads" c_load 8 0 deflate max_reason=4 || bail "no C ramoops"
	next_stage 9
	small_dump ;;
9)
	copy 8
	check "C wrote a small dump: C reads a copy" c_load $COPY 0 deflate || bail "no C ramoops"
	note "C shows it as $(names $PSTORE)"
	c_unload
	# What is compressed is read by a module that does not compress as well.
	# shellcheck disable=SC2086
	check "C wrote a small dump: mpstore reads it" m_load 8 0 ${COMPRESS:+compress=none} || bail "no module"
	if [ "$COMPRESS" ]; then
		cat $PSTORE/ramoops/dmesg-ramoops-0 >/tmp/text
	else
		regiontool inflate <$PSTORE/ramoops/dmesg-ramoops-0.enc.z >/tmp/text
	fi
	check "C wrote a small dump: it begins with its head" first_is /tmp/text "Shutdown#1 Part1"
	check "C wrote a small dump: it has what was logged" has /tmp/text "reboot: Restarting system"
	m_unload

	GOLD="mem_address=$(at 10) mem_size=0x1000 record_size=0x1000 console_size=0 pmsg_size=0 ftrace_size=0"
	dd if=/tests/golden/c-ramoops-fixedhuffman-0b.bin of=/dev/mem bs=4096 seek=$(($(at 10) / 4096)) conv=notrunc 2>/dev/null
	insmod /modules/pstore.ko
	# shellcheck disable=SC2086
	insmod /modules/ramoops.ko $GOLD
	mount -t pstore pstore $PSTORE
	check "the golden one: C can't inflate it" names_are $PSTORE "dmesg-ramoops-0.enc.z"
	check "the golden one: C has lost its first byte" test "$(wc -c <$PSTORE/dmesg-ramoops-0.enc.z)" = 92
	c_unload
	# shellcheck disable=SC2086
	check "the golden one: mpstore loads" load_mpstore $GOLD tty_size=0
	mount_pstore
	check "the golden one: mpstore shows its text" golden_is $PSTORE/ramoops/dmesg-ramoops-0
	m_unload ;;
esac
