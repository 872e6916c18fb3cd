# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# For the tests of the crash kernel. Wants in the test's head:
#	# vm: mem=448M kexec
#	# cmdline: crashkernel=128M
# The region is REGION_A with a bank of 256K for the crash kernel.
CRASH_SIZE=0x40000
BANK=$((REGION_A + REGION_A_SIZE - CRASH_SIZE))
REGION="mem_address=$REGION_A mem_size=$REGION_A_SIZE crash_size=$CRASH_SIZE record_size=0x8000
	console_size=0x10000 pmsg_size=0x4000 tty_size=0x8000 ftrace_size=0x4000"
CRASH_CMDLINE=/sys/kernel/debug/mpstore/crash_cmdline

# shellcheck disable=SC2086
load_region() { load_mpstore $REGION "$@"; }
# words: the region's parameters for the crash kernel's command line.
words() { for _w in $REGION; do printf ' mpstore.%s' "$_w"; done; }
has() { grep -aqE "$2" "$PSTORE/$1" || { echo "$1 lacks '$2'"; ls -lR "$PSTORE"; tail -n 20 "$PSTORE/$1"; return 1; }; }
lacks() { ! grep -aqE "$2" "$PSTORE/$1" || { echo "$1 has '$2'"; return 1; }; }
logged() { dmesg | grep -q "$1" || { echo "no line '$1':"; dmesg | grep mpstore; return 1; }; }
# region_sum ADDRESS SIZE: not in a crash kernel, where read() of /dev/mem ends at the
# end of that kernel's own memory.
region_sum() {
	dd if=/dev/mem of=/tmp/region bs=4096 skip=$(($1 / 4096)) count=$(($2 / 4096)) 2>/dev/null
	[ "$(wc -c </tmp/region)" = $(($2)) ] && md5sum </tmp/region | cut -d' ' -f1
	rm -f /tmp/region
}
OWN_SIZE=$((REGION_A_SIZE - CRASH_SIZE))
