#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A region by the name of a reserve_mem= area, beside one by address and alone.
#
# vm: timeout=120
# kernels: custom debug stock
. /tests/lib.sh
plan 26
SIZES="record_size=0x8000 console_size=0x10000 pmsg_size=0x10000 tty_size=0x10000 ftrace_size=0"

# The command line reserves 2M by name; mem_size is left out for that one.
# shellcheck disable=SC2086
load_both() { load_mpstore mem_address=$REGION_A, mem_name=,$REGION_NAME mem_size=0x100000, $SIZES; }
# shellcheck disable=SC2086
load_named() { load_mpstore mem_name=$REGION_NAME $SIZES; }
speak() {
	echo "$(uuid "m$1") kmsg" >/dev/kmsg
	printf '%s pmsg' "$(uuid "m$1")" >/dev/pmsg0
	echo "$(uuid "m$1") tty" >/dev/ttyS2
}
value_is() {
	_got=$(cat "/sys/module/mpstore/parameters/$1")
	[ "$_got" = "$2" ] || { echo "$1 is '$_got', wanted '$2'"; return 1; }
}
names_are() {
	[ -d "$PSTORE/$1" ] || { echo "no directory $PSTORE/$1"; return 1; }
	_got=$(ls "$PSTORE/$1" | tr '\n' ' ')
	[ "$_got" = "$2" ] || { echo "there is '$_got', wanted '$2'"; return 1; }
}
has() { grep -aqF "$2" "$PSTORE/$1" || { echo "$1 lacks '$2'"; return 1; }; }
content_is() {
	_got=$(cat "$PSTORE/$1")
	[ "$_got" = "$2" ] || { echo "$1: '$_got', wanted '$2'"; return 1; }
}
where() { cut -d, -f"$1" /sys/module/mpstore/parameters/mem_address; }
is_address() { echo "$1" | grep -qx '0x[1-9a-f][0-9a-f]*000' || { echo "'$1'"; return 1; }; }

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	check "mpstore loads on a region by address and one by name" load_both || bail "no module"
	check "sysfs shows where the one by address is" test "$(where 1)" = $REGION_A
	check "sysfs shows where the one by name is" is_address "$(where 2)"
	check "sysfs shows both sizes" value_is mem_size 0x100000,0x200000
	check "sysfs shows both names" value_is name ramoops,ramoops1
	check "sysfs shows the record sizes in force" value_is record_size 32768,32768
	check "sysfs shows the default of max_reason" value_is max_reason 2,2
	save WHERE "$(where 2)"
	speak 1
	next_stage 2
	panic_now ;;
2)
	check "mpstore loads again" load_both || bail "no module"
	check "the region is where it was" test "$(where 2)" = "$WHERE"
	check "mount" mount_pstore || bail "no file system"
	for b in ramoops ramoops1; do
		check "$b: dmesg has what was logged" has $b/dmesg-$b-0 "$(uuid m1) kmsg"
		check "$b: console has what was logged" has $b/console-$b-0 "$(uuid m1) kmsg"
		check "$b: pmsg is there, alone and whole" content_is $b/pmsg-$b-0 "$(uuid m1) pmsg"
		check "$b: tty is there" has $b/tty-$b-0 "ttyS2: $(uuid m1) tty"
	done
	umount_pstore
	check "unload" rmmod mpstore
	check "mpstore loads on the region by name alone" load_named || bail "no module"
	check "sysfs shows where it is" value_is mem_address "$WHERE"
	speak 2
	next_stage 3
	panic_now ;;
3)
	check "mpstore loads on it again" load_named || bail "no module"
	check "mount after the second panic" mount_pstore || bail "no file system"
	check "both dumps are there, beside the streams" names_are ramoops \
		"console-ramoops-0 dmesg-ramoops-0 dmesg-ramoops-1 pmsg-ramoops-0 tty-ramoops-0 "
	check "the first panic's" has ramoops/dmesg-ramoops-0 "$(uuid m1) kmsg"
	check "pmsg is the second boot's" content_is ramoops/pmsg-ramoops-0 "$(uuid m2) pmsg" ;;
esac
