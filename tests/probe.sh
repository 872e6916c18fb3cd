#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Both ways to watch terminals see the same, and either may be taken away while
# a writer sleeps in the middle of the function that is watched.
#
# vm: timeout=120
# kernels: custom debug stock
. /tests/lib.sh
plan 17

TTY=/dev/ttyS2
load() { load_mpstore test_mem=1 tty_size=0x8000 tty_names=ttyS2 tty_raw=1 tty_probe="$1"; }
record() { cat "$PSTORE/mem0/tty-mem0-0" 2>/dev/null; }
recorded_is() { mount_pstore; record | cmp - "$1"; _rc=$?; umount_pstore; return $_rc; }
asleep() { grep -q '^State:.S' "/proc/$1/status"; }

# Output stays stopped only as long as somebody has the terminal open.
sleep 1000 <$TTY &
stty -F $TTY raw -echo
for probe in fprobe kprobe auto; do
	check "$probe: mpstore loads" load $probe || bail "no module"
	printf 'one\ntwo %s\r\nthree' $probe >/tmp/want
	cat /tmp/want >$TTY
	check "$probe: what was written is recorded" recorded_is /tmp/want

	# Until the driver takes no more: the writer sleeps in n_tty_write().
	ttytool flow $TTY off
	ttytool pattern 7 16384 >/tmp/much
	dd if=/tmp/much of=$TTY bs=16384 2>/dev/null &
	writer=$!
	sleep 1
	check "$probe: a writer sleeps" asleep $writer
	check "$probe: the module is unloaded all the same" rmmod mpstore
	ttytool flow $TTY on
	wait $writer
	check "$probe: the writer ends as if nothing had been" test $? = 0
done
check "an unknown probe is refused" sh -c ". /tests/lib.sh; ! load_mpstore test_mem=1 tty_probe=uprobe 2>/dev/null"
check "the line names it" sh -c "dmesg | tail -n 3 | grep -q 'mpstore: tty_probe=uprobe: give auto'"
