#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Life after life, with every frontend and every kind of backend at once: two regions of memory, one with
# parity, KHO, EFI variables, flash, and three disks whose controllers are taken over in a panic; on Debian's kernel
# ACPI's ERST in place of KHO and flash. While writers number their lines, backends come and go by configfs, the
# tree is mounted, read and unmounted, and records are removed. Then the machine dies, by lot: a panic in one of
# four contexts, the reset button, a loss of power, a reboot, a kexec. In the next life each backend that outlives
# such a death must have every line that was reported stored: each stream ends with the last of them or later, and
# has no gap before that, since a ring drops the oldest; a panic's dump and an oops' are whole. Of a disk's ring
# that a reset or a loss of power cut off between data and header, the newest lines may come first.
# $SOAK lives, 300 if that is not given (make lives SOAK=N). The lot is drawn from RUN_ID, which is in
# the output, and the number of the life.
#
# vm: mem=1G kexec timeout=300 quiet=200 boots=5000 firmware=ovmf erst=64K
# cmdline: kho=on kho_scratch=16M,64M,16M
# cmdline@stock: pstore.backend=none
# kernels: custom stock
# disk: virtio 8M parts=2:noise,2 disable-legacy=on
# disk: nvme 8M parts=2:noise,2
# disk: ahci 8M parts=2:noise,2
# disk: virtio 64M
. /tests/lib.sh
. /tests/lib-takeover.sh
. /tests/lib-kho.sh
DISK=/dev/vdb
SOAK=${SOAK:-300}
CFG=/sys/kernel/config/mpstore
# Flash that is memory (tests/guest/mtd), behind the regions.
FLASH=0x18300000
FLASH_SIZE=0x100000
plan $((SOAK + 2))
expect_log 'Kernel panic - not syncing: mpstore_crash'

# lot LIFE N: a number below N.
lot() { echo $((0x$(echo "$RUN_ID $1" | md5sum | cut -c1-7) % $2)); }
DEATHS="process softirq hardirq nmi reset power reboot kexec"
death_of() { echo "$DEATHS" | cut -d' ' -f$((1 + $(lot "death $1" 8))); }

BACKENDS="ramoops ramoops1 efi blk blk1 blk2"
DISKS=/dev/vda2,/dev/nvme0n1p2,/dev/sda2
case $(uname -r) in
*-mpstore) BACKENDS="$BACKENDS kho mtd" MORE="kho=Y ecc=0,1,0,0,0,0 blkdev=$DISKS,mtd:mpstore_test" ;;
*) BACKENDS="$BACKENDS erst" MORE="erst=Y ecc=0,1,0,0,0 blkdev=$DISKS" ;;
esac
load() {
	# shellcheck disable=SC2086
	load_mpstore mem_address=$REGION_A,$REGION_B mem_size=$REGION_A_SIZE,$REGION_B_SIZE efi=Y $MORE \
		record_size=0x8000 console_size=0x10000 pmsg_size=0x10000 tty_size=0x10000 kmsg_size=0x20000 \
		tty_names=ttyS2
}

