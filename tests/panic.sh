#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Every frontend on two regions over a panic; a second panic on top of it; and
# what removing a file erases, and what not.
#
# vm: timeout=180
# kernels: custom debug stock
. /tests/lib.sh
plan 75

load() {
	load_mpstore mem_address=$REGION_A,$REGION_B mem_size=0x100000 record_size=0x8000 \
		console_size=0x10000 pmsg_size=0x10000 tty_size=0x10000 ftrace_size=0
}
# Bytes that text handling would spoil: NUL, 0xff, CR, no newline at the end.
pmsg_bytes() { printf '%s one\n\0\377\r\n%s two' "$(uuid "p$1")" "$(uuid "p$1")"; }
# speak N: something for each frontend.
speak() {
	echo "$(uuid "m$1") kmsg" >/dev/kmsg
	pmsg_bytes "$1" >/dev/pmsg0
	echo "$(uuid "m$1") tty" >/dev/ttyS2
}
# What is in a backend's directory, and what each file holds.
names() { ls "$PSTORE/$1" | tr '\n' ' '; }
names_are() {
	[ -d "$PSTORE/$1" ] || { echo "no directory $PSTORE/$1"; return 1; }
	_got=$(names "$1")
	[ "$_got" = "$2" ] || { echo "there is '$_got', wanted '$2'"; return 1; }
}
sums() { (cd "$PSTORE" && find . -type f | sort | xargs sha256sum); }
sum() { sha256sum <"$PSTORE/$1" | cut -d' ' -f1; }
sum_is() {
	_got=$(sum "$1")
	[ "$_got" = "$2" ] || { echo "$1 changed: $_got, was $2"; return 1; }
}
pmsg_is() { pmsg_bytes "$2" >/tmp/want; cmp /tmp/want "$PSTORE/$1"; }
attributes_are() { # FILE "MODE UID GID"
	_got=$(stat -c '%a %u %g' "$PSTORE/$1")
	[ "$_got" = "$2" ] || { echo "$1: '$_got', wanted '$2'"; return 1; }
}
size_is_length() {
	_size=$(stat -c %s "$PSTORE/$1") _len=$(wc -c <"$PSTORE/$1")
	[ "$_len" -gt 0 ] && [ "$_size" = "$_len" ] || { echo "$1: size $_size, length $_len"; return 1; }
}
first_line_is() {
	_got=$(head -n 1 "$PSTORE/$1")
	[ "$_got" = "$2" ] || { echo "$1 begins with '$_got', wanted '$2'"; return 1; }
}
has() { grep -aqF "$2" "$PSTORE/$1" || { echo "$1 lacks '$2'"; return 1; }; }
lacks() { ! grep -aqF "$2" "$PSTORE/$1" || { echo "$1 has '$2'"; return 1; }; }
lines_are() { # FILE TEXT N: so many lines with it
	_got=$(grep -acF "$2" "$PSTORE/$1")
	[ "$_got" = "$3" ] || { echo "$1: $_got lines with '$2', wanted $3"; return 1; }
}
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ] || { echo "$1 is not in $2..$3"; return 1; }; }
# Stamped with time and name of the tty, one line for the one write.
tty_line() {
	_line=$(grep -aF "$(uuid "m$2") tty" "$PSTORE/$1")
	echo "$_line" | grep -Eq "^\[ *[0-9]+\.[0-9]{6}\] ttyS2: $(uuid "m$2") tty.?$" ||
		{ echo "$1: '$_line'"; return 1; }
}
PANIC='Kernel panic - not syncing: sysrq triggered crash'

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	check "mpstore loads on two regions" load || bail "no module"
	check "mount works on regions without records" mount_pstore
	check "ramoops has a directory without files" names_are ramoops ""
	check "ramoops1 has a directory without files" names_are ramoops1 ""
	speak 1
	save CRASHED "$(date +%s)"
	next_stage 2
	panic_now ;;
