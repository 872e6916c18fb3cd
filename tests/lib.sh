# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# For the tests that run in the guest: results in KTAP, and requests to the VM
# runner, which reads both from our standard output. A test is one script that
# is started anew after every boot with another STAGE; what it wants to remember
# the runner keeps (save), since nothing in the guest does.
#
#	. /tests/lib.sh
#	plan 2
#	case $STAGE in
#	1)	check "write it" poke "$REGION_A" "$(uuid)"
#		next_stage 2; panic_now ;;
#	2)	check "it is still there" peek_is "$REGION_A" "$(uuid)" ;;
#	esac
#
# Comments at the top of a test that the runner reads:
#	# vm: mem=512M smp=2 timeout=180 quiet=60 boots=16 ram=file second=stock
#	# vm: kexec kaslr onethread hotplug firmware=ovmf|secureboot erst=64K
#	# cmdline: more words for the kernel's command line
#	# kernels: custom debug stock     where the test makes sense; first: default
#	# disk: virtio|nvme|nvme-ns|ahci|scsi|drive SIZE [gpt=NAME@FIRST+COUNT] [device option...]
#	        instead of gpt= also parts=MIB[:noise|:ext4],...: one behind the other, with contents
#	        drive.X=Y is for QEMU's drive, errors=SECTOR fails writes to that, log keeps what cuts needs
#	# qemu: more arguments for QEMU
#	# vm: debian=VARIANT               on a Debian system: lib-debian.sh, Documentation/debian.md
#	# payload: files of the checkout for that system
#	# vm@debug: mem=1200M             any of these, for one kernel only, after those for all
# kaslr leaves out nokaslr. firmware=ovmf is UEFI with a variable store of its own, firmware=secureboot
# with Microsoft's and an owner's keys, shim and GRUB, and the module signed in /mpstore-mok.ko,
# /mpstore-other.ko; erst=SIZE is ACPI's error record device. onethread emulates all CPUs in one host thread: with
# one each, the kernel's changing of its own code now and then hits a stale int3. hotplug is for unplug.
# second=KIND names the kernels that switch_kernel may ask for. Do not report
# results from a subshell or a pipeline: the numbering would be lost.

STAGE=${STAGE:-1}
RUN_ID=${RUN_ID:-00000000}
# The runner counts the results of the stages before this one.
KTAP_N=${RESULTS:-0}

# The memory that the command line reserves: two regions at fixed addresses and
# one by name.
REGION_A=0x18000000
REGION_A_SIZE=0x100000
REGION_B=0x18200000
REGION_B_SIZE=0x100000
REGION_NAME=oops
PSTORE=/sys/fs/pstore

# --- results ---------------------------------------------------------------
# plan N: how many results all stages together will report.
plan() {
	[ "$STAGE" = 1 ] || return 0
	echo "KTAP version 1"
	echo "1..$1"
}
ok() { KTAP_N=$((KTAP_N + 1)); echo "ok $KTAP_N $1"; }
# fail NAME [DETAIL]
fail() {
	KTAP_N=$((KTAP_N + 1))
	[ -z "${2-}" ] || note "$2"
	echo "not ok $KTAP_N $1"
}
skip() { KTAP_N=$((KTAP_N + 1)); echo "ok $KTAP_N $1 # SKIP $2"; }
# note TEXT: a remark in the output, several lines if need be.
note() { printf '%s\n' "$*" | sed 's/^/# /'; }
# check NAME COMMAND...: one result; what the command says is shown if it fails.
check() {
	_name=$1
	shift
	if "$@" >/tmp/check.out 2>&1; then
		ok "$_name"
		return 0
	fi
	note "failed: $*"
	head -n 20 /tmp/check.out | sed 's/^/#   /'
	fail "$_name"
	return 1
}
# bail TEXT: nothing more to be had from this test.
bail() { note "$*"; exit 1; }

