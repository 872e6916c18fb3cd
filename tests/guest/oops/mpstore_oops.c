// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/mpstore_oops: who writes to it oopses, in process context and with no
 * lock held, so that only the writer dies. The word written chooses another
 * misfortune:
 *
 *   oops    dereference NULL (also for any other word)
 *   panic   panic("mpstore_oops")
 *   warn    WARN and live on
 *   hang    spin for ever with interrupts off
 */
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/proc_fs.h>
#include <linux/string.h>
#include <linux/uaccess.h>

static ssize_t misfortune_write(struct file *file, const char __user *buf,
			  size_t len, loff_t *pos)
{
	char word[16] = "";
	int *volatile nowhere = NULL;

	if (copy_from_user(word, buf, min(len, sizeof(word) - 1)))
		return -EFAULT;
	if (sysfs_streq(word, "warn")) {
		WARN(1, "mpstore_oops: asked for\n");
		return len;
	}
	if (sysfs_streq(word, "panic"))
		panic("mpstore_oops: asked for");
	if (sysfs_streq(word, "hang")) {
		local_irq_disable();
		for (;;)
			cpu_relax();
	}
	*nowhere = 1;
	return len;
}

static const struct proc_ops misfortune_ops = { .proc_write = misfortune_write };

static int __init misfortune_init(void)
{
	return proc_create("mpstore_oops", 0200, NULL, &misfortune_ops) ? 0 : -ENOMEM;
}

static void __exit misfortune_exit(void)
{
	remove_proc_entry("mpstore_oops", NULL);
}

module_init(misfortune_init);
module_exit(misfortune_exit);
MODULE_DESCRIPTION("Oopses on demand, for mpstore's tests");
MODULE_LICENSE("GPL");
