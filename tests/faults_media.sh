#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Memory runs out while a backend on a disk, on flash, in what kexec hands over or in a region with
# parity and compression begins: each allocation fails in turn, as in `faults`. What comes of it is an
# errno or a backend; the dump that was there is there afterwards, nothing is leaked (init looks), and
# the next one works, with the disk armed for a panic.
#
# vm: mem=2G timeout=1200 quiet=600
# cmdline: kho=on kho_scratch=16M,64M,16M
# cmdline@debug: kho_scratch=64M,512M,64M
# disk: virtio 4M
# disk: nvme 4M
# disk: ahci 4M
# kernels: debug
. /tests/lib.sh
. /tests/lib-mtd.sh
. /tests/lib-faults.sh
plan 37
CONFIG=/sys/kernel/config/mpstore
SIZES="console_size=32K pmsg_size=32K tty_size=32K"

# begun MEDIUM SETTING...: a directory of configfs for a backend of that name.
begun() {
	mkdir $CONFIG/"$1" && set_to "$@"
}
set_to() {
	_dir=$CONFIG/$1
	shift
	for _v; do echo "${_v#*=}" >"$_dir/${_v%%=*}" || return; done
}
on() { echo 1 >$CONFIG/"$1"/power; }
off() { echo 0 >$CONFIG/"$1"/power; }
dumped() { (cd $PSTORE/"$1" && cat dmesg-* | sha256sum); }
# faulty NAME: each allocation of its beginning fails in turn.
faulty() {
	_out=$(ttytool nth 1 1 "write $CONFIG/$1/power 1" "write $CONFIG/$1/power 0" 2>&1)
	_rc=$?
	echo "$1: $(echo "$_out" | tr '\n' ' ')" >/tmp/turns
	[ $_rc = 0 ] && echo "$_out" | grep -q '^ENOMEM' || { echo "$_out"; return 1; }
	_bad=$(echo "$_out" | grep -vE "^(ok|turns|ENOMEM) ")
	[ -z "$_bad" ] || { echo "$_bad"; return 1; }
}
# all_of NAME: a dump is made, the beginning fails in all ways, the dump is still there.
all_of() {
	check "$1 begins" on "$1" || return
	check "it has an oops" oops_now
	off "$1" && on "$1"
	mount_pstore
	_had=$(dumped "$1")
	check "which is a record" sh -c "cat $PSTORE/$1/dmesg-* | grep -q mpstore_oops"
	umount_pstore
	off "$1"
	check "$1 without memory" faulty "$1"
	note "$(cat /tmp/turns)"
	check "$1 with memory" on "$1"
	mount_pstore
	check "it has what it had" [ "$(dumped "$1")" = "$_had" ]
	umount_pstore
}
armed() {
	[ "$(grep -c '^blk[0-9]* .* panic=armed: ' $STATUS/devices)" = 3 ] || { cat $STATUS/devices; return 1; }
}

expect_log 'Buffer I/O error|I/O error, dev'

for d in /dev/vda /dev/nvme0n1 /dev/sda; do dd if=/dev/zero of=$d bs=64k conv=fsync 2>/dev/null; done
wipe $REGION_A $REGION_A_SIZE
insmod /modules/mtd.ko
fill 0 8 '\377'
check "the flash" flash || bail "no flash"
check "load" load_mpstore compress=deflate flush_ms=100 || bail "no module"
# shellcheck disable=SC2086
begun ram mem_address=$REGION_A mem_size=$REGION_A_SIZE ecc=16 record_size=16K $SIZES
all_of ram
# shellcheck disable=SC2086
begun kho type=kho mem_size=1M record_size=16K $SIZES
check "kho begins" on kho
check "kho ends" off kho
check "kho without memory" faulty kho
note "$(cat /tmp/turns)"
check "kho with memory" on kho
n=0
for d in /dev/vda /dev/nvme0n1 /dev/sda; do
	# shellcheck disable=SC2086
	begun blk$n type=blk blkdev=$d kmsg_size=64K force=Y $SIZES
	all_of blk$n
	n=$((n + 1))
done
check "all disks are armed" armed
begun flash type=blk blkdev=mtd:mpstore_test kmsg_size=16K
all_of flash
