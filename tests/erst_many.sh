#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# An ERST with more records than are kept in memory: those there is room for are shown, the rest is counted in
# one line and stays, and is shown once the others were erased.
#
# vm: timeout=200 firmware=ovmf erst=16M mem=1G
# qemu: -global acpi-erst.record_size=0x10000
# cmdline: pstore.backend=none log_buf_len=4M
# kernels: stock
. /tests/lib.sh
plan 12
ERST="erst=Y erst_record_size=64K erst_records=200 compress=none kmsg_bytes=2000000"
# shellcheck disable=SC2086
load() { dmesg -c >/dev/null; load_mpstore $ERST && mount_pstore; }
shown() { find $PSTORE/erst -name 'dmesg*' | wc -l; }
erase() { rm $PSTORE/erst/dmesg-*; }
said() { dmesg | grep -E "$1" || { dmesg | grep mpstore; return 1; }; }

# shellcheck disable=SC2086
check "load" load || bail "no module"
check "the size of a record" said 'erst: 200 records of 65[0-9]* bytes each, 0 of earlier kernels'
for i in 1 2 3; do
	ttytool kmsg 16000 "<7>$(uuid $i) so much is said that one dump has many parts, as long as a line can be $(printf '%060d' $i)" >/dev/null
	check "an oops of many parts" oops_now
done
umount_pstore
rmmod mpstore
check "load again" load
N=$(dmesg | sed -n 's/.* \([0-9]*\) that can.t be read.*/\1/p')
note "$(shown) are shown, ${N:-0} are not"
check "there are some for which there is no room" test "${N:-0}" -gt 5
check "what is shown is not more than 4 MiB" sh -c "[ \$(cat $PSTORE/erst/* | wc -c) -le 4194304 ] && [ \$(cat $PSTORE/erst/* | wc -c) -gt 4000000 ]"
check "each of it is a dump" sh -c "! head -qn 1 $PSTORE/erst/* | grep -v '^Oops#[0-9]* Part[0-9]*$'"
check "they are erased" erase
umount_pstore
rmmod mpstore
check "load once more" load
check "the others are there" test "$(shown)" = "$N"
umount_pstore
