#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# ACPI's ERST on Debian's own kernel: a panic reaches a RAM region, EFI variables
# and ERST at once and comes back from all three after a reset. The in-tree erst
# backend, which a kexec with another command line brings in, reads what is here,
# and what it wrote is read here.
#
# vm: timeout=240 firmware=ovmf erst=64K kexec mem=1G
# cmdline: pstore.backend=none
# kernels: stock
. /tests/lib.sh
plan 27
RAM="mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x8000"
ALL="$RAM efi=Y erst=Y"

[ ! -e /modules/configfs.ko ] || insmod /modules/configfs.ko 2>/dev/null
MARKS=0
mark() { MARKS=$((MARKS + 1)); echo "mark $MARKS $(uuid)" >/dev/kmsg; }
said() { dmesg | sed "1,/mark $MARKS $(uuid)/d" | grep -F "$1"; }
column_is() { # BACKEND N VALUE
	[ "$(awk -v b="$1" -v n="$2" '$1 == b && $2 == "dmesg" { print $n }' /sys/kernel/debug/mpstore/status)" = "$3" ] ||
		{ cat /sys/kernel/debug/mpstore/status; return 1; }
}
unload() { umount_pstore; rmmod mpstore; }
load() { load_mpstore "$@" && mount_pstore; }
# digest FOLDER BACKEND: of all records, by number, whatever the folder.
digest() {
	for _f in "$1"/dmesg-"$2"-*; do
		[ -e "$_f" ] || continue
		echo "${_f##*-} $(sha256sum <"$_f" | cut -c1-16)"
	done | sort | sha256sum | cut -c1-32
}
oops() { oops_now 2>/dev/null && umount_pstore && mount_pstore; }

case $STAGE in
1)
	mark
	# shellcheck disable=SC2086
	check "load with RAM, EFI variables and ERST" load $ALL || bail "no module"
	check "the size of a record is the firmware's" said 'erst: 16 records of 7992 bytes each, 0 of earlier kernels'
	check "an oops that the machine survives" oops
	check "it is in ERST" grep -q '^Oops#1 Part1$' "$PSTORE"/erst/dmesg-erst-*
	check "and in the EFI variables" grep -q '^Oops#1 Part1$' "$PSTORE"/efi/dmesg-efi-*
	echo "$(uuid panic)" >/dev/kmsg
	next_stage 2
	panic_now ;;
2)
	mark
	# shellcheck disable=SC2086
	check "load after the panic" load $ALL
	for b in ramoops efi erst; do
		check "$b has the panic" grep -q "$(uuid panic)" "$PSTORE/$b"/dmesg-*
		check "$b has its first line" grep -q '^Panic#2 Part1$' "$PSTORE/$b"/dmesg-*
	done
	check "two records are in ERST" sh -c "[ \$(ls $PSTORE/erst | wc -l) = 2 ]"
	check "one is erased" rm "$PSTORE/erst/$(basename "$(grep -l '^Oops#1' "$PSTORE"/erst/*)")"
	unload
	check "a budget of one record" load erst=Y erst_records=1 erst_record_size=4K
	oops
	check "is used up" column_is erst 7 1
	check "the panic's stays" sh -c "[ \$(ls $PSTORE/erst | wc -l) = 1 ] && grep -q '$(uuid panic)' $PSTORE/erst/*"
	unload
	# A store of 64 KiB has room for seven records of this device.
	check "a budget beyond the store" load erst=Y erst_records=64
	n=0
	while [ $n -lt 12 ] && column_is erst 7 0 >/dev/null && column_is erst 8 0 >/dev/null; do oops; n=$((n + 1)); done
	note "$n oopses until the store is full: $(grep '^erst' /sys/kernel/debug/mpstore/status)"
	check "a full store is counted" column_is erst 7 1
	check "and what was there stays" grep -q "$(uuid panic)" "$PSTORE"/erst/dmesg-*
	save DIGEST "$(digest "$PSTORE/erst" erst)"
	save COUNT "$(ls "$PSTORE/erst" | wc -l)"
	unload
	next_stage 3
	kexec_now pstore.backend=erst ;;
3)
	mount -t pstore pstore $PSTORE 2>/dev/null
	check "the in-tree erst has as many records" sh -c "[ \$(ls $PSTORE | grep -c '^dmesg-erst-') = $COUNT ]"
	check "they are the same, byte for byte" test "$(digest "$PSTORE" erst)" = "$DIGEST"
	rm "$PSTORE"/dmesg-erst-*
	umount_pstore
	mark
	check "beside it ours is refused" sh -c "! ttytool insmod /mpstore.ko erst=Y strict=Y 2>/dev/null"
	check "which says how to change that" said 'boot with pstore.backend=none'
	echo "$(uuid intree)" >/dev/kmsg
	next_stage 4
	panic_now ;;
4)
	check "load after the in-tree code has recorded" load erst=Y
	check "its panic is shown" grep -q "$(uuid intree)" "$PSTORE"/erst/dmesg-*
	rm "$PSTORE"/erst/*
	unload
	load erst=Y
	check "it can be erased" sh -c "[ -z \"\$(ls $PSTORE/erst)\" ]" ;;
esac
