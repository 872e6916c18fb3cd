#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Every backend holds a complete dump whatever lock is held when the kernel dies,
# by the processor that dies or by one that is stopped for good: the console
# lock, a zone's lock, the tty tap's, a tty driver's, the mutexes. And so it is
# when it dies inside mpstore's own writes, or while a backend is being added or
# removed. If it dies in the dump itself, all backends that the dump had not come
# to hold it. Who dies of an oops in a write, and so keeps the locks for ever, does
# not keep others from writing. Ends with a table of what survived.
#
# A lock is held where mpstore_raw_spin_unlock_irqrestore() is entered, and half
# of a record is written where memcpy_toio() is entered again.
#
# vm: timeout=120 boots=40
# kernels: custom debug stock
. /tests/lib.sh
. /tests/lib-crash.sh

CASES="console_lock console_lock-stopped
	console-zone console-zone-stopped console-zone-nmi console-half
	pmsg-zone pmsg-zone-stopped pmsg-zone-nmi
	tty-zone tty-zone-stopped
	dump-half dump-half-stopped dump-half-nmi dump-stuck-oops
	read read-slow-oops read-stopped-oops erase-stopped
	uart uart-console-stopped
	add add-stopped add-dumper add-dumper-stopped add-twice
	remove remove-stopped
	nested nested-oops nested-compress
	pmsg-dead tty-dead"
UNLOCK="in=mpstore_raw_spin_unlock_irqrestore"
HALF="in=memcpy_toio"
HERE="mpstore_crash: asked for in struck"

# An oops that finds a lock taken for a while is not lost.
streams() {
	streams_default "$@" || return 1
	case $1 in
	read-slow-oops)
		head -qn 1 "$PSTORE/$2"/dmesg-* | grep -qx "Oops#2 Part1" ||
			{ echo "$2: the second oops is missing"; return 1; } ;;
	dump-stuck-oops)
		grep -qE "mpstore: dump skipped, another is in the way: Oops$" "/tmp/whole.$2" ||
			{ echo "$2: the second oops was not told to be skipped"; return 1; } ;;
	*-dead)
		grep -aq "$(mark "$1") afterwards" "$PSTORE/$2/${1%-dead}-$2-0" ||
			{ echo "$2: ${1%-dead} lacks what was written after the oops"; return 1; } ;;
	esac
}

