#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A chain of kernels by kexec, each of which records until the jump: what each one
# said is there in the later ones, apart from the others', until it is erased or
# there is no space for it. A RAM region records the same all the time. Then the
# ways in which nothing is handed over.
#
# vm: mem=2G kexec timeout=900 boots=20 onethread
# cmdline: kho=on kho_scratch=16M,64M,16M no_timer_check
# cmdline@debug: kho_scratch=64M,512M,64M
# disk: virtio 64M
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-kho.sh
plan 95

# shellcheck disable=SC2086
load_both() {
	load_kho mem_address=$REGION_A mem_size=$REGION_A_SIZE max_reason=4 record_size=0x10000 \
		console_size=0x10000 pmsg_size=0x10000 tty_size=0x10000 ftrace_size=0 "$@"
}
# last_line FILE TEXT: what the kernel said last; programs write to its log even after that.
last_line() {
	[ "$(grep -v chatter "$1" | tail -n 1 | sed 's/.*\] //')" = "$2" ] || { tail -n 3 "$1"; return 1; }
}
# ram_said WHO: the RAM region has it, too.
ram_said() {
	cat "$PSTORE"/ramoops/dmesg-ramoops-* >/tmp/ram.dmesg
	has /tmp/ram.dmesg "$1 $(uuid) kmsg" && has "$PSTORE/ramoops/pmsg-ramoops-0" "$1 line"
}
# refused_off: with nothing else the load fails.
refused_off() {
	ttytool insmod /mpstore.ko kho=Y >/tmp/refused 2>&1
	grep -q EOPNOTSUPP /tmp/refused || { cat /tmp/refused; return 1; }
}
second() {
	load_both || return 1
	_c=/sys/kernel/config/mpstore
	mkdir $_c/other && echo kho >$_c/other/type || return 1
	! echo 1 >$_c/other/power 2>/tmp/second || { echo "a second one runs"; return 1; }
	grep -q 'busy' /tmp/second || { cat /tmp/second; return 1; }
	[ "$(cat $_c/other/record_size)" = 65536 ] || return 1
	rmdir $_c/other
	mkdir $_c/kho && echo 0 >$_c/kho/power && [ -e /sys/devices/platform/mpstore-kho ] || return 1
	echo kho >$_c/kho/type && echo 64M >$_c/kho/mem_size && echo 1 >$_c/kho/power || return 1
	remount
	generations_are "1 2" && has "$(file pmsg 1)" "J $(uuid) pmsg" || return 1
	logged '0x4000000 bytes in 1[6-9] blocks'
}
reserved_kb() { awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo; }

case $STAGE in
1) # A: the first one.
	check "the kernel's files outlive a jump" chain_begin || bail "no disk"
	wipe $REGION_A $REGION_A_SIZE
	check "A: load" load_both || bail "no module"
	check "A: it says that nothing was handed over" logged 'kho: nothing was handed over'
	kho_mount
	check "A: no records" empty "$K"
	check "A: no earlier generations" generations_are ""
	speak A
	check "A: an oops" oops_now
	remount
	check "A: which is a record of this generation" has "$(file dmesg 1)" "Oops#"
	check "A: kexec -l after the module" chain_load
	save START_A "$(date +%s)"
	check "A: the function trace is on" sh -c 'echo 1 >/sys/kernel/debug/mpstore/record_ftrace'
	chatter A
	next_stage 2
	chain_jump ;;

