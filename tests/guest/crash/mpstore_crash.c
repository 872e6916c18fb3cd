// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/mpstore_crash: brings a chosen misfortune about in a chosen context, or
 * at a chosen place in the kernel's code. What is written to it is one of
 *
 *   HOW@WHERE                              at once
 *   HOW in=SYMBOL [nth=N] [after=SYMBOL]   when the task that wrote this enters
 *                                          SYMBOL for the Nth time (1), counted
 *                                          from its entry into the second one
 *   HOW in=SYMBOL any                      when anybody enters SYMBOL, interrupts
 *                                          included
 *
 * HOW    panic     panic("mpstore_crash: ...")
 *        oops      dereference NULL
 *        spin      never go on, with whatever is held
 *        recurse   use the stack up
 *        hog       take all memory there is (process only)
 *        nmi       panic in an NMI that the CPU sends to itself, in the middle of
 *                  whatever it does
 *        sleep     sleep uninterruptibly for ever (process only)
 *        hold      live on, but not before another CPU has been kept waiting for
 *                  30 ms: SYMBOL unlocks what the function after= takes, and
 *                  the other CPU enters that with the same first argument
 *        fail      live on, but SYMBOL is not run, and returns -E of error=E; a pointer
 *                  that is NULL without that. `any` where ftrace has no place. `sized`
 *                  are the calls of krealloc() and its like that give no memory back.
 * or "disarm": none of these any more.
 *
 * or "damage NAME": a byte is changed in the index that the platform device of that name keeps for
 * mpstore's next load (src/sys/kho.rs).
 *
 * or "spare in=SYMBOL": /proc/self/fail-nth has a pause while its task is in SYMBOL, where the
 * kernel itself can't do without memory; twice at most.
 *
 * or "depth in=SYMBOL": how much of the task's stack SYMBOL and all that it calls use is said
 * in the log each time it returns. For what runs with interrupts off.
 *
 * WHERE  process, softirq, hardirq
 *        nmi           in the next NMI, on the CPU that gets it
 *        console_lock  in process context with the console lock held
 *        struck        in process context, as soon as `spin` or `hold` has struck
 *        later         in a soft interrupt 5 s after that
 *
 * A place where a lock is held makes a crash with that lock held, on the dying
 * CPU by `panic`, on a stopped one by `spin` and, asked for before that, a panic
 * in `struck` on another CPU: with one CPU stuck, much of what a shell does hangs. Reading
 * says `idle`, `armed`, or `struck` when a `spin` or `hold` has been reached.
 *
 * The probe at SYMBOL is a kprobe: by ftrace where SYMBOL begins with a call of
 * it, and then in the context of the caller; else by a breakpoint, in which the
 * kernel takes itself to be in an NMI.
 */
#include <linux/console.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/hardirq.h>
#include <linux/irq_work.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/panic.h>
#include <linux/platform_device.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <asm/apic.h>
#include <asm/nmi.h>

enum how { PANIC, OOPS, SPIN, RECURSE, HOG, NMI, SLEEP, HOLD, FAIL };

static const char *const hows[] = {
	"panic", "oops", "spin", "recurse", "hog", "nmi", "sleep", "hold", "fail", NULL
};

/* What to do, and where that is, for the message. */
struct request {
	enum how how;
	char where[KSYM_NAME_LEN];
};

static noinline int recurse(int depth)
{
	/* Large enough to get there soon, too small to jump over the guard page. */
	volatile char frame[512];

	frame[0] = depth;
	if (depth < INT_MAX)
		frame[depth % sizeof(frame)] = recurse(depth + 1);
	return frame[0];
}

/* What the next NMI is to do. */
static struct request *in_next_nmi;

static void send_nmi_to_self(void)
{
	/* By hand, for the kernel's own function is not exported. */
	u32 id = cpu_physical_id(raw_smp_processor_id());

	if (x2apic_enabled()) {
		native_x2apic_icr_write(APIC_DM_NMI, id);
	} else {
		native_apic_mem_write(APIC_ICR2, SET_XAPIC_DEST_FIELD(id));
		native_apic_mem_write(APIC_ICR, APIC_DM_NMI);
	}
}

static bool struck;
/* The lock that is held, and whether another CPU has come to it. */
static unsigned long held;
static bool waited_for;

