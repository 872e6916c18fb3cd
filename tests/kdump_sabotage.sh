#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kdump fails, in five ways, and each time the crash kernel's console and terminals
# tell why afterwards: an error in the script, a disk that is not there, not enough
# memory, a driver that hangs until the watchdog resets, and a panic of the crash
# kernel. In the first of them the kernel that crashes does not load mpstore.
#
# vm: mem=448M timeout=240 quiet=120 boots=20 kexec
# vm@debug: mem=1200M
# cmdline: crashkernel=128M
# cmdline@debug: crashkernel=512M
# qemu: -device i6300esb
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-kdump.sh
CASES="script disk memory hang panic"
plan 32

# watchdog: arms the emulated PCI watchdog, which resets the machine in about 6 s.
watchdog() {
	for _dev in /sys/bus/pci/devices/*; do
		[ "$(cat "$_dev/device")" = 0x25ab ] && break
	done
	echo 1 >"$_dev/enable"
	_bar=$(($(cut -d' ' -f1 "$_dev/resource" | head -n 1)))
	for _timer in 0 4; do
		devmem $((_bar + 12)) 16 0x80
		devmem $((_bar + 12)) 16 0x86
		devmem $((_bar + _timer)) 32 3000
	done
	printf '\002' | dd of="$_dev/config" bs=1 seek=$((0x68)) conv=notrunc 2>/dev/null
}
# kdump CASE: what a kdump script does, each line as it would be in one.
kdump() {
	echo "kdump $(uuid "$1"): saving the vmcore"
	case $1 in
	script) makedumpfil -c -d 31 /proc/vmcore /mnt/vmcore || return ;;
	disk) mount -t ext4 /dev/vdz /mnt || return ;;
	memory) awk 'BEGIN { for (;;) a[n++] = sprintf("%2000s", n) }' || return ;;
	hang)
		watchdog
		insmod /mpstore_crash.ko || return
		echo "kdump: waiting for the disk's driver"
		echo spin@hardirq >/proc/mpstore_crash ;;
	panic)
		echo 1 >/proc/sys/kernel/sysrq
		echo c >/proc/sysrq-trigger ;;
	esac
	echo "kdump: saved"
}
# told CASE: the reason is among what was recorded.
told() {
	_tty=ramoops_crash/tty-ramoops_crash-0
	_con=ramoops_crash/console-ramoops_crash-0
	check "$1: the crash kernel's console" has $_con "Command line: .*elfcorehdr="
	check "$1: what its script said" has $_tty "kdump $(uuid "$1"): saving the vmcore"
	case $1 in
	script)
		check "script: why it failed" has $_tty "makedumpfil: not found"
		check "script: and how" has $_tty "kdump: failed with status 127" ;;
	disk)
		check "disk: why it failed" has $_tty "mounting /dev/vdz on /mnt failed: No such file"
		check "disk: and how" has $_tty "kdump: failed with status" ;;
	memory)
		check "memory: why it failed" has $_con "Out of memory: Killed process .*awk"
		check "memory: and how" has $_tty "kdump: failed with status 137" ;;
	hang)
		check "hang: what it did last" has $_tty "kdump: waiting for the disk's driver"
		check "hang: and no more" lacks $_tty "kdump: saved|kdump: failed" ;;
	panic)
		check "panic: why it failed" has $_con "Kernel panic - not syncing: sysrq triggered crash"
		check "panic: novmcoredd is said" has $_con "ramoops: not added to the vmcore: novmcoredd"
		check "panic: its own dump" has ramoops_crash/dmesg-ramoops_crash-0 "Panic#1 Part1" ;;
	esac
}

N=$(((STAGE + 1) / 2))
# shellcheck disable=SC2086
NOW=$(set -- $CASES; shift $((N - 1)); echo "${1-}")
# shellcheck disable=SC2086
BEFORE=$([ $N -gt 1 ] && { set -- $CASES; shift $((N - 2)); echo "$1"; })
if [ $((STAGE % 2)) = 1 ]; then
	# --- the kernel that crashes, and then the one after the crash kernel
	if [ "$STAGE" = 1 ]; then
		wipe $REGION_A $REGION_A_SIZE
	else
		# Neither this kernel nor the one that crashed has had the module so far.
		[ "$BEFORE" != script ] ||
			check "script: the program reads what is in memory, without the module" \
				mpstore extract -q -s /dev/mem --address $BANK --size $CRASH_SIZE --name ramoops_crash -o /tmp/raw
		load_region || bail "no module"
		mount_pstore
		[ "$BEFORE" != script ] ||
			check "script: the same bytes that the tree shows" same_files /tmp/raw "$PSTORE/ramoops_crash"
		told "$BEFORE"
		if [ "$BEFORE" != script ]; then
			check "$BEFORE: the first kernel's last words" \
				has ramoops/tty-ramoops-0 "$(uuid "$BEFORE") last words"
		fi
	fi
	[ -n "$NOW" ] || exit 0
	case $NOW in
	disk) _more="" KEXEC_HOW=-c ;;
	panic) _more=novmcoredd KEXEC_HOW=-s ;;
	*) _more="" KEXEC_HOW=-s ;;
	esac
	check "$NOW: a crash kernel is loaded" kexec_load -p "nr_cpus=1$(words) $_more" || bail "no crash kernel"
	[ "$STAGE" = 1 ] || echo "$(uuid "$NOW") last words" >/dev/ttyS2
	next_stage $((STAGE + 1))
	panic_now
fi
# --- the crash kernel
load_mpstore || bail "no module"
[ "$NOW" != memory ] || expect_log_now 'Call Trace'
[ "$NOW" != panic ] || expect_log_now 'Kernel panic - not syncing: sysrq triggered crash'
next_stage $((STAGE + 1))
{ kdump "$NOW" || echo "kdump: failed with status $?"; } >/dev/console 2>&1
reboot_now
