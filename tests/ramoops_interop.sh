#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The C ramoops of Debian's own kernel reads what mpstore wrote, and mpstore
# reads what it wrote. It is given the same parameters and mem_size less
# tty_size, and must leave the tty zone alone. Both compress their dumps.
#
# Loading either begins new console and pmsg zones, so that only one can read
# them from a region: mpstore gets a copy, made before anything is loaded.
#
# vm: timeout=150 quiet=90 ram=file second=stock
# kernels: custom
. /tests/lib.sh
plan 29
TTY_SIZE=0x10000
C_SIZE=$((REGION_A_SIZE - TTY_SIZE))
ZONES="record_size=0x8000 console_size=0x10000 pmsg_size=0x10000 ftrace_size=0"

# shellcheck disable=SC2086
load() { load_mpstore mem_address="$1" mem_size=$REGION_A_SIZE tty_size=$TTY_SIZE $ZONES; }
load_c() {
	[ -d /sys/module/reed_solomon ] || insmod /modules/reed_solomon.ko || return
	# shellcheck disable=SC2086
	insmod /modules/ramoops.ko mem_address=$REGION_A mem_size=$C_SIZE $ZONES ecc=0
}
copy_region() {
	dd if=/dev/mem of=/tmp/region bs=4096 skip=$((REGION_A / 4096)) count=$((REGION_A_SIZE / 4096)) &&
		dd if=/tmp/region of=/dev/mem bs=4096 seek=$((REGION_B / 4096)) conv=notrunc
}
pmsg_bytes() { printf '%s one\n\0\377\r\n%s two' "$(uuid p)" "$(uuid p)"; }
sum() { sha256sum <"$1" | cut -d' ' -f1; }
sum_is() {
	_got=$(sum "$1")
	[ "$_got" = "$2" ] || { echo "$1 is $_got, not $2:"; head -c 300 "$1"; return 1; }
}
has() { grep -aqF "$2" "$1" || { echo "$1 lacks '$2'"; return 1; }; }
first_line_is() { [ "$(head -n 1 "$1")" = "$2" ] || { echo "$1 begins with '$(head -n 1 "$1")'"; return 1; }; }
pmsg_is() { pmsg_bytes >/tmp/want; cmp /tmp/want "$1"; }
names_are() {
	[ -d "$1" ] || { echo "no directory $1"; return 1; }
	_got=$(ls "$1" | tr '\n' ' ')
	[ "$_got" = "$2" ] || { echo "there is '$_got', wanted '$2'"; return 1; }
}

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	check "mpstore loads" load $REGION_A || bail "no module"
	echo "$(uuid m) kmsg" >/dev/kmsg
	pmsg_bytes >/dev/pmsg0
	echo "$(uuid m) tty" >/dev/ttyS2
	next_stage 2
	panic_now ;;
2)
	check "a copy of the region is made" copy_region
	check "mpstore loads on the copy" load $REGION_B || bail "no module"
	check "mount" mount_pstore || bail "no file system"
	d=$PSTORE/ramoops
	check "mpstore shows the four records" names_are $d \
		"console-ramoops-0 dmesg-ramoops-0 pmsg-ramoops-0 tty-ramoops-0 "
	check "mpstore's dmesg has what was logged" has $d/dmesg-ramoops-0 "$(uuid m) kmsg"
	check "mpstore's tty has what was written" has $d/tty-ramoops-0 "ttyS2: $(uuid m) tty"
	save DMESG "$(sum $d/dmesg-ramoops-0)"
	save CONSOLE "$(sum $d/console-ramoops-0)"
	save TTY "$(sum $d/tty-ramoops-0)"
	next_stage 3
	switch_kernel stock ;;
3)
	# Debian's kernel has no CONFIG_KEXEC_HANDOVER.
	insmod /modules/configfs.ko
	check "kho=Y is refused where the kernel can't" sh -c "ttytool insmod /mpstore.ko kho=Y 2>&1 | grep EOPNOTSUPP"
	check "with a line that says why" sh -c \
		"dmesg | grep 'mpstore: kho: nothing can be handed over: this kernel was built without CONFIG_KEXEC_HANDOVER'"
	check "the C ramoops loads on mpstore's region" load_c || bail "no C ramoops"
	mount -t pstore pstore $PSTORE 2>/dev/null
	check "the C ramoops shows the same records, tty aside" names_are $PSTORE \
		"console-ramoops-0 dmesg-ramoops-0 pmsg-ramoops-0 "
	check "its dmesg is the one that mpstore shows" sum_is $PSTORE/dmesg-ramoops-0 "$DMESG"
	check "its dmesg has what was logged" has $PSTORE/dmesg-ramoops-0 "$(uuid m) kmsg"
	check "its console is the one that mpstore shows" sum_is $PSTORE/console-ramoops-0 "$CONSOLE"
	check "its console has what was logged" has $PSTORE/console-ramoops-0 "$(uuid m) kmsg"
	check "its pmsg has the very bytes" pmsg_is $PSTORE/pmsg-ramoops-0
	check "it erases mpstore's dump" rm $PSTORE/dmesg-ramoops-0
	# The other direction.
	echo "$(uuid c) kmsg" >/dev/kmsg
	next_stage 4
	panic_now ;;
4)
	# Still the stock kernel: what does C make of its own dump?
	check "the C ramoops loads on its own region" load_c || bail "no C ramoops"
	mount -t pstore pstore $PSTORE 2>/dev/null
	check "the C ramoops has its own dump, and only that" names_are $PSTORE "dmesg-ramoops-0 "
	check "it has what was logged" has $PSTORE/dmesg-ramoops-0 "$(uuid c) kmsg"
	save C_DMESG "$(sum $PSTORE/dmesg-ramoops-0)"
	save C_TIME "$(stat -c %Y $PSTORE/dmesg-ramoops-0)"
	next_stage 5
	switch_kernel custom ;;
5)
	check "mpstore loads on C's region" load $REGION_A || bail "no module"
	check "mount on the custom kernel" mount_pstore || bail "no file system"
	d=$PSTORE/ramoops
	check "mpstore shows C's dump, and its own tty record" names_are $d "dmesg-ramoops-0 tty-ramoops-0 "
	check "it begins with the reason" first_line_is $d/dmesg-ramoops-0 "Panic#1 Part1"
	check "it has what was logged" has $d/dmesg-ramoops-0 "$(uuid c) kmsg"
	check "it is what the C ramoops shows" sum_is $d/dmesg-ramoops-0 "$C_DMESG"
	check "its time is what the C ramoops shows" test "$(stat -c %Y $d/dmesg-ramoops-0)" = "$C_TIME"
	check "C left the tty zone alone" sum_is $d/tty-ramoops-0 "$TTY"
	check "removing C's dump works" rm $d/dmesg-ramoops-0 ;;
esac
