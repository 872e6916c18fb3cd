#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kdump-tools on a Debian system, as Documentation/kdump.md has it set up: the crash kernel
# records to a bank of its own while kdump-tools' scripts save the vmcore, and the kernel
# after it shows both kernels' records, has them in the journal, each once, and reads those
# of the first kernel from the vmcore too. Then the disk for vmcores is missing in the crash
# kernel, which ends in systemd's emergency mode until someone resets the machine: what it
# said is in the archive of systemd-pstore. Debian's kernel has no device dumps.
#
# reserve_mem= takes memory from the top, where GRUB has its own things at every boot: with
# 4G the top is beyond 4G, where it has nothing.
#
# vm: debian=kdump mem=4G timeout=300 quiet=200
# cmdline: crashkernel=256M crash_kexec_post_notifiers
# cmdline: mpstore.mem_address=0x18000000, mpstore.mem_name=,oops
# cmdline: mpstore.mem_size=4M,2M mpstore.crash_size=1M,0 mpstore.record_size=64K,64K
# cmdline: mpstore.console_size=256K,64K mpstore.tty_size=256K,64K mpstore.pmsg_size=64K,64K
# disk: nvme 256M
. /tests/lib.sh
. /tests/lib-debian.sh
plan 60
CRASH_CMDLINE=/sys/kernel/debug/mpstore/crash_cmdline
DEFAULTS=/etc/default/kdump-tools

has() { grep -aqE "$2" "$1" || { echo "$1 lacks '$2'"; ls -lR "$(dirname "$1")"; tail -n 20 "$1" | cut -c1-200; return 1; }; }
lacks() { ! grep -aE "$2" "$1" || { echo "$1 has '$2'"; return 1; }; }
crash() {
	echo "$(uuid "$STAGE") pmsg" >/dev/pmsg0
	echo "<5>$(uuid "$STAGE") log" >/dev/kmsg
	# A login prompt may stand there: a line of its own.
	printf '\n%s terminal\n' "$(uuid "$STAGE")" >/dev/ttyS0
	next_stage $((STAGE + 1))
	panic_saved
}
kdump_ready() { kdump-config status | grep -q 'ready to kdump' && [ "$(cat /sys/kernel/kexec_crash_loaded)" = 1 ]; }
kdump_initrd_has() { lsinitramfs "/var/lib/kdump/initrd.img-$(uname -r)" | grep -q "$1"; }
# imported FILTER...: identities of what is in the journal.
imported() { journalctl -q --no-pager -o cat --output-fields=MPSTORE_RECORD SYSLOG_IDENTIFIER=mpstore "$@"; }
# Not its journal: the records are in it, and what this terminal was told in the last boot.
import_said() { systemctl status --no-pager -n 0 mpstore-import; }
# field NAME FIELD: of the newest entry for the record of that name.
field() { journalctl -q --no-pager -n 1 -o cat --output-fields="$2" SYSLOG_IDENTIFIER=mpstore "MPSTORE_NAME=$1"; }
each_once() { _twice=$(imported | sort | uniq -d); [ -z "$_twice" ] || { for _i in $_twice; do journalctl -q -o verbose --no-pager "MPSTORE_RECORD=$_i" | grep -aE '_BOOT_ID|MPSTORE_(NAME|SIZE)'; done; return 1; }; }

case $STAGE in
1)
	check "mpstore was loaded in the initramfs" sh -c "journalctl -q -b -o cat --no-pager | grep -m 1 -E 'mpstore: |systemd .* running in system mode' | grep mpstore"
	check "kdump-tools has loaded a crash kernel" kdump_ready || note "$(journal kdump-tools; systemctl status kdump-tools)"
	check "after it was told what the regions are" sh -c 'grep -q "$(cat "$1")" /var/crash/kexec_cmd' sh $CRASH_CMDLINE
	note "$(cat /var/crash/kexec_cmd)"
	check "without the first kernel's words for them" sh -c "! grep -E 'memmap=|reserve_mem=|crashkernel=|mem_name=,oops' /var/crash/kexec_cmd"
	check "its initramfs has the module" kdump_initrd_has 'updates/mpstore.ko'
	check "and what loads it" kdump_initrd_has scripts/init-top/mpstore
	check "nothing failed in this boot" test -z "$(systemctl list-units --failed --plain --no-legend)"
	check "no ordering cycle" sh -c "! journalctl -q -b -o cat --no-pager | grep 'ordering cycle'"
	for f in usr/bin/mpstore usr/share/bash-completion/completions/mpstore \
		usr/share/zsh/vendor-completions/_mpstore usr/share/fish/vendor_completions.d/mpstore.fish \
		usr/lib/systemd/system/mpstore-import.service; do
		check "the package has /$f" grep -qx "/$f" /var/lib/dpkg/info/mpstore.list
	done
	check "and manual pages" sh -c 'grep -c /man1/mpstore /var/lib/dpkg/info/mpstore.list | grep -qvx 0'
	check "the import is done at each boot" systemctl is-enabled mpstore-import
	check "mpstore check: everything armed" /usr/bin/mpstore check --kdump --backends 2
	note "$(/usr/bin/mpstore check --kdump)"
	# What it would move away is to be looked at where it is.
	systemctl mask systemd-pstore 2>/dev/null
	crash ;;
