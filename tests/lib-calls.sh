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
	[ "$(cat $CRASH)" = idle ] || { echo "${_call%% *} was not called"; rmmod mpstore 2>/dev/null; return 99; }
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
logged() { dmesg | grep -qF "$1" || { dmesg | tail -n 20; return 1; }; }
# fails_once CALL ERROR COMMAND: it does not work, then it does.
fails_once() {
	_call=$1 _error=$2
	shift 2
	not_done "$_call" "$_error" "$@" && sh -c "$*"
}
