#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Compressed dmesg records: each setting over a panic, on backends with records
# of different sizes; what can't be decompressed; and what the C code wrote.
#
# vm: timeout=300 boots=5
# kernels: custom debug stock
. /tests/lib.sh
plan 78
PARAMS=/sys/module/mpstore/parameters
LINES_N=900

# Four regions in A and B: records of 4K, 16K, 64K, and 8K with parity.
REGIONS=$REGION_A,$((REGION_A + 0x40000)),$((REGION_A + 0x80000)),$REGION_B
load() { # METHOD [ARGS...]
	_method=$1
	shift
	load_mpstore mem_address=$REGIONS mem_size=0x20000,0x40000,0x80000,0x40000 name=small,middle,large,ecc \
		record_size=0x1000,0x4000,0x10000,0x2000 ecc=0,0,0,16 console_size=0 pmsg_size=0 tty_size=0 \
		ftrace_size=0 compress="$_method" "$@"
}
BACKENDS="small middle large ecc"
unload() { umount_pstore; rmmod mpstore; }
fill() { ttytool kmsg $LINES_N "$(uuid "$1")"; }
# text FILE: without title and notice of corrections.
text() { tail -n +2 "$1" | sed '/^$/,/^ECC: /d'; }
title_is() { [ "$(head -n 1 "$1")" = "$2" ] || { echo "$1 begins with '$(head -n 1 "$1")'"; return 1; }; }
sums() { (cd "$PSTORE" && find . -type f | sort | xargs sha256sum); }
TRACING=/sys/kernel/tracing
# inflated COMMAND...: how often something was decompressed; what it prints is in /tmp/out.
inflated() {
	echo >$TRACING/trace
	"$@" >/tmp/out
	grep -c 'inflates:' $TRACING/trace
}
# stored ADDRESS: what a zone says its record takes (little endian at 8).
stored() { dd if=/dev/mem bs=1 skip=$(($1 + 8)) count=4 2>/dev/null | hexdump -e '1/4 "%u\n"'; }
letter() { dd if=/dev/mem bs=1 skip=$(($1 + 12)) count=34 2>/dev/null | head -n 1 | tail -c 2; }
# A record of the panic: its title, its last line, and the newest numbers without a gap.
complete() { # FILE TITLE UUID
	title_is "$1" "$2" || return
	text "$1" >/tmp/text
	grep -q 'Kernel panic - not syncing: sysrq triggered crash' /tmp/text || { echo "no panic in $1"; return 1; }
	# The first line is whole.
	head -n 1 /tmp/text | grep -Eq '^<[0-9]+>\[ *[0-9]+\.[0-9]+\]' || { head -n 1 /tmp/text; return 1; }
	grep -oE "$(uuid "$3") [0-9]{6}\$" /tmp/text | awk -v last=$LINES_N '
		{ n = $2 + 0; if (NR > 1 && n != prev + 1) { print prev " is followed by " n; bad = 1 } prev = n }
		END { if (NR < 30) { print NR " numbers only"; bad = 1 }
		      if (prev != last) { print "the last is " prev; bad = 1 } exit bad }'
}
# The shorter of two texts is the end of the longer.
same_end() { # FILE FILE
	text "$1" >/tmp/a
	text "$2" >/tmp/b
	_n=$(wc -c </tmp/a) _m=$(wc -c </tmp/b)
	[ "$_n" -le "$_m" ] || _n=$_m
	[ "$_n" -gt 3000 ] || { echo "only $_n bytes"; return 1; }
	tail -c "$_n" /tmp/a >/tmp/a1
	tail -c "$_n" /tmp/b | cmp - /tmp/a1
}
length_is_size() { [ "$(stat -c %s "$1")" = "$(wc -c <"$1")" ]; }
log_has() { dmesg | grep -Eq "$1" || { echo "no line '$1':"; dmesg | grep mpstore | tail; return 1; }; }

# panicked METHOD UUID: after a panic, what the four regions show; as expected of METHOD.
panicked() {
	_m=$1
	for _b in $BACKENDS; do
		_f=$PSTORE/$_b/dmesg-$_b-0
		check "$_m: $_b has the panic, whole lines, none missing" complete "$_f" "Panic#1 Part1" "$2"
		check "$_m: $_b is as long as its size says" length_is_size "$_f"
		_z=$REGION_A
		[ $_b != middle ] || _z=$((REGION_A + 0x40000))
		[ $_b != large ] || _z=$((REGION_A + 0x80000))
		[ $_b != ecc ] || _z=$REGION_B
		_len=$(text "$_f" | wc -c) _stored=$(stored $_z)
		note "$_m: $_b: $_len bytes of text in $_stored"
		if [ "$_m" = none ]; then
			check "$_m: $_b is stored as it is" test "$(letter $_z)-$((_stored > _len))" = D-1
		else
			check "$_m: $_b is stored in less than half" test "$(letter $_z)-$((_stored * 2 < _len))" = C-1
		fi
	done
	for _b in middle large ecc; do
		check "$_m: small and $_b hold the same newest lines" \
			same_end $PSTORE/small/dmesg-small-0 $PSTORE/$_b/dmesg-$_b-0
	done
	check "$_m: the notice of corrections is at the end, of the text" \
		sh -c "tail -n 1 $PSTORE/ecc/dmesg-ecc-0 | grep -qx 'ECC: No errors detected'"
}
# put OFFSET: standard input into region A.
put() { dd of=/dev/mem bs=1 seek=$((REGION_A + $1)) conv=notrunc 2>/dev/null; }

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	check "deflate: mpstore loads" load deflate || bail "no module"
	check "deflate: sysfs says so" test "$(cat $PARAMS/compress)" = deflate
	fill deflate
	next_stage 2
	panic_now ;;