2)
	dump=$(find /var/crash -name 'dump.2*')
	note "$(find /var/crash $PSTORE -type f -exec ls -l {} +)"
	check "kdump-tools saved a vmcore" test -s "$dump" || bail "no vmcore"
	check "and the log of the first kernel" has "$(find /var/crash -name 'dmesg.2*')" "$(uuid 1) log"
	check "the tree has a folder for each" test "$(find $PSTORE -mindepth 1 -maxdepth 1 -type d | sort | tr '\n' ' ')" = \
		"$PSTORE/ramoops $PSTORE/ramoops1 $PSTORE/ramoops_crash "
	note "$(grep -a terminal $PSTORE/ramoops/tty-ramoops-0)"
	for d in ramoops ramoops1; do
		check "$d: the panic of the first kernel" has "$PSTORE/$d/dmesg-$d-0" "sysrq triggered crash"
		check "$d: its console" has "$PSTORE/$d/console-$d-0" "$(uuid 1) log"
		check "$d: its terminals" has "$PSTORE/$d/tty-$d-0" "ttyS0: $(uuid 1) terminal"
		check "$d: its pmsg" has "$PSTORE/$d/pmsg-$d-0" "$(uuid 1) pmsg"
	done
	check "the first kernel's console ends with its panic" lacks $PSTORE/ramoops/console-ramoops-0 "elfcorehdr="
	check "the crash kernel's console" has $PSTORE/ramoops_crash/console-ramoops_crash-0 "Command line: .*elfcorehdr="
	check "what systemd did there" has $PSTORE/ramoops_crash/tty-ramoops_crash-0 "Starting .*kdump-tools-dump\.service"
	check "what kdump-tools said" has $PSTORE/ramoops_crash/tty-ramoops_crash-0 "saved vmcore in /var/crash"
	check "and makedumpfile" has $PSTORE/ramoops_crash/tty-ramoops_crash-0 "running makedumpfile"
	check "nothing of the first kernel there" lacks $PSTORE/ramoops_crash/console-ramoops_crash-0 "$(uuid 1)"
	check "the memory that memmap= took out was reserved in the crash kernel" \
		has $PSTORE/ramoops_crash/console-ramoops_crash-0 '0000000018000000-0x00000000183fffff\] *(device )?reserved'
	check "the crash kernel says what there is no note for" \
		has $PSTORE/ramoops_crash/console-ramoops_crash-0 "CONFIG_PROC_VMCORE_DEVICE_DUMP"

	note "import: $(import_said)"
	files=$(find $PSTORE -mindepth 2 -type f | wc -l)
	check "the journal has all of these records" test "$(imported -b | wc -l)" = "$files" || note "$(imported -b | wc -l) of $files"
	check "each once" each_once
	check "the panic with its priority" test "$(field dmesg-ramoops-0 PRIORITY)" = 2
	check "and reason" test "$(field dmesg-ramoops-0 MPSTORE_REASON)" = Panic
	check "and backend and kind" test "$(field tty-ramoops_crash-0 MPSTORE_BACKEND) $(field tty-ramoops_crash-0 MPSTORE_KIND)" = "ramoops_crash tty"
	check "and text" sh -c 'journalctl -q --no-pager -o cat MPSTORE_NAME=tty-ramoops_crash-0 | grep -aq "saved vmcore in"'
	check "its size is the file's" test "$(field console-ramoops-0 MPSTORE_SIZE)" = "$(stat -c %s $PSTORE/ramoops/console-ramoops-0)"
	before=$(imported | wc -l)
	check "another run of the unit" systemctl restart mpstore-import
	journalctl --sync
	check "adds nothing" test "$(imported | wc -l)" = "$before"

	# It is flattened, which only makedumpfile itself, crash and our program read.
	check "the program finds the region that is part of the vmcore, and its records" sh -c '
		/usr/bin/mpstore extract -q -s "$1" -o /var/tmp/out >/var/tmp/list 2>&1 || { cat /var/tmp/list; exit 1; }
		grep -rlq "$2" /var/tmp/out' sh "$dump" "$(uuid 1) pmsg"
	note "$(/usr/bin/mpstore list -q -s "$dump" 2>&1)"
	for f in console pmsg; do
		check "the vmcore's $f is what the tree shows" sh -c 'for f in $(find /var/tmp/out -name "$1-*"); do cmp $f $2 && exit; done; exit 1' sh $f $PSTORE/ramoops1/$f-ramoops1-0
	done
	check "makedumpfile -R makes it a dump of custom" sh -c 'makedumpfile -R /var/tmp/vmcore <"$1" >/dev/null' sh "$dump"
	check "crash knows it" sh -c 'crash --osrelease /var/tmp/vmcore | grep -qx "$(uname -r)"'
	rm -rf /var/tmp/vmcore /var/tmp/out "$dump"
	rm -f $PSTORE/ramoops/* $PSTORE/ramoops1/*

	# The disk for vmcores, whose driver the crash kernel then lacks. memmap= may stay if
	# the shell that the command line goes through is told to leave the dollar alone.
	mke2fs -q -t ext4 -L vmcores /dev/nvme0n1
	echo 'LABEL=vmcores /var/crash ext4 defaults 0 2' >>/etc/fstab
	systemctl daemon-reload
	mount /var/crash
	cat >>$DEFAULTS <<'END'
KDUMP_CMDLINE="$(sed -re 's/(^| )(crashkernel|hugepages|hugepagesz|abm|reserve_mem)=[^ ]*//g; s/(^| )mpstore\.[^ ]*//g; s/[$]/\\&/g' /proc/cmdline)"
KDUMP_CMDLINE_APPEND="module_blacklist=nvme $KDUMP_CMDLINE_APPEND"
END
	kdump-config unload >/dev/null
	check "a crash kernel that lacks the disk" kdump-config load
	check "its command line has memmap=, for a shell" grep -qF 'memmap=4M\$0x18000000' /var/crash/kexec_cmd
	note "$(cat /var/crash/kexec_cmd)"
	systemctl unmask systemd-pstore 2>/dev/null
	reset_when '(Press Enter|Give root password) for (system )?maintenance|Cannot open access to console'
	crash ;;
