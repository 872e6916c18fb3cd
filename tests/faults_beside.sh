#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Beside the in-tree pstore, whose records are shown as well: memory runs out in each allocation of the
# module's own while it mounts, lists and reads, and the kernel's functions fail by which it looks next
# door. What comes of it is an errno, or one directory or file less for that look; the next one has all
# of it, and nothing is lost on either side.
#
# vm: timeout=300
# kernels: custom debug stock
. /tests/lib.sh
. /tests/lib-calls.sh
plan 25
ZONES="record_size=0x8000 console_size=0x8000 pmsg_size=0x8000 ftrace_size=0x8000"
THEIRS=$PSTORE/ramoops_intree
[ ! -e /modules/configfs.ko ] || insmod /modules/configfs.ko 2>/dev/null
[ -d /sys/module/pstore ] || insmod /modules/pstore.ko
# shellcheck disable=SC2086
ramoops() { insmod /modules/ramoops.ko mem_address=$REGION_B mem_size=$REGION_B_SIZE $ZONES; }
# shellcheck disable=SC2086
load() { load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE $ZONES "$@"; }
dumps() { (cd $PSTORE && for _d in ramoops ramoops_intree; do sha256sum $_d/dmesg-*; done); }
all_there() { dumps 2>&1 | cmp - /tmp/dumps || { ls -l $PSTORE/*; return 1; }; }
anew() { umount $PSTORE 2>/dev/null; echo 2 >/proc/sys/vm/drop_caches; mount -t pstore pstore $PSTORE; }
# looks CALL ERROR [DIRECTORY]: what a fresh mount has is in /tmp/said.
looks() {
	umount $PSTORE 2>/dev/null
	echo 2 >/proc/sys/vm/drop_caches
	echo "mount -t pstore pstore $PSTORE; ls ${3:-$PSTORE}" >/tmp/look
	failing "$1 any" "$2" sh /tmp/look || { cat /tmp/said; return 1; }
}
# unseen CALL ERROR NAME: a program that begins calls it as well; of a list of the tree, one lacks that name and has another.
unseen() {
	for _n in $(seq 20); do
		looks "$1 nth=$_n" "$2" >/dev/null && ! grep -qx "$3" /tmp/said && grep -qx ramoops /tmp/said && return
	done
	cat /tmp/said
	return 1
}
seen() { grep -c ramoops_intree /tmp/said; }

insmod /mpstore_crash.ko || bail "no crash module"
wipe $REGION_A $REGION_A_SIZE
wipe $REGION_B $REGION_B_SIZE
check "the in-tree ramoops" ramoops || bail "no in-tree ramoops"
check "load" load || bail "no module"
check "an oops" oops_now
check "another" oops_now
check "unload" rmmod mpstore
# It looks at its region when it begins.
rmmod ramoops
check "the in-tree ramoops again" ramoops
check "load again" load
mount_pstore
dumps >/tmp/dumps
check "both have records" test "$(cut -d/ -f1 /tmp/dumps | cut -c67- | uniq -c | xargs)" = "2 ramoops 2 ramoops_intree"

# --- memory
afterwards() { anew; [ "$AFRESH" != mount ] || umount $PSTORE; }
for c in "mount -t pstore pstore $PSTORE" "ls -lR $PSTORE" "cat $PSTORE/*/dmesg-*"; do
	AFRESH=${c%% *}
	afterwards
	check "${c%% *} without memory" times "${c%% *}" "$c"
	note "$(cat /tmp/said.times)"
	umount $PSTORE 2>/dev/null
done
mount_pstore
check "nothing is lost" all_there

# --- what it looks by
ls $THEIRS >/tmp/said
N=$(seen)
check "one of its files goes while it is looked for" looks lookup_noperm_positive_unlocked 2 $THEIRS
check "the others are there, and nothing is said" sh -c "[ $(seen) -ge $((N - 1)) ] && ! dmesg | grep mpstore:"
anew
check "then it is" all_there
check "one of its files can't be looked for" looks lookup_noperm_positive_unlocked 5
check "which is said" logged "ramoops_intree: can't list its records"
anew
check "then they can" all_there
check "its directory can't be read" looks iterate_dir 5
check "which is said" logged "ramoops_intree: can't list its records"
anew
check "then it can" all_there
check "the parameter that names its backend can't be read" unseen kernel_read 5 ramoops_intree
anew
check "then it is" all_there
check "a record is erased" rm "$(ls -d $THEIRS/dmesg-* | head -n 1)"
umount_pstore
check "unload" rmmod mpstore
