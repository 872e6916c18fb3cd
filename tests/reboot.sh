#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What is left after `reboot -f` and after the reset button: the streams both
# times, a dump only where max_reason asks for an orderly restart.
#
# vm: timeout=120
# kernels: custom debug stock
. /tests/lib.sh
plan 26

load() {
	load_mpstore mem_address=$REGION_A,$REGION_B mem_size=0x100000 record_size=0x8000 \
		console_size=0x10000 pmsg_size=0x10000 tty_size=0x10000 ftrace_size=0 max_reason=4,-1
}
speak() {
	echo "$(uuid "m$1") kmsg" >/dev/kmsg
	printf '%s pmsg' "$(uuid "m$1")" >/dev/pmsg0
	echo "$(uuid "m$1") tty" >/dev/ttyS2
}
names_are() {
	[ -d "$PSTORE/$1" ] || { echo "no directory $PSTORE/$1"; return 1; }
	_got=$(ls "$PSTORE/$1" | tr '\n' ' ')
	[ "$_got" = "$2" ] || { echo "there is '$_got', wanted '$2'"; return 1; }
}
lines_are() {
	_got=$(grep -acF "$2" "$PSTORE/$1")
	[ "$_got" = "$3" ] || { echo "$1: $_got lines with '$2', wanted $3"; return 1; }
}
content_is() {
	_got=$(cat "$PSTORE/$1")
	[ "$_got" = "$2" ] || { echo "$1: '$_got', wanted '$2'"; return 1; }
}
streams() { # BACKEND N HOW
	check "$1: console survives $3" lines_are "$1/console-$1-0" "$(uuid "m$2") kmsg" 1
	check "$1: pmsg survives $3, alone and whole" content_is "$1/pmsg-$1-0" "$(uuid "m$2") pmsg"
	check "$1: tty survives $3" lines_are "$1/tty-$1-0" "ttyS2: $(uuid "m$2") tty" 1
}
RESTART="reboot: Restarting system"

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	check "mpstore loads" load || bail "no module"
	speak 1
	next_stage 2
	reboot_now ;;
2)
	check "mpstore loads after the restart" load || bail "no module"
	check "mount after the restart" mount_pstore || bail "no file system"
	check "max_reason=4 keeps a dump" names_are ramoops \
		"console-ramoops-0 dmesg-ramoops-0 pmsg-ramoops-0 tty-ramoops-0 "
	check "the default keeps none" names_are ramoops1 \
		"console-ramoops1-0 pmsg-ramoops1-0 tty-ramoops1-0 "
	f=ramoops/dmesg-ramoops-0
	check "the dump says Shutdown" test "$(head -n 1 "$PSTORE/$f")" = "Shutdown#1 Part1"
	check "the dump has what was logged, once" lines_are $f "$(uuid m1) kmsg" 1
	check "console has the kernel's last line" lines_are ramoops1/console-ramoops1-0 "$RESTART" 1
	streams ramoops 1 "reboot -f"
	streams ramoops1 1 "reboot -f"
	check "remove the dump" rm "$PSTORE/$f"
	speak 2
	next_stage 3
	hard_reset ;;
3)
	check "mpstore loads after the reset" load || bail "no module"
	check "mount after the reset" mount_pstore || bail "no file system"
	# The kernel had no time to say anything.
	check "ramoops: the streams are there and no dump" names_are ramoops \
		"console-ramoops-0 pmsg-ramoops-0 tty-ramoops-0 "
	check "ramoops1: the streams are there and no dump" names_are ramoops1 \
		"console-ramoops1-0 pmsg-ramoops1-0 tty-ramoops1-0 "
	check "console has no restart in it" lines_are ramoops/console-ramoops-0 "$RESTART" 0
	streams ramoops 2 "a hard reset"
	streams ramoops1 2 "a hard reset" ;;
esac