# third RECORD_SIZE: a third backend that comes and goes, with zones that hold
# garbage: each gets a new header and its parity when it begins. If its records are larger than the
# others', the dmesg frontend is replaced by one with larger buffers. All of this is
# done with the mutex held that orders changes.
CFG=/sys/kernel/config/mpstore/third
third() {
	yes garbage | dd of=/dev/mem bs=4096 seek=$((0x18100000 / 4096)) count=256 iflag=fullblock conv=notrunc 2>/dev/null
	mkdir $CFG || return
	for _set in mem_address=0x18100000 mem_size=0x100000 record_size="$1" ecc=1; do
		echo "${_set#*=}" >"$CFG/${_set%%=*}" || return
	done
}

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
	dump-stuck-oops) TITLE="half an oops record, stopped CPU, and an oops" SAYS="mpstore_crash: asked for in later"; an_oops
		expect_log_now 'mpstore: dump skipped, another is in the way: Oops' ;;
	read-stopped-oops) TITLE="reader as above, stopped CPU, and an oops" SAYS="mpstore_crash: asked for in later"; an_oops; HEAD="Panic#3" ;;
	erase-stopped) TITLE="half of an rm, stopped CPU"; an_oops ;;
	uart) TITLE="tty's locks and its port's, dying CPU" SAYS="mpstore_crash: asked for in serial8250_start_tx" ;;
	uart-console-stopped) TITLE="tty's and console port's locks, stopped CPU" ;;
	add) TITLE="half of a new backend's headers, dying CPU" SAYS="mpstore_crash: asked for in memcpy_toio" ;;
	add-stopped) TITLE="half of a new backend's headers, stopped CPU" ;;
	add-dumper) TITLE="backend added, dumper not, dying CPU" SAYS="mpstore_crash: asked for in kmsg_dump_register" ;;
	add-dumper-stopped) TITLE="backend added, dumper not, stopped CPU" ;;
	add-twice) TITLE="backend added, two dumpers, dying CPU" SAYS="mpstore_crash: asked for in kmsg_dump_unregister" ;;
	remove) TITLE="half of a backend's removal, dying CPU" SAYS="mpstore_crash: asked for in synchronize_rcu" ;;
	remove-stopped) TITLE="half of a backend's removal, stopped CPU" ;;
	# The first of the two is in the middle of it.
	nested) TITLE="panic in the panic's dump" SAYS="mpstore_crash: asked for in memcpy_toio" HEAD="Panic#2" WHOLE=ramoops1 ;;
	nested-oops) TITLE="oops in the panic's dump" SAYS="mpstore_crash: asked for in process"; an_oops; WHOLE=ramoops1
		expect_log_now "Kernel panic - not syncing: Fatal exception" ;;
	nested-compress) TITLE="panic while the panic's dump is compressed" SAYS="mpstore_crash: asked for in zlib_deflate" HEAD="Panic#2" ;;
	pmsg-dead) TITLE="task died with pmsg mutex and zone lock" SAYS="mpstore_crash: asked for in process"; a_death ;;
	tty-dead) TITLE="task died with tty tap's and zone lock" SAYS="mpstore_crash: asked for in process"; a_death ;;
	esac
}
an_oops() {
	HEAD="Panic#2"
	expect_log_now 'BUG: kernel NULL pointer dereference|Oops: |general protection fault|KASAN: null-ptr-deref'
}
# Of a task that looks at the backends: it takes the RCU read lock with it, too.
a_death() {
	an_oops
	expect_log_now 'BUG: sleeping function called from invalid context|WARNING: .*rcu_note_context_switch|Voluntary context switch within RCU'
}
# For those who read or remove it.
make_record() {
	(crash oops@process) 2>/dev/null
	umount_pstore
	mount_pstore
	OLD=$(ls "$PSTORE"/ramoops/dmesg-*) && [ -e "$OLD" ] || bail "no record, or several: $OLD"
}
before() {
	case $1 in
	read* | erase*) make_record ;;
	add | add-stopped) third 0x1000 || bail "no third backend" ;;
	add*) third 0x10000 || bail "no third backend" ;;
	remove*) third 0x1000 && echo 1 >$CFG/power || bail "no third backend" ;;
	esac
}
# stopped REQUEST COMMAND: CPU 1 is struck, and another one then panics.
stopped() {
	elsewhere panic@struck
	victim 1 "spin $1" "$2"
}
OOPS="echo oops@process >/proc/mpstore_crash"
PANIC="echo panic@process >/proc/mpstore_crash"
# afterwards DEVICE TEXT: a writer waits for a dead one, but not for ever.
afterwards() {
	(echo "$2 afterwards" >"/dev/$1" && touch /tmp/written) &
	_n=0
	while [ ! -e /tmp/written ] && [ $((_n += 1)) -le 60 ]; do sleep 1; done
}
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
	# Both are asked for before the first one makes its dump, in which it stops.
	dump-stuck-oops)
		elsewhere panic@later
		elsewhere oops@struck
		victim 1 "spin $HALF nth=4 after=kmsg_dump_desc" "$OOPS" ;;
	# Where there is parity: the header is written, its parity is not.
	erase-stopped) stopped "$HALF" "exec rm $PSTORE/ramoops1/dmesg-*" ;;
	uart) victim 1 "panic in=serial8250_start_tx" "echo struck >/dev/ttyS2" ;;
	uart-console-stopped)
		# The port's interrupt takes its lock, too, and so does the work that wakes the port up:
		# on the other CPU, nobody would be left to die.
		echo 2 >/proc/irq/4/smp_affinity
		for _f in /sys/bus/serial-base/devices/*/power/control; do echo on >"$_f"; done
		stopped "in=serial8250_start_tx" "echo struck >/dev/ttyS0" ;;
	# Behind the lines in the log that come first, and there are 252 zones.
	add) victim 1 "panic $HALF nth=150" "echo 1 >$CFG/power" ;;
	add-stopped) stopped "$HALF nth=150" "echo 1 >$CFG/power" ;;
	add-dumper) victim 1 "panic in=kmsg_dump_register" "echo 1 >$CFG/power" ;;
	add-dumper-stopped) stopped "in=kmsg_dump_register" "echo 1 >$CFG/power" ;;
	add-twice) victim 1 "panic in=kmsg_dump_unregister" "echo 1 >$CFG/power" ;;
	# It gets no records any more, and whoever still hands it one is waited for.
	remove) victim 1 "panic in=synchronize_rcu" "echo 0 >$CFG/power" ;;
	remove-stopped) stopped "in=synchronize_rcu" "exec rmdir $CFG" ;;
	nested)
		expect_log_now "Kernel panic - not syncing: mpstore_crash: asked for in process"
		victim 1 "panic $HALF nth=4 after=kmsg_dump_desc" "$PANIC" ;;
	nested-oops)
		echo 1 >/proc/sys/kernel/panic_on_oops
		victim 1 "oops $HALF nth=4 after=kmsg_dump_desc" "$PANIC" ;;
	nested-compress)
		expect_log_now "Kernel panic - not syncing: mpstore_crash: asked for in process"
		victim 1 "panic in=zlib_deflate after=kmsg_dump_desc" "$PANIC" ;;
	pmsg-dead)
		victim 1 "oops $UNLOCK nth=2" "echo struck >/dev/pmsg0"
		afterwards pmsg0 "$(mark "$1")"
		crash panic@process ;;
	# That tty's own lock is lost as well: it must not be closed, nor written to.
	tty-dead)
		exec 9<>/dev/ttyS2
		victim 1 "oops $UNLOCK nth=2" "echo struck >/dev/ttyS2"
		afterwards ttyS0 "$(mark "$1")"
		crash panic@process ;;
	esac
}

run_cases
