#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Memory runs out in each allocation of the module's own, one after the other: while it is loaded with
# all frontends; while a region with parity and compression, disks behind three kinds of controllers,
# flash and KHO begin by configfs; and while what they hold is listed and read. What comes of it is an
# errno, or a file less; what was stored is there afterwards, and the next one has all of it. (`faults` and
# `faults_media` have the kernel's own allocations fail as well, on the debug kernel; EFI variables and ERST
# are in `faults_stock`, KHO's earlier generations in `kho_fails`.)
#
# vm: mem=1G timeout=900 quiet=200
# cmdline: kho=on kho_scratch=16M,64M,16M
# cmdline@debug: kho_scratch=64M,256M,64M
# disk: virtio 4M
# disk: nvme 4M
# disk: ahci 4M
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-calls.sh
. /tests/lib-mtd.sh
plan 37
CONFIG=/sys/kernel/config/mpstore
SIZES="console_size=32K pmsg_size=32K tty_size=32K ftrace_size=32K"
REGION="mem_address=$REGION_A mem_size=256K"
ALL="ramoops blk blk1 blk2 mtd"
dumps() { (cd $PSTORE && for _b in $ALL; do sha256sum "$_b"/dmesg-*; done); }
unchanged() { dumps | cmp - /tmp/dumps || { ls -l $PSTORE/*; return 1; }; }
begun() { # NAME SETTING...
	mkdir $CONFIG/"$1" || return
	_dir=$CONFIG/$1
	shift
	for _v; do echo "${_v#*=}" >"$_dir/${_v%%=*}" || return; done
}
begin() { echo 1 >$CONFIG/"$1"/power; }
end() { echo 0 >$CONFIG/"$1"/power; }
insmod /mpstore_crash.ko || bail "no crash module"
insmod /modules/mtd.ko
fill 0 8 '\377'
flash || bail "no flash"
for d in /dev/vda /dev/nvme0n1 /dev/sda; do dd if=/dev/zero of=$d bs=64k conv=fsync 2>/dev/null; done
wipe $REGION_A $REGION_A_SIZE

# --- loads, with all frontends
SMALL="$REGION max_reason=0 record_size=16K console_size=16K pmsg_size=16K tty_size=16K ftrace_size=16K"
# shellcheck disable=SC2086
check "load" load_mpstore $SMALL || bail "no module"
check "an oops" oops_now
rmmod mpstore
# shellcheck disable=SC2086
check "load again" load_mpstore $SMALL
mount_pstore
ALL=ramoops
dumps >/tmp/dumps
check "it has it" test -s /tmp/dumps
umount_pstore
rmmod mpstore
check "loads without memory" times "loads" ttytool insmod /mpstore.ko strict=1 $SMALL
note "$(cat /tmp/said.times)"
# shellcheck disable=SC2086
check "load once more" load_mpstore $SMALL
mount_pstore
check "nothing is lost" unchanged
umount_pstore
rmmod mpstore

# --- terminals, by either probe
for p in fprobe kprobe; do
	# shellcheck disable=SC2086
	load_mpstore $SMALL tty=N tty_probe=$p
	echo 'echo Y >/sys/module/mpstore/parameters/tty' >/tmp/on
	afterwards() { echo N >/sys/module/mpstore/parameters/tty; }
	check "a probe without memory: $p" without krealloc_node_align_noprof "" sh /tmp/on
	afterwards() { rmmod mpstore; }
	rmmod mpstore
done

# --- what begins by configfs
wipe $REGION_A $REGION_A_SIZE
check "load without any" load_mpstore compress=deflate
ALL="ramoops blk blk1 blk2 mtd"
# shellcheck disable=SC2086
check "each is asked for" eval '
	begun ramoops $REGION ecc=16 max_reason=0 record_size=16K console_size=16K pmsg_size=16K tty_size=16K ftrace_size=32K &&
	begun blk type=blk blkdev=/dev/vda kmsg_size=64K $SIZES &&
	begun blk1 type=blk blkdev=/dev/nvme0n1 kmsg_size=64K $SIZES &&
	begun blk2 type=blk blkdev=/dev/sda kmsg_size=64K $SIZES &&
	begun mtd type=blk blkdev=mtd:mpstore_test kmsg_size=16K &&
	begun kho type=kho record_size=16K $SIZES'
for b in $ALL; do check "$b begins" begin $b; done
check "an oops" oops_now
for b in $ALL; do end $b && begin $b; done
# A byte of the first dump, which the parity corrects and tells of.
poke $((REGION_A + 200)) '#'
mount_pstore
check "a byte is corrected" sh -c "tail -n 1 $PSTORE/ramoops/dmesg-ramoops-0 | grep -q 'ECC: 1 Corrected bytes, 0'"
dumps >/tmp/dumps
check "each has it" test "$(cut -d/ -f1 /tmp/dumps | cut -c67- | uniq | xargs)" = "$ALL"

# --- what is there is looked at
umount $PSTORE
afterwards() { umount $PSTORE 2>/dev/null; echo 2 >/proc/sys/vm/drop_caches; [ "$AFRESH" = mount ] || mount -t pstore none $PSTORE; }
for c in "mount -t pstore none $PSTORE" "ls -lR $PSTORE" "cat $PSTORE/*/*"; do
	AFRESH=${c%% *}
	afterwards
	check "${c%% *} without memory" times "${c%% *}" "$c"
	note "$(cat /tmp/said.times)"
	umount $PSTORE 2>/dev/null
done
mount_pstore
check "nothing is lost" unchanged
umount_pstore

# --- they begin
for b in $ALL kho; do
	[ $b = kho ] || end $b
	afterwards() { end $b; }
	check "$b without memory" times $b "echo 1 >$CONFIG/$b/power"
	note "$(cat /tmp/said.times)"
done
for b in $ALL kho; do check "$b begins" begin $b; done
mount_pstore
check "nothing is lost" unchanged
umount_pstore
for b in $ALL kho; do rmdir $CONFIG/$b; done
check "unload" rmmod mpstore
