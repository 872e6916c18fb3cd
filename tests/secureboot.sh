#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A machine with Secure Boot: firmware with Microsoft's keys starts Debian's shim and GRUB as
# they are signed, these the stock kernel by the machine owner's key, and the kernel, locked
# down, takes mpstore if it is signed with that key and not otherwise. It records a panic there.
#
# The key is in shim's list from the start, as if its owner had confirmed it; dkms signs with
# such a key (packaging/try dkms).
#
# vm: firmware=secureboot timeout=400 quiet=200 mem=1G
# kernels: stock
. /tests/lib.sh
plan 16
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
	check "it is erased" rm $PSTORE/ramoops/dmesg-ramoops-0 ;;
esac
