#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Debian's own kernel: efi_pstore is loaded when ours records to EFI variables already. Ours ends that at the
# next look, so that no variable gets two writers, and the other backends go on; a second load is refused
# the variables, and efi_pstore's records are read in our tree.
#
# vm: timeout=240 firmware=ovmf mem=1G
# cmdline: pstore.backend=efi_pstore
# kernels: stock
. /tests/lib.sh
plan 12
expect_log 'Registered efi_pstore as persistent store backend'
RAM="mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x8000"
MARKS=0
mark() { MARKS=$((MARKS + 1)); echo "mark $MARKS $(uuid)" >/dev/kmsg; }
# said TEXT: since the last mark.
said() { dmesg | sed "1,/mark $MARKS $(uuid)/d" | grep -F "$1"; }
load() { load_mpstore "$@" && mount_pstore; }
again() { umount_pstore && mount_pstore; }
# dumps DIRECTORY: how many.
dumps() { find "$PSTORE/$1" -name 'dmesg-*' 2>/dev/null | wc -l; }
refused() {
	mark
	! ttytool insmod /mpstore.ko strict=Y efi=Y 2>/dev/null || { rmmod mpstore; echo loaded; return 1; }
	said "$1" || { said mpstore; return 1; }
}

# shellcheck disable=SC2086
check "ours has RAM and EFI variables" load $RAM efi=Y || bail "no module"
check "an oops" oops_now
again
check "which the EFI variables have" test "$(dumps efi)" -gt 0
first=$(dumps efi)
mark
check "efi_pstore comes" insmod /modules/efi-pstore.ko || bail "no efi_pstore"
again
check "ours says that it ends there" \
	said 'mpstore: efi: the in-tree efi_pstore has begun to record to EFI variables; this ends here until the module is loaded again'
check "what it wrote is still shown" test "$(dumps efi)" = "$first"
check "another oops" oops_now
again
check "ours has no more in the variables" test "$(dumps efi)" = "$first"
check "efi_pstore has it, in our tree" sh -c "grep -q '^Oops#' $PSTORE/efi_pstore/dmesg-efi_pstore-*"
check "and so has the region" test "$(dumps ramoops)" = 2
umount_pstore
check "the module goes" rmmod mpstore
check "and gets no variables while efi_pstore has them" refused 'efi: '
