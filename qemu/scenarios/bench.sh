#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# PID 1 of a machine that measures; qemu/bench starts it. What to do is in the
# environment, from the kernel's command line:
#   BENCH     group of cases
#   SIDE      c (pstore.ko and ramoops.ko), mpstore, or none
#   ECC COMPRESS BACKENDS and others, by group
# Nothing comes from the host, so that two runs are the same to the instruction.
# Results are lines `@CASE VALUE...` on ttyS1; `@CASE !` is a feature that this
# mpstore has not.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmp /tmp
mount -t debugfs debug /sys/kernel/debug
exec </dev/null >/dev/ttyS1 2>&1
# Let late probes end.
sleep 3

REGION=0x18000000 SIZE=0x100000
ZONES=${ZONES:-record_size=0x4000 console_size=0x10000 ftrace_size=0x10000 pmsg_size=0x10000}
ECC=${ECC:-0} COMPRESS=${COMPRESS:-none} KMSG_BYTES=${KMSG_BYTES:-10240} SIDE=${SIDE:-none}

finish() { sync; sleep 1; poweroff -f; }
absent() { echo "@$1 !"; finish; }
takes() { grep -aq "parm=$1:" /mpstore.ko; }
# modules ADDRESS SIZE PARAMETER...: what `bench` is to load.
modules() {
	_a=$1 _s=$2
	shift 2
	set -- mem_address="$_a" mem_size="$_s" ecc="$ECC" "$@"
	case $SIDE in
	c)	echo /modules/pstore.ko compress="$COMPRESS" kmsg_bytes="$KMSG_BYTES" + \
			/modules/ramoops.ko "$@" ;;
	mpstore)
		case " $* " in *" tty_size="*) ;; *) set -- "$@" tty_size=0 ;; esac
		if takes compress; then set -- "$@" compress="$COMPRESS"; fi
		echo /mpstore.ko "$@" kmsg_bytes="$KMSG_BYTES" ;;
	esac
}
need_compress() {
	[ "$SIDE" != mpstore ] || [ "$COMPRESS" = none ] || takes compress || absent "$1"
}
# shellcheck disable=SC2046
load() {
	[ "$SIDE" = none ] || bench insmod $(modules "$@") || { echo "@failed"; finish; }
}

# shellcheck disable=SC2046,SC2086
case $BENCH in
write)
	# pmsg and the console; without a module what both cost anyway.
	pmsg=/dev/pmsg0
	[ "$SIDE" != none ] || pmsg=/dev/null
	load $REGION $SIZE $ZONES ${CONSOLE+console_size=$CONSOLE}
	[ "$SIDE" != none ] || bench clock clock
	bench write pmsg-64 $pmsg 64 200
	bench write pmsg-1024 $pmsg 1024 200
	bench write pmsg-4096 $pmsg 4096 200
	bench write kmsg /dev/kmsg 80 200 ;;
tty)
	# A screen without hardware: nothing happens later, when the line is sent.
	bench write tty-none /dev/tty1 80 200
	# Else the lines of the log are printed by whoever writes to a screen.
	load $REGION $SIZE $ZONES tty_size=0x10000 tty=N console_size=0
	bench write tty-off /dev/tty1 80 200
	echo Y >/sys/module/mpstore/parameters/tty
	bench write tty-on /dev/tty1 80 200
	echo 'ttyS*' >/sys/module/mpstore/parameters/tty_names
	bench write tty-other /dev/tty1 80 200 ;;
load)
	bench load load $(modules $REGION $SIZE $ZONES $PARAMS) ;;
load-core)
	# ramoops alone, with pstore there already.
	bench insmod /modules/pstore.ko compress=$COMPRESS
	bench load load /modules/ramoops.ko mem_address=$REGION mem_size=$SIZE ecc=$ECC $ZONES ;;
load-size)
	ZONES="record_size=4096 console_size=4096 ftrace_size=4096 pmsg_size=4096"
	bench load load $(modules 0x14000000 $BYTES $ZONES) ;;
mount)
	need_compress mount
	bench image 0x14000000 $BYTES 4096 $RECORDS $COMPRESS
	load 0x14000000 $BYTES record_size=4096 console_size=0 ftrace_size=0 pmsg_size=0
	mkdir -p /tmp/pstore
	bench mount mount /tmp/pstore pstore ;;
panic)
	need_compress panic
	addresses=$REGION
	for i in 1 2 3 4 5 6 7; do
		[ $i -lt ${BACKENDS:-1} ] || break
		addresses=$addresses,$(printf '0x%x' $((REGION + i * 0x80000)))
	done
	load $addresses 0x80000 $ZONES ${CONSOLE+console_size=$CONSOLE}
	bench kmsg 500
	# Not twice at the same place between two ticks of the timer.
	sleep 15.$REPETITION
	echo 1 >/proc/sys/kernel/sysrq
	echo c >/proc/sysrq-trigger ;;
oops)
	need_compress oops
	load $REGION $SIZE record_size=4096 console_size=0 ftrace_size=0 pmsg_size=0
	bench insmod /mpstore_oops.ko
	bench kmsg 500
	sleep 15
	bench oops oops ;;
ftrace)
	load $REGION $SIZE $ZONES
	switch=/sys/kernel/debug/pstore/record_ftrace
	[ "$SIDE" != mpstore ] || switch=/sys/kernel/debug/mpstore/record_ftrace
	[ -e $switch ] || absent ftrace
	bench write ftrace-off /dev/null 64 200
	echo 1 >$switch
	bench write ftrace /dev/null 64 200
	echo 0 >$switch ;;
memory)
	[ -z "$RECORDS" ] || bench image 0x14000000 $BYTES 4096 $RECORDS none
	bench memory memory $(modules ${ADDRESS:-0x14000000} $BYTES $ZONES) ;;
threads)
	load $REGION $SIZE $ZONES tty_size=0x10000
	bench threads null /dev/null 80 2000 4
	[ "$SIDE" = none ] || bench threads pmsg /dev/pmsg0 80 2000 4
	bench threads kmsg /dev/kmsg 80 500 4
	bench threads tty /dev/tty1 80 500 4 ;;
profile)
	# For ever: qemu/bench looks at where it is.
	load $REGION $SIZE $ZONES ${TTY+tty_size=$TTY console_size=0}
	awk '{ print "@module", $1, $6 }' /proc/modules
	bench write profile $FILE $BYTES 1000000000 ;;
profile-load)
	m=$(modules $REGION $SIZE $ZONES $PARAMS)
	echo "@module none 0x0"
	while :; do bench insmod $m; rmmod mpstore; done ;;
*)	echo "no such bench: $BENCH" ;;
esac
finish