# --- requests to the runner ------------------------------------------------
# sync_host: returns when the runner has read everything said so far.
sync_host() {
	echo "@sync" >&3
	# The runner also sends empty lines, to wake up the serial port.
	while IFS= read -r _line <&3 && [ "$_line" != synced ]; do :; done
}
# next_stage N: the machine is about to go down, go on with STAGE=N.
next_stage() { echo "@stage $1" >&3; sync_host; }
# save NAME VALUE: NAME is a variable in this and all later stages.
save() { export "$1=$2"; echo "@set $1 $2" >&3; }
# expect_log REGEX[ >>> REGEX]: kernel log lines like this are no failure in this test; if a second
# expression is given, only with a line like that among the ten behind it.
expect_log() { echo "@allow $1" >&3; sync_host; }
# expect_log_now REGEX: the same from here to the next boot.
expect_log_now() { echo "@allow-boot $1" >&3; sync_host; }
# dump_memory ADDRESS SIZE NAME: into build/vm/TEST/NAME on the host.
dump_memory() { echo "@dump $1 $2 $3" >&3; sync_host; }
# digest DISK [PART...]: a checksum of all bytes of the Nth disk that are in none of these partitions
# (disks made with parts=), by the host. In $ANSWER.
# fsck DISK PART: whether the file system there is whole, by the host.
_ask() {
	echo "$1" >&3
	while IFS= read -r _line <&3; do
		case $_line in "$2 "*) ANSWER=${_line#"$2 "}; return ;; esac
	done
}
digest() { _ask "@digest $*" digest; }
fsck() { sync_host; _ask "@fsck $*" fsck; [ "$ANSWER" = 0 ]; }
# cuts DISK PART [KEY=BYTES...]: cuts what was written to a disk with `log` at every point, and whether
# each dump is whole or not there (disktool cuts), by the host. What it counted is in $ANSWER.
cuts() { sync_host; _ask "@cuts $*" cuts; [ "${ANSWER%% *}" = 0 ] || { echo "$ANSWER"; return 1; }; }
# unplug ID: takes QEMU's device ID out of the running machine.
unplug() { echo "@unplug $1" >&3; sync_host; }
# memory_to DISK FORM: all memory of this machine to the beginning of the Nth disk, by the host: as QEMU's
# dump-guest-memory writes it (elf, kdump-zlib, kdump-raw-zlib, ...), or ram (vm: ram=file).
memory_to() { sync_host; _ask "@memory $2 $1" memory; }
uuid() { echo "$RUN_ID${1:+-$1}"; }

# --- ways down -------------------------------------------------------------
# All need next_stage first, or the runner counts the machine as lost.
_down() { sleep 60; note "still alive after: $1"; exit 1; }
reboot_now() { sync_host; reboot -f; _down reboot; }
# hard_reset: the reset button.
hard_reset() { sync_host; echo "@reset" >&3; _down "hard reset"; }
# power_loss: the machine goes without a word, and is started anew; disks are all that is left.
power_loss() { sync_host; echo "@power" >&3; _down "loss of power"; }
# reset_when REGEX: the reset button, when the console says that; for a boot in which no test runs.
reset_when() { echo "@reset-when $1" >&3; sync_host; }
# switch_kernel KIND: boot another kernel in the same memory (ram=file).
switch_kernel() { sync_host; echo "@kernel $1" >&3; _down "change of kernel"; }
panic_now() {
	expect_log_now 'Kernel panic - not syncing: sysrq triggered crash'
	echo 1 >/proc/sys/kernel/sysrq
	echo c >/proc/sysrq-trigger
	_down "sysrq-c"
}
# oops_now: an oops that the machine survives; the writer does not.
oops_now() {
	[ -e /proc/mpstore_oops ] || insmod /mpstore_oops.ko || return
	expect_log_now 'BUG: kernel NULL pointer dereference'
	expect_log_now 'Oops: '
	expect_log_now 'KASAN: null-ptr-deref|general protection fault'
	expect_log_now 'Kernel panic - not syncing: Fatal exception'
	(echo "${1:-oops}" >/proc/mpstore_oops) 2>/dev/null
	[ $? -gt 128 ]
}
# kexec_words: what a kernel that comes by kexec must be told. On UEFI the first kernel's stub leaves a
# table of 16 bytes, of its initramfs, in memory that is free afterwards. The next kernel still finds
# it by the firmware, and clears it (drivers/firmware/efi/efi.c): in its own text, if that lies there
# now. It does not if it has been told of an initramfs; where the loader has put one counts all the same.
kexec_words() { [ ! -d /sys/firmware/efi ] || echo initrdmem=0,1; }
# kexec_now [COMMAND LINE]: into the same kernel by kexec (vm: kexec).
kexec_load() { # [-p] [COMMAND LINE...]
	_p=
	[ "${1-}" = -p ] && { _p=-p; shift; }
	# shellcheck disable=SC2086
	kexec ${KEXEC_HOW--s} $_p -l /kexec/bzImage --initrd=/kexec/initrd \
		--command-line="$(cat /proc/cmdline) $* $(kexec_words)"
}
kexec_now() { kexec_load "$@" && sync_host && kexec -e -x; _down kexec; }

