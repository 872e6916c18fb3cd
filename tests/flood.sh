#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Every backend holds a complete dump when one processor dies while the others
# flood every frontend, and the rings hold whole lines.
#
# vm: timeout=180 smp=4
# kernels: custom debug stock
. /tests/lib.sh
. /tests/lib-crash.sh

CASES="flood"

about() {
	TITLE="while other CPUs flood every frontend" SAYS="mpstore_crash: asked for in process"
	expect_log_now 'Call Trace'
}
die() { crash panic@process; }

# Numbered lines of one shape, so that a cut or missing one is seen.
flood_to() { # DEVICE NAME
	while :; do
		_i=$((_i + 1))
		printf 'flood %s %06d ------------------------------------------------- end\n' "$2" "$_i"
	done >"$1"
}
FLOOD='flood [a-z]+[0-9] [0-9][0-9][0-9][0-9][0-9][0-9] -+ end'
before() {
	for _cpu in 1 2 3; do
		for _to in pmsg0 kmsg ttyS2; do
			(flood_to /dev/$_to "$(echo $_to | tr -dc a-z)$_cpu") &
			taskset -p $((1 << _cpu)) $! >/dev/null
		done
	done
	sleep 2
}
# In the dump, nothing that a writer said is missing or doubled. The marks may
# have been pushed out by now.
content() { # NAME FILE
	awk -v says="Kernel panic - not syncing: $SAYS" '
		match($0, /flood [a-z]+[0-9] [0-9]+ /) {
			split(substr($0, RSTART, RLENGTH), w, " ")
			if (w[2] in last && w[3] + 0 != last[w[2]] + 1) { print w[2] ": " w[3] " follows " last[w[2]]; bad = 1 }
			last[w[2]] = w[3] + 0
			lines++
		}
		$0 ~ says { panics++ }
		END { if (lines < 50) { print lines + 0 " lines of the flood"; bad = 1 }
		      if (panics != 1) { print panics + 0 " lines match: " says; bad = 1 } exit bad }' "$2"
}
# A ring that is full begins somewhere in a line; who was stopped in the middle
# of a write has damaged what it was going to replace, the oldest. All the rest
# is whole lines, to the very last.
flooded() { # FILE PATTERN
	awk -v want="$2" -v cut=4200 '{ at += length($0) + 1 }
		$0 ~ want { good++; next }
		at > cut { print FILENAME ", line " NR " at byte " at ": " $0; if (++bad > 3) exit }
		END { if (good < 100) { print FILENAME ": " good + 0 " lines only"; bad = 1 } exit bad }' "$1" || return 1
	[ "$(tail -c 1 "$1" | od -An -tx1 | tr -d ' ')" = 0a ] || { echo "$1 ends within a line"; return 1; }
}
streams() {
	for _k in pmsg tty console; do
		_f=/tmp/$_k.$2
		cp "$PSTORE/$2/$_k-$2-0" "$_f"
		if [ "$2" = ramoops1 ]; then
			[ "$(tail -n 1 "$_f")" = "ECC: No errors detected" ] || { echo "$_k: $(tail -n 1 "$_f")"; return 1; }
			head -n -2 "$_f" >"$_f.text"
			_f=$_f.text
		fi
		case $_k in
		pmsg) flooded "$_f" "^$FLOOD\$|^$(mark flood) pmsg\$" ;;
		tty) flooded "$_f" "^\\[ *[0-9]+\\.[0-9]+\\] ttyS2: ($FLOOD|$(mark flood) tty)\$" ;;
		console) flooded "$_f" "^\\[ *[0-9]+\\.[0-9]+\\] " ;;
		esac || return 1
	done
}

run_cases