2)
	check "mpstore loads after the panic" load || bail "no module"
	check "mount after the panic" mount_pstore || bail "no file system"
	check "the mount is of type pstore" grep -q "^[^ ]* $PSTORE pstore " /proc/mounts
	check "statfs gives pstore's magic number" test "$(stat -f -c %t "$PSTORE")" = 6165676c
	for b in ramoops ramoops1; do
		check "$b: the four files are there and no other" \
			names_are $b "console-$b-0 dmesg-$b-0 pmsg-$b-0 tty-$b-0 "
		check "$b: the directory is root's with mode 0750" attributes_are $b "750 0 0"
		for k in console dmesg pmsg tty; do
			f=$b/$k-$b-0
			check "$f is root's with mode 0444" attributes_are $f "444 0 0"
			check "$f is as long as its size says" size_is_length $f
		done
		check "$b: dmesg begins with the reason" first_line_is $b/dmesg-$b-0 "Panic#1 Part1"
		check "$b: dmesg has what was logged, once" lines_are $b/dmesg-$b-0 "$(uuid m1) kmsg" 1
		check "$b: dmesg has the panic itself" has $b/dmesg-$b-0 "$PANIC"
		check "$b: dmesg's time is that of the crash" between \
			"$(stat -c %Y "$PSTORE/$b/dmesg-$b-0")" "$CRASHED" "$((CRASHED + 30))"
		check "$b: console has what was logged, once" lines_are $b/console-$b-0 "$(uuid m1) kmsg" 1
		check "$b: console has the panic itself" has $b/console-$b-0 "$PANIC"
		check "$b: pmsg has the very bytes" pmsg_is $b/pmsg-$b-0 1
		check "$b: tty has the line with time and name" tty_line $b/tty-$b-0 1
	done
	check "both regions hold the same dump" test "$(sum ramoops/dmesg-ramoops-0)" = "$(sum ramoops1/dmesg-ramoops1-0)"
	save SUM_0 "$(sum ramoops/dmesg-ramoops-0)"
	speak 2
	next_stage 3
	panic_now ;;
3)
	check "mpstore loads after the second panic" load || bail "no module"
	check "mount after the second panic" mount_pstore || bail "no file system"
	for b in ramoops ramoops1; do
		check "$b: both dumps are there" \
			names_are $b "console-$b-0 dmesg-$b-0 dmesg-$b-1 pmsg-$b-0 tty-$b-0 "
		check "$b: the first dump is as it was" sum_is $b/dmesg-$b-0 "$SUM_0"
		check "$b: the second dump is the second panic's" has $b/dmesg-$b-1 "$(uuid m2) kmsg"
		check "$b: the second dump is not the first's" lacks $b/dmesg-$b-1 "$(uuid m1)"
		check "$b: pmsg is the second boot's" pmsg_is $b/pmsg-$b-0 2
		check "$b: tty is the second boot's" tty_line $b/tty-$b-0 2
		check "$b: console is the second boot's" lines_are $b/console-$b-0 "$(uuid m2) kmsg" 1
	done
	save SUM_1 "$(sum ramoops/dmesg-ramoops-1)"
	sums >/tmp/before
	check "remove a dmesg record" rm "$PSTORE/ramoops/dmesg-ramoops-0"
	check "remove a console record" rm "$PSTORE/ramoops1/console-ramoops1-0"
	grep -v -e ramoops/dmesg-ramoops-0 -e ramoops1/console-ramoops1-0 /tmp/before >/tmp/want
	sums >/tmp/after
	check "those two are gone and all others as before" diff /tmp/want /tmp/after
	check "umount" umount_pstore
	check "mount again" mount_pstore
	sums >/tmp/after
	check "that holds after umount and mount" diff /tmp/want /tmp/after
	echo "$(uuid m3) kmsg" >/dev/kmsg
	next_stage 4
	reboot_now ;;
4)
	check "mpstore loads after the restart" load || bail "no module"
	check "mount after the restart" mount_pstore || bail "no file system"
	# Nobody wrote to /dev/pmsg0 in the boot before.
	ls "$PSTORE/ramoops" "$PSTORE/ramoops1" >/tmp/names
	check "the erased dump stays erased, the other one is kept" \
		test "$(grep dmesg-ramoops- /tmp/names)" = dmesg-ramoops-1
	check "the kept dump is as it was" sum_is ramoops/dmesg-ramoops-1 "$SUM_1"
	check "the other region still has the first dump" sum_is ramoops1/dmesg-ramoops1-0 "$SUM_0"
	check "the other region still has the second dump" sum_is ramoops1/dmesg-ramoops1-1 "$SUM_1"
	check "the boot that erased the old console kept its own" \
		lines_are ramoops1/console-ramoops1-0 "$(uuid m3) kmsg" 1
	check "a boot that wrote no pmsg leaves none" sh -c '! grep pmsg /tmp/names' ;;
esac
