#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Load and unload while everything that is recorded keeps coming: the probe on
# ttys, the console, the device and the dumper come and go under their users.
# On the debug kernel init looks for leaks when this is over.
#
# vm: timeout=600
# kernels: custom debug stock
. /tests/lib.sh
plan 25
ROUNDS=200
# A round takes seconds there.
[ "$KIND" != debug ] || ROUNDS=25
SIZES="test_mem=2 test_mem_size=0x100000 record_size=0x4000 console_size=0x10000 pmsg_size=0x40000
	ftrace_size=0 tty_size=0x40000"

# shellcheck disable=SC2086
load() { load_mpstore $SIZES mem_address=$REGION_A mem_size=$REGION_A_SIZE tty_names='ttyS*,!ttyS1' "$@"; }
loaded() { grep -q '^mpstore ' /proc/modules; }
# unload: a writer may have /dev/pmsg0 open just now.
unload() {
	_n=0
	until rmmod mpstore 2>/tmp/rmmod.out; do
		_n=$((_n + 1))
		[ $_n -lt 200 ] || { cat /tmp/rmmod.out; return 1; }
		usleep 20000
	done
}
refuses() {
	! rmmod mpstore 2>/tmp/rmmod.out || { echo "it was unloaded"; return 1; }
	cat /tmp/rmmod.out
	# What rmmod says for EBUSY and for EAGAIN.
	grep -q 'busy\|temporarily unavailable' /tmp/rmmod.out && loaded
}

# Each goes on until the file is gone, so that no one has to be killed in the
# middle of a write.
STOP=/tmp/traffic
traffic() {
	touch $STOP
	while [ -e $STOP ]; do
		ttytool kmsg 20 "<5>storm $(uuid)" >/dev/null
		# On the console, too, but not so that it is all that happens.
		usleep 50000
	done &
	W1=$!
	# ttytool, since a shell would make a file where there is no device.
	while [ -e $STOP ]; do
		ttytool write /dev/pmsg0 --nonblock "storm pmsg
" >/dev/null 2>&1
	done &
	W2=$!
	while [ -e $STOP ]; do
		ttytool two /dev/ttyS2 /dev/ttyS3 100 >/dev/null
		echo >>/tmp/tty.rounds
	done &
	W3=$!
	while [ -e $STOP ]; do
		ttytool write /dev/ttyS2 --raw --chunks 50 --pattern 1 2000 >/dev/null
	done &
	W4=$!
}
calm() {
	rm $STOP
	wait $W1 $W2 $W3 $W4
}

# round N: a whole life: load, be used, now and then mounted, unload.
round() {
	load || { echo "load $1"; return 1; }
	ttytool write /dev/pmsg0 --nonblock "round $1 $(uuid)
" >/dev/null || { echo "write $1"; return 1; }
	if [ $(($1 % 10)) = 0 ]; then
		mount_pstore || { echo "mount $1"; return 1; }
		grep -qx "round $1 $(uuid)" "$PSTORE/mem0/pmsg-mem0-0" || { echo "read $1"; return 1; }
		umount_pstore || { echo "umount $1"; return 1; }
	fi
	unload || { echo "unload $1"; return 1; }
	! loaded || { echo "still there $1"; return 1; }
	[ ! -e /dev/pmsg0 ] || { echo "pmsg0 still there $1"; return 1; }
}
storm() {
	_i=1
	while [ $_i -le $ROUNDS ]; do
		round $_i || return 1
		_i=$((_i + 1))
	done
}
tty_traffic() { [ "$(wc -l </tmp/tty.rounds)" -ge 3 ]; }

# What is there of a pstore, the kernel's own perhaps.
pstores() { ls -d /sys/fs/pstore 2>&1; grep -w pstore /proc/filesystems; }
expect_nothing_left() {
	! grep mpstore /proc/iomem /proc/modules /proc/misc || return 1
	[ "$(pstores)" = "$first" ] || { echo "was '$first', is '$(pstores)'"; return 1; }
}

case $STAGE in
1)
	stty -F /dev/ttyS2 115200
	stty -F /dev/ttyS3 115200
	wipe "$REGION_A" "$REGION_A_SIZE"
	first=$(pstores)
	# What the first loads allocate once and for all is no leak.
	check "mpstore loads" load || bail "no module"
	check "and unloads" unload
	load && unload
	before=$(free_kb)
	traffic
	start=$(cut -d. -f1 /proc/uptime)
	check "$ROUNDS times loaded and unloaded under traffic" storm
	note "$(($(cut -d. -f1 /proc/uptime) - start)) s"

	# --- the last of them, still under traffic
	check "it loads once more" load || bail "no module"
	numbered() { awk -v id="$(uuid)" 'BEGIN { for (i = 1; i <= 500; i++) print "last " id, i }'; }
	check "500 lines of pmsg while the traffic goes on" sh -c "
		i=1; while [ \$i -le 500 ]; do echo last $(uuid) \$i; i=\$((i + 1)); done >/dev/pmsg0"
	check "there was traffic on the ttys all the time" tty_traffic
	calm
	mount_pstore
	for b in mem0 mem1; do
		numbered >/tmp/want
		grep "^last $(uuid) " "$PSTORE/$b/pmsg-$b-0" >/tmp/got
		check "$b: all 500 lines are there, whole and in order" cmp /tmp/want /tmp/got
		check "$b: the other writer's lines are whole, too" \
			sh -c "! grep -vxE 'storm pmsg|last $(uuid) [0-9]+' $PSTORE/$b/pmsg-$b-0"
	done
	umount_pstore
	unload

	# --- what keeps it
	load
	uuid open >/dev/pmsg0
	mount_pstore
	check "mounted, it can't be unloaded" refuses
	exec 5<"$PSTORE/mem0/pmsg-mem0-0"
	check "a file that is open is removed" rm "$PSTORE/mem0/pmsg-mem0-0"
	check "its name is gone" test ! -e "$PSTORE/mem0/pmsg-mem0-0"
	content() { [ "$(cat <&5)" = "$(uuid open)" ]; }
	check "who has it open still reads all of it" content
	check "the file system can't be unmounted as long" sh -c "! umount $PSTORE 2>/dev/null"
	exec 5<&-
	check "then it can" umount_pstore
	exec 6>/dev/pmsg0
	check "with /dev/pmsg0 open it can't be unloaded" refuses
	check "a write through it still arrives" sh -c "echo $(uuid late) >&6"
	exec 6>&-
	mount_pstore
	check "as is to be seen" grep -qx "$(uuid late)" "$PSTORE/mem1/pmsg-mem1-0"
	umount_pstore
	check "with nobody there it unloads" rmmod mpstore
	check "nothing is left of it" expect_nothing_left

	after=$(free_kb)
	note "memory available: $before kB before, $after kB after"
	# One backend that stays behind in each round would be 50 MB.
	check "memory is as before" test $((before - after)) -lt $SLACK

	# --- the medium after all that
	load
	uuid whole >/dev/pmsg0
	next_stage 2
	reboot_now ;;
2)
	check "it loads after a reboot" load || bail "no module"
	check "the region is whole" sh -c "! dmesg | grep 'hold garbage'"
	mount_pstore
	check "and has the last line" sh -c "[ \"\$(cat $PSTORE/ramoops/pmsg-ramoops-0)\" = $(uuid whole) ]"
	umount_pstore
	unload ;;
esac
