#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Records in an ERST that no pstore wrote, or that are damaged: other writers' are left alone, what
# can't be read is counted in one line, what can't be decompressed is shown as it is, and the dumps
# beside them are as they were.
#
# vm: timeout=150 firmware=ovmf erst=64K mem=1G
# cmdline: pstore.backend=none iomem=relaxed
# kernels: stock
. /tests/lib.sh
plan 19
DEVICE=
for d in /sys/bus/pci/devices/*; do
	[ "$(cat $d/vendor)$(cat $d/device)" != 0x1b360x0012 ] || DEVICE=$d
done
# put KIND
put() { [ "$(ttytool erst $DEVICE/resource0 $DEVICE/resource1 "$1")" = "status 0" ]; }
load() { dmesg -c >/dev/null; load_mpstore erst=Y && mount_pstore; }
unload() { umount_pstore && rmmod mpstore; }
said() { dmesg | grep -qF "mpstore: erst: $1" || { dmesg | grep mpstore; return 1; }; }
dumps() { (cd $PSTORE/erst && sha256sum "$@"); }

check "load" load || bail "no module"
check "an oops" oops_now
unload
check "load again" load
DUMPS=$(cd $PSTORE/erst && ls | xargs)
# shellcheck disable=SC2086
dumps $DUMPS >/tmp/dumps
check "it has it" test -s /tmp/dumps
unload
[ -n "$DEVICE" ] || bail "no device"
for k in good foreign other damaged bare garbage; do check "a record that is $k" put $k; done
check "load beside them" load
note "$(ls $PSTORE/erst | xargs)"
check "what is not shown is told" said "not shown: 1 records of other writers, 1 that are no dumps, 2 that can't be read"
# shellcheck disable=SC2086
check "what was there is as it was" eval "dumps $DUMPS | cmp - /tmp/dumps"
check "the good one is shown" sh -c "grep -lx 'no deflate stream at all' $PSTORE/erst/dmesg-*[0-9]"
check "what can't be decompressed is shown as it is" sh -c "grep -l 'no deflate stream at all' $PSTORE/erst/*.enc.z"
check "which is told" sh -c "dmesg | grep -q 'mpstore: erst: dmesg record .* can.t be decompressed'"
check "all that is shown is erased" sh -c "rm $PSTORE/erst/*"
unload
check "load once more" load
check "the others are still there" said "not shown: 1 records of other writers, 1 that are no dumps, 2 that can't be read"
unload
