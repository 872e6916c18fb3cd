#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The tty frontend: every byte that a tty's driver accepted, once, in order, as
# the caller wrote it; which ttys; stamps; and the last words before a panic.
#
# All but the last part looks at a plain-memory backend, which shows what this
# very kernel recorded: no reboot is needed, and with tty_raw the file must be
# equal to what was written, byte for byte. ttyS0 and ttyS1 are never selected
# while bytes are compared: the test itself talks there.
#
# vm: timeout=240
# kernels: custom debug stock
. /tests/lib.sh
plan 40
A=/dev/ttyS2
B=/dev/ttyS3
PARAMS=/sys/module/mpstore/parameters
FILE=mem0/tty-mem0-0

# Only a tty zone, and that large enough for nothing to be overwritten.
load_tty() {
	load_mpstore test_mem=1 test_mem_size=0x40000 record_size=0 console_size=0 ftrace_size=0 \
		pmsg_size=0 tty_size=0x40000 "$@"
}
again() { rmmod mpstore && load_tty "$@"; }
set_param() { echo "$2" >"$PARAMS/$1"; }

# got: what is recorded, in /tmp/got. No file means that nothing is.
got() {
	: >/tmp/got
	mount_pstore || return
	if [ -e "$PSTORE/$FILE" ]; then
		cat "$PSTORE/$FILE" >/tmp/got
		# The next part begins with nothing.
		rm "$PSTORE/$FILE"
	fi
	umount_pstore
}
differ() {
	cmp /tmp/want "$1" && return
	echo "wanted $(wc -c </tmp/want) bytes, got $(wc -c <"$1"):"
	hexdump -C "$1" | head -n 8
	return 1
}
# recorded_is: exactly /tmp/want is recorded.
recorded_is() { got && differ /tmp/got; }
unstamped() { sed 's/^\[ *[0-9][0-9]*\.[0-9]\{6\}\] //' "$1"; }
unstamped_is() { got && unstamped /tmp/got >/tmp/plain && differ /tmp/plain; }
# demux NAME: what was written to one tty. A line that another tty cut off goes
# on where the next one of the same name has a plus sign.
demux() {
	awk -v name="$1" '
		match($0, /^\[ *[0-9]+\.[0-9]+\] [^ :+]+[:+] /) {
			stamp = substr($0, RSTART, RLENGTH)
			text = substr($0, RLENGTH + 1)
			sub(/^\[ *[0-9.]+\] /, "", stamp)
			if (substr(stamp, 1, length(stamp) - 2) != name) next
			if (n++ && stamp !~ /\+ $/) printf "\n"
			printf "%s", text
			next
		}
		{ exit 1 }
		END { if (n) printf "\n" }' /tmp/got
}
demux_is() { demux "$1" >/tmp/plain && differ /tmp/plain; }
cuts() { grep -c '^\[ *[0-9.]*\] ttyS[23]+ ' /tmp/got; }
# From one line to the next the time never goes back.
monotonic() {
	[ -s /tmp/got ] && sed 's/^\[ *\([0-9.]*\)\].*/\1/' /tmp/got |
		awk 'NF != 1 || $1 + 0 < last { print NR ": " $0 " after " last; bad = 1 }
			{ last = $1 + 0 } END { exit bad || last == 0 }'
}
# The time is that of the kernel log: between that of two records written before
# and after.
between() {
	awk -v from="$(log_time before)" -v to="$(log_time after)" '
		{ sub(/^\[ */, ""); t = $1 + 0 }
		t < from + 0 || t > to + 0 { print t " is not in " from "-" to; bad = 1 }
		END { exit bad || NR == 0 }' /tmp/got
}
log_time() { dmesg | sed -n "s/^\[ *\([0-9.]*\)\].*$(uuid "$1")\$/\1/p" | tail -n 1; }
# refused PARAM VALUE: at run time, with EINVAL, one line in the log that names
# both, and the old value stays.
refused() {
	_old=$(cat "$PARAMS/$1")
	echo "$(uuid mark)-$1" >/dev/kmsg
	sh -c "echo '$2' >$PARAMS/$1" 2>/tmp/err && { echo "taken"; return 1; }
	grep -q 'Invalid argument' /tmp/err || { cat /tmp/err; return 1; }
	[ "$(cat "$PARAMS/$1")" = "$_old" ] || { echo "now it is $(cat "$PARAMS/$1")"; return 1; }
	dmesg | sed "1,/$(uuid mark)-$1\$/d" | grep 'mpstore: ' >/tmp/lines
	cat /tmp/lines
	[ "$(wc -l </tmp/lines)" = 1 ] && grep -qF "mpstore: $1=$2: " /tmp/lines
}
ttys_busy() { [ "$(wc -l </tmp/hold.out)" = 1 ]; }
wait_for() {
	_n=0
	until "$@"; do
		_n=$((_n + 1))
		[ $_n -lt 300 ] || { echo "waited in vain: $*"; return 1; }
		usleep 100000
	done
}
# What a line must survive: escapes, tabs, carriage returns, an empty line.
odd_text() { printf 'tab\there\r\n\n\033[1mbold\033[0m \\n %%s\n\t\r\n  end  \n'; }
long_line() { ttytool pattern 7 6000 | tr -d '\n'; echo; }

case $STAGE in
1)
	stty -F $A 115200
	stty -F $B 115200
	# --- a tty that was opened before the module was there
	mkfifo /tmp/hold
	ttytool open-hold $A /tmp/hold >/tmp/hold.out 2>&1 &
	holder=$!
	check "a process has a tty open before mpstore is loaded" wait_for ttys_busy
	check "mpstore loads" load_tty tty_raw=1 tty_names=ttyS2,ttyS3 || bail "no module"
	printf '%s\n' "$(uuid held)" "" "  second line	with a tab" >/tmp/want
	cat /tmp/want >/tmp/hold
	check "the process writes to the tty that it had open" wait $holder
	check "what it wrote is recorded exactly" recorded_is

	# --- as the caller wrote it
	odd_text >/tmp/want
	ttytool write $A --raw "$(odd_text)
