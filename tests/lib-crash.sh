# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Deaths, one after the other: each boot looks at what the last one left, then
# dies in the next way. A test sets CASES to their names and defines
#
#	about NAME	sets TITLE (for the results), SAYS (an expression that the
#			panic's line matches) and, where the panic is not the
#			first dump, HEAD, where not all backends can hold it, WHOLE
#	die NAME	does it, and need not return
#
# and may define, for what is special about a case,
#
#	before NAME	is called before anything is written
#	content NAME FILE
#			whether the dump's text is complete
#	streams NAME BACKEND
#			whether console, pmsg and tty are as they must be
#
# and calls run_cases. Needs tests/lib.sh.

# Two regions that are as different as can be, so that "every backend" means
# something: small records and large ones, with parity and without.
REGIONS="ramoops ramoops1"
load_two() {
	load_mpstore mem_address=$REGION_A,$REGION_B mem_size=0x100000 ftrace_size=0 \
		record_size=0x8000,0x4000 ecc=0,16 console_size=0x10000,0x8000 \
		pmsg_size=0x10000,0x8000 tty_size=0x10000,0x8000 tty_names=ttyS0,ttyS2
}
# plan_cases: three results for each.
plan_cases() {
	_n=0
	for _c in $CASES; do _n=$((_n + 3)); done
	plan $_n
}

# --- dying -------------------------------------------------------------------
crash() { echo "$1" >/proc/mpstore_crash; }
# nmi_now: the runner sends an NMI, which goes to CPU 0.
nmi_now() { echo "@nmi" >&3; }
# on CPU COMMAND: in a shell of its own there.
on() { taskset "$(printf '%x' $((1 << $1)))" sh -c "$2"; }
# victim CPU REQUEST COMMAND: what is requested strikes who makes the request,
# here a shell on that CPU that then runs the command.
victim() { on "$1" "echo '$2' >/proc/mpstore_crash && $3"; }
# elsewhere REQUEST: by another process, on CPU 0, which is free.
elsewhere() {
	on 0 "echo $1 >/proc/mpstore_crash" &
	# Long enough to be in there.
	usleep 500000
}

# A case's marks: the last numbered lines before it dies, and one of each kind.
MARKS=20
mark() { uuid "$1"; }
speak() {
	ttytool kmsg $MARKS "$(mark "$1")" >/dev/null
	echo "$(mark "$1") pmsg" >/dev/pmsg0
	echo "$(mark "$1") tty" >/dev/ttyS2
}