2) # B: what A said; something of it is erased.
	check "B: kexec -l before the module" chain_load
	check "B: load" load_both || bail "no module"
	kho_mount
	check "B: A's generation is there" generations_are 1
	check "B: A's oops is there" has "$(file dmesg 1)" "Oops#"
	check "B: A's shutdown is there" has "$(file dmesg 1 1)" "Shutdown#"
	check "B: its last line is the kernel's last before the jump" \
		last_line "$(file dmesg 1 1)" "kexec_core: Starting new kernel"
	check "B: the console has that line" has "$(file console 1)" "kexec_core: Starting new kernel"
	check "B: and A's marker" has "$(file console 1)" "A $(uuid) kmsg"
	check "B: pmsg up to the jump, in order" in_order "$(file pmsg 1)" A
	check "B: tty up to the jump, in order" in_order "$(file tty 1)" A
	check "B: the function trace up to the jump" has "$(file ftrace 1)" " <- "
	check "B: the RAM region has it, too" ram_said A
	check "B: nothing of B in it" sh -c "! cat $K/* | grep -q 'B $(uuid)'"
	t=$(time_of "$(file pmsg 1)")
	check "B: it has A's time, not B's" test "$t" -ge "$START_A" -a "$t" -le "$(field 2 4 | cut -d. -f1)"
	check "B: the boot is told" test "$(field 1 6)" != "$(field 2 6)"
	check "B: and the kernel" test "$(field 1 7)" = "$(uname -r)"
	check "B: erase A's pmsg" rm "$(file pmsg 1)"
	speak B
	next_stage 3
	umount_pstore
	# As `reboot` does it with an image loaded: without -x the network goes first.
	sync_host
	kexec -e
	_down kexec ;;

3) # C: other sizes; unloaded and loaded again.
	free_before=$(reserved_kb)
	check "C: load with other sizes" load_both kho_size=6M kho_keep=16M kho_record_size=16K kho_console_size=1M \
		kho_pmsg_size=0 kho_tty_size=32K || bail "no module"
	kho_mount
	check "C: two generations" generations_are "1 2"
	check "C: what was erased stays erased" test ! -e "$(file pmsg 1)"
	check "C: A's others are there" has "$(file dmesg 1)" "Oops#"
	check "C: all that B said" said B 2
	check "C: memory that was handed over is this kernel's now" test "$(reserved_kb)" -gt "$free_before"
	check "C: 6 MiB are not in one piece" logged '0x600000 bytes in [2-9] blocks'
	echo "<5>C $(uuid) before" >/dev/kmsg
	umount_pstore
	check "C: unload" rmmod mpstore
	check "C: what was recorded is left" test -e /sys/devices/platform/mpstore-kho
	check "C: load again" load_both kho_keep=16M || bail "no module"
	check "C: and taken up again" test ! -e /sys/devices/platform/mpstore-kho
	kho_mount
	check "C: the first load is a generation" generations_are "1 2 3"
	check "C: with what it recorded" has "$(file console 3)" "C $(uuid) before"
	check "C: B's are still there" said B 2
	check "C: the first load's pmsg had no zone" test ! -e "$(file pmsg 3)"
	total=$(reserved_kb)
	check "C: erase all of A's" sh -c "rm $K/*-kho-1????"
	check "C: its generation is gone" generations_are "2 3"
	check "C: the others are not" said B 2
	remount
	check "C: nor after another mount" said B 2
	speak C
	check "C: kexec -l" chain_load
	next_stage 4
	chain_jump ;;

4) # D: unloaded with an image loaded.
	check "D: load" load_both kho_keep=16M || bail "no module"
	kho_mount
	check "D: three generations" generations_are "2 3 4"
	check "D: what B said" said B 2
	check "D: what C said before" has "$(file console 3)" "C $(uuid) before"
	check "D: and after its second load" said C 4
	check "D: of A there is nothing" sh -c "! ls $K | grep -q 'kho-1....$'"
	speak D
	umount_pstore
	check "D: kexec -l" chain_load
	check "D: unload with an image loaded" rmmod mpstore
	next_stage 5
	chain_jump ;;

