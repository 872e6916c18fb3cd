# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# For tests in which functions of the kernel fail (tests/guest/crash). Needs tests/lib.sh.
CRASH=/proc/mpstore_crash

# failing CALL ERROR COMMAND...: CALL is a function, maybe with nth=N, or `any` for one that ftrace does not
# reach; it must have been called. Not for one that gives back what it was handed when it fails.
failing() {
	_call=$1 _error=$2
	shift 2
	dmesg -c >/dev/null
	sh -c "echo 'fail in=$_call error=$_error' >$CRASH && exec $*" >/tmp/said 2>&1
	_rc=$?
	[ "$(cat $CRASH)" = idle ] || {
		echo disarm >$CRASH
		echo "${_call%% *} was not called"
		rmmod mpstore 2>/dev/null
		return 99
	}
	return $_rc
}
# not_done CALL ERROR COMMAND...: it was called, and the command fails.
not_done() {
	failing "$@"
	case $? in
	0) echo "it works"; return 1 ;;
	99) return 1 ;;
	esac
}
# without FUNCTION FIRST COMMAND...: memory for it runs out in each of its calls behind the first of FIRST, if that is not empty, or
# in $MOST of them. The command may work or not; what it did is undone by afterwards(). How often that was is
# in /tmp/times.
without() {
	_function=$1 _first=$2 _n=0
	shift 2
	while [ $_n -lt "${MOST:-400}" ]; do
		_n=$((_n + 1))
		# What can't be allocated, not what can't be freed.
		failing "$_function sized ${_first:+after=$_first }nth=$_n" 0 "$@"
		[ $? != 99 ] || { _n=$((_n - 1)); afterwards; break; }
		afterwards
	done >/tmp/without 2>&1
	echo $_n >/tmp/times
	case $_n in
	0) cat /tmp/without; return 1 ;;
	400) echo "no end"; return 1 ;;
	esac
}
# times NAME COMMAND...: without memory in each call of each function by which the module asks for some; there were several.
# How many is in /tmp/said.times.
times() {
	_what=$1
	shift
	: >/tmp/all.times
	for _f in krealloc vrealloc kvrealloc; do
		# Not each of them needs memory of each kind.
		without ${_f}_node_align_noprof "" "$@" || { [ "$(cat /tmp/times)" = 0 ] || return 1; }
		cat /tmp/times >>/tmp/all.times
	done
	echo "$_what: $(xargs </tmp/all.times) failures" >/tmp/said.times
	[ "$(awk '{ n += $1 } END { print n }' /tmp/all.times)" -ge 3 ] || { cat /tmp/all.times; return 1; }
}
afterwards() { rmmod mpstore; }
many() { [ "$(cat /tmp/times)" -ge "$1" ] || { cat /tmp/times; return 1; }; }
logged() { dmesg | grep -qF "$1" || { dmesg | tail -n 20; return 1; }; }
# fails_once CALL ERROR COMMAND: it does not work, then it does.
fails_once() {
	_call=$1 _error=$2
	shift 2
	not_done "$_call" "$_error" "$@" && sh -c "$*"
}
