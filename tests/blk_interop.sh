#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The in-tree pstore_blk and mpstore on one disk, one after the other: what either
# wrote, the other shows as its writer does, and erases. An oops with and without
# compression, console, pmsg, the function trace. The tty zone, which the in-tree
# code does not know, is not touched by it; a dump of its that lies in the way of
# the tty zone is kept.
#
# vm: timeout=200 quiet=90 onethread
# kernels: custom debug
# disk: virtio 128K
# disk: virtio 128K
. /tests/lib.sh
plan 53
# The in-tree code says that it registered for "Oops".
expect_log "registered pstore_blk as backend"
DISK=/dev/vda
SIZE=131072
KMSG=8192
# The first dump's zone is behind 4 KiB pmsg, 8 KiB console, 8 KiB trace.
FIRST=20480
KNOB=/sys/kernel/debug/pstore/record_ftrace
TRACING=/sys/kernel/debug/tracing

c_load() { # COMPRESS
	others_begin
	insmod /modules/pstore.ko compress="$1" && insmod /modules/pstore_zone.ko &&
		insmod /modules/pstore_blk.ko blkdev=$DISK best_effort=y kmsg_size=8 pmsg_size=4 \
			console_size=8 ftrace_size=8 max_reason=2 && mount -t pstore pstore $PSTORE
}
c_unload() { umount $PSTORE && rmmod pstore_blk && rmmod pstore_zone && rmmod pstore && others_end; }
m_load() {
	load_mpstore blkdev=$DISK kmsg_size=8K pmsg_size=4K console_size=8K ftrace_size=8K tty_size=8K \
		flush_ms=100 "$@" && mount_pstore
}
m_unload() { umount_pstore && rmmod mpstore; }
image() { dd if=$DISK of="$1" bs=4096 2>/dev/null; }
restore() { dd if="$1" of=$DISK bs=4096 conv=notrunc,fsync 2>/dev/null; }
blank() { dd if=/dev/zero of=$DISK bs=4096 count=$((SIZE / 4096)) conv=notrunc,fsync 2>/dev/null; }
has() { grep -aqF "$2" "$1" || { echo "$1 lacks '$2'"; ls -l "${1%/*}"; return 1; }; }
same() { cmp "$1" "$2" || { head -c 200 "$1"; echo; head -c 200 "$2"; ls -l "$1" "$2"; return 1; }; }
names_are() {
	_got=$(ls "$1" | tr '\n' ' ')
	[ "$_got" = "$2" ] || { echo "there is '$_got', wanted '$2'"; return 1; }
}
pmsg_bytes() { printf '%s one\n\0\377\r\n%s two' "$(uuid "$1")" "$(uuid "$1")"; }
say() { echo "$(uuid "$1") kmsg" >/dev/kmsg; pmsg_bytes "$1" >/dev/pmsg0; }
trace_some() {
	[ -e $TRACING/set_ftrace_filter ] || mount -t tracefs t $TRACING
	echo 'vfs_read' >$TRACING/set_ftrace_filter
	echo 1 >$KNOB
	for _i in $(seq 600); do read -r _x </proc/uptime; done
	echo 0 >$KNOB
}
# Without the line that the in-tree code puts in front of what is not compressed.
body() { sed '1{/^[A-Za-z]*: Total [0-9]* times$/d}' "$1"; }

for compress in deflate none; do
	l="in-tree $compress"
	blank
	check "$l: pstore_blk loads" c_load $compress || bail "no pstore_blk"
	say "c$compress"
	trace_some
	check "$l: an oops" oops_now
	# Its worker comes after half a second.
	sleep 3
	check "$l: unload" c_unload
	image /tmp/c.img
	[ $compress = none ] || dd if=/tmp/c.img of=/dev/vdb bs=4096 conv=notrunc,fsync 2>/dev/null
	c_load $compress
	mkdir -p /tmp/c$compress
	cp $PSTORE/* /tmp/c$compress/
	c_unload
	restore /tmp/c.img
	check "$l: mpstore loads on it" m_load || bail "no module"
	d=$PSTORE/blk
	c=/tmp/c$compress
	check "$l: mpstore shows the same records" names_are $d \
		"console-blk-0 dmesg-blk-0 ftrace-blk-0 pmsg-blk-0 "
	body $c/dmesg-pstore_blk-0 >/tmp/body
	check "$l: the same dump" same /tmp/body $d/dmesg-blk-0
	check "$l: with what was logged" has $d/dmesg-blk-0 "$(uuid "c$compress") kmsg"
	check "$l: the same console" same $c/console-pstore_blk-0 $d/console-blk-0
	check "$l: the same pmsg" same $c/pmsg-pstore_blk-0 $d/pmsg-blk-0
	check "$l: the same trace" same $c/ftrace-pstore_blk-0 $d/ftrace-blk-0
	check "$l: the dump is erased" rm $d/dmesg-blk-0
	echo "$(uuid t) tty" >/dev/ttyS2
	sleep 1
	m_unload
	c_load $compress
	check "$l: and gone for the in-tree code" sh -c "! ls $PSTORE | grep dmesg"
	c_unload
done

for compress in deflate none; do
	l="mpstore $compress"
	blank
	check "$l: mpstore loads" m_load compress=$compress || bail "no module"
	say "m$compress"
	trace_some
	echo "$(uuid "m$compress") tty" >/dev/ttyS2
	check "$l: an oops" oops_now
	check "$l: unload" m_unload
	image /tmp/m.img
	m_load
	d=$PSTORE/blk
	m=/tmp/m$compress
	mkdir -p $m
	cp $d/* $m/
	m_unload
	restore /tmp/m.img
	check "$l: pstore_blk loads on it" c_load $compress || bail "no pstore_blk"
	body $PSTORE/dmesg-pstore_blk-0 >/tmp/body
	check "$l: the same dump" same /tmp/body $m/dmesg-blk-0
	check "$l: with what was logged" has $PSTORE/dmesg-pstore_blk-0 "$(uuid "m$compress") kmsg"
	check "$l: the same console" same $PSTORE/console-pstore_blk-0 $m/console-blk-0
	check "$l: the same pmsg" same $PSTORE/pmsg-pstore_blk-0 $m/pmsg-blk-0
	pmsg_bytes "m$compress" >/tmp/want
	check "$l: with the very bytes" same /tmp/want $m/pmsg-blk-0
	check "$l: the same trace" same $PSTORE/ftrace-pstore_blk-0 $m/ftrace-blk-0
	check "$l: the dump is erased" rm $PSTORE/dmesg-pstore_blk-0
	c_unload
	check "$l: mpstore loads after it" m_load
	check "$l: the dump is gone" test ! -e $d/dmesg-blk-0
	check "$l: the tty zone was left alone" same $m/tty-blk-0 $d/tty-blk-0
	m_unload
done
restore /tmp/c.img
dd if=$DISK of=/tmp/zone bs=4096 skip=$((FIRST / 4096)) count=2 2>/dev/null
dd if=/tmp/zone of=$DISK bs=4096 seek=$(((FIRST + 12 * KMSG) / 4096)) conv=notrunc,fsync 2>/dev/null
m_load
check "a dump in the way of the tty zone is kept" test -e $PSTORE/blk/dmesg-blk-12