3)
	note "$(find /var/crash $ARCHIVE -type f -exec ls -l {} +)"
	check "no vmcore" test -z "$(find /var/crash -name 'dump*')"
	saved=$(find $ARCHIVE -mindepth 1 -maxdepth 1 -type d -name '2*')
	check "systemd-pstore archived the first kernel's panic" has "$saved/dmesg-ramoops-0" "sysrq triggered crash"
	check "and what the crash kernel's terminals show: the disk" has "$saved/tty-ramoops_crash-0" "Timed out waiting for device.*vmcores"
	check "the dependency" has "$saved/tty-ramoops_crash-0" "Dependency failed for.*(/var/crash|var-crash.mount)"
	check "and emergency mode" has "$saved/tty-ramoops_crash-0" "emergency mode"
	note "$(grep -aE 'Timed out|Dependency failed|emergency' "$saved/tty-ramoops_crash-0")"
	check "the crash kernel's console has the command line as it was meant" \
		has "$saved/console-ramoops_crash-0" 'Command line: .*memmap=4M\$0x18000000 '
	check "it archived nothing in the crash kernel" test "$(find $ARCHIVE -name 'dmesg-ramoops-0' | wc -l)" = 1
	note "import: $(import_said)"
	check "the journal has the second panic" sh -c 'journalctl -q -b --no-pager -o cat MPSTORE_NAME=dmesg-ramoops-0 | grep -aq "$1"' sh "$(uuid 2)"
	check "and no record of three boots twice" each_once ;;
esac