# --- a life
# writer NAME DEVICE PREFIX: numbered lines; the last that the kernel took is in /tmp/ack.NAME.
writer() {
	echo 0 >/tmp/ack.$1
	_i=0
	while [ -e /tmp/alive ]; do
		_i=$((_i + 1))
		echo "$3life $STAGE $1 $_i" >"$2" || break
		echo $_i >/tmp/new.$1
		mv /tmp/new.$1 /tmp/ack.$1
		[ "$1" != kmsg ] || usleep 5000
	done
}
racers() {
	while [ -e /tmp/alive ]; do
		mount_pstore
		find $PSTORE -type f | xargs cat >/dev/null
		umount_pstore
	done >/dev/null 2>&1 &
	mkdir -p /mnt/second
	while [ -e /tmp/alive ]; do
		mount -t pstore -o layout=flat second /mnt/second
		rm -f /mnt/second/*-race*
		umount /mnt/second
	done >/dev/null 2>&1 &
	while [ -e /tmp/alive ]; do
		for _n in race0 race1; do
			mkdir $CFG/$_n
			for _set in type=mem mem_size=0x40000 record_size=0x4000 power=1; do
				echo ${_set#*=} >$CFG/$_n/${_set%%=*}
			done
		done
		usleep 50000
		for _n in race1 race0; do
			echo 0 >$CFG/$_n/power
			rmdir $CFG/$_n
		done
	done >/dev/null 2>&1 &
}
# acks NAME: what was reported stored, of each stream, is kept by the host.
acks() { save "$1" "$(cat /tmp/ack.pmsg /tmp/ack.kmsg /tmp/ack.tty | tr '\n' ' ')"; }

live() {
	touch /tmp/alive
	exec 7>/dev/pmsg0 8>/dev/ttyS2
	stty -F /dev/ttyS2 115200
	writer pmsg /proc/self/fd/7 "" &
	writer tty /proc/self/fd/8 "" &
	writer kmsg /dev/kmsg "<5>" &
	racers
	# All functions, on all backends, would leave no time for anything else.
	mkdir -p /sys/kernel/tracing
	mount -t tracefs tracefs /sys/kernel/tracing
	echo vfs_write >/sys/kernel/tracing/set_ftrace_filter
	[ "$(lot "trace $STAGE" 2)" = 0 ] || echo 1 >/sys/kernel/debug/mpstore/record_ftrace
	sleep $((1 + $(lot "long $STAGE" 3)))
	# It kills the shell that asks for it.
	save OOPS "$(lot "oops $STAGE" 2)"
	[ "$OOPS" = 0 ] || oops_now
	sleep 1
}
die() {
	_death=$(death_of "$STAGE")
	save DEATH "$_death"
	case $_death in
	kexec) chain_load || { note "kexec -l"; return; } ;;
	esac
	acks OLDER
	case $_death in
	# What is not a panic has time only for what the worker of a disk and printk did by themselves.
	reset | power) sleep 3 ;;
	esac
	acks ACKS
	save VIOLATIONS "$(cat /sys/module/mpstore_mtd/parameters/violations 2>/dev/null || echo 0)"
	next_stage $((STAGE + 1))
	case $_death in
	process | softirq | hardirq) crash panic@$_death ;;
	nmi)
		# EFI calls begin with that, and Debian's kernel has its check on (Documentation/firmware.md).
		expect_log_now 'WARNING: arch/x86/kernel/fpu/core.c.* kernel_fpu_begin_mask'
		crash panic@nmi
		echo "@nmi" >&3 ;;
	reset) hard_reset ;;
	power) power_loss ;;
	reboot) reboot -f ;;
	kexec) chain_jump ;;
	esac
	_down "$_death"
}

# --- what is left of it
survives() { # BACKEND DEATH
	case $1-$2 in
	kho-kexec | ramoops-kexec | ramoops1-kexec | mtd-kexec | blk* | efi-* | erst-*) return 0 ;;
	kho-* | *-kexec | ramoops*-power | mtd-power) return 1 ;;
	esac
}
# stream BACKEND KIND NAME LEAST
stream() {
	# KHO has those of other kernels, too.
	_f=$(grep -laF "life $LIFE $3 " "$PSTORE/$1/$2-$1-"* 2>/dev/null | head -n 1)
	[ -n "$_f" ] || { echo "$1: no $2 of life $LIFE"; return 1; }
	# A reset between a round's data and its header leaves a disk's ring with its newest lines before its
	# oldest (Documentation/blk.md): one seam, and what follows the last line is the first.
	_seams=0
	case $1-$DEATH in
	blk*-reset | blk*-power) _seams=1 ;;
	esac
	grep -ao "life $LIFE $3 [0-9]*" "$_f" | awk -v least="$4" -v where="$1 $2" -v seams=$_seams '
		NR == 1 { first = $4 + 0 }
		NR > 1 && $4 + 0 < last && seams > 0 { seams--; turned = 1; last = $4 - 1 }
		NR > 1 && $4 != last + 1 { print where ": after " last " comes " $4; bad = 1 }
		{ last = $4 + 0 }
		END {
			if (turned && first != last + 1) { print where ": a seam, and no ring: " last " and " first; bad = 1 }
			if (turned) print "1" >> "/tmp/turned"
			if (last < least) { print where ": ends with " last ", " least " was reported stored"; bad = 1 }
			print NR > "/tmp/lines"
			exit bad
		}' || return 1
	LINES_SEEN=$((LINES_SEEN + $(cat /tmp/lines)))
}
# dumped BACKEND REASON TEXT
dumped() {
	for _f in "$PSTORE/$1"/dmesg-*; do
		head -n 1 "$_f" | grep -q "^$2#" && grep -qF "$3" "$_f" && return
	done
	echo "$1: no $2 with '$3'"
	head -n 1 "$PSTORE/$1"/dmesg-*
	return 1
}
# left BACKEND
left() {
	survives "$1" "$DEATH" || return 0
	# shellcheck disable=SC2086
	case $DEATH-$1 in
	process-* | softirq-* | hardirq-* | nmi-*) set -- "$1" $ACKS ;;
	# Pmsg and tty are in memory when the write returns, the console when printk gets to it.
	*-ramoops* | *-kho)
		set -- "$1" $ACKS $OLDER
		set -- "$1" "$2" "$6" "$4" ;;
	*) set -- "$1" $OLDER ;;
	esac
	case $1 in
	# They take dumps only.
	efi | erst | mtd) ;;
	*)
		stream "$1" pmsg pmsg "$2" && stream "$1" tty tty "$4" && stream "$1" console kmsg "$3" || return 1 ;;
	esac
	case $DEATH in
	process | softirq | hardirq | nmi) dumped "$1" Panic "mpstore_crash: asked for in" || return 1 ;;
	esac
	# An oops waits for a disk's worker.
	[ "$OOPS" = 0 ] || dumped "$1" Oops "mpstore_oops"
}
all_left() {
	_rc=0
	for _b in $BACKENDS; do
		left $_b || _rc=1
	done
	[ "$VIOLATIONS" = 0 ] || { echo "$VIOLATIONS things were done to the flash that NAND does not allow"; _rc=1; }
	[ $_rc = 0 ] || ls -lR $PSTORE
	return $_rc
}

LIFE=$((STAGE - 1))
if [ "$STAGE" = 1 ]; then
	note "RUN_ID=$RUN_ID, $SOAK lives"
	for d in /dev/vda2 /dev/nvme0n1p2 /dev/sda2; do dd if=/dev/zero of=$d bs=64k conv=fsync 2>/dev/null; done
	wipe $REGION_A $REGION_A_SIZE
	wipe $REGION_B $REGION_B_SIZE
	wipe $FLASH $FLASH_SIZE
	check "the kernel's files outlive a jump" chain_begin || bail "no disk"
fi
insmod /mpstore_crash.ko || bail "no crash module"
case $BACKENDS in
*mtd*)
	insmod /modules/mtd.ko
	insmod /mpstore_mtd.ko address=$FLASH size=$FLASH_SIZE block=0x20000 || bail "no flash" ;;
esac
load || bail "no module in life $STAGE"
if [ "$LIFE" -gt 0 ]; then
	LINES_SEEN=${SEEN:-0}
	mount_pstore
	check "life $LIFE ($DEATH): what was reported stored is there" all_left
	save SEEN "$LINES_SEEN"
	touch /tmp/turned
	save TURNED $((${TURNED:-0} + $(wc -l </tmp/turned)))
	save DIED "$(echo "${DIED:-} $DEATH")"
	find $PSTORE -type f -exec rm {} +
	umount_pstore
fi
if [ "$LIFE" -ge "$SOAK" ]; then
	for d in $DEATHS; do note "$(echo "$DIED" | tr ' ' '\n' | grep -cx "$d") times $d"; done
	check "lines were looked at" test "$SEEN" -gt "$SOAK"
	note "$SEEN lines in all, $TURNED rings whose newest lines come before their oldest"
	exit 0
fi
live
die