# --- what is left ------------------------------------------------------------
# record BACKEND: the file of the panic's part 1. There must be one, and nothing
# that is no record.
record() {
	_found=
	for _f in "$PSTORE/$1"/dmesg-*; do
		[ -e "$_f" ] || continue
		_head=$(head -n 1 "$_f")
		echo "$_head" | grep -qE '^(Panic|Oops)#[0-9]+ Part[0-9]+$' ||
			{ echo "$_f begins with '$_head'"; return 1; }
		[ "$_head" = "$HEAD Part1" ] || continue
		[ -z "$_found" ] || { echo "two of '$HEAD Part1'"; return 1; }
		_found=$_f
	done
	[ -n "$_found" ] || { echo "no '$HEAD Part1' among: $(cd "$PSTORE/$1" && head -qn 1 dmesg-* 2>/dev/null | tr '\n' ',')"; return 1; }
	echo "$_found"
}
# text BACKEND: the record's lines, without its first and without the remark on
# parity, which must say that nothing was damaged.
text() {
	_file=$(record "$1") || { echo "$_file"; return 1; }
	[ "$(tail -c 1 "$_file" | od -An -tx1 | tr -d ' ')" = 0a ] || { echo "$_file ends within a line"; return 1; }
	tail -n +2 "$_file" >/tmp/text
	[ "$1" = ramoops ] && { cat /tmp/text; return; }
	[ "$(tail -n 2 /tmp/text | tr '\n' '|')" = '|ECC: No errors detected|' ] ||
		{ echo "it ends with: $(tail -n 2 /tmp/text)"; return 1; }
	head -n -2 /tmp/text
}
# whole NAME BACKEND: the dump has everything from the marks to the panic and its
# end, in whole lines. Left in /tmp/whole.BACKEND.
whole() {
	text "$2" >"/tmp/whole.$2" || { cat "/tmp/whole.$2"; return 1; }
	if grep -anvE '^<[0-9]+>\[ *[0-9]+\.[0-9]{6}\]' "/tmp/whole.$2"; then
		echo "is no whole line"
		return 1
	fi
	content "$1" "/tmp/whole.$2"
}
content_default() { # NAME FILE
	awk -v mark="$(mark "$1")" -v marks=$MARKS -v says="Kernel panic - not syncing: $SAYS" '
		match($0, mark " [0-9]+$") {
			n++
			if (substr($0, RSTART + length(mark) + 1) + 0 != n) { print "instead of mark " n ": " $0; bad = 1 }
		}
		$0 ~ says { panics++; if (n != marks) { print "the panic comes after mark " n; bad = 1 } }
		END { if (n != marks) { print n + 0 " marks of " marks; bad = 1 }
		      if (panics != 1) { print panics + 0 " lines match: " says; bad = 1 } exit bad }' "$2"
}
content() { content_default "$@"; }
# same: what the smaller record holds is the end of what the larger one does.
same() {
	_n=$(wc -l </tmp/whole.ramoops1)
	[ "$_n" -gt $MARKS ] && tail -n "$_n" /tmp/whole.ramoops | diff - /tmp/whole.ramoops1
}
# Console, pmsg and tty of one backend: what was written before is there.
streams_default() {
	for _i in 1 $MARKS; do
		grep -aq "$(mark "$1") $(printf %06d "$_i")" "$PSTORE/$2/console-$2-0" || { echo "$2: console lacks mark $_i"; return 1; }
	done
	grep -aqx "$(mark "$1") pmsg" "$PSTORE/$2/pmsg-$2-0" || { echo "$2: pmsg lacks what was written"; return 1; }
	grep -aqE "\] ttyS2: $(mark "$1") tty" "$PSTORE/$2/tty-$2-0" || { echo "$2: tty lacks what was written"; return 1; }
}
streams() { streams_default "$@"; }
# cell NAME BACKEND: one of the table, which knows no requirement.
cell() {
	_dmesg=LOST _console=none _pmsg=none _tty=none
	whole "$@" >/dev/null 2>&1 && _dmesg=whole
	grep -aq "$(mark "$1")" "$PSTORE/$2/console-$2-0" 2>/dev/null && _console=before
	grep -aqE "not syncing: $SAYS" "$PSTORE/$2/console-$2-0" 2>/dev/null && _console=panic
	# Without the two lines of the remark on parity.
	[ "$2" = ramoops ] && _ecc=0 || _ecc=2
	[ -s "$PSTORE/$2/pmsg-$2-0" ] && _pmsg=$(($(wc -l <"$PSTORE/$2/pmsg-$2-0") - _ecc))
	[ -s "$PSTORE/$2/tty-$2-0" ] && _tty=$(($(wc -l <"$PSTORE/$2/tty-$2-0") - _ecc))
	printf '%-5s %-6s %5s %5s' "$_dmesg" "$_console" "$_pmsg" "$_tty"
}
# no_dump BACKEND: not even half of one.
no_dump() { ! ls "$PSTORE/$1"/dmesg-* 2>/dev/null; }
verify() {
	for _b in $REGIONS; do
		case " $WHOLE " in
		*" $_b "*) check "$TITLE: $_b holds the whole dump" whole "$1" "$_b" ;;
		*) check "$TITLE: $_b holds none rather than half of one" no_dump "$_b" ;;
		esac
	done
	[ "$WHOLE" = "$REGIONS" ] && _same=same || _same=true
	check "$TITLE: the same in both, and the streams are there" \
		eval "$_same && streams $1 ramoops && streams $1 ramoops1"
	for _b in $REGIONS; do _row="${_row-$(printf '%-44s' "$TITLE")} | $(cell "$1" "$_b")"; done
	save "ROW_$((STAGE - 1))" "$_row"
	unset _row
}
table() {
	note "$(printf '%-44s' case) | ramoops                   | ramoops1"
	note "$(printf '%-44s' '') | dmesg console pmsg   tty  | dmesg console pmsg   tty"
	_n=1
	for _c in $CASES; do
		eval "note \"\$ROW_$_n\""
		_n=$((_n + 1))
	done
	note "console: the marks only (before) or the panic, too; pmsg, tty: lines"
}

# Nth of the cases.
nth() { shift "$1"; echo "$1"; }
reset_about() { HEAD="Panic#1" TITLE='' SAYS='' WHOLE=$REGIONS; }
before() { :; }
run_cases() {
	plan_cases
	[ "$STAGE" != 1 ] || { wipe "$REGION_A" "$REGION_A_SIZE"; wipe "$REGION_B" "$REGION_B_SIZE"; }
	load_two || bail "no module"
	mount_pstore || bail "no file system"
	# shellcheck disable=SC2086
	_last=$(nth "$STAGE" - $CASES) _next=$(nth $((STAGE + 1)) - $CASES)
	# nth 1 is the dash.
	if [ "$STAGE" != 1 ]; then
		reset_about
		about "$_last"
		verify "$_last"
		rm -f "$PSTORE"/ramoops*/dmesg-*
	fi
	if [ -z "$_next" ]; then
		table
		return
	fi
	insmod /mpstore_crash.ko || bail "no crash module"
	reset_about
	about "$_next"
	expect_log_now "Kernel panic - not syncing: $SAYS"
	next_stage $((STAGE + 1))
	before "$_next"
	speak "$_next"
	die "$_next"
	_down "$TITLE"
}