5) # E: no space for all of them.
	check "E: load with little space" load_both kho_keep=2M || bail "no module"
	kho_mount
	check "E: the oldest went" generations_are "4 5"
	check "E: which is said" logged 'kho: 2 oldest generations went'
	check "E: C's and D's are there" said C 4
	check "E: D's up to the unload" has "$(file console 5)" "D $(uuid) kmsg"
	check "E: its pmsg" has "$(file pmsg 5)" "D $(uuid) pmsg"
	speak E
	check "E: kexec -l" chain_load
	next_stage 6
	chain_jump ;;

6) # F: has no module.
	check "F: what E handed over is there" test -e /sys/kernel/debug/kho/in/sub_fdts/mpstore
	check "F: kexec -l" chain_load
	next_stage 7
	chain_jump ;;

7) # G: after a kernel without the module.
	check "G: load" load_both || bail "no module"
	kho_mount
	check "G: nothing came through F" empty "$K"
	check "G: which is said" logged 'kho: the kernel before left no records'
	speak G
	check "G: kexec -l with kho=off" chain_load kho=off
	next_stage 8
	chain_jump ;;

8) # H: without KHO.
	check "H: KHO alone is refused" refused_off
	check "H: with a line that says why" logged 'kho: nothing can be handed over.*kho=on'
	check "H: the RAM region goes on" load_both
	kho_mount
	ram() { cat "$PSTORE"/ramoops/dmesg-* | grep -q "G $(uuid) kmsg"; }
	check "H: and has what G said" ram
	check "H: there is no kho" test ! -e "$K"
	check "H: kexec -l" chain_load
	echo "<5>H $(uuid) kmsg" >/dev/kmsg
	umount_pstore
	next_stage 9
	# The hardware's reset: the image is forgotten.
	reboot_now ;;

9) # I: after a reset; what it hands over is damaged.
	check "I: load" load_both test_kho=spoil || bail "no module"
	check "I: it says that nothing was handed over" logged 'kho: nothing was handed over'
	kho_mount
	ram() { cat "$PSTORE"/ramoops/dmesg-* | grep -q "H $(uuid) kmsg"; }
	check "I: the RAM region has the reboot" ram
	speak I
	check "I: kexec -l" chain_load
	next_stage 10
	chain_jump ;;

10) # J: the index is damaged.
	check "J: load" load_both || bail "no module"
	check "J: one line" test "$(dmesg | grep -c 'kho: records of earlier kernels are lost: index: no checksum is right')" = 1
	kho_mount
	check "J: an empty directory" empty "$K"
	check "J: it records" speak J
	umount_pstore
	check "J: unload" rmmod mpstore
	check "J: a second kho backend is refused, one of 64 MiB is made" second
	echo "<5>J $(uuid) large" >/dev/kmsg
	echo "J $(uuid) large" >/dev/pmsg0
	check "J: kexec -l" chain_load
	umount_pstore
	next_stage 11
	chain_jump ;;

11) # K: 64 MiB came along; and by the other system call nothing does.
	check "K: load" load_both kho_keep=64M || bail "no module"
	kho_mount
	check "K: the 64 MiB and nothing beside them" generations_are 3
	check "K: the dump in them" has "$(file dmesg 3)" "J $(uuid) large"
	check "K: the pmsg in them" has "$(file pmsg 3)" "J $(uuid) large"
	before=$(awk '$1 == "MemFree:" { print $2 }' /proc/meminfo)
	check "K: erase them" sh -c "rm $K/*-kho-3????"
	freed=$(($(awk '$1 == "MemFree:" { print $2 }' /proc/meminfo) - before))
	check "K: 64 MiB are free" test $freed -gt 60000
	note "K: $freed KiB more"
	speak K
	KEXEC_HOW=-c check "K: kexec -l by the other system call" chain_load
	next_stage 12
	chain_jump ;;

12)
	check "L: load" load_both || bail "no module"
	check "L: nothing was handed over" logged 'kho: nothing was handed over'
	kho_mount
	check "L: no records" empty "$K"
	check "L: the RAM region has the jump" has "$PSTORE/ramoops/pmsg-ramoops-0" "K $(uuid) pmsg" ;;
esac
