#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Bad configurations: each is refused with the errno that fits and one line that
# names parameter, value and remedy, and not a byte on the medium changes. Then
# what a partly bad one does, and what sysfs shows of a good one.
#
# vm: timeout=240
# kernels: custom debug stock
. /tests/lib.sh
plan 108
PARAMS=/sys/module/mpstore/parameters
A="mem_address=$REGION_A mem_size=$REGION_A_SIZE"
AB="mem_address=$REGION_A,$REGION_B mem_size=$REGION_A_SIZE"
# For a load that needs no region.
MEM="test_mem=1"

sums() {
	for at in "$REGION_A" "$REGION_B"; do
		dd if=/dev/mem bs=4096 skip=$((at / 4096)) count=$((REGION_A_SIZE / 4096)) 2>/dev/null | md5sum
	done
}
# log_since MARK: the module's lines since then, with their levels. What the
# kernel's own parser says about a value that was refused is not ours.
log_since() {
	dmesg -r | sed "1,/$1\$/d" | grep -E '^<[0-9]+>(\[ *[0-9.]+\] )?mpstore: ' |
		grep -v 'mpstore: `'
}
errors_since() { log_since "$1" | grep -E '^<(3|11)>'; }
MARKS=0
mark() {
	MARKS=$((MARKS + 1))
	MARK=$(uuid "mark$MARKS")
	echo "$MARK" >/dev/kmsg
}

# bad NAME ERRNO LINE ARGS...: the load fails with that error and says LINE, a
# fixed part of the one line there is. What follows for the load as a whole may
# be a second one.
bad() {
	_what=$1 _errno=$2 _line=$3
	shift 3
	check "refused: $_what" refused "$_errno" "$_line" "$@" || rmmod mpstore 2>/dev/null
}
refused() {
	_errno=$1 _line=$2
	shift 2
	mark
	if ttytool insmod /mpstore.ko "$@" >/tmp/insmod.out 2>&1; then
		echo "it was loaded"
		return 1
	fi
	errors_since "$MARK" | grep -vE 'mpstore: (no backend, not loaded|strict=1: not loaded because .*)$' >/tmp/errors
	cat /tmp/insmod.out /tmp/errors
	[ "$(cat /tmp/insmod.out)" = "ttytool: $_errno" ] || { echo "not $_errno"; return 1; }
	[ "$(wc -l </tmp/errors)" = 1 ] || { echo "not one line"; return 1; }
	grep -qF -- "$_line" /tmp/errors || { echo "not: $_line"; return 1; }
	! grep -q '^mpstore ' /proc/modules
}

shows() {
	_got=$(cat "$PARAMS/$1")
	[ "$_got" = "$2" ] || { echo "$1 is '$_got', not '$2'"; return 1; }
}
all_shown() {
	tr '\0' '\n' </mpstore.ko | sed -n 's/^parmtype=\([a-z_]*\):.*/\1/p' | sort >/tmp/said
	[ -s /tmp/said ] || return 1
	# shellcheck disable=SC2012
	ls "$PARAMS" | sort >/tmp/shown
	diff /tmp/said /tmp/shown
}

# --- regions with a state that is worth keeping
wipe "$REGION_A" "$REGION_A_SIZE"
wipe "$REGION_B" "$REGION_B_SIZE"
# shellcheck disable=SC2086
check "two regions are written to" load_mpstore $AB || bail "no module"
uuid kept >/dev/pmsg0
uuid kept >/dev/kmsg
uuid kept >/dev/ttyS2
rmmod mpstore
sums >/tmp/before
check "the regions hold what was written" \
	sh -c "dd if=/dev/mem bs=4096 skip=$((REGION_A / 4096)) count=$((REGION_A_SIZE / 4096)) 2>/dev/null | grep -q $(uuid kept)"

