#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A disk of which some zones hold garbage: a length beyond the zone, a start beyond the data, noise, and
# a dump whose text is not the one that its header was written for. What is whole is shown, one line says
# what is not, and the places are used again.
#
# vm: timeout=120
# kernels: custom debug stock
# disk: virtio 256K
. /tests/lib.sh
plan 23
DISK=/dev/vda
d=$PSTORE/blk
# pmsg is at 0, the console at 4096, dumps are from 12288 on.
SIZES="kmsg_size=8K pmsg_size=4K console_size=8K ftrace_size=0 tty_size=0 compress=none kmsg_bytes=4096"
zone() { echo $((12288 + $1 * 8192)); }
# shellcheck disable=SC2086
load() { dmesg -c >/dev/null; load_mpstore blkdev=$DISK $SIZES flush_ms=100 "$@" && mount_pstore; }
unload() { umount_pstore && rmmod mpstore; }
# at OFFSET TEXT
at() { printf "$2" | dd of=$DISK bs=1 seek="$1" conv=notrunc,fsync 2>/dev/null; }
says() { dmesg | grep -q "mpstore: blk: $1" || { dmesg | grep mpstore; return 1; }; }
said_nothing_of() { ! dmesg | grep "mpstore: blk: .*$1"; }
dumps_are() { [ "$(cd $d && echo dmesg-*)" = "$1" ] || { ls -l $d; return 1; }; }
same() { cmp "$1" "$2" || { ls -l "$1" "$2"; return 1; }; }

[ ! -e /modules/configfs.ko ] || insmod /modules/configfs.ko 2>/dev/null
dd if=/dev/zero of=$DISK bs=4096 count=64 conv=fsync 2>/dev/null
check "a new disk" load || bail "no module"
for i in 0 1 2; do check "oops $i" oops_now; done
sleep 1
unload
check "load again" load || bail "no module"
check "nothing is garbage" said_nothing_of garbage
check "all are there" dumps_are "dmesg-blk-0 dmesg-blk-1 dmesg-blk-2"
check "and a console" test -s $d/console-blk-0
cp $d/dmesg-blk-2 /tmp/two
echo "$(uuid) pmsg" >/dev/pmsg0
unload

# In the machine's order: signature, length, and for the console where it begins.
check "dump 0 says that it is 1 GiB long" at $(($(zone 0) + 4)) '\000\000\000\100'
check "dump 1 has another letter in its text" at $(($(zone 1) + 3000)) '\001'
check "the console begins behind its end" at $((4096 + 8)) '\377\377\000\000'
check "where the sixth dump would be there is noise" sh -c \
	"head -c 8192 /dev/urandom | dd of=$DISK bs=4096 seek=$(($(zone 5) / 4096)) conv=notrunc,fsync 2>/dev/null"
check "the disk is taken nevertheless" load || bail "no module"
note "$(dmesg | grep 'mpstore: blk')"
check "what is no record is told" says '3 of [0-9]* zones hold garbage, 3 records kept'
check "so is what was written in part" says '1 of 2 dumps were written in part only'
check "the two dumps with a header are shown" dumps_are "dmesg-blk-1 dmesg-blk-2"
check "and the damaged one told" says 'dmesg record 1 is damaged and shown as it is: its checksum is wrong'
check "the whole one is as it was" same /tmp/two $d/dmesg-blk-2
check "so is pmsg" grep -qxF "$(uuid) pmsg" $d/pmsg-blk-0
check "there is no console" test ! -e $d/console-blk-0
echo "$(uuid again)" >/dev/kmsg
check "an oops" oops_now
sleep 1
unload
load
check "takes the place of the garbage, or one that was free" sh -c "cat $d/dmesg-* | grep -q '$(uuid again)'"
check "the console is there again" grep -qaF "$(uuid again)" $d/console-blk-0
unload
