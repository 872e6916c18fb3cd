# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# For the tests of the kho backend: kernels one after the other by kexec. Where a
# kernel comes from outlives the jump on a disk, since an initramfs can't hold
# itself. Wants in the test's head:
#	# vm: mem=2G kexec
#	# cmdline: kho=on kho_scratch=16M,64M,16M
#	# disk: virtio 64M
DISK=/dev/vda

# chain_begin: in the first kernel, puts kernel and initramfs on the disk.
chain_begin() {
	save IMAGE_SIZE "$(wc -c </kexec/bzImage)"
	save INITRD_SIZE "$(wc -c </kexec/initrd)"
	# A kernel that comes by kexec in an emulated machine finds another frequency
	# of the CPU's clock now and then, and then its time is ten times too fast.
	_khz=$(dmesg | sed -n 's/.*tsc: Detected \([0-9.]*\) MHz.*/\1/p' | tr -d .)
	save CHAIN_CMDLINE "$(cat /proc/cmdline) nowatchdog tsc_early_khz=$_khz"
	dd if=/kexec/bzImage of=$DISK bs=1M conv=notrunc 2>/dev/null &&
		dd if=/kexec/initrd of=$DISK bs=1M seek=24 conv=notrunc 2>/dev/null && sync
}
# chain_load [COMMAND LINE...]: `kexec -l` of the next kernel, by file. The words
# come behind the first kernel's command line.
chain_load() {
	dd if=$DISK bs=1M count=24 2>/dev/null | head -c "$IMAGE_SIZE" >/tmp/bzImage
	dd if=$DISK bs=1M skip=24 2>/dev/null | head -c "$INITRD_SIZE" >/tmp/initrd
	kexec ${KEXEC_HOW--s} -l /tmp/bzImage --initrd=/tmp/initrd --command-line="$CHAIN_CMDLINE $* $(kexec_words)"
	_rc=$?
	rm /tmp/bzImage /tmp/initrd
	return $_rc
}
# chain_jump [-x]: into what is loaded.
chain_jump() { sync_host; kexec -e "${1--x}"; _down kexec; }

load_kho() { load_mpstore kho=Y "$@"; }
K=
kho_mount() { mount_pstore && K=$PSTORE/kho; }
remount() { umount_pstore 2>/dev/null; kho_mount; }
GENERATIONS=/sys/kernel/debug/mpstore/generations
# generations: the numbers of those that are not the present one.
generations() { awk '$1 == "kho" && $3 == "N" { printf "%s%s", n++ ? " " : "", $2 }' $GENERATIONS; }
generations_are() { [ "$(generations)" = "$1" ] || { cat $GENERATIONS; return 1; }; }
# field GENERATION COLUMN
field() { awk -v g="$1" -v c="$2" '$1 == "kho" && $2 == g { print $c }' $GENERATIONS; }
# file KIND GENERATION [N]: where a record is.
file() { echo "$K/$1-kho-$(($2 * 10000 + ${3:-0}))"; }
has() { grep -aqF "$2" "$1" || { echo "$1 lacks '$2'"; ls -l "$K"; return 1; }; }
lacks() { ! grep -aqF "$2" "$1" || { echo "$1 has '$2'"; return 1; }; }
logged() { dmesg | grep -q "$1" || { echo "no line '$1':"; dmesg | grep mpstore; return 1; }; }
empty() { [ -d "$1" ] && [ -z "$(ls "$1")" ] || { ls -l "$1"; return 1; }; }
# speak WHO: into every frontend.
speak() {
	echo "<5>$1 $(uuid) kmsg" >/dev/kmsg && echo "$1 $(uuid) pmsg" >/dev/pmsg0 &&
		echo "$1 $(uuid) tty" >/dev/ttyS2
}
# chatter WHO: numbered lines into each of them, until the jump. The kernel's log has what `speak`
# wrote in each line, which is soon overwritten where it was.
chatter() {
	_line="<5>chatter $1 $(uuid) kmsg"
	(while :; do ttytool kmsg 100 "$_line"; done) >/dev/null 2>&1 &
	(_i=0; while :; do echo "$1 line $((_i += 1))"; done >/dev/pmsg0) &
	(_i=0; while :; do echo "$1 line $((_i += 1))"; done >/dev/ttyS2) &
	sleep 2
}
# in_order FILE WHO: such lines are all there from the first that is left on.
in_order() {
	sed -n "s/.*$2 line \([0-9]*\)\r*$/\1/p" "$1" >/tmp/numbers
	awk 'NR > 1 && $1 != last + 1 { print "after " last " comes " $1; bad = 1 } { last = $1 }
		END { if (NR < 20) { print NR " lines"; bad = 1 } exit bad }' /tmp/numbers
}
# said WHO GENERATION: all of it is there, and nobody else's.
said() {
	for _k in dmesg console pmsg tty; do
		case $_k in dmesg | console) _w=kmsg ;; *) _w=$_k ;; esac
		has "$(file $_k "$2")" "$1 $(uuid) $_w" || return 1
	done
}
time_of() { stat -c %Y "$1"; }
