#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# `mpstore survey` over a warm reboot, a kexec and a panic: a RAM region and plain
# memory keep their canaries over all of them, kho's is there after the kexec only.
# What was announced wrongly is put right. What kexec handed over is read from
# debugfs and /proc/kcore before the module is loaded, and is what the tree shows.
#
# vm: mem=1G kexec timeout=240 quiet=120
# cmdline: kho=on kho_scratch=16M,64M,16M
# cmdline@debug: kho_scratch=64M,320M,64M
# disk: virtio 8M
# kernels: custom debug
. /tests/lib.sh
plan 22
STATE=/mnt/survey.json
MEMORY="memory $REGION_B+$REGION_B_SIZE"

load() {
	load_mpstore kho=Y mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x8000 console_size=0x8000 \
		pmsg_size=0x8000 tty_size=0x8000 ftrace_size=0
}
survey() { mpstore survey "$@" --state $STATE; }
# begin HOW: with canaries in all backends and in memory that is nobody's.
begin() {
	survey begin --how "$1" -s /dev/mem --address $REGION_B --size $REGION_B_SIZE --overwrite >/tmp/begin || return
	grep -q 'to kho, ramoops' /tmp/begin || { cat /tmp/begin; return 1; }
}
# ended STATUS LINE...: what the survey's end says.
ended() {
	_want=$1
	shift
	survey end >/tmp/end 2>&1
	_rc=$?
	for _line; do grep -q "^$_line\$" /tmp/end || { echo "lacks '$_line'"; cat /tmp/end; return 1; }; done
	[ $_rc = "$_want" ] || { echo "status $_rc"; cat /tmp/end; return 1; }
}
# up: what each boot does first.
up() {
	check "$1: load" load || bail "no module"
	mount_pstore
	mount /dev/vda /mnt
}
down() { umount /mnt; }

case $STAGE in
1)
	mke2fs -F /dev/vda >/dev/null 2>&1
	wipe $REGION_A $REGION_A_SIZE
	up first
	check "nothing was begun" sh -c "! mpstore survey end --state $STATE 2>/tmp/e && grep -q 'no survey was begun' /tmp/e"
	check "a survey begins" begin warm
	check "it does not end without a reboot" sh -c \
		"! mpstore survey end --state $STATE 2>/tmp/e && grep -q 'was not rebooted' /tmp/e"
	down
	next_stage 2
	reboot_now ;;
2)
	up "after a reboot"
	check "after a reboot: the region survived, kho did not" ended 0 \
		"survived  warm   ramoops" "survived  warm   $MEMORY" "lost      warm   kho"
	check "a survey begins" begin kexec
	down
	next_stage 3
	kexec_now ;;
3)
	check "this kernel came by kexec" test $(($(cat /proc/sys/kernel/bootloader_type) >> 4)) = 13
	check "what was handed over is read without the module" \
		mpstore extract -q -s /sys/kernel/debug/kho/in/sub_fdts/mpstore -o /tmp/kho
	check "and found without its address" mpstore extract -q -s /proc/kcore --format kho -o /tmp/found
	up "after a kexec"
	check "it is what the tree shows" same_files "$PSTORE/kho" /tmp/kho
	check "both times" same_files "$PSTORE/kho" /tmp/found
	check "the canary is in it" sh -c "cat /tmp/kho/pmsg-kho-* | grep -q mpstore-survey"
	check "after a kexec: all survived" ended 0 \
		"survived  kexec  ramoops" "survived  kexec  $MEMORY" "survived  kexec  kho"
	check "a survey begins, with a wrong announcement" begin cold
	# A page of what was written is changed.
	poke $((REGION_B + 0x5000)) "changed"
	down
	next_stage 4
	panic_now ;;
4)
	up "after a panic"
	check "after a panic: the region survived, kho did not, one page of 256 is gone" ended 0 \
		"survived  panic  ramoops" " 99%      panic  $MEMORY" "lost      panic  kho"
	check "the wrong announcement is put right" grep -q "announced was 'cold', but it was 'panic'" /tmp/end
	survey show >/tmp/show
	check "all results are kept" sh -c "[ \$(wc -l </tmp/show) = 9 ] || { cat /tmp/show; false; }"
	check "also for machines" sh -c "[ \$(mpstore survey show --json --state $STATE | grep -c '\"survived\": 100') = 6 ] ||
		mpstore survey show --json --state $STATE"
	check "nothing is left to be ended" sh -c "! mpstore survey end --state $STATE 2>/dev/null"
	down ;;
esac