static void come_to_grief(const struct request *request)
{
	int *volatile nowhere = NULL;

	switch (request->how) {
	case PANIC:
		panic("mpstore_crash: asked for in %s", request->where);
		break;
	case OOPS:
		*nowhere = 1;
		break;
	case SPIN:
		WRITE_ONCE(struck, true);
		for (;;)
			cpu_relax();
	case RECURSE:
		recurse(0);
		break;
	case HOG:
		/* Large ones first, untouched: it is quick, and the last page decides. */
		for (int order = MAX_PAGE_ORDER; order >= 0; order--)
			while (alloc_pages(order ? GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN :
						   GFP_KERNEL, order))
				;
		break;
	case NMI:
		static struct request request_in_nmi = { PANIC, "nmi" };

		WRITE_ONCE(in_next_nmi, &request_in_nmi);
		send_nmi_to_self();
		for (;;)
			cpu_relax();
	case SLEEP:
		for (;;) {
			set_current_state(TASK_UNINTERRUPTIBLE);
			schedule();
		}
	case HOLD:
		WRITE_ONCE(struck, true);
		while (!READ_ONCE(waited_for))
			cpu_relax();
		mdelay(30);
		break;
	case FAIL:
		/* See at_place(). */
		break;
	}
}

/* --- contexts ------------------------------------------------------------- */
/* Apart from the one for a place, since its victim may have to be led there. */
static struct request now;

static void in_softirq_context(struct timer_list *unused)
{
	come_to_grief(&now);
}
static DEFINE_TIMER(timer, in_softirq_context);

/* No task: the CPU may by then wait in vain for one that was struck. */
static struct request late;
static void wait_until_later(struct timer_list *timer)
{
	static unsigned long since;

	if (!READ_ONCE(struck))
		since = jiffies;
	else if (time_after(jiffies, since + 5 * HZ))
		come_to_grief(&late);
	mod_timer(timer, jiffies + 1);
}
static DEFINE_TIMER(later, wait_until_later);

static void in_hardirq_context(struct irq_work *unused)
{
	come_to_grief(&now);
}
static struct irq_work work = IRQ_WORK_INIT_HARD(in_hardirq_context);

static int in_nmi_context(unsigned int type, struct pt_regs *regs)
{
	struct request *request = xchg(&in_next_nmi, NULL);

	if (!request)
		return NMI_DONE;
	come_to_grief(request);
	return NMI_HANDLED;
}

static int at_once(void)
{
	const char *where = now.where;

	if (now.how == HOLD || now.how == FAIL) {
		return -EINVAL;
	} else if (!strcmp(where, "process")) {
		if (now.how == SPIN)
			preempt_disable();
		come_to_grief(&now);
	} else if (!strcmp(where, "console_lock")) {
		console_lock();
		if (now.how == SPIN)
			preempt_disable();
		come_to_grief(&now);
	} else if (now.how == SLEEP || now.how == HOG) {
		return -EINVAL;
	} else if (!strcmp(where, "struck")) {
		struct request mine = now;

		/* Before the next request, and maybe for ever. */
		while (!READ_ONCE(struck))
			if (schedule_timeout_killable(1))
				return -EINTR;
		come_to_grief(&mine);
	} else if (!strcmp(where, "later")) {
		late = now;
		mod_timer(&later, jiffies + 1);
	} else if (!strcmp(where, "softirq")) {
		mod_timer(&timer, jiffies + 1);
	} else if (!strcmp(where, "hardirq")) {
		irq_work_queue(&work);
	} else if (!strcmp(where, "nmi")) {
		WRITE_ONCE(in_next_nmi, &now);
	} else {
		return -EINVAL;
	}
	return 0;
}

/* --- places --------------------------------------------------------------- */
static DEFINE_MUTEX(places);
static struct request there;
static char after[KSYM_NAME_LEN];
static struct task_struct *victim;
/* Whoever comes is the victim. */
static bool anybody;
/* Only calls whose second argument is not zero. */
static bool sized;
/* Entries still to go, counted while `counting` is set, by the victim only. */
static int entries;
static bool counting;

static bool of_the_victim(void)
{
	if (anybody)
		return READ_ONCE(victim);
	/* A breakpoint counts as an NMI, so that in_task() would not do. */
	return current == READ_ONCE(victim) && !in_hardirq() && !in_serving_softirq();
}

/* What `fail` returns. */
static unsigned long error;

/* Where a function that is not to be run goes on. */
static noinline notrace void only_return(void)
{
	asm volatile("");
}

static int at_place(struct kprobe *probe, struct pt_regs *regs)
{
	if (!of_the_victim() || !READ_ONCE(counting))
		return 0;
	if ((sized && !regs_get_kernel_argument(regs, 1)) || --entries)
		return 0;
	/* Its own death may lead it here again. */
	WRITE_ONCE(victim, NULL);
	if (there.how == FAIL) {
		regs_set_return_value(regs, -error);
		instruction_pointer_set(regs, (unsigned long)only_return);
		return 1;
	}
	WRITE_ONCE(held, regs_get_kernel_argument(regs, 0));
	come_to_grief(&there);
	return 0;
}

/* With one the probe may change where the task goes on. */
static void behind_place(struct kprobe *probe, struct pt_regs *regs, unsigned long flags) {}