# --- mpstore ---------------------------------------------------------------
load_mpstore() { insmod /mpstore.ko "$@"; }
mount_pstore() {
	# The kernel's own may be mounted beneath; only ours shows a layout.
	grep -q " $PSTORE pstore .*layout=" /proc/mounts && return
	# Where the kernel has no pstore of its own, mpstore makes the folder.
	[ -d "$PSTORE" ] || { PSTORE=/mnt/pstore; mkdir -p "$PSTORE"; }
	mount -t pstore pstore "$PSTORE"
}
umount_pstore() { umount "$PSTORE"; }
# same_files DIR DIR: both have the same files, at least one, byte for byte.
same_files() {
	[ "$(ls "$1")" = "$(ls "$2")" ] || { ls -l "$1" "$2"; return 1; }
	for _f in "$2"/*; do cmp "$1/${_f##*/}" "$_f" || return 1; done
}

# free_kb: memory that is to be had, for "as before" with SLACK. KASAN keeps back
# what was freed; on such a kernel kmemleak looks for what is lost.
SLACK=8192
[ ! -e /sys/kernel/debug/kmemleak ] || SLACK=32768
free_kb() {
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo
}

# others_begin, others_end: between them mpstore is not loaded, and what was allocated then and leaked is
# not its. The in-tree pstore_zone loses what it has read of each zone when it goes.
jiffies() { sed -n 's/^jiffies: //p' /proc/timer_list | head -n 1; }
others_begin() { OTHERS=$(jiffies); }
others_end() { echo "$OTHERS $(jiffies)" >>/tmp/others; }

# --- plain memory, without mpstore (needs /dev/mem) ------------------------
# poke ADDRESS TEXT, peek ADDRESS LENGTH
poke() { printf %s "$2" | dd of=/dev/mem bs=1 seek=$(($1)) conv=notrunc 2>/dev/null; }
peek() { dd if=/dev/mem bs=1 skip=$(($1)) count="$2" 2>/dev/null; }
peek_is() {
	_got=$(peek "$1" ${#2} | tr -d '\0')
	[ "$_got" = "$2" ] || { echo "at $1: '$_got', wanted '$2'"; return 1; }
}
# wipe ADDRESS SIZE: an old run's records must not be taken for ours.
wipe() { dd if=/dev/zero of=/dev/mem bs=4096 seek=$(($1 / 4096)) count=$(($2 / 4096)) conv=notrunc 2>/dev/null; }

# What `make vm` shows first; used by init only.
vm_shell_intro() {
	echo
	if [ -e /mpstore.ko ] && load_mpstore mem_address=$REGION_A,$REGION_B mem_size=$REGION_A_SIZE \
		record_size=0x4000 console_size=0x10000 pmsg_size=0x10000 tty_size=0x10000; then
		mount_pstore && echo "mpstore is loaded, its records are in $PSTORE."
	fi
	echo "'echo c >/proc/sysrq-trigger' crashes the machine; it comes back by itself."
	echo "'exit' powers it off. tests/lib.sh is sourced, the tests are in /tests."
}
