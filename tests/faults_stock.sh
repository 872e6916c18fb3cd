#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The calls of firmware fail, each once: ERST's and those of EFI variables. What that costs is the record
# that was asked for, or a look at it, and a line; the next call finds all that was there. So do what
# takes the in-tree pstore's place and gives it back, and what begins to watch terminals or makes
# room for larger dumps.
#
# vm: timeout=400 firmware=ovmf erst=64K mem=1G
# cmdline: pstore.backend=none
# kernels: stock
. /tests/lib.sh
. /tests/lib-calls.sh
plan 45
[ ! -e /modules/configfs.ko ] || insmod /modules/configfs.ko 2>/dev/null
# What less it is from zero, as a status of the firmware.
EFI_NOT_FOUND=0x7ffffffffffffff2
load_both() { load_mpstore efi=Y erst=Y "$@"; }
# loads CALL ERROR LINE
loads() {
	failing "$1" "$2" ttytool insmod /mpstore.ko efi=Y erst=Y || { cat /tmp/said; dmesg | tail -n 20; return 1; }
	_rc=0
	logged "$3" || _rc=1
	rmmod mpstore || _rc=1
	return $_rc
}
dumps() { (cd $PSTORE && sha256sum erst/dmesg-* efi/dmesg-*); }
all_there() {
	load_both || return 1
	mount_pstore
	dumps | cmp - /tmp/dumps || { ls -l $PSTORE/*; return 1; }
	umount_pstore
	rmmod mpstore
}
many_in_all() {
	_all=$(awk '{ n += $1 } END { print n }' /tmp/all.times)
	rm /tmp/all.times
	[ "$_all" -ge 20 ] || { echo "$_all"; return 1; }
}
count() { find "$PSTORE/$1" -name 'dmesg*' | wc -l; }
# oops_in CALL ERROR: an oops; the call fails to whoever makes it first.
oops_in() {
	dmesg -c >/dev/null
	sh -c "echo 'fail in=$1 any error=$2' >$CRASH && exec echo oops >/proc/mpstore_oops" 2>/dev/null
	sleep 1
	[ "$(cat $CRASH)" = idle ] || { echo "$1 was not called"; return 1; }
}
# late CALL BACKEND: a record that came since the last look can't be read at first.
late() {
	mount_pstore
	_had=$(count "$2")
	umount_pstore
	oops_now 2>/dev/null
	dmesg -c >/dev/null
	echo "fail in=$1 any error=5" >$CRASH
	mount_pstore
	ls -R $PSTORE >/dev/null
	[ "$(cat $CRASH)" = idle ] || { echo "$1 was not called"; return 1; }
	logged "$2: new records can't be read yet" || return 1
	umount_pstore
	mount_pstore
	[ "$(count "$2")" -gt "$_had" ] || { ls -l $PSTORE/"$2"; return 1; }
	umount_pstore
}
# lost BACKEND: some dump of it was, by its own count.
lost() {
	awk -v b="$1" '$1 == b && $2 == "dmesg" && $8 > 0 { n = 1 } END { exit !n }' /sys/kernel/debug/mpstore/status ||
		{ cat /sys/kernel/debug/mpstore/status; return 1; }
}

check "the module that has calls fail" insmod /mpstore_crash.ko || bail "none"
check "load" load_both || bail "no module"
check "an oops" oops_now
mount_pstore
dumps >/tmp/dumps
check "each has it" test "$(cut -c67-70 /tmp/dumps | sort -u | tr '\n' ' ')" = "efi/ erst "
umount_pstore
rmmod mpstore

# --- at load
check "records larger than the firmware takes" sh -c '! ttytool insmod /mpstore.ko strict=1 erst=Y erst_record_size=32K 2>/dev/null'
check "are refused" logged "erst_record_size=32768: the firmware takes records of at most"
check "a record of ERST that can't be read" loads erst_read 5 "erst: not shown: 0 records of other writers, 0 that are no dumps, 1 that can't be read"
check "all is there" all_there
check "one that goes meanwhile" loads erst_read 2 "erst: 16 records of 7992 bytes each, 0 of earlier kernels"
check "all is there" all_there
check "a variable that can't be read" loads efivar_get_variable 5 "efi: 1 records can't be read and are not shown"
check "all is there" all_there

for c in erst_read efivar_get_variable; do
	for f in krealloc vrealloc kvrealloc; do
		without ${f}_node_align_noprof $c ttytool insmod /mpstore.ko strict=1 efi=Y erst=Y || echo 0 >/tmp/times
		note "${f}() fails behind $c, $(cat /tmp/times) times"
		cat /tmp/times >>/tmp/all.times
	done
	check "loads without memory behind $c" many_in_all
	check "lose nothing" all_there
done
check "the in-tree pstore can't be looked into" not_done "kern_mount after=unregister_filesystem" 12 ttytool insmod /mpstore.ko efi=Y erst=Y
check "which is said" logged "can't look into the in-tree pstore, whose records would be out of reach"
check "it is there again" grep -qw pstore /proc/filesystems
check "ours is, too" all_there

# --- while it runs
check "load" load_both || bail "no module"
check "a new record that ERST can't read yet" late erst_read erst
check "a new variable that can't be read yet" late efivar_get_variable efi
mount_pstore
one=$(ls -d $PSTORE/erst/* | head -n 1)
check "an erasure that ERST fails" fails_once erst_clear 5 "rm $one"
check "it is gone" test ! -e "$one"
one=$(ls -d $PSTORE/erst/* | head -n 1)
check "one that is gone already" failing erst_clear 2 rm "$one"
check "is none to ours" test ! -e "$one"
one=$(ls -d $PSTORE/efi/* | head -n 1)
check "a variable that is gone already" failing efivar_set_variable_locked $EFI_NOT_FOUND rm "$one"
check "is none to ours" test ! -e "$one"
before=$(count erst)
umount_pstore
check "an oops that ERST fails" oops_in erst_write 5
check "is counted" lost erst
mount_pstore
check "and no record" test "$(count erst)" = "$before"
umount_pstore
check "an oops while the firmware does not tell what is free" oops_in virt_efi_query_variable_info_nb 5
mount_pstore
check "is in ERST" test "$(count erst)" = $((before + 1))
check "and in the variables" test "$(count efi)" -gt 0
umount_pstore
check "unload" rmmod mpstore

# --- settings
check "load" load_both
mount_pstore
check "larger dumps, and no memory" fails_once vrealloc_node_align_noprof 0 "mount -o remount,kmsg_bytes=131072 $PSTORE"
umount_pstore
check "unload" rmmod mpstore

# --- terminals that are watched later
PROBE=register_kretprobe
! grep -q ' register_fprobe_syms$' /proc/kallsyms || PROBE=register_fprobe_syms
check "without them" load_mpstore efi=Y mem_address=$REGION_A mem_size=$REGION_A_SIZE tty_size=32K tty=N
echo 'echo Y >/sys/module/mpstore/parameters/tty' >/tmp/on
check "no probe at n_tty_write" fails_once "$PROBE any" 22 "sh /tmp/on"
check "unload" rmmod mpstore

# --- last of all, for it is gone then
check "load" load_both
check "the in-tree pstore can't be registered again" failing register_filesystem 16 rmmod mpstore
check "which is said" logged "the filesystem that was there can't be registered again"