static int at_start(struct kprobe *probe, struct pt_regs *regs)
{
	if (there.how == HOLD) {
		if (READ_ONCE(struck) && regs_get_kernel_argument(regs, 0) == held)
			WRITE_ONCE(waited_for, true);
	} else if (of_the_victim()) {
		WRITE_ONCE(counting, true);
	}
	return 0;
}

static struct kprobe place, start;
static bool place_set, start_set;

/* Waits for the handlers, and so for ever if one spins. */
static void remove_probes(void)
{
	WRITE_ONCE(victim, NULL);
	if (start_set)
		unregister_kprobe(&start);
	if (place_set)
		unregister_kprobe(&place);
	start_set = place_set = false;
}

static int set_probe(struct kprobe *probe, const char *symbol, kprobe_pre_handler_t handler,
		     bool *set)
{
	int ret;

	memset(probe, 0, sizeof(*probe));
	probe->symbol_name = symbol;
	probe->pre_handler = handler;
	if (there.how == FAIL)
		probe->post_handler = behind_place;
	ret = register_kprobe(probe);
	*set = !ret;
	if (ret)
		pr_err("mpstore_crash: no probe in %s: %d\n", symbol, ret);
	return ret;
}

static int at_a_place(enum how how, char *args)
{
	char *word;
	int ret;

	remove_probes();
	struck = waited_for = false;
	there.how = how;
	there.where[0] = after[0] = '\0';
	entries = 1;
	error = 0;
	anybody = sized = false;
	while ((word = strsep(&args, " "))) {
		if (!strncmp(word, "in=", 3))
			strscpy(there.where, word + 3);
		else if (!strncmp(word, "after=", 6))
			strscpy(after, word + 6);
		else if (!strcmp(word, "any"))
			anybody = true;
		else if (!strcmp(word, "sized"))
			sized = true;
		else if (!strncmp(word, "error=", 6) && !kstrtoul(word + 6, 0, &error))
			continue;
		else if (strncmp(word, "nth=", 4) || kstrtoint(word + 4, 0, &entries) || entries < 1)
			return -EINVAL;
	}
	if (!there.where[0] || (how == HOLD && !after[0]))
		return -EINVAL;
	counting = !after[0] || how == HOLD;
	ret = set_probe(&place, there.where, at_place, &place_set);
	if (!ret && after[0])
		ret = set_probe(&start, after, at_start, &start_set);
	if (ret)
		remove_probes();
	else
		/* Last of all, for it sets the probes going. */
		smp_store_release(&victim, current);
	return ret;
}

/* --- faults that are not to be ------------------------------------------------ */
#ifdef CONFIG_FAULT_INJECTION
static int pause_faults(struct kretprobe_instance *inside, struct pt_regs *regs)
{
	*(unsigned int *)inside->data = current->fail_nth;
	current->fail_nth = 0;
	return 0;
}

static int resume_faults(struct kretprobe_instance *inside, struct pt_regs *regs)
{
	current->fail_nth = *(unsigned int *)inside->data;
	return 0;
}

struct spared {
	struct kretprobe probe;
	char symbol[KSYM_NAME_LEN];
};

static struct spared spared[2];
static unsigned int spares;

static int spare(const char *symbol)
{
	struct spared *next;
	int ret;

	if (strncmp(symbol, "in=", 3))
		return -EINVAL;
	if (spares == ARRAY_SIZE(spared))
		return -ENOSPC;
	next = &spared[spares];
	strscpy(next->symbol, symbol + 3);
	next->probe = (struct kretprobe) {
		.kp.symbol_name = next->symbol,
		.entry_handler = pause_faults,
		.handler = resume_faults,
		.data_size = sizeof(unsigned int),
	};
	ret = register_kretprobe(&next->probe);
	if (!ret)
		spares++;
	return ret;
}

static void spare_no_more(void)
{
	while (spares)
		unregister_kretprobe(&spared[--spares].probe);
}
#else
static int spare(const char *symbol)
{
	return -EOPNOTSUPP;
}

static void spare_no_more(void) {}
#endif

/* --- the stack ---------------------------------------------------------------- */
#define UNTOUCHED 0x5ac4e5ac4e5ac4e5ul
/* What the handler itself needs, and whoever calls it. */
#define OWN_FRAMES 640

static char measured[KSYM_NAME_LEN];

static unsigned long *lowest(void)
{
	return end_of_stack(current) + 8;
}

static bool on_task_stack(struct pt_regs *regs)
{
	unsigned long low = (unsigned long)lowest();

	return regs->sp > low + 2 * OWN_FRAMES && regs->sp < low + THREAD_SIZE;
}

