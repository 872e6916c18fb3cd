#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# EFI variables: dumps reach them beside a RAM region and come back after a
# reset; the in-tree efi_pstore reads them, and what it wrote is read here; a
# budget and a floor are kept, what is none of ours is left alone; a panic in an
# NMI, or in the middle of another access, hangs nowhere.
#
# vm: timeout=240 firmware=ovmf
# kernels: custom debug
. /tests/lib.sh
plan 64
GUID=cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0
EFIVARS=/mnt/efivars
RAM="mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x8000"

mkdir -p $EFIVARS
[ ! -e /modules/efivarfs.ko ] || insmod /modules/efivarfs.ko || bail "no efivarfs"
mount -t efivarfs efivarfs $EFIVARS || bail "no EFI variables"

# What there is, as of now: efivarfs looks only when it is mounted.
vars() { umount $EFIVARS; mount -t efivarfs efivarfs $EFIVARS && ls $EFIVARS; }
dumps() { vars | grep "^dump-type.*-$GUID\$"; }
count_is() { _n=$(dumps | wc -l); [ "$_n" = "$1" ] || { echo "$_n, not $1"; dumps; return 1; }; }
# What a machine needs to boot.
boot_vars() { vars >/dev/null; (cd $EFIVARS && sha256sum Boot* Con* Key* Lang* Platform* Timeout*) | sha256sum; }
# put NAME FILE: a variable of the dumps' vendor.
put() { { printf '\007\000\000\000'; cat "$2"; } >"/tmp/var" && cat /tmp/var >"$EFIVARS/$1-$GUID"; }
drop_all() { for _f in $(vars | grep -e "-$GUID\$"); do chattr -i "$EFIVARS/$_f" 2>/dev/null; rm "$EFIVARS/$_f"; done; }
MARKS=0
mark() { MARKS=$((MARKS + 1)); echo "mark $MARKS $(uuid)" >/dev/kmsg; }
# said TEXT: since the last mark.
said() { dmesg | sed "1,/mark $MARKS $(uuid)/d" | grep -F "$1"; }
# refused TEXT PARAMETER...: the module does not load, and says why.
refused() {
	_text=$1
	shift
	mark
	! ttytool insmod /mpstore.ko strict=Y "$@" 2>/dev/null || { rmmod mpstore; echo loaded; return 1; }
	said "$_text" || { said mpstore; return 1; }
}
# column N: of the backend's line.
column() { awk -v n="$1" '$1 == "efi" && $2 == "dmesg" { print $n }' /sys/kernel/debug/mpstore/status; }
column_is() { [ "$(column "$1")" = "$2" ] || { cat /sys/kernel/debug/mpstore/status; return 1; }; }
# all_parts BACKEND NUMBER: the text of a dump, oldest part first.
all_parts() {
	for _f in $(grep -l "^[A-Z][a-z]*#$2 Part" "$PSTORE/$1"/dmesg-* | sort -t- -k3nr); do
		sed 1d "$_f"
	done
}
# as_in_tree: every file of the in-tree code is one of those kept from ours, and none is missing.
as_in_tree() {
	_n=0
	for _f in "$PSTORE"/dmesg-efi_pstore-*; do
		_id=${_f##*-}
		cmp "$_f" "/tmp/ours/dmesg-efi-$_id" || return 1
		_n=$((_n + 1))
	done
	[ $_n -gt 1 ] && [ $_n = "$(ls /tmp/ours | wc -l)" ] || { ls "$PSTORE" /tmp/ours; return 1; }
}
keep_ours() { rm -rf /tmp/ours; mkdir /tmp/ours; cp "$PSTORE"/efi/* /tmp/ours/; }
in_tree() { insmod /modules/pstore.ko && insmod /modules/efi-pstore.ko "$@" && mount_pstore; }
in_tree_off() { umount_pstore; rmmod efi-pstore; rmmod pstore; }
unload() { umount_pstore; rmmod mpstore; }
# oops: and a look at what it left.
oops() { oops_now 2>/dev/null && umount_pstore && mount_pstore; }
load() { load_mpstore "$@" && mount_pstore; }

case $STAGE in
1)
	check "a record too small is refused" refused 'efi_record_size=512: give 1024 to 48K' efi=Y efi_record_size=512
	check "no records are refused" refused 'efi_records=0: give 1 to 512' efi=Y efi_records=0
	check "a record larger than the firmware's largest variable is refused" \
		refused 'efi_record_size=49152: needs variables of' efi=Y efi_record_size=48K
	check "ERST on a kernel without APEI is refused" \
		refused 'there is no ACPI ERST: this kernel was built without CONFIG_ACPI_APEI' erst=Y
	save BOOT_VARS "$(boot_vars | cut -c1-32)"
	mark
	# shellcheck disable=SC2086
	check "load with a RAM region and EFI variables" load $RAM efi=Y || bail "no module"
	check "nothing is there yet" said 'efi: 0 records of earlier kernels; 0 of 32 variables and 0 of 32768 bytes in use'
	check "a load writes no variable" count_is 0
	check "nothing but dumps goes there" test "$(awk '$1 == "efi" { print $2 }' /sys/kernel/debug/mpstore/status)" = dmesg
	echo "$(uuid oops)" >/dev/kmsg
	check "an oops that the machine survives" oops
	check "it is shown at the next mount" grep -q "^Oops#1 Part1" "$PSTORE"/efi/dmesg-efi-*1001
	check "it reached both" sh -c "grep -q '$(uuid oops)' $PSTORE/efi/* && grep -q '$(uuid oops)' $PSTORE/ramoops/*"
	N=$(dumps | wc -l)
	check "one for each record" sh -c "[ $N -gt 1 ] && [ $N = \$(ls $PSTORE/efi | wc -l) ]"
	check "and all are compressed" sh -c "[ $N = \$(ls $EFIVARS | grep -c '^dump-type0-[1-9]*-1-[0-9]*-C-$GUID\$') ]"
	echo "$(uuid panic)" >/dev/kmsg
	next_stage 2
	panic_now ;;
2)
	mark
	# shellcheck disable=SC2086
	check "load after the panic" load $RAM efi=Y
	check "records of the last kernel are found" said 'records of earlier kernels'
	check "the RAM region has the panic" grep -q "$(uuid panic)" "$PSTORE"/ramoops/dmesg-ramoops-1
	check "the EFI variables have it too" grep -q "$(uuid panic)" "$PSTORE"/efi/dmesg-efi-*2
	all_parts efi 2 >/tmp/efi
	sed 1d "$PSTORE/ramoops/dmesg-ramoops-1" | tail -n "$(wc -l </tmp/efi)" >/tmp/ram
	check "its parts together are the end of the RAM region's" sh -c "[ -s /tmp/efi ] && cmp /tmp/efi /tmp/ram"
	check "the boot variables are as they were" test "$(boot_vars | cut -c1-32)" = "$BOOT_VARS"
	ONE=$(ls "$PSTORE/efi" | head -n 1)
	N=$(dumps | wc -l)
	check "a record is erased" rm "$PSTORE/efi/$ONE"
	check "one variable is gone" count_is $((N - 1))
	keep_ours
	unload
	check "the in-tree efi_pstore loads" in_tree
	check "it reads all of ours, byte for byte" as_in_tree
	check "beside it ours is refused" refused 'the in-tree efi_pstore records to EFI variables; switch it off with' efi=Y
	# In Linux 7.3 the in-tree code frees a record and then writes to it.
	expect_log_now 'KASAN: slab-use-after-free in pstore_put_backend_records'
	echo Y >/sys/module/efi_pstore/parameters/pstore_disable
	umount_pstore
	rmmod efi-pstore
	rmmod pstore
	drop_all
	in_tree
	echo "$(uuid intree)" >/dev/kmsg
	next_stage 3
	panic_now ;;
3)
	N=$(dumps | wc -l)
	check "the in-tree code has left variables" test "$N" -gt 1
	mark
	check "load after it" load efi=Y
	check "all are found" said "efi: $N records of earlier kernels; $N of 32 variables"
	check "its panic is shown, decompressed" grep -q "$(uuid intree)" "$PSTORE"/efi/dmesg-efi-*
	check "with its first line" grep -q '^Panic#1 Part1$' "$PSTORE"/efi/dmesg-efi-*01001
	keep_ours
	unload
	in_tree
	check "every file is as the in-tree code shows it" as_in_tree
	in_tree_off
	load efi=Y
	rm "$PSTORE"/efi/*
	check "all are erased" count_is 0
	unload

	# --- variables that nobody should have made
	echo text >/tmp/text
	head -c 3000 /dev/zero | tr '\0' x >/tmp/long
	head -c 100 /dev/urandom >/tmp/noise
	put dump-type0-1-1-1700000000-D /tmp/text
	put dump-type0-2-1-1700000000-D /tmp/long
	put dump-type0-1-2-1700000000-C /tmp/noise
	put dump-type0-4-1-1700000001 /tmp/text
	put dump-type0-5-1700000001 /tmp/text
	put dump-type0-1--7-1700000002-D /tmp/text
	put dump-type0-1-1-garbage /tmp/text
	put dump-type0-1-1-1700000000-DD /tmp/text
	put dump-type0-01-1-1700000000-D /tmp/text
	put dump-type7-1-1-1700000000-D /tmp/text
	put dump-type0-1-99999999999-1700000000-D /tmp/text
	put other /tmp/noise
	mark
	check "load with variables of all kinds" load efi=Y
	check "those that are no dumps are counted" said '6 variables of this vendor are no dumps; they count, and are left alone'
	check "the others are shown" test "$(cd "$PSTORE/efi" && echo *)" = "dmesg-efi-170000000001001 \
dmesg-efi-170000000001002.enc.z dmesg-efi-170000000002001 dmesg-efi-170000000104001 \
dmesg-efi-170000000105000 dmesg-efi-170000000200993"
	check "one that is no deflate stream is shown as it is" cmp /tmp/noise "$PSTORE/efi/dmesg-efi-170000000001002.enc.z"
	check "a long one is whole" cmp /tmp/long "$PSTORE/efi/dmesg-efi-170000000002001"
	check "the oldest form is text" cmp /tmp/text "$PSTORE/efi/dmesg-efi-170000000105000"
	rm "$PSTORE"/efi/*
	check "erasing them leaves the strangers" sh -c "[ \$(umount $EFIVARS; mount -t efivarfs e $EFIVARS; ls $EFIVARS | grep -c -e -$GUID) = 6 ]"
	unload

	# --- the budget
	check "a budget of eight variables, six of them strangers'" load efi=Y efi_records=8
	oops
	check "two parts of an oops fit" sh -c "[ \$(ls $PSTORE/efi | wc -l) = 2 ]"
	check "it counts as kept" column_is 4 1
	mark
	oops
	check "the next one is refused" column_is 7 1
	check "which is said" said 'no room for a dump: efi_records=8 with 8 variables of'
	rm "$PSTORE/efi/$(ls "$PSTORE/efi" | head -n 1)"
	oops
	check "after one was erased there is room for a part" column_is 4 2
	check "which is the newest of that oops" grep -q '^Oops#3 Part1$' "$PSTORE"/efi/*
	unload
	mark
	load efi=Y efi_records=8
	check "the next load counts what is there" said 'no room for a dump: efi_records=8 with 8 variables of'
	oops
	check "and refuses" column_is 7 1
	unload
	drop_all
	check "a budget of 2500 bytes" load efi=Y efi_bytes=2500
	oops
	check "two parts of 1024 bytes fit" sh -c "[ \$(ls $PSTORE/efi | wc -l) = 2 ]"
	oops
	check "no third" column_is 7 1
	unload
	drop_all
	mark
	check "a floor above what is free" load efi=Y efi_floor=16M
	check "is said at once" said 'no room for a dump: efi_floor=16777216 with 0 variables'
	oops
	check "and nothing is written" column_is 7 1
	check "not one variable" count_is 0
	unload

	# --- a store that is full: the kernel keeps 5 KiB back
	head -c 8000 /dev/urandom >/tmp/fill
	I=0
	while [ $I -lt 60 ] && put "fill$I" /tmp/fill 2>/dev/null; do I=$((I + 1)); done
	head -c 600 /dev/urandom >/tmp/fill
	J=0
	while [ $J -lt 60 ] && put "small$J" /tmp/fill 2>/dev/null; do J=$((J + 1)); done
	note "$I variables of 8000 bytes and $J of 600 fill it"
	mark
	check "a full store, no floor and a large budget" load efi=Y efi_floor=0 efi_bytes=1M efi_records=512
	oops
	check "the kernel refuses, and that is counted" column_is 7 1
	check "nothing else goes wrong" column_is 8 0
	unload
	drop_all
	check "the boot variables are as they were" test "$(boot_vars | cut -c1-32)" = "$BOOT_VARS"

	# --- in the middle of somebody else's access, with the variables' semaphore held
	# shellcheck disable=SC2086
	load $RAM efi=Y
	insmod /mpstore_crash.ko
	echo "$(uuid held)" >/dev/kmsg
	expect_log_now 'Kernel panic - not syncing: mpstore_crash'
	next_stage 4
	sh -c "echo 'panic in=efivar_set_variable_locked' >/proc/mpstore_crash
		printf '\007\000\000\000x' >$EFIVARS/x-$GUID"
	_down "a panic with the semaphore held" ;;
4)
	# shellcheck disable=SC2086
	check "a panic with the variables' semaphore held does not hang" load $RAM efi=Y
	check "the RAM region has it" sh -c "grep -q '$(uuid held)' $PSTORE/ramoops/dmesg-*"
	check "the EFI variables can't" sh -c "[ -z \"\$(ls $PSTORE/efi)\" ]"
	echo "$(uuid nmi)" >/dev/kmsg
	echo 1 >/proc/sys/kernel/unknown_nmi_panic
	expect_log_now 'NMI: Not continuing'
	# efivar_trylock() is a semaphore's down_trylock(), which spins for a lock of a few instructions. The
	# in-tree efi_pstore does the same there; memory has the dump by then.
	expect_log_now 'WARNING: inconsistent lock state >>> efivars_lock'
	next_stage 5
	echo "@nmi" >&3
	_down "an NMI" ;;
5)
	# shellcheck disable=SC2086
	check "load after a panic in an NMI" load $RAM efi=Y
	check "the RAM region has it" sh -c "grep -q '$(uuid nmi)' $PSTORE/ramoops/dmesg-*"
	check "and so have the EFI variables" sh -c "grep -q '$(uuid nmi)' $PSTORE/efi/dmesg-*" ;;
esac
