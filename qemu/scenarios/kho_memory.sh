#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Twenty kernels by kexec, each with its records and with as many of the earlier
# ones as there is space for: memory does not grow less.
# Takes as long as twenty boots; run it by `make vmtest T=kho_memory`.
#
# vm: mem=1G kexec timeout=1800 boots=40
# cmdline: kho=on kho_scratch=16M,64M,16M
# cmdline@debug: kho_scratch=64M,256M,64M
# disk: virtio 64M
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-kho.sh
ROUNDS=21
plan $((ROUNDS + ROUNDS + 5))

# memory NAME: kilobytes.
memory() { awk -v n="$1:" '$1 == n { print $2 }' /proc/meminfo; }
free_kb() { echo 3 >/proc/sys/vm/drop_caches; sleep 1; memory MemAvailable; }
close_to() { d=$(($1 - $2)); [ ${d#-} -le "$3" ] || { echo "$1 and $2"; return 1; }; }

[ "$STAGE" = 1 ] && { check "the kernel's files outlive a jump" chain_begin || bail "no disk"; }
check "kernel $STAGE: load" load_kho kho_keep=3M || bail "no module"
speak "kernel-$STAGE"
kho_mount
# Of the earlier ones the three newest.
want=
for n in 3 2 1; do
	[ $((STAGE - n)) -lt 1 ] || want="$want${want:+ }$((STAGE - n))"
done
check "kernel $STAGE: generations $want" generations_are "$want"
umount_pstore
free=$(free_kb)
note "kernel $STAGE: total $(memory MemTotal) kB, available $free kB"
# From the fourth on nothing changes any more. What is available differs by what else
# a kernel happens to do; of five of them the best is told.
[ "$STAGE" != 4 ] || save TOTAL "$(memory MemTotal)"
case $STAGE in
[4-8]) [ "${EARLY:-0}" -ge "$free" ] || save EARLY "$free" ;;
1[7-9] | 2[01]) [ "${LATE:-0}" -ge "$free" ] || save LATE "$free" ;;
esac
if [ "$STAGE" = $ROUNDS ]; then
	check "the kernel has as much memory as the fourth had" close_to "$(memory MemTotal)" "$TOTAL" 64
	check "the last five have as much of it free as five early ones" close_to "$LATE" "$EARLY" 4096
	kho_mount
	before=$(free_kb)
	rm "$K"/*
	check "erased, there are no generations" generations_are ""
	check "and their memory is free" test $(($(free_kb) - before)) -ge 2560
	exit 0
fi
chain_load || bail "kexec -l"
next_stage $((STAGE + 1))
chain_jump
