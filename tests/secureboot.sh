#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A machine with Secure Boot: firmware with Microsoft's keys starts Debian's shim and GRUB as
# they are signed, these the stock kernel by the machine owner's key, and the kernel, locked
# down, takes mpstore if it is signed with that key and not otherwise. It records a panic there.
# Then the same under the strictest lockdown, with all that this machine has: RAM, a disk that
# is taken over in the panic, EFI variables, ERST, terminals and the function trace.
#
# The key is in shim's list from the start, as if its owner had confirmed it; dkms signs with
# such a key (packaging/try dkms).
#
# vm: firmware=secureboot erst=64K timeout=600 quiet=200 mem=1G
# disk: nvme 32M parts=2:noise,2
# kernels: stock
. /tests/lib.sh
plan 33
RAM="mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x8000 console_size=0x8000 pmsg_size=0x8000"
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
said() { dmesg | grep "$1" || { dmesg | grep -i "secure\|lock\|x.509\|cert"; return 1; }; }
refused() { # MODULE ERROR LINE
	dmesg -c >/dev/null
	# shellcheck disable=SC2086
	! ttytool insmod "$1" $RAM >/tmp/refused 2>&1 || { echo loaded; return 1; }
	grep "$2" /tmp/refused || { cat /tmp/refused; return 1; }
	said "$3"
}
# shellcheck disable=SC2086
load() { insmod /mpstore-mok.ko $RAM && mount_pstore; }

ALL="$RAM tty_size=0x8000 ftrace_size=0x8000 tty_names=ttyS2 blkdev=/dev/nvme0n1p2 kmsg_size=0x10000 efi=Y erst=Y"
DEBUG=/sys/kernel/debug/mpstore
# shellcheck disable=SC2086
load_all() {
	[ ! -e /modules/configfs.ko ] || insmod /modules/configfs.ko 2>/dev/null
	insmod /mpstore-mok.ko $ALL && mount_pstore || return
	_got=$(cd $PSTORE && ls | xargs)
	case $_got in *blk*efi*erst*ramoops*) ;; *) echo "has '$_got'"; return 1 ;; esac
}
armed() { grep -q '^blk .* panic=armed: ' $DEBUG/devices || { cat $DEBUG/devices; return 1; }; }
another() {
	mount -t configfs configfs /sys/kernel/config 2>/dev/null
	_d=/sys/kernel/config/mpstore/another
	mkdir $_d && echo mem >$_d/type && echo 0x40000 >$_d/mem_size &&
		echo 0x4000 >$_d/record_size && echo 1 >$_d/power && [ -d $PSTORE/another ] &&
		echo 0 >$_d/power && rmdir $_d
}
# all_have KIND TEXT BACKEND...: a record of the kind with the text, in each of them.
all_have() {
	_kind=$1 _text=$2
	shift 2
	for _b; do
		cat $PSTORE/$_b/$_kind-* | grep -q "$_text" || { echo "not in $_b"; ls -l $PSTORE/$_b; return 1; }
	done
}

case $STAGE in
1)
	check "the kernel sees Secure Boot" said 'secureboot: Secure boot enabled'
	check "and has locked itself down" grep -F '[integrity]' /sys/kernel/security/lockdown
	check "it knows the owner's key" said "Loaded X.509 cert 'mpstore test mok"
	check "a module without a signature is refused" refused /mpstore.ko EKEYREJECTED 'Loading of unsigned module is rejected'
	check "one that is signed with another key, too" refused /mpstore-other.ko 'ENOKEY\|EKEYREJECTED' 'Loading of module with unavailable key is rejected'
	check "none is loaded" test ! -d /sys/module/mpstore
	check "one that is signed with the owner's key is taken" load || bail "no module"
	check "the kernel is not tainted by it as unsigned" test $(($(cat /proc/sys/kernel/tainted) & 8192)) = 0
	check "memory is out of the reach of programs" sh -c '! dd if=/dev/mem of=/dev/null bs=4096 skip=98304 count=1 2>/dev/null'
	echo "$(uuid pmsg)" >/dev/pmsg0
	echo "$(uuid log)" >/dev/kmsg
	next_stage 2
	panic_now ;;
2)
	check "after the panic it is locked down again" grep -F '[integrity]' /sys/kernel/security/lockdown
	check "mpstore is loaded again" load || bail "no module"
	check "the panic is there" grep -q 'sysrq triggered crash' $PSTORE/ramoops/dmesg-ramoops-0
	check "with the log" grep -q "$(uuid log)" $PSTORE/ramoops/dmesg-ramoops-0
	check "and the console" grep -q "$(uuid log)" $PSTORE/ramoops/console-ramoops-0
	check "and what programs left" grep -q "$(uuid pmsg)" $PSTORE/ramoops/pmsg-ramoops-0
	check "it is erased" rm $PSTORE/ramoops/dmesg-ramoops-0
	umount_pstore
	check "the module goes" rmmod mpstore
	echo confidentiality >/sys/kernel/security/lockdown
	check "the kernel locks itself down further" grep -F '[confidentiality]' /sys/kernel/security/lockdown
	check "nothing of the kernel's memory can be read" sh -c '! dd if=/proc/kcore of=/dev/null bs=64 count=1 2>/dev/null'
	check "all backends are there" load_all || bail "not all"
	check "what can be read of debugfs still can" sh -c "cat $DEBUG/status | grep ramoops"
	check "the disk is armed for a panic" armed
	check "what can be written can't" sh -c "! echo 1 2>/dev/null >$DEBUG/record_ftrace"
	check "the program reads the tree" sh -c "mpstore list >/tmp/list && grep -q dmesg-erst- /tmp/list || { cat /tmp/list; false; }"
	check "a backend is added and removed" another
	M=$(uuid all)
	echo "$M pmsg" >/dev/pmsg0
	echo "$M log" >/dev/kmsg
	check "a terminal is written to" sh -c "echo '$M tty' >/dev/ttyS2"
	next_stage 3
	panic_now ;;
3)
	check "all backends are there again" load_all || bail "not all"
	check "all have the panic" all_have dmesg 'sysrq triggered crash' ramoops blk efi erst
	check "with the log" all_have dmesg "$(uuid all) log" ramoops blk
	check "the console" all_have console "$(uuid all) log" ramoops blk
	check "what programs left" all_have pmsg "$(uuid all) pmsg" ramoops
	check "and what was printed to a terminal" all_have tty "$(uuid all) tty" ramoops
	check "all of it can be erased" sh -c "find $PSTORE -type f | xargs rm && ! find $PSTORE -type f | grep ." ;;
esac