2)
	check "compress=none reads what was compressed" load none || bail "no module"
	mount_pstore
	panicked deflate deflate
	sums >/tmp/none
	unload
	check "so does compress=zstd" load zstd || bail "no zstd"
	mount_pstore
	sums >/tmp/zstd
	check "to the same bytes" cmp /tmp/none /tmp/zstd
	unload

	# --- what a listing has decompressed is there for who reads, once
	mkdir -p $TRACING
	[ -e $TRACING/kprobe_events ] || mount -t tracefs tracefs $TRACING
	echo 'p:inflates zlib_inflateInit2' >$TRACING/kprobe_events
	echo 1 >$TRACING/events/kprobes/inflates/enable
	load deflate
	mount_pstore
	listed=$(inflated ls -lR $PSTORE)
	all=$(wc -l </tmp/none)
	check "a listing decompresses each record once" test "$all" -gt 4 -a "$listed" = "$all"
	check "who reads them then, none" test "$(inflated sums)" = 0
	cp /tmp/out /tmp/first
	check "who reads them again, each once" test "$(inflated sums)" = "$all"
	check "with the same bytes, both times" sh -c "cmp /tmp/none /tmp/first && cmp /tmp/none /tmp/out"
	umount_pstore
	mount_pstore
	ls -lR $PSTORE >/dev/null
	echo 2 >/proc/sys/vm/drop_caches
	given=$(inflated sums)
	check "where memory is short it is given back, and made again" \
		sh -c "[ $given = $all ] && cmp /tmp/none /tmp/out"
	umount_pstore
	mount_pstore
	ls -lR $PSTORE >/dev/null
	printf '====1700000001.000001-C\n' | put 12
	cat $PSTORE/small/dmesg-small-0 >/tmp/out
	check "what has taken a record's place since is shown, not the record" \
		test "$(stat -c %Y $PSTORE/small/dmesg-small-0)" = 1700000001
	check "all of it" sh -c "sha256sum </tmp/out | cut -c1-64 | grep -f - /tmp/none"
	echo 0 >$TRACING/events/kprobes/inflates/enable
	echo >$TRACING/kprobe_events
	unload

	# --- damage, on the small region: zone 0 has the panic.
	dd if=/dev/mem bs=4096 skip=$((REGION_A / 4096)) count=1 2>/dev/null >/tmp/zone
	n=$(stored $REGION_A)
	cut() { # BYTES: the record ends so much earlier
		_n=$((n - $1))
		{ printf DBGC; for _i in 1 2; do
			# shellcheck disable=SC2059
			printf "\\$(printf %03o $((_n & 255)))\\$(printf %03o $((_n >> 8)))\\000\\000"
		done; } | put 0
	}
	shown() { # WHY: the record is there as it is, and the log says why, once
		load deflate || return
		mount_pstore
		umount_pstore
		mount_pstore
		_f=$PSTORE/small/dmesg-small-0
		if [ ! -e $_f.enc.z ] || [ -e $_f ]; then
			ls $PSTORE/small
			unload
			return 1
		fi
		# The raw bytes, less header line.
		dd if=/dev/mem bs=1 skip=$((REGION_A + 12)) count="$(stored $REGION_A)" 2>/dev/null | tail -n +2 >/tmp/want
		cmp /tmp/want $_f.enc.z && length_is_size $_f.enc.z
		_rc=$?
		dmesg | grep -F 'mpstore: small: dmesg record 0 ' >/tmp/lines
		cat /tmp/lines
		[ "$(wc -l </tmp/lines)" = 1 ] && grep -qF "$1" /tmp/lines || _rc=1
		# The other regions are none the worse.
		[ -e $PSTORE/middle/dmesg-middle-0 ] || _rc=1
		unload
		return $_rc
	}
	cut 1
	dmesg -c >/dev/null
	check "a record without its last byte is shown as it is" shown "its end is missing"
	cut 1000
	dmesg -c >/dev/null
	check "and so is one cut in the middle" shown "its end is missing"
	put 0 </tmp/zone
	printf '\377\377\377\377' | put 60
	dmesg -c >/dev/null
	check "a damaged one, too" shown "damaged, or no deflate stream"
	put 0 </tmp/zone
	load deflate
	mount_pstore
	check "undamaged it is itself again" complete $PSTORE/small/dmesg-small-0 "Panic#1 Part1" deflate
	check "an unreadable record can be removed" rm $PSTORE/small/dmesg-small-0
	unload

	# --- too long: zeros, compressed a thousand times, are more than a record may be
	dd if=/dev/zero bs=4096 count=16 2>/dev/null | gzip -9 | tail -c +11 | head -c -8 >/tmp/zeros
	{ printf '====1700000000.000001-C\n'; cat /tmp/zeros; } >/tmp/bomb
	n=$(wc -c </tmp/bomb)
	put 12 </tmp/bomb
	cut 0
	dmesg -c >/dev/null
	check "what becomes too long is shown as it is" shown "it is longer than any record should be"

	# --- what the C code wrote
	wipe "$REGION_A" 0x10000
	dd if=/tests/golden/c-ramoops-fixedhuffman-0b.bin of=/dev/mem bs=4096 seek=$((REGION_A / 4096)) conv=notrunc 2>/dev/null
	load none
	mount_pstore
	printf 'Shutdown#1 Part1\n<6>ACPI: PM: Preparing to enter system sleep state S5\n<0>reboot: Restarting system\n' >/tmp/want
	check "a record of C's that C can't read, it begins with 0x0b, is read" cmp /tmp/want $PSTORE/small/dmesg-small-0
	unload
	dd if=/tests/golden/c-ramoops-64k-ecc16.img of=/dev/mem bs=4096 seek=$((REGION_A / 4096)) conv=notrunc 2>/dev/null
	load_mpstore mem_address=$REGION_A mem_size=0x10000 record_size=0x1000 \
		console_size=0x2000 ftrace_size=0x1000 pmsg_size=0x1000 tty_size=0 ecc=1 compress=none
	mount_pstore
	d=$PSTORE/ramoops
	golden() {
		for i in 0 1 2; do length_is_size $d/dmesg-ramoops-$i || return; done
		title_is $d/dmesg-ramoops-0 "Oops#1 Part1" && title_is $d/dmesg-ramoops-1 "Oops#2 Part1" &&
			title_is $d/dmesg-ramoops-2 "Panic#3 Part1" &&
			grep -q 'end trace 0000000000000000' $d/dmesg-ramoops-0 &&
			grep -q 'Kernel panic - not syncing: sysrq' $d/dmesg-ramoops-2 &&
			[ "$(cat $d/dmesg-ramoops-0 | wc -c)" = $((5986 + 25)) ]
	}
	check "C's records with parity are read, notice and all" golden
	unload

	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	check "zstd: mpstore loads" load zstd || bail "no module"
	fill zstd
	next_stage 3
	panic_now ;;