# --- numbers. The lists of words are meant to be split. ttytool's insmod, since
# that of busybox tries again in another way if the first one fails.
# shellcheck disable=SC2086
{
for p in mem_size record_size console_size ftrace_size pmsg_size tty_size; do
	bad "$p is no number" EINVAL "$p=4kB: " $AB "$p=4kB"
done
bad "a negative size" EINVAL "console_size=-1: " $AB console_size=-1
bad "a hexadecimal size without digits" EINVAL "pmsg_size=0x: " $AB pmsg_size=0x
bad "a size of more than 64 bits" EINVAL "tty_size=99999999999999999999: " $AB tty_size=99999999999999999999
bad "a size that a suffix makes too large" EINVAL "record_size=17179869184G: " $AB record_size=17179869184G
bad "an empty element in a list of sizes" EINVAL "record_size=: " $AB record_size=4096,
bad "an address that is no number" EINVAL "mem_address=0x1800000z: " mem_address=0x1800000z mem_size=0x100000
bad "max_reason above its range" EINVAL "max_reason=9: " $AB max_reason=9
bad "max_reason below its range" EINVAL "max_reason=-2: " $AB max_reason=-2
bad "max_reason out of range for the second region" EINVAL "max_reason=5: " $AB max_reason=2,5
bad "dump_oops is neither" EINVAL "dump_oops=2: " $AB dump_oops=2
bad "mem_type above its range" EINVAL "mem_type=3: " $AB mem_type=3
bad "mem_type is no number" EINVAL "mem_type=wc: " $AB mem_type=0,wc
bad "kmsg_bytes is no number" EINVAL "kmsg_bytes=much: " $AB kmsg_bytes=much
bad "kmsg_bytes out of range" EINVAL "kmsg_bytes=1G: " $AB kmsg_bytes=1G
bad "compress is unknown" EINVAL "compress=lz4: give none, deflate or zstd" $AB compress=lz4
bad "ecc out of range" EINVAL "ecc=128: " $AB ecc=128
bad "strict is neither Y nor N" EINVAL "strict=perhaps: " $AB strict=perhaps
bad "tty is neither Y nor N" EINVAL "tty=maybe: " $AB tty=maybe
bad "tty_raw is neither Y nor N" EINVAL "tty_raw=2: " $AB tty_raw=2
bad "tty_probe is unknown" EINVAL "tty_probe=magic: " $AB tty_probe=magic
bad "tty_names with a control character" EINVAL "tty_names=ttyS" $AB "tty_names=ttyS$(printf '\001')"
bad "more test backends than there can be" EINVAL "test_mem=33: " $AB test_mem=33
bad "a fault that is unknown" EINVAL "test_mem_fault=explode: " $MEM test_mem_fault=explode

# --- where
bad "no region at all, strict" EINVAL "mem_address=" strict=1
bad "mem_size without a region" EINVAL "mem_address=" mem_size=0x100000
bad "mem_address without mem_size" EINVAL "mem_size is missing" mem_address=$REGION_A
bad "mem_size is zero" EINVAL "mem_size" mem_address=$REGION_A mem_size=0
bad "memory that the kernel uses" EINVAL "mem_address=0x1000000 mem_size=0x100000: it is memory in use by the kernel; reserve it" \
	mem_address=0x1000000 mem_size=0x100000
bad "a region whose end is memory that the kernel uses" EINVAL "in use by the kernel" \
	mem_address=0x18300000 mem_size=0x200000
bad "beyond the physical address space" EINVAL "mem_address=0x8000000000000000 mem_size=0x100000: it ends beyond the physical address space" \
	mem_address=0x8000000000000000 mem_size=0x100000
bad "an end that wraps around" EINVAL "mem_address=0xfffffffffffff000 mem_size=0x100000: it ends beyond" \
	mem_address=0xfffffffffffff000 mem_size=0x100000
bad "an address where nothing is" ENODEV "mem_address=0x80000000 mem_size=0x100000: no memory answers there" \
	mem_address=0x80000000 mem_size=0x100000
bad "the registers of a device" EBUSY "mem_address=0xfec00000 mem_size=0x1000: " \
	mem_address=0xfec00000 mem_size=0x1000 record_size=0x400 console_size=0 ftrace_size=0 pmsg_size=0 tty_size=0
bad "two regions that overlap, strict" EBUSY "mem_address=0x18080000: overlaps the region at 0x18000000-0x180fffff; give each its own" \
	mem_address=$REGION_A,0x18080000 mem_size=0x100000 strict=1
bad "the same region twice, strict" EBUSY "mem_address=0x18000000: overlaps" \
	mem_address=$REGION_A,$REGION_A mem_size=0x100000 strict=1
bad "a mem_name that was not reserved" ENOENT "mem_name=nosuch: no such region; add reserve_mem=" mem_name=nosuch
bad "more than was reserved under mem_name" EINVAL "mem_size=0x400000: reserve_mem region 'oops' has 0x200000 bytes" \
	mem_name=$REGION_NAME mem_size=0x400000
bad "mem_name and mem_address for one region" EINVAL "mem_address=0x18000000: mem_name gives the same region" \
	$A mem_name=$REGION_NAME
bad "an element empty in mem_address and in mem_name" EINVAL "mem_address=0x18000000,: an element is empty" \
	mem_address=$REGION_A, mem_size=0x100000
bad "more regions than there can be" EINVAL "at most 32 regions" \
	mem_address=$(seq -s, 1 33) mem_size=0x1000

# --- sizes that don't go together
bad "a console zone larger than the region" ENOMEM "console_size: 0x200000 bytes do not fit, the region has 0x100000" \
	$A console_size=0x200000
bad "a tty zone for which the others leave no room" ENOMEM "tty_size: 0x80000 bytes do not fit" \
	$A console_size=0x80000 tty_size=0x80000
bad "dump records larger than what is left" ENOMEM "record_size: 0x100000 bytes do not fit" $A record_size=0x100000
bad "dump records too small for their header" EINVAL "record_size: 0x20 bytes are of no use, at least " $A record_size=32
# (A small ftrace_size is no error: a machine with many CPUs has one by default.)
for p in console_size pmsg_size tty_size; do
	bad "$p too small for a zone" EINVAL "$p: 0x10 bytes are of no use, at least " $A "$p=16"
done
bad "no zone at all" EINVAL "at least one of record_size, console_size" \
	$A record_size=0 console_size=0 ftrace_size=0 pmsg_size=0 tty_size=0

# --- lists
for p in mem_size record_size console_size ftrace_size pmsg_size tty_size max_reason; do
	v=1,1,1
	bad "three values of $p for two regions" EINVAL "$p=$v: 3 values for 2 backends; give one for all or one for each" \
		mem_address=$REGION_A,$REGION_B mem_size=0x100000 "$p=$v"
done
bad "one name for two regions" EINVAL "name=alone: " $AB name=alone
bad "three names for two regions" EINVAL "name=a,b,c: " $AB name=a,b,c
bad "more faults than test backends" EINVAL "test_mem_fault=none,write: " $MEM test_mem_fault=none,write
bad "one name for both regions" EINVAL "name=twin: given twice" $AB name=twin,twin
bad "a name that a test backend has" EINVAL "name=mem0: " $A name=mem0 $MEM
bad "a name with a slash" EINVAL "name=a/b: give 1 to 15 letters, digits and underscores" $A name=a/b
bad "a name of dots" EINVAL "name=..: give 1 to 15" $A name=..
bad "a name of 16 letters" EINVAL "name=abcdefghijklmnop: give 1 to 15" $A name=abcdefghijklmnop
bad "a value longer than a parameter can be" ENOSPC "mem_address" mem_address="$(seq -s, 1000 1300)" mem_size=0x1000

# --- other backends and devices. The parameters are read before any device is looked for.
for p in best_effort blk_takeover force; do
	bad "$p is neither Y nor N" EINVAL "$p=perhaps: give Y or N" blkdev=/dev/none "$p=perhaps"
done
bad "an element of blkdev is empty" EINVAL "blkdev=/dev/none,: an element is empty; give a path, PARTUUID=, PARTLABEL= or major:minor" \
	blkdev=/dev/none,
bad "more disks than there can be" EINVAL "give at most 32 devices" blkdev=$(seq -s, 1 33)
bad "more controllers than disks" EINVAL "blk_controller=a,b: give no more values than blkdev" blkdev=/dev/none blk_controller=a,b
bad "one name for two disks" EINVAL "name=twin: given twice" blkdev=/dev/none,/dev/nothing name=twin,twin
for b in kho efi erst; do
	bad "the name of $b for a region" EINVAL "name=$b: taken by $b=Y; give another" $A $b=Y name=$b
	bad "the name of $b for a disk" EINVAL "name=$b: taken by $b=Y; give another" blkdev=/dev/none $b=Y name=$b
done
bad "records of ERST that are too small" EINVAL "erst_record_size=512: give 1024 to 64K, or 0 for what the firmware takes" \
	$A erst=Y erst_record_size=512
bad "kho_size out of range" EINVAL "kho_size=4096: give 64K to 64M" $A kho=Y kho_size=4096
bad "a test of KHO that is unknown" EINVAL "test_kho=all: give spoil, mutate or a number" $A kho=Y test_kho=all
bad "a device for pmsg that is no name" EINVAL "pmsg_device=a/b: give a name of at most 32 letters, digits, _ and -" $A pmsg_device=a/b
bad "vmcore is unknown" EINVAL "vmcore=often: give auto, Y or N" $A vmcore=often
bad "a crash kernel's part that is too small" EINVAL "crash_size=8192: give 0 for none, or at least 16K" $A crash_size=8192
bad "a crash kernel's part larger than the region" EINVAL "crash_size=0x200000: the region has 0x100000 bytes; give no more" \
	$A crash_size=2M
# EEXIST, which the module loader keeps for a module that is there already.
bad "a name that the crash kernel's part has, strict" EBUSY \
	"x_crash: crash_size=0x40000: there is a backend of that name; give another by name=" \
	$AB name=x_crash,x crash_size=0,0x40000 strict=1

# --- one good, one bad: with strict=1 that is bad
bad "a bad region beside a good one, strict" EINVAL "mem_address=0x1000000 mem_size=0x100000: " \
	mem_address=$REGION_A,0x1000000 mem_size=0x100000 strict=1
bad "EFI variables of a machine that was not started by UEFI, strict" EOPNOTSUPP \
	"efi: this machine has no EFI variables: it was not started by UEFI, or with noefi or efi=noruntime" strict=1 efi=Y
bad "KHO of a kernel without it, or with it off, strict" EOPNOTSUPP "kho: nothing can be handed over: this kernel " $A kho=Y strict=1
# The custom kernel has no driver for it, and says that.
bad "ERST of a machine that has none, strict" EOPNOTSUPP " no ACPI ERST" $A erst=Y strict=1
bad "a test backend that can't register, strict" EIO "mem0: can't register" \
	$A $MEM test_mem_fault=register strict=1

sums >/tmp/after
check "all these loads changed not a byte of the two regions" cmp /tmp/before /tmp/after
check "nothing is left of them in /proc/iomem" sh -c '! grep -q mpstore /proc/iomem'

mark
check "a bad region beside a good one: the module loads" load_mpstore \
	mem_address=$REGION_A,0x1000000 mem_size=0x100000
check "the bad one is one line" sh -c \
	"[ $(errors_since "$MARK" | tee /tmp/errors | wc -l) = 1 ] && grep -q 'ramoops1: mem_address=0x1000000 ' /tmp/errors"
uuid partial >/dev/pmsg0
mount_pstore
check "the good one still shows what was there" \
	sh -c "[ \"\$(cat $PSTORE/ramoops/pmsg-ramoops-0)\" = $(uuid kept) ] && [ ! -e $PSTORE/ramoops1 ]"
umount_pstore
check "sysfs shows the region that is in use" shows mem_address $REGION_A
rmmod mpstore

# --- real values
load_mpstore $AB record_size=5000,0x3000 console_size=64K pmsg_size=6000,0 max_reason=-1,4 \
	tty_size=0x2000 name=left,right_2 kmsg_bytes=20000 tty_names=ttyS2,ttyS3 tty_raw=y strict=1
uuid again >/dev/pmsg0
real_values() {
	shows mem_address $REGION_A,$REGION_B && shows mem_size 0x100000,0x100000 &&
	shows name left,right_2 && shows record_size 4096,8192 && shows console_size 65536,65536 &&
	shows pmsg_size 4096,0 && shows tty_size 8192,8192 && shows max_reason 2,4 &&
	shows kmsg_bytes 20000
}
check "sysfs shows the values in force, rounded, one for each region" real_values
strings() { shows tty_names ttyS2,ttyS3 && shows tty_probe auto && shows mem_name ""; }
check "sysfs shows strings and lists" strings
check "sysfs shows every parameter in its table" all_shown
rmmod mpstore
load_mpstore mem_name=$REGION_NAME
by_name() {
	_at=$(cat $PARAMS/mem_address)
	shows mem_name $REGION_NAME && shows mem_size 0x200000 && [ $((_at)) -gt $((0x100000)) ]
}
check "sysfs shows where a named region is" by_name
rmmod mpstore
}