static int paint(struct kretprobe_instance *inside, struct pt_regs *regs)
{
	volatile unsigned long *end = (unsigned long *)(regs->sp - OWN_FRAMES);
	volatile unsigned long *at;

	/* Nothing below the frames of this and of what called it is in use. */
	if (!on_task_stack(regs) || (unsigned long)end > (unsigned long)__builtin_frame_address(0) - 64) {
		pr_emerg("depth: %s can't be measured here\n", measured);
		return 1;
	}
	for (at = lowest(); at < end; at++)
		*at = UNTOUCHED;
	*(unsigned long *)inside->data = regs->sp;
	return 0;
}

static int look(struct kretprobe_instance *inside, struct pt_regs *regs)
{
	unsigned long top = *(unsigned long *)inside->data;
	volatile unsigned long *at = lowest();

	while ((unsigned long)at < top && *at == UNTOUCHED)
		at++;
	pr_emerg("depth: %s used %lu bytes of stack\n", measured, top - (unsigned long)at);
	return 0;
}

static struct kretprobe depth_probe = {
	.entry_handler = paint,
	.handler = look,
	.data_size = sizeof(unsigned long),
};

static int measure_depth(const char *symbol)
{
	int ret;

	if (measured[0] || strncmp(symbol, "in=", 3))
		return -EINVAL;
	strscpy(measured, symbol + 3);
	depth_probe.kp.symbol_name = measured;
	ret = register_kretprobe(&depth_probe);
	if (ret)
		measured[0] = '\0';
	return ret;
}

static void measure_no_more(void)
{
	if (measured[0])
		unregister_kretprobe(&depth_probe);
}

/* --- what was left -------------------------------------------------------------- */
static int damage(const char *name)
{
	struct device *dev = bus_find_device_by_name(&platform_bus_type, NULL, name);
	/* A magic number, how many, and of each the page and the size. */
	const unsigned long *words;
	u8 *index;

	if (!dev)
		return -ENODEV;
	words = dev_get_platdata(dev);
	index = page_address((struct page *)words[2]);
	index[20] ^= 0xff;
	put_device(dev);
	return 0;
}

/* --- requests ------------------------------------------------------------- */
static ssize_t crash_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char *line, *word, *context;
	int which, ret;

	if (len >= 2 * KSYM_NAME_LEN)
		return -EINVAL;
	/* Not on the stack, which one of the ways to die uses up. */
	line = memdup_user_nul(buf, len);
	if (IS_ERR(line))
		return PTR_ERR(line);
	strim(line);
	context = line;
	word = strsep(&context, "@ ");
	which = match_string(hows, ARRAY_SIZE(hows), word);
	if (!strcmp(word, "disarm")) {
		/* Its task may have ended, and another may look like it. */
		mutex_lock(&places);
		remove_probes();
		mutex_unlock(&places);
		ret = 0;
	} else if (context && !strcmp(word, "damage")) {
		ret = damage(context);
	} else if (context && !strcmp(word, "spare")) {
		ret = spare(context);
	} else if (context && !strcmp(word, "depth")) {
		ret = measure_depth(context);
	} else if (which < 0 || !context) {
		ret = -EINVAL;
	} else if (strstr(context, "in=")) {
		mutex_lock(&places);
		ret = at_a_place(which, context);
		mutex_unlock(&places);
	} else {
		/* No lock and no memory: one that dies here would keep them. */
		now.how = which;
		strscpy(now.where, context);
		kfree(line);
		line = NULL;
		ret = at_once();
	}
	kfree(line);
	return ret ?: len;
}

static ssize_t crash_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	const char *state = READ_ONCE(struck) ? "struck\n" : READ_ONCE(victim) ? "armed\n" : "idle\n";

	return simple_read_from_buffer(buf, len, pos, state, strlen(state));
}

static const struct proc_ops crash_ops = {
	.proc_read = crash_read,
	.proc_write = crash_write,
};

static int __init crash_init(void)
{
	int ret = register_nmi_handler(NMI_LOCAL, in_nmi_context, 0, "mpstore_crash");

	if (ret)
		return ret;
	if (!proc_create("mpstore_crash", 0600, NULL, &crash_ops)) {
		unregister_nmi_handler(NMI_LOCAL, "mpstore_crash");
		return -ENOMEM;
	}
	return 0;
}

static void __exit crash_exit(void)
{
	remove_proc_entry("mpstore_crash", NULL);
	remove_probes();
	spare_no_more();
	measure_no_more();
	unregister_nmi_handler(NMI_LOCAL, "mpstore_crash");
	timer_delete_sync(&timer);
	timer_shutdown_sync(&later);
	irq_work_sync(&work);
}

module_init(crash_init);
module_exit(crash_exit);
MODULE_DESCRIPTION("Dies on demand in every context, for mpstore's tests");
MODULE_LICENSE("GPL");
