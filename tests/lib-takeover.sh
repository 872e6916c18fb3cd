# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Panics that are written to disks, one after the other: each boot looks at what the last one left,
# then dies in the next way. A test sets CASES to lines of
#
#	NAME DISK NUMBER HOW
#
# where DISK is the kernel's name, NUMBER the runner's, and HOW process, hardirq, nmi, or FUNCTION, in
# which a writer of that disk dies: as it is entered, nmi:FUNCTION in an NMI that comes at that moment,
# unlock:FUNCTION as it lets the first lock go after that, any:FUNCTION whoever enters it, interrupts
# included. idle: in process context, without writers. The disks have three partitions: bytes that must stay, the one that
# a panic is written to, and an ext4 file system. Needs tests/lib.sh.

# part DISK N
part() {
	case $1 in
	nvme*) echo "/dev/$1p$2" ;;
	*) echo "/dev/$1$2" ;;
	esac
}
count_cases() { printf '%s\n' "$CASES" | grep -c '[a-z]'; }
nth_case() { printf '%s\n' "$CASES" | grep '[a-z]' | sed -n "${1}p"; }

state() { cat /sys/kernel/debug/mpstore/devices; }
armed() {
	state | grep -q "^blk .* panic=armed: " || { state; dmesg | grep 'mpstore: blk' | tail -n 3; return 1; }
}
# has_panic DISK MARK: the panic is a record, whole, and the console has the last words, too.
has_panic() {
	load_mpstore blkdev="$(part "$1" 2)" tty=0 || return 1
	mount_pstore || return 1
	_rc=1
	for _f in "$PSTORE"/blk/dmesg-blk-*; do
		grep -q '^Panic#1 Part1' "$_f" && grep -q "$2" "$_f" &&
			grep -q 'Kernel panic - not syncing: mpstore_crash' "$_f" && _rc=0
	done
	grep -q "$2" "$PSTORE/blk/console-blk-0" || { echo "the console lacks '$2'"; _rc=1; }
	[ $_rc = 0 ] || { ls -l "$PSTORE/blk"; head -n 2 "$PSTORE"/blk/dmesg-blk-*; state; }
	umount_pstore
	rmmod mpstore
	return $_rc
}
synced_is_there() { # DISK
	mount -t ext4 "$(part "$1" 3)" /mnt || return 1
	(cd /mnt && md5sum -c sums >/dev/null && [ "$(wc -l <sums)" = 4 ])
	_rc=$?
	umount /mnt
	sync
	return $_rc
}
# busy DISK: a file system with something that is synced, and four writers.
busy() {
	mount -t ext4 "$(part "$1" 3)" /mnt || return 1
	for _i in 1 2 3 4; do
		dd if=/dev/urandom of=/mnt/synced.$_i bs=64k count=4 2>/dev/null
	done
	(cd /mnt && md5sum synced.* >sums)
	sync
	[ -z "$SYNCED_ONLY" ] || return 0
	for _i in 1 2 3 4; do
		(while :; do dd if=/dev/zero of=/mnt/busy.$_i bs=16k count=32 conv=fsync 2>/dev/null; done) &
	done
	usleep 300000
}
crash() { echo "$1" >/proc/mpstore_crash; }

run_takeovers() {
	plan $(($(count_cases) * 5))
	expect_log 'Kernel panic - not syncing: mpstore_crash'
	# panic() itself, if an interrupt does not stop another CPU, registers a handler for NMIs, in an NMI
	# as well (native_stop_other_cpus(), Linux 7.3).
	expect_log 'WARNING: inconsistent lock state >>> nmi_desc\[NMI_LOCAL\].lock'
	if [ "$STAGE" != 1 ]; then
		# shellcheck disable=SC2046
		set -- $(nth_case $((STAGE - 1)))
		digest "$3" 2 3
		check "$1: every byte outside is as it was" [ "$ANSWER" = "$DIGEST" ]
		check "$1: the panic is there" has_panic "$2" "$(uuid "$1") last words"
		check "$1: what was synced is there" synced_is_there "$2"
		check "$1: the file system is whole" fsck "$3" 3
	fi
	# shellcheck disable=SC2046
	set -- $(nth_case "$STAGE")
	[ $# -gt 0 ] || return 0
	insmod /mpstore_crash.ko || bail "no crash module"
	[ -b "$(part "$2" 2)" ] || bail "no $(part "$2" 2) among $(echo /dev/[vsn]*)"
	dd if=/dev/zero of="$(part "$2" 2)" bs=64k count=16 conv=fsync 2>/dev/null
	digest "$3" 2 3
	save DIGEST "$ANSWER"
	load_mpstore blkdev="$(part "$2" 2)" best_effort=N tty=0 || bail "no module"
	if type iommu >/dev/null 2>&1; then
		check "$1: armed, behind an IOMMU" eval "armed && iommu"
	else
		check "$1: armed" armed
	fi
	[ "$4" = idle ] && SYNCED_ONLY=1 || SYNCED_ONLY=
	busy "$2" || bail "no file system on $(part "$2" 3)"
	next_stage $((STAGE + 1))
	echo "$(uuid "$1") last words" >/dev/kmsg
	case $4 in
	process | softirq | hardirq) crash "panic@$4" ;;
	nmi) crash panic@nmi; echo "@nmi" >&3 ;;
	idle) crash panic@process ;;
	any:*) crash "panic in=${4#any:} any"; sleep 5; dd if=/dev/zero of=/mnt/victim bs=4k count=8 conv=fsync ;;
	nmi:*) (crash "nmi in=${4#nmi:}" && dd if=/dev/zero of=/mnt/victim bs=4k count=8 conv=fsync) ;;
	unlock:*) (crash "panic in=_raw_spin_unlock after=${4#unlock:}" && dd if=/dev/zero of=/mnt/victim bs=4k count=8 conv=fsync) ;;
	*) (crash "panic in=$4" && dd if=/dev/zero of=/mnt/victim bs=4k count=8 conv=fsync) ;;
	esac
	_down "$1"
}
