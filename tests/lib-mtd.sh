# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# For the tests of MTDs: flash that is memory which outlives the reset and insists on the
# manners of NAND (tests/guest/mtd), in 8 blocks of two zones.
STATUS=/sys/kernel/debug/mpstore
TEST=/sys/module/mpstore_mtd/parameters
BLOCK=32768
d=$PSTORE/mtd

flash() { insmod /mpstore_mtd.ko address=$REGION_B size=0x40000 "$@"; }
load() { load_mpstore blkdev=mtd:mpstore_test kmsg_size=16K flush_ms=100 "$@"; }
unload() { umount_pstore 2>/dev/null; rmmod mpstore; }
# fill FROM COUNT BYTE: blocks of the flash.
fill() {
	tr '\0' "$3" </dev/zero | dd of=/dev/mem bs=$BLOCK iflag=fullblock \
		seek=$((REGION_B / BLOCK + $1)) count="$2" conv=notrunc 2>/dev/null
}
at() { poke $((REGION_B + $1)) "$2"; }
has() { grep -aqF "$2" "$1" || { echo "$1 lacks '$2'"; ls -l "${1%/*}"; return 1; }; }
says() { dmesg | tail -n 12 | grep -qF "$1" || { dmesg | tail -n 12; return 1; }; }
# refused TEXT ARGUMENT...: the load fails and the log says why.
refused() {
	_why=$1
	shift
	if load "$@" 2>/dev/null; then unload; echo "loaded"; return 1; fi
	says "$_why"
}
state() { grep -qE "^mtd .* $1( |\$)" $STATUS/devices || { cat $STATUS/devices; return 1; }; }
well() { [ "$(cat $TEST/violations)" = 0 ] || { dmesg | grep violation; return 1; }; }
names() { (cd $d && echo dmesg-*); }
names_are() { [ "$(names)" = "$1" ] || { echo "there is '$(names)', wanted '$1'"; return 1; }; }
say() { echo "$(uuid "$1") kmsg" >/dev/kmsg; }
# What is new is there at the next mount.
again() { umount $PSTORE; mount_pstore; }
oops() { say "$1" && oops_now && sleep 0.5 && again; }
same() { cmp "$1" "$2" || { head -c 200 "$1"; echo; head -c 200 "$2"; ls -l "$1" "$2"; return 1; }; }
