#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Debian's own kernel, whose in-tree pstore is left to do what it does: it drives
# efi_pstore, then erst, beside backends of ours on the media that it leaves. A panic
# reaches both; its records are read and erased in our tree, and are gone from the
# firmware then. (tests/stock.sh has ramoops, tests/neighbour_blk.sh pstore_blk.)
#
# vm: timeout=240 firmware=ovmf erst=64K kexec mem=1G
# cmdline: pstore.backend=efi_pstore
# kernels: stock
. /tests/lib.sh
plan 26
OLD=/mnt/old
VENDOR=cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0
RAM="mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x8000"
mkdir -p $OLD /mnt/efivars
[ ! -e /modules/configfs.ko ] || insmod /modules/configfs.ko 2>/dev/null

backend_is() { _b=$(cat /sys/module/pstore/parameters/backend); [ "$_b" = "$1" ] || { echo "it is '$_b'"; return 1; }; }
# drives NAME: the in-tree core has this backend. Mounted before ours, its tree stays what it is.
drives() { backend_is "$1" && mount -t pstore pstore $OLD; }
load() { load_mpstore "$@" && mount_pstore; }
names_are() { _got=$(cd "$1" && ls | xargs); [ "$_got" = "$2" ] || { echo "$1 has '$_got', wanted '$2'"; return 1; }; }
dumps() { ls "$1" | grep -c '^dmesg'; }
# same NAME: every file of the in-tree mount is in our tree, byte for byte, and no other.
same() {
	for _f in $OLD/*; do
		cat "$_f" >/tmp/one && cat "$PSTORE/$1/${_f##*/}" >/tmp/two && cmp /tmp/one /tmp/two || return
		[ -s /tmp/one ] || { echo "$_f is empty"; return 1; }
	done
	[ "$(ls $OLD | wc -l)" = "$(ls "$PSTORE/$1" | wc -l)" ] || { ls $OLD "$PSTORE/$1"; return 1; }
}
variables() { umount /mnt/efivars 2>/dev/null; mount -t efivarfs efivarfs /mnt/efivars && ls /mnt/efivars | grep -c "^dump-type.*$VENDOR"; }
# erase NAME: all of it, by our tree.
erase() { rm "$PSTORE/$1"/* && names_are "$PSTORE/$1" "" && names_are $OLD ""; }
efi_modules() { for _m in efivarfs efi-pstore; do [ ! -e /modules/$_m.ko ] || insmod /modules/$_m.ko 2>/dev/null; done; }
refused() { # TEXT PARAMETER...
	_text=$1
	shift
	dmesg -c >/dev/null
	! ttytool insmod /mpstore.ko strict=Y "$@" 2>/dev/null || { rmmod mpstore; echo loaded; return 1; }
	dmesg | grep -F "$_text" || { dmesg; return 1; }
}
mark() { echo "$(uuid "$STAGE")" >/dev/kmsg; }

case $STAGE in
1)
	# --- efi_pstore, beside a RAM region and ERST of ours
	efi_modules
	check "the in-tree core drives efi_pstore" drives efi_pstore || bail "no efi_pstore"
	check "EFI variables are refused to ours" refused 'the in-tree efi_pstore records to EFI variables' efi=Y
	# shellcheck disable=SC2086
	check "ours has RAM and ERST" load $RAM erst=Y || bail "no module"
	check "each has a directory" names_are $PSTORE "efi_pstore erst ramoops"
	mark
	next_stage 2
	panic_now ;;
2)
	efi_modules
	drives efi_pstore
	# shellcheck disable=SC2086
	check "after the panic" load $RAM erst=Y
	M=$(uuid 1)
	check "efi_pstore has it" grep -q "$M" $PSTORE/efi_pstore/*
	check "as a panic" grep -q '^Panic#1 Part1' $PSTORE/efi_pstore/dmesg-efi_pstore-*
	check "so has the RAM region" grep -q "$M" $PSTORE/ramoops/dmesg-*
	check "so has ERST" grep -q "$M" $PSTORE/erst/dmesg-*
	check "efi_pstore's files are as in its own mount" same efi_pstore
	N=$(dumps $PSTORE/efi_pstore)
	check "each is a variable" test "$(variables)" = "$N"
	check "all are erased in our tree" erase efi_pstore
	check "no variable is left" test "$(variables)" = 0
	check "ours has kept its own" grep -q "$M" $PSTORE/erst/dmesg-*
	rm $PSTORE/erst/*
	umount_pstore
	rmmod mpstore
	next_stage 3
	kexec_now pstore.backend=erst ;;
3)
	# --- erst, beside a RAM region and EFI variables of ours
	check "the in-tree core drives erst" drives erst || bail "no erst"
	check "ERST is refused to ours" refused 'boot with pstore.backend=none' erst=Y
	[ ! -e /modules/efivarfs.ko ] || insmod /modules/efivarfs.ko
	# shellcheck disable=SC2086
	check "ours has RAM and EFI variables" load $RAM efi=Y || bail "no module"
	check "each has a directory" names_are $PSTORE "efi erst ramoops"
	mark
	next_stage 4
	panic_now ;;
4)
	# The panic went through the firmware, back to the first command line.
	next_stage 5
	kexec_now pstore.backend=erst ;;
5)
	drives erst
	[ ! -e /modules/efivarfs.ko ] || insmod /modules/efivarfs.ko
	# shellcheck disable=SC2086
	check "after the panic" load $RAM efi=Y
	M=$(uuid 3)
	check "erst has it" grep -q "$M" $PSTORE/erst/dmesg-erst-*
	check "as a panic" grep -q '^Panic#1 Part1' $PSTORE/erst/dmesg-erst-*
	check "so has the RAM region" grep -q "$M" $PSTORE/ramoops/dmesg-*
	check "so have the EFI variables" grep -q "$M" $PSTORE/efi/dmesg-*
	check "erst's files are as in its own mount" same erst
	check "all are erased in our tree" erase erst
	check "ours has kept its own" grep -q "$M" $PSTORE/efi/dmesg-* ;;
esac