3)
	check "compress=deflate reads zstd" load deflate || bail "no module"
	mount_pstore
	panicked zstd zstd
	unload
	printf '\377\377\377\377' | put 60
	dmesg -c >/dev/null
	load deflate
	mount_pstore
	check "a damaged zstd record is shown as it is" test -e $PSTORE/small/dmesg-small-0.enc.z
	check "and the log says why" log_has 'mpstore: small: dmesg record 0 can.t be decompressed and is shown as it is: damaged, or its end is missing$'
	unload
	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	check "none: mpstore loads" load none || bail "no module"
	fill none
	next_stage 4
	panic_now ;;
4)
	check "compress=deflate reads what was not compressed" load deflate || bail "no module"
	mount_pstore
	panicked none none
	unload
	check "an unknown method is refused" sh -c \
		"! ttytool insmod /mpstore.ko test_mem=1 compress=lz4 2>/dev/null && dmesg | grep -q 'mpstore: compress=lz4: give none, deflate or zstd'"

	# --- an oops in several parts; kmsg_bytes counts text
	wipe "$REGION_A" "$REGION_A_SIZE"
	load deflate kmsg_bytes=30000
	fill oops
	oops_now
	mount_pstore
	parts() { cat $PSTORE/"$1"/dmesg-* | grep -ac '^Oops#1 Part'; }
	join() {
		for _p in 6 5 4 3 2 1; do
			for _f in $PSTORE/"$1"/dmesg-*; do [ "$(head -n 1 "$_f")" = "Oops#1 Part$_p" ] && text "$_f"; done
		done
	}
	note "parts: small $(parts small), middle $(parts middle), large $(parts large)"
	check "small records make several parts" test "$(parts small)" -ge 3
	check "a large record needs one" test "$(parts large)" = 1
	joined() {
		join small >/tmp/joined
		[ "$(wc -c </tmp/joined)" -gt 29000 ] || { wc -c /tmp/joined; return 1; }
		grep -oE "$(uuid oops) [0-9]{6}\$" /tmp/joined | awk -v last=$LINES_N '
			{ n = $2 + 0; if (NR > 1 && n != prev + 1) { print prev " is followed by " n; bad = 1 } prev = n }
			END { if (NR < 200 || prev != last) { print NR " numbers, the last is " prev; bad = 1 } exit bad }'
	}
	check "small parts together miss and double no line" joined
	unload ;;
esac
