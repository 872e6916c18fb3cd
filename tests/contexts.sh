#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Every backend holds a complete dump in whatever context the kernel dies: in a
# task, in a soft and a hard interrupt and in an NMI, by panic and by oops, for
# want of stack or memory, because a task hangs or a processor does. Ends with a
# table of what survived. Debian's detector of hard lockups needs a counter that
# emulated processors lack; there RCU is what notices.
#
# vm: timeout=120 boots=20
# kernels: custom debug stock
. /tests/lib.sh
. /tests/lib-crash.sh

CASES="process softirq hardirq nmi
	oops-process oops-softirq oops-hardirq oops-nmi
	stack memory hung softlockup hardlockup"

lockup_detector() { echo 1 2>/dev/null >/proc/sys/kernel/nmi_watchdog; }
sysctl_set() { echo "$2" >"/proc/sys/$1"; }
# An oops that kills: its own dump comes first.
oops_about() {
	HEAD="Panic#2"
	SAYS="Fatal exception$1"
	expect_log_now 'BUG: kernel NULL pointer dereference|Oops: |general protection fault|KASAN: null-ptr-deref'
}
about() {
	case $1 in
	process | softirq | hardirq) TITLE="panic in $1" SAYS="mpstore_crash: asked for in $1" ;;
	nmi) TITLE="panic in NMI" SAYS="NMI: Not continuing" ;;
	oops-process) TITLE="oops in process, panic_on_oops" ; oops_about '' ;;
	oops-softirq | oops-hardirq) TITLE="oops in ${1#oops-}" ; oops_about " in interrupt" ;;
	oops-nmi) TITLE="oops in NMI" ; oops_about " in interrupt" ;;
	stack) TITLE="stack overflow" ; oops_about " in interrupt"
		expect_log_now 'stack guard page was hit|double fault' ;;
	memory) TITLE="out of memory" SAYS="Out of memory: .*panic_on_oom"
		expect_log_now 'Call Trace' ;;
	hung) TITLE="hung task" SAYS="hung_task: blocked tasks"
		expect_log_now 'INFO: task .* blocked' ;;
	softlockup) TITLE="soft lockup" SAYS="softlockup: hung tasks"
		expect_log_now 'soft lockup' ;;
	hardlockup)
		if lockup_detector; then
			TITLE="hard lockup" SAYS="Hard LOCKUP"
			expect_log_now 'hard LOCKUP'
		else
			TITLE="hard lockup, seen by RCU" SAYS="RCU Stall"
			expect_log_now 'rcu: INFO: rcu_preempt detected stalls|NMI backtrace|Call Trace'
		fi ;;
	esac
}
die() {
	case $1 in
	process | softirq | hardirq) crash "panic@$1" ;;
	nmi) sysctl_set kernel/unknown_nmi_panic 1; nmi_now ;;
	oops-nmi) crash oops@nmi; nmi_now ;;
	oops-*) sysctl_set kernel/panic_on_oops 1; crash "oops@${1#oops-}" ;;
	stack) crash recurse@process ;;
	memory)
		sysctl_set vm/panic_on_oom 1
		crash hog@process ;;
	hung)
		sysctl_set kernel/hung_task_panic 1
		sysctl_set kernel/hung_task_check_interval_secs 1
		sysctl_set kernel/hung_task_timeout_secs 1
		crash sleep@process & ;;
	softlockup)
		sysctl_set kernel/softlockup_panic 1
		sysctl_set kernel/watchdog_thresh 1
		sysctl_set kernel/watchdog 1
		crash spin@process ;;
	hardlockup)
		if lockup_detector; then
			sysctl_set kernel/hardlockup_panic 1
			sysctl_set kernel/watchdog_thresh 1
			sysctl_set kernel/watchdog 1
		else
			sysctl_set kernel/panic_on_rcu_stall 1
			echo 3 >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
		fi
		on 1 "echo spin@hardirq >/proc/mpstore_crash" ;;
	esac
}

run_cases
