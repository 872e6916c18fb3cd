#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: kexec, with handover, and kdump.
# vm: mem=1G kexec
# cmdline: kho=on kho_scratch=16M,64M,16M crashkernel=192M
# kernels: custom
. /tests/lib.sh
plan 4
case $STAGE in
1)	next_stage 2
	kexec_now from_kexec ;;
2)	check "this kernel came by kexec" grep -q from_kexec /proc/cmdline
	check "with handover" sh -c 'dmesg | grep -q "KHO: found kexec handover"'
	next_stage 3
	reboot_now ;;
3)	check "load a crash kernel" kexec_load -p from_crash
	next_stage 4
	panic_now ;;
4)	check "this is the crash kernel" test -e /proc/vmcore ;;
esac
