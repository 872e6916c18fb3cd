#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A crash kernel beside the takeover: without crash_kexec_post_notifiers it would run instead, and the
# status says so; with it the panic is written first, then the crash kernel finds both controllers in
# order, uses their disks by its own drivers and is refused the zones, and the kernel after it has the
# panic, and what the crash kernel wrote beside it.
#
# vm: mem=448M timeout=240 quiet=120 kexec
# vm@debug: mem=1200M
# cmdline: crashkernel=128M
# cmdline@debug: crashkernel=512M
# disk: virtio 8M parts=1:noise,1,2:ext4 disable-legacy=on
# disk: nvme 8M parts=1:noise,1,2:ext4
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-takeover.sh
plan 19

ONLY_DUMPS="console_size=0 pmsg_size=0 ftrace_size=0 tty_size=0"
# shellcheck disable=SC2086
load() { load_mpstore blkdev=/dev/vda2,/dev/nvme0n1p2 $ONLY_DUMPS "$@"; }
NOT_RUN='will not run: a crash kernel is loaded'
both() { [ "$(state | grep -c "$1")" = 2 ] || { state; dmesg | grep mpstore | tail -n 4; return 1; }; }
none() { ! state | grep "$1"; }
post() { echo "$1" >/sys/module/kernel/parameters/crash_kexec_post_notifiers; }
outside() { # DISK
	digest "$1" 2 3
	check "disk $1: every byte outside is as it was" eval "[ \"\$ANSWER\" = \"\$DIGEST$1\" ]"
	check "disk $1: the file system is whole" fsck "$1" 3
}

case $STAGE in
1)
	check "it loads" load || bail "no module"
	check "without a crash kernel both would be written" eval "both 'panic=armed: ' && none '$NOT_RUN'"
	check "a crash kernel is loaded" kexec_load -p "nr_cpus=1" || bail "no crash kernel"
	check "now neither would, which is said" both "$NOT_RUN"
	rmmod mpstore
	dmesg -c >/dev/null
	load
	check "it is said when they are armed, too" [ "$(dmesg | grep -c 'a crash kernel is loaded, which runs instead')" = 2 ]
	check "with crash_kexec_post_notifiers they are" eval "post 1 && both 'panic=armed: ' && none '$NOT_RUN'"
	for n in 0 1; do
		digest $n 2 3
		save "DIGEST$n" "$ANSWER"
	done
	echo "$(uuid) last words" >/dev/kmsg
	next_stage 2
	panic_now
	;;
2)
	check "this is the crash kernel" test -e /proc/vmcore || bail "no crash kernel"
	outside 0
	outside 1
	check "blkdev is refused in it" eval '
		! load_mpstore blkdev=/dev/vda2 2>/dev/null &&
			dmesg | grep -q "blkdev=/dev/vda2: this is a crash kernel"'
	for d in vda nvme0n1; do
		check "$d works there" eval "
			mount -t ext4 $(part $d 3) /mnt && echo $(uuid) >/mnt/vmcore && umount /mnt"
	done
	sync
	next_stage 3
	reboot_now
	;;
3)
	check "after it: it loads" load || bail "no module"
	mount_pstore
	for b in blk blk1; do
		check "$b: the panic of the first kernel is there" eval "
			head -n 1 $PSTORE/$b/dmesg-$b-0 | grep -q '^Panic#1 Part1' &&
			grep -q '$(uuid) last words' $PSTORE/$b/dmesg-$b-0"
	done
	for d in vda nvme0n1; do
		mount -t ext4 "$(part $d 3)" /mnt
		check "$d: what the crash kernel wrote is, too" grep -q "$(uuid)" /mnt/vmcore
		umount /mnt
	done
	;;
esac
