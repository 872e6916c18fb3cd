// SPDX-License-Identifier: GPL-2.0
/*
 * Which places of mpstore.ko were reached, for `make coverage`: its code is compiled to call
 * __sanitizer_cov_trace_pc() at the beginning of each, and this notes them in the memory of QEMU's
 * ivshmem device, a byte for each byte of code, first that which stays, then that which only starts the
 * module. The memory is a file of the host's, so nothing is lost when the machine dies, whichever way.
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/string.h>

/* As in qemu/coverage. */
#define INIT_AT		0x180000
#define MAP_BYTES	0x200000

static struct pci_dev *pdev;
static u8 *map;
static unsigned long text, text_bytes, init, init_bytes;

void __sanitizer_cov_trace_pc(void);
/* Wherever mpstore is: in an NMI, with every lock held, in a callback of the function tracer. */
notrace void __sanitizer_cov_trace_pc(void)
{
	unsigned long pc = (unsigned long)__builtin_return_address(0);

	if (pc - text < text_bytes)
		WRITE_ONCE(map[pc - text], 1);
	else if (pc - init < init_bytes)
		WRITE_ONCE(map[INIT_AT + pc - init], 1);
}
EXPORT_SYMBOL_GPL(__sanitizer_cov_trace_pc);

static int module_changes(struct notifier_block *nb, unsigned long event, void *data)
{
	const struct module *mod = data;

	if (strcmp(mod->name, "mpstore"))
		return NOTIFY_DONE;
	/* What remains of a module that goes is not asked for: another one may be there soon. */
	if (event == MODULE_STATE_COMING) {
		text = (unsigned long)mod->mem[MOD_TEXT].base;
		text_bytes = min_t(unsigned long, mod->mem[MOD_TEXT].size, INIT_AT);
		init = (unsigned long)mod->mem[MOD_INIT_TEXT].base;
		init_bytes = min_t(unsigned long, mod->mem[MOD_INIT_TEXT].size, MAP_BYTES - INIT_AT);
	} else if (event == MODULE_STATE_LIVE) {
		init_bytes = 0;
	}
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = module_changes };

static int __init cov_init(void)
{
	int ret;

	/* A test may have another one. */
	do
		pdev = pci_get_device(0x1af4, 0x1110, pdev);
	while (pdev && pci_resource_len(pdev, 2) != MAP_BYTES);
	if (!pdev)
		return -ENODEV;
	ret = pci_enable_device(pdev);
	if (ret)
		goto put;
	map = (u8 __force *)ioremap_cache(pci_resource_start(pdev, 2), MAP_BYTES);
	ret = map ? register_module_notifier(&notifier) : -ENOMEM;
	if (!ret)
		return 0;
put:
	pci_dev_put(pdev);
	return ret;
}

/* It stays: mpstore.ko has its function. */
module_init(cov_init);
MODULE_DESCRIPTION("Notes what of mpstore.ko was reached, for its tests");
MODULE_LICENSE("GPL");
