#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Every backend holds a complete dump whatever lock is held when the kernel dies,
# by the processor that dies or by one that is stopped for good: the console
# lock, a zone's lock, the tty tap's, a tty driver's, the mutexes. And so it is
# when it dies inside mpstore's own writes. Ends with a table of what survived.
#
# A lock is held where mpstore_raw_spin_unlock_irqrestore() is entered, and half
# of a record is written where memcpy_toio() is entered again.
#
# vm: timeout=120 boots=30
# kernels: custom debug stock
. /tests/lib.sh
. /tests/lib-crash.sh

CASES="console_lock console_lock-stopped
	console-zone console-zone-stopped console-zone-nmi console-half
	pmsg-zone pmsg-zone-stopped pmsg-zone-nmi
	tty-zone tty-zone-stopped
	dump-half dump-half-stopped dump-half-nmi
	read read-slow-oops read-stopped-oops erase-stopped
	uart uart-console-stopped"
UNLOCK="in=mpstore_raw_spin_unlock_irqrestore"
HALF="in=memcpy_toio"
HERE="mpstore_crash: asked for in struck"

# An oops that finds a lock taken for a while is not lost.
streams() {
	streams_default "$@" || return 1
	[ "$1" = read-slow-oops ] || return 0
	head -qn 1 "$PSTORE/$2"/dmesg-* | grep -qx "Oops#2 Part1" ||
		{ echo "$2: the second oops is missing"; return 1; }
}

# To be added when backends come and go at run time: cases that are struck while
# one is being added or removed, `victim 1 "panic in=FUNCTION" "COMMAND"` and
# `stopped "in=FUNCTION" "COMMAND"` with a FUNCTION that is called with the
# dispatcher's lock held (synchronize_rcu, for one) and the COMMAND that adds or
# removes the backend (exec mkdir, exec rmdir).

about() {
	SAYS="mpstore_crash: asked for in mpstore_raw_spin_unlock_irqrestore"
	case $1 in
	*-stopped) SAYS=$HERE ;;
	*-nmi) SAYS="mpstore_crash: asked for in nmi" ;;
	esac
	case $1 in
	console_lock) TITLE="console lock, dying CPU" SAYS="mpstore_crash: asked for in console_lock" ;;
	console_lock-stopped) TITLE="console lock, stopped CPU" ;;
	console-zone) TITLE="console and zone lock, dying CPU" ;;
	console-zone-stopped) TITLE="console and zone lock, stopped CPU" ;;
	console-zone-nmi) TITLE="console and zone lock, NMI on that CPU" ;;
	console-half) TITLE="half a console line" SAYS="mpstore_crash: asked for in memcpy_toio" ;;
	pmsg-zone) TITLE="pmsg mutex and zone lock, dying CPU" ;;
	pmsg-zone-stopped) TITLE="pmsg mutex and zone lock, stopped CPU" ;;
	pmsg-zone-nmi) TITLE="pmsg zone lock, NMI on that CPU" ;;
	tty-zone) TITLE="tty tap's and zone lock, dying CPU" ;;
	tty-zone-stopped) TITLE="tty tap's and zone lock, stopped CPU" ;;
	dump-half) TITLE="half an oops record, dying CPU" SAYS="mpstore_crash: asked for in memcpy_toio"; an_oops ;;
	dump-half-stopped) TITLE="half an oops record, stopped CPU"; an_oops ;;
	dump-half-nmi) TITLE="half an oops record, NMI on that CPU"; an_oops ;;
	read) TITLE="dmesg zones' lock by a reader, dying CPU"; an_oops ;;
	read-slow-oops) TITLE="reader as above for 30 ms, and an oops" SAYS="mpstore_crash: asked for in later"; an_oops; HEAD="Panic#3" ;;
	read-stopped-oops) TITLE="reader as above, stopped CPU, and an oops" SAYS="mpstore_crash: asked for in later"; an_oops; HEAD="Panic#3" ;;
	erase-stopped) TITLE="half of an rm, stopped CPU"; an_oops ;;
	uart) TITLE="tty's locks and its port's, dying CPU" SAYS="mpstore_crash: asked for in serial8250_start_tx" ;;
	uart-console-stopped) TITLE="tty's and console port's locks, stopped CPU" ;;
	esac
}
an_oops() {
	HEAD="Panic#2"
	expect_log_now 'BUG: kernel NULL pointer dereference|Oops: |general protection fault|KASAN: null-ptr-deref'
}
# For those who read or remove it.
make_record() {
	(crash oops@process) 2>/dev/null
	umount_pstore
	mount_pstore
	OLD=$(ls "$PSTORE"/ramoops/dmesg-*) && [ -e "$OLD" ] || bail "no record, or several: $OLD"
}
before() {
	case $1 in read* | erase*) make_record ;; esac
}
# stopped REQUEST COMMAND: CPU 1 is struck, and another one then panics.
stopped() {
	elsewhere panic@struck
	victim 1 "spin $1" "$2"
}
OOPS="echo oops@process >/proc/mpstore_crash"
die() {
	case $1 in
	console_lock) crash panic@console_lock ;;
	console_lock-stopped)
		elsewhere panic@struck
		on 1 "echo spin@console_lock >/proc/mpstore_crash" ;;
	console-zone) victim 1 "panic $UNLOCK" "echo struck >/dev/kmsg" ;;
	console-zone-stopped) stopped "$UNLOCK" "echo struck >/dev/kmsg" ;;
	console-zone-nmi) victim 1 "nmi $UNLOCK" "echo struck >/dev/kmsg" ;;
	console-half) victim 1 "panic $HALF nth=2" "echo struck >/dev/kmsg" ;;
	pmsg-zone) victim 1 "panic $UNLOCK nth=2" "echo struck >/dev/pmsg0" ;;
	pmsg-zone-stopped) stopped "$UNLOCK" "echo struck >/dev/pmsg0" ;;
	pmsg-zone-nmi) victim 1 "nmi $UNLOCK" "echo struck >/dev/pmsg0" ;;
	tty-zone) victim 1 "panic $UNLOCK nth=2" "echo struck >/dev/ttyS2" ;;
	tty-zone-stopped) stopped "$UNLOCK" "echo struck >/dev/ttyS2" ;;
	# In the middle of the record: empty header, head lines, not yet the text.
	dump-half) victim 1 "panic $HALF nth=4 after=kmsg_dump_desc" "$OOPS" ;;
	dump-half-stopped) stopped "$HALF nth=4 after=kmsg_dump_desc" "$OOPS" ;;
	dump-half-nmi) victim 1 "nmi $HALF nth=4 after=kmsg_dump_desc" "$OOPS" ;;
	read) victim 1 "panic $UNLOCK" "exec cat $OLD >/dev/null" ;;
	read-slow-oops)
		elsewhere panic@later
		elsewhere oops@struck
		victim 1 "hold $UNLOCK after=mpstore_raw_spin_trylock_irqsave" "exec cat $OLD >/dev/null" ;;
	read-stopped-oops)
		elsewhere panic@later
		elsewhere oops@struck
		victim 1 "spin $UNLOCK" "exec cat $OLD >/dev/null" ;;
	# Where there is parity: the header is written, its parity is not.
	erase-stopped) stopped "$HALF" "exec rm $PSTORE/ramoops1/dmesg-*" ;;
	uart) victim 1 "panic in=serial8250_start_tx" "echo struck >/dev/ttyS2" ;;
	uart-console-stopped) stopped "in=serial8250_start_tx" "echo struck >/dev/ttyS0" ;;
	esac
}

run_cases