" >/tmp/said
	check "raw mode: tabs, returns and line feeds are recorded as written" recorded_is
	ttytool write $A --opost "$(odd_text)
" >/tmp/said
	check "OPOST: the record has what was written, not what output processing made of it" recorded_is
	# The tty core hands on at most 2048 bytes at a time.
	ttytool pattern 3 10000 >/tmp/want
	ttytool write $A --raw --chunks 7 --pattern 3 10000 >/tmp/said
	check "raw mode: 10000 bytes in seven writes are recorded once" recorded_is
	ttytool write $A --opost --chunks 7 --pattern 3 10000 >/tmp/said
	check "OPOST: 10000 bytes in seven writes are recorded once" recorded_is
	ttytool write $A --opost --chunks 500 --pattern 3 10000 >/tmp/said
	check "OPOST: 10000 bytes in 500 writes are recorded once" recorded_is
	long_line >/tmp/want
	ttytool write $A --opost "$(long_line)
" >/tmp/said
	check "a line of thousands of bytes is recorded in one piece" recorded_is
	printf 'prompt: ' >/tmp/want
	printf 'prompt: ' >$A
	check "a line without its end is recorded at once" recorded_is

	# --- what is accepted only in part
	check "tty_names takes a pattern for pty slaves" set_param tty_names 'pts*'
	check "a pty is filled up, raw" sh -c "ttytool pty /tmp/want 11 >/tmp/said"
	sed 's/^/# pty: /' /tmp/said
	check "the kernel did take some writes only in part" \
		grep -qE '^partial ([2-9]|[1-9][0-9]+)$' /tmp/said
	check "raw: recorded is what was accepted, once" recorded_is
	check "a pty is filled up, with OPOST" sh -c "ttytool pty --opost /tmp/want 12 >/tmp/said"
	sed 's/^/# pty: /' /tmp/said
	check "OPOST: recorded is what was accepted, once" recorded_is

	# --- which ttys
	set_param tty_names 'ptm*'
	uuid master >/tmp/want
	ttytool pty /tmp/ignored 13 4096 >/tmp/said
	uuid master >/dev/ptmx
	check "the pattern ptm* selects what is written to a pty's master" recorded_is
	set_param tty_names ttyS2
	uuid s2 >/tmp/want
	uuid s3 >$B
	uuid s2 >$A
	uuid s3 >$B
	check "the pattern ttyS2 selects ttyS2 alone" recorded_is
	set_param tty_names 'tty*,!ttyS1'
	note "this line goes to ttyS1, which is excluded"
	uuid s3 >$B
	uuid s2 >$A
	uuid s2 >/dev/ptmx
	{ uuid s3; uuid s2; } >/tmp/want
	check "the patterns tty*,!ttyS1 select all serial ports but that one" recorded_is
	check "sysfs shows the patterns" test "$(cat $PARAMS/tty_names)" = 'tty*,!ttyS1'
	set_param tty_names 'ttyS2,ttyS3'

	# --- switched at run time
	set_param tty N
	uuid off >$A
	: >/tmp/want
	check "switched off, nothing is recorded" recorded_is
	set_param tty Y
	uuid on >$A
	uuid on >/tmp/want
	check "switched on again, it is recorded again" recorded_is
	check "a bad value for tty is refused in one line" refused tty maybe
	check "a bad value for tty_raw is refused in one line" refused tty_raw 2
	check "patterns with a blank are refused in one line" refused tty_names 'ttyS2 ttyS3'
	uuid still >$A
	uuid still >/tmp/want
	check "what was in force before is in force" recorded_is

	# --- the default
	again tty_raw=1 || bail "no module"
	ttytool pty /tmp/ignored 14 4096 >/tmp/said
	uuid master >/dev/ptmx
	uuid s2 >$A
	# The test's own words on ttyS1 count too, so only parts can be compared.
	got
	check "by default serial ports are recorded" grep -qx "$(uuid s2)" /tmp/got
	check "by default a pty's slave is not recorded" \
		sh -c '! grep -qF "$(head -c 60 /tmp/ignored | tail -n 1)" /tmp/got'
	check "by default a pty's master is not recorded" sh -c "! grep -q $(uuid master) /tmp/got"

	# --- stamped
	again tty_names=ttyS2,ttyS3 || bail "no module"
	uuid before >/dev/kmsg
	printf 'alpha\n\nbeta\n' >$A
	printf 'gam' >$A
	printf 'ma\n' >$A
	uuid after >/dev/kmsg
	printf 'ttyS2: %s\n' alpha "" beta gamma >/tmp/want
	check "each line begins with time and tty, a finished line is stamped once" unstamped_is
	check "the time is that of the kernel log" between
	printf 'log' >$A
	printf 'one\n' >$B
	printf 'in: ' >$A
	printf 'x' >$B
	printf 'root\n' >$A
	printf 'y\n' >$B
	printf 'end\n' >$A
	cat >/tmp/want <<-END
		ttyS2: log
		ttyS3: one
		ttyS2+ in: 
		ttyS3: x
		ttyS2+ root
		ttyS3+ y
		ttyS2: end
	END
	check "a line that another tty cuts off goes on with a plus sign" unstamped_is

	check "two threads write 500 lines each to two ttys" \
		sh -c "ttytool two $A $B 500 >/tmp/said"
	got
	awk 'BEGIN { for (i = 1; i <= 500; i++) printf "A %06d\n", i }' >/tmp/want
	check "one tty's lines are complete, in order and unmixed" demux_is ttyS2
	tr A B </tmp/want >/tmp/want.b && mv /tmp/want.b /tmp/want
	check "the other tty's lines are complete, in order and unmixed" demux_is ttyS3
	check "the times of two ttys at once never go back" monotonic

	# Writes that end in the middle of a line make the two cut each other off. They must come
	# apart whether or not they did; on a busy host one may be through before the other begins,
	# which puts nothing to the test: then once more.
	ttytool pattern 21 30000 >/tmp/want.a
	ttytool pattern 22 30000 >/tmp/want.b
	# The demultiplexer always ends with a line feed.
	for _f in /tmp/want.a /tmp/want.b; do
		[ -z "$(tail -c 1 $_f)" ] || echo >>$_f
	done
	halves() {
		_try=0
		while [ $((_try += 1)) -le 20 ]; do
			ttytool write $A --opost --chunks 1500 --pattern 21 30000 >/tmp/said.a &
			_one=$!
			ttytool write $B --opost --chunks 1500 --pattern 22 30000 >/tmp/said.b || return 1
			wait $_one || return 1
			got
			cp /tmp/want.b /tmp/want && demux_is ttyS3 || return 1
			cp /tmp/want.a /tmp/want && demux_is ttyS2 || return 1
			[ "$(cuts)" = 0 ] || return 0
		done
		echo "no line was cut off in 20 rounds"
		return 1
	}
	check "two ttys that cut each other off come apart again byte for byte" halves
	note "lines cut off: $(cuts), round $_try"

	# --- last words
	rmmod mpstore
	wipe "$REGION_A" "$REGION_A_SIZE"
	load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE tty_size=0x10000 tty_names=ttyS2 ||
		bail "no module"
	odd_text >$A
	printf '%s\nlogin: root\nPassword: ' "$(uuid last)" >$A
	next_stage 2
	panic_now ;;
2)
	check "mpstore loads after the panic" load_mpstore mem_address=$REGION_A \
		mem_size=$REGION_A_SIZE tty_size=0x10000 tty_names=none || bail "no module"
	FILE=ramoops/tty-ramoops-0
	{ odd_text; printf '%s\nlogin: root\nPassword: ' "$(uuid last)"; } |
		sed 's/^/ttyS2: /' >/tmp/want
	check "the last words on a tty survive a panic, an unfinished line included" unstamped_is ;;
esac
