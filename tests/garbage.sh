#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Whatever is in a region when the module is loaded: nothing, noise, zones that
# lie, zones on the edge. What is whole is kept, the rest is reported and empty.
#
# vm: timeout=150
# kernels: custom debug stock
. /tests/lib.sh
plan 41

# A region of 64K in zones of 4K: dmesg 0..12 from 0, console at 0xd000, pmsg at
# 0xe000, tty at 0xf000. Each is a header, "DBGC" START SIZE in little endian,
# and 4084 bytes of data (mpstore_format::layout and ::ram).
SIZE=0x10000
CAPACITY=4084
CONSOLE=0xd000 PMSG=0xe000 TTY=0xf000
load() {
	dmesg -c >/dev/null
	load_mpstore mem_address=$REGION_A mem_size=$SIZE record_size=4096 console_size=4096 \
		pmsg_size=4096 tty_size=4096 ftrace_size=0 "$@"
}
unload() { umount_pstore; rmmod mpstore; }
le32() {
	for _shift in 0 8 16 24; do
		# shellcheck disable=SC2059
		printf "\\$(printf %03o $((($1 >> _shift) & 255)))"
	done
}
# put OFFSET: standard input into the region.
put() { dd of=/dev/mem bs=1 seek=$((REGION_A + $1)) conv=notrunc 2>/dev/null; }
# zone OFFSET START SIZE FILE: a zone with this header and these bytes.
zone() { { printf DBGC; le32 "$2"; le32 "$3"; cat "$4"; } | put "$1"; }
# filler N TEXT: N bytes of printable text.
filler() { yes "$2" | head -c "$1"; }
log_has() { dmesg | grep -Eq "$1" || { echo "no line '$1':"; dmesg | grep mpstore; return 1; }; }
names_are() {
	[ -d "$PSTORE/ramoops" ] || { echo "no directory $PSTORE/ramoops"; return 1; }
	_got=$(ls "$PSTORE/ramoops" | tr '\n' ' ')
	[ "$_got" = "$1" ] || { echo "there is '$_got', wanted '$1'"; return 1; }
}
same() { cmp "$1" "$PSTORE/ramoops/$2"; }
# The header of an empty zone: nothing of the garbage is left to be believed.
is_empty() {
	{ printf DBGC; le32 0; le32 0; } >/tmp/want
	dd if=/dev/mem bs=1 skip=$((REGION_A + $1)) count=12 2>/dev/null | cmp - /tmp/want
}
begin() { check "$1: mpstore loads" load || bail "no module"; check "$1: mount" mount_pstore; }
works() { # NAME: after all that it keeps records as ever
	printf '%s' "$(uuid "$1")" >/dev/pmsg0
	unload
	load
	mount_pstore
	check "$1: the region works after that" test "$(cat "$PSTORE/ramoops/pmsg-ramoops-0")" = "$(uuid "$1")"
}

# --- a region never used
wipe "$REGION_A" $SIZE
begin "zeros"
check "zeros: the log says that it is new" log_has 'mpstore: ramoops: new region'
check "zeros: no records" names_are ""
check "zeros: a zone has a header" is_empty 0x3000
works "zeros"
unload

# --- noise
dd if=/dev/urandom of=/dev/mem bs=4096 seek=$((REGION_A / 4096)) count=$((SIZE / 4096)) conv=notrunc 2>/dev/null
begin "noise"
check "noise: the log says that nothing of ours was there" log_has 'mpstore: ramoops: no zone of these sizes in it, or noise; formatted'
check "noise: no records" names_are ""
check "noise: a zone has a header" is_empty 0x3000
works "noise"
unload

