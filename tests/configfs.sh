#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Backends made, switched and removed in configfs while everything is recorded;
# what becomes of their records is told in debugfs.
#
# vm: timeout=240
# kernels: custom debug stock
. /tests/lib.sh
plan 73
CFG=/sys/kernel/config/mpstore
STATUS=/sys/kernel/debug/mpstore/status
ROUNDS=100

mount -t configfs none /sys/kernel/config 2>/dev/null
mount -t debugfs none /sys/kernel/debug 2>/dev/null

# put DIRECTORY NAME=VALUE...
put() {
	_dir=$CFG/$1
	shift
	for _set; do
		echo "${_set#*=}" >"$_dir/${_set%%=*}" || return 1
	done
}
# refused ERRNO LINE COMMAND...: fails with that error and that line in the log.
refused() {
	_errno=$1 _line=$2
	shift 2
	dmesg -c >/dev/null
	if "$@" >/tmp/refused 2>&1; then echo "it was taken"; return 1; fi
	grep -q "$_errno" /tmp/refused || { cat /tmp/refused; return 1; }
	dmesg | grep -q "$_line" || { echo "no line '$_line':"; dmesg | grep mpstore; return 1; }
}
has() { grep -aqF "$2" "$1" || { echo "$1 lacks '$2'"; return 1; }; }
lacks() { ! grep -aqF "$2" "$1" || { echo "$1 has '$2'"; return 1; }; }
is() { [ "$(cat "$1")" = "$2" ] || { echo "$1 is '$(cat "$1")', wanted '$2'"; return 1; }; }
# field BACKEND KIND COLUMN: from the status.
field() { awk -v b="$1" -v k="$2" -v c="$3" '$1 == b && $2 == k { print $c }' $STATUS; }
field_is() { [ "$(field "$1" "$2" "$3")" = "$4" ] || { cat $STATUS; return 1; }; }
remount() { umount_pstore 2>/dev/null; mount_pstore; }
backends() { ls "$PSTORE" | tr '\n' ' '; }
backends_are() { [ "$(backends)" = "$1" ] || { echo "there is '$(backends)', wanted '$1'"; return 1; }; }
speak() { echo "$1 kmsg" >/dev/kmsg; echo "$1 pmsg" >/dev/pmsg0; echo "$1 tty" >/dev/ttyS2; }
STOP=/tmp/traffic
traffic() {
	touch $STOP
	while [ -e $STOP ]; do ttytool kmsg 20 "<5>storm" >/dev/null; usleep 20000; done &
	while [ -e $STOP ]; do ttytool write /dev/pmsg0 --nonblock "storm pmsg
" >/dev/null 2>&1; done &
	while [ -e $STOP ]; do ttytool write /dev/ttyS2 "storm tty
" >/dev/null; done &
}
rounds() {
	_i=1
	while [ $_i -le $ROUNDS ]; do
		mkdir $CFG/r || return 1
		put r mem_address=$REGION_B mem_size=$REGION_B_SIZE record_size=0x4000 power=1 || return 1
		[ $((_i % 10)) != 0 ] || oops_now || return 1
		[ $((_i % 2)) = 0 ] || echo 0 >$CFG/r/power || return 1
		rmdir $CFG/r || return 1
		_i=$((_i + 1))
	done
}

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	stty -F /dev/ttyS2 115200

	# --- none at first
	dmesg -c >/dev/null
	check "mpstore loads without a backend" load_mpstore tty_names=ttyS2 || bail "no module"
	check "and says how to make one" sh -c "dmesg | grep -q 'mpstore: nothing to record to yet: make a backend in configfs'"
	check "the file system can be mounted" mount_pstore
	check "and is empty" backends_are ""
	umount_pstore
	check "there is the directory in configfs" test -d $CFG || bail "no configfs"
	check "it tells what a backend has" is $CFG/features \
		mem_address,mem_name,mem_size,mem_type,record_size,console_size,ftrace_size,pmsg_size,tty_size,ecc,max_reason,dump_oops,ftrace_per_cpu,blkdev,kmsg_size,best_effort,blk_takeover,blk_controller,force,type,power,dmesg,console,pmsg,ftrace,tty
	check "strict=1 makes it an error" sh -c "rmmod mpstore; ! insmod /mpstore.ko strict=1 2>/dev/null"
	load_mpstore tty_names=ttyS2

	# --- one
	check "a directory is made" mkdir $CFG/one
	check "it is off" is $CFG/one/power N
	check "of a RAM region" is $CFG/one/type ram
	check "or something else, but not of anything" refused "Invalid argument" "mpstore: one: type: give ram, mem, kho or blk" \
		put one type=disk
	check "it has the defaults" is $CFG/one/record_size 4096
	check "without a place it does not start" refused "Invalid argument" "mpstore: mem_address=: an element is empty" \
		put one power=1
	check "plain memory starts" put one type=mem mem_size=0x40000 pmsg_size=0x10000 console_size=0x10000 tty_size=0x10000 power=1
	check "it is on" is $CFG/one/power Y
	check "while it is on its parameters stay" refused "resource busy" "mpstore: one: it runs; write 0 to power first" \
		put one pmsg_size=4096
	speak "$(uuid one)"
	check "the machine survives an oops" oops_now
	remount
	for k in console:kmsg pmsg:pmsg tty:tty; do
		check "it has the ${k%:*} line" has "$PSTORE/one/${k%:*}-one-0" "$(uuid one) ${k#*:}"
	done
	check "and the oops" has "$PSTORE/one/dmesg-one-0" "Oops#1 Part1"
	umount_pstore

	# --- a second one, with larger records
	mkdir $CFG/two
	check "a region starts beside it" put two mem_address=$REGION_A mem_size=$REGION_A_SIZE \
		record_size=0x10000 pmsg_size=0x10000 console_size=0x10000 tty_size=0x10000 ftrace_size=0 max_reason=2 power=1
	check "a region that is in use is refused" refused "resource busy" "mpstore: three: mem_address=.*overlaps the region" \
		sh -c "mkdir $CFG/three && cd $CFG/three && echo $REGION_A >mem_address && echo 0x10000 >mem_size && echo 1 >power"
	rmdir $CFG/three
	speak "$(uuid two)"
	# More text than the small records hold, so that only the large buffer has the first line of it.
	ttytool kmsg 300 "<6>$(uuid fill) a line to fill the log with" >/dev/null
	oops_now
	remount
	check "both have a directory" backends_are "one two "
	for k in console:kmsg pmsg:pmsg tty:tty; do
		check "the first goes on with ${k%:*}" has "$PSTORE/one/${k%:*}-one-0" "$(uuid two) ${k#*:}"
	done
	check "the second has nothing of before it" lacks "$PSTORE/two/dmesg-two-0" "Oops#1"
	check "its record is larger than the first one's" sh -c \
		"[ \$(stat -c %s $PSTORE/two/dmesg-two-0) -gt 10000 ]"
	check "what it has counts on" has "$PSTORE/two/dmesg-two-0" "Oops#2 Part1"

	# --- switches
	check "pmsg is switched off for one" put one pmsg=N
	check "and reads so" is $CFG/one/pmsg N
	echo "$(uuid off)" >/dev/pmsg0
	remount
	check "it does not get the next line" lacks "$PSTORE/one/pmsg-one-0" "$(uuid off)"
	check "what it had is still there" has "$PSTORE/one/pmsg-one-0" "$(uuid two) pmsg"
	check "it is switched on again" put one pmsg=Y
	echo "$(uuid on)" >/dev/pmsg0
	remount
	check "and gets the line after that" has "$PSTORE/one/pmsg-one-0" "$(uuid on)"
	check "dmesg off for one" put one dmesg=0
	before=$(field one dmesg 4)
	oops_now
	check "keeps the oops from it" field_is one dmesg 4 "$before"
	check "and from no other" field_is two dmesg 4 2
	check "nonsense is refused" refused "Invalid argument" "mpstore: pmsg=maybe: give Y or N" put one pmsg=maybe
	put one dmesg=1

	# --- status
	check "the status counts pmsg records" field_is one pmsg 4 3
	bytes=$(($(printf '%s pmsg\n%s pmsg\n%s\n' "$(uuid one)" "$(uuid two)" "$(uuid on)" | wc -c)))
	check "and their bytes" field_is one pmsg 5 $bytes
	check "it says what is on" field_is one pmsg 3 Y
	check "nothing was lost" sh -c "! awk 'NR > 1 && (\$6 || \$7 || \$8 || \$11)' $STATUS | grep ."

	# --- what is wrong
	check "a bad name is refused" refused "Invalid argument" "mpstore: name=bad-name: give 1 to 15 letters" mkdir $CFG/bad-name
	mkdir $CFG/three
	bad() { put three type=ram mem_address=$REGION_B mem_size=0x40000 "$@" power=1; }
	check "a bad size is refused" refused "Invalid argument" "mpstore: pmsg_size=much: not a number" bad pmsg_size=much
	check "a bad mem_type is refused" refused "Invalid argument" "mpstore: mem_type=3: give 0 (write" bad pmsg_size=4096 mem_type=3
	check "a list is refused" refused "Invalid argument" "mpstore: ecc=1,2: one backend" bad ecc=1,2
	check "a bad dump_oops is refused" refused "Invalid argument" "mpstore: dump_oops=2: give 1, 0" bad mem_type=0 dump_oops=2
	check "dump_oops=0 and mem_type=2 are taken" bad mem_type=2 dump_oops=0
	n=$(field two dmesg 4)
	oops_now
	check "an oops is kept where it should be" field_is two dmesg 4 $((n + 1))
	check "and not where dump_oops=0" field_is three dmesg 4 0
	check "with directories it can't be unloaded" sh -c "! rmmod mpstore 2>/dev/null"
	check "a directory goes, and its backend" rmdir $CFG/three
	check "as the status says" sh -c "! grep '^three ' $STATUS"

	# --- adoption
	umount_pstore
	rmdir $CFG/one $CFG/two
	check "without directories it is unloaded" rmmod mpstore
	load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x10000 pmsg_size=0x10000 \
		console_size=0x10000 tty_size=0x10000 ftrace_size=0 tty_names=ttyS2
	check "a directory stands for the backend of that name" mkdir $CFG/ramoops
	check "which runs" is $CFG/ramoops/power Y
	check "another can't take its region" refused "resource busy" "overlaps" sh -c \
		"mkdir $CFG/x && cd $CFG/x && echo $REGION_A >mem_address && echo 0x10000 >mem_size && echo 1 >power"
	rmdir $CFG/x
	check "it is removed" put ramoops power=0
	remount
	check "and is not shown" backends_are ""
	umount_pstore
	rmdir $CFG/ramoops

	# --- no more than there can be
	i=0
	while [ $i -lt 32 ]; do
		mkdir $CFG/m$i && put m$i type=mem mem_size=0x10000 power=1 || break
		i=$((i + 1))
	done
	check "32 backends" test $i = 32
	mkdir $CFG/m32
	check "one more is refused" refused "Argument list too long" "mpstore: m32: there are 32 backends already, the most at once" \
		put m32 type=mem mem_size=0x10000 power=1
	echo "$(uuid all)" >/dev/pmsg0
	remount
	check "all of them record" test "$(grep -laF "$(uuid all)" $PSTORE/*/pmsg-* | wc -l)" = 32
	umount_pstore
	check "and go" rmdir $CFG/m*

	# The custom kernel has KHO, switched off; Debian's has none.
	mkdir $CFG/k
	check "KHO where there is none is refused" refused "Operation not supported" "mpstore: k: nothing can be handed over: this kernel " \
		put k type=kho power=1
	check "so is a value that is longer than any" refused "Invalid argument" "mpstore: blkdev=...: too long" \
		put k "blkdev=$(printf '%04000d' 0)"
	check "the directory goes" rmdir $CFG/k

	# --- all at once
	mkdir $CFG/keep
	put keep type=mem mem_size=0x200000 pmsg_size=0x100000 console_size=0x10000 power=1
	rounds_before=$(free_kb)
	traffic
	check "$ROUNDS times added and removed while all is recorded" rounds
	rm $STOP
	wait
	after=$(free_kb)
	note "memory available: $rounds_before kB before, $after kB after"
	check "memory is as before" test $((rounds_before - after)) -lt $SLACK
	remount
	check "no pmsg line is broken" sh -c "! grep -avxE 'storm pmsg' $PSTORE/keep/pmsg-keep-0 | tail -n +2 | grep ."

	# --- and it is there after a panic
	mkdir $CFG/last
	put last mem_address=$REGION_A mem_size=$REGION_A_SIZE pmsg_size=0x10000 console_size=0x10000 \
		tty_size=0x10000 ftrace_size=0 record_size=0x10000 power=1
	speak "$(uuid last)"
	next_stage 2
	panic_now ;;
2)
	load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x10000 pmsg_size=0x10000 \
		console_size=0x10000 tty_size=0x10000 ftrace_size=0
	mount_pstore
	check "after a panic the last one has the dump" sh -c "grep -l 'Panic#' $PSTORE/ramoops/dmesg-*"
	check "and what was said" sh -c "grep -aq '$(uuid last) pmsg' $PSTORE/ramoops/pmsg-ramoops-0 &&
		grep -aq '$(uuid last) tty' $PSTORE/ramoops/tty-ramoops-0" ;;
esac