# --- some zones lie
wipe "$REGION_A" $SIZE
printf '====1700000000.000007-D\n' >/tmp/head
{ printf 'Panic#1 Part1\n'; echo "$(uuid good)"; } >/tmp/good
cat /tmp/head /tmp/good >/tmp/zone0
n=$(wc -c </tmp/zone0)
zone 0x0000 "$n" "$n" /tmp/zone0
zone 0x1000 "$((n + 1))" "$n" /tmp/zone0         # begins behind its end
zone 0x2000 0 "$((CAPACITY + 1))" /tmp/zone0     # one byte too long
zone 0x3000 0xffffffff 0xffffffff /tmp/zone0
echo "no header, $(uuid text)" >/tmp/text
zone 0x4000 20 20 /tmp/text                      # text without the header line
printf '====1700000000.1000000-D\nx' >/tmp/usec
zone 0x5000 26 26 /tmp/usec                      # a time that is none
printf '====1700000001.000008-C\n' >/tmp/zone6
# Random but for the first byte, a type of block that deflate does not have.
{ printf '\377'; head -c 99 /dev/urandom; } >/tmp/deflate
cat /tmp/deflate >>/tmp/zone6
zone 0x6000 124 124 /tmp/zone6                   # compressed, as C ramoops would
{ printf 'XXXX'; le32 10; le32 10; } | put 0x7000 # somebody else's
for i in 8 9 10 11 12; do zone "$((i * 4096))" 0 0 /dev/null; done
zone $CONSOLE 0x7fffffff 0x80000000 /tmp/good
printf '%s pmsg' "$(uuid old)" >/tmp/pmsg
zone $PMSG "$(wc -c </tmp/pmsg)" "$(wc -c </tmp/pmsg)" /tmp/pmsg
printf '[    1.000000] ttyS2: %s tty\n' "$(uuid old)" >/tmp/tty
zone $TTY "$(wc -c </tmp/tty)" "$(wc -c </tmp/tty)" /tmp/tty
begin "lies"
check "lies: the log counts the zones" log_has 'mpstore: ramoops: 7 of 16 zones hold garbage.* 4 records kept'
check "lies: what is whole is there and nothing else" \
	names_are "dmesg-ramoops-0 dmesg-ramoops-6.enc.z pmsg-ramoops-0 tty-ramoops-0 "
check "lies: the whole dump is as it was" same /tmp/good dmesg-ramoops-0
check "lies: its time is that of its header" test "$(stat -c %Y "$PSTORE/ramoops/dmesg-ramoops-0")" = 1700000000
check "lies: compressed bytes are given as they are" same /tmp/deflate dmesg-ramoops-6.enc.z
check "lies: the log says why" \
	log_has "mpstore: ramoops: dmesg record 6 can't be decompressed and is shown as it is: damaged"
check "lies: pmsg is as it was" same /tmp/pmsg pmsg-ramoops-0
check "lies: tty is as it was" same /tmp/tty tty-ramoops-0
for i in 1 2 3 4 5 7; do
	check "lies: zone $i is empty now" is_empty "$((i * 4096))"
done
unload
load
mount_pstore
check "lies: the whole dump is there after another load" same /tmp/good dmesg-ramoops-0
check "lies: nothing is reported any more" sh -c '! dmesg | grep -q "hold garbage"'
unload

# --- the edges
wipe "$REGION_A" $SIZE
for i in 2 3 4 5 6 7 8 9 10 11 12; do zone "$((i * 4096))" 0 0 /dev/null; done
filler $((CAPACITY - 24)) "$(uuid full)" >/tmp/full
cat /tmp/head /tmp/full >/tmp/zone0
zone 0x0000 0 $CAPACITY /tmp/zone0               # full to the last byte
zone 0x1000 $CAPACITY $CAPACITY /tmp/zone0       # the same, about to wrap
filler $CAPACITY "$(uuid wrapped) abc" >/tmp/ring
zone $CONSOLE 100 $CAPACITY /tmp/ring            # wrapped: the oldest byte is at 100
{ tail -c +101 /tmp/ring; head -c 100 /tmp/ring; } >/tmp/unrolled
zone $PMSG $CAPACITY $CAPACITY /tmp/ring
zone $TTY 1 1 /tmp/ring                          # one byte
head -c 1 /tmp/ring >/tmp/one
begin "edges"
check "edges: nothing is garbage" log_has 'mpstore: ramoops: 5 records of earlier kernels'
check "edges: a full dump is whole" same /tmp/full dmesg-ramoops-0
check "edges: one with start at the end, too" same /tmp/full dmesg-ramoops-1
check "edges: a wrapped console begins with its oldest byte" same /tmp/unrolled console-ramoops-0
check "edges: a full pmsg is whole" same /tmp/ring pmsg-ramoops-0
check "edges: one byte of tty is one byte" same /tmp/one tty-ramoops-0
unload

# --- a dump that wraps: its text, header line and all, begins at `start`
wipe "$REGION_A" $SIZE
{ tail -c 100 /tmp/zone0; head -c $((CAPACITY - 100)) /tmp/zone0; } >/tmp/rolled
zone 0x0000 100 $CAPACITY /tmp/rolled
begin "wrap"
check "wrap: a dump that wraps is read from its oldest byte" same /tmp/full dmesg-ramoops-0
unload
