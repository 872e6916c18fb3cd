// SPDX-License-Identifier: GPL-2.0
/*
 * Flash memory made of ordinary memory that outlives a reset: an MTD "mpstore_test" at
 * `address`, with the manners of NAND. A block is erased to ones; a page is written as
 * a whole and once, later pages of a block after earlier ones; anything else is an
 * error, and counted. What it may do in a panic it does with interrupts off and without
 * a lock, and only there.
 *
 * Parameters, those with 0600 at any time:
 *   bad=N,...       blocks that are marked bad
 *   no_panic        without a panic_write
 *   readonly        can not be written to
 *   uneven          has blocks of two sizes, by what it says
 *   fail_erase=N    the block that can't be erased
 *   fail_page=N     the page that can't be written to, by its number on the device
 *   stop_page=N     likewise, but what comes before it in the same request is written
 *   fail_writes     nothing can be written to
 *   slow_erase=N    an erasure lasts so many ms, and fails
 *   fail_read=N     the page that can't be read
 *   damaged=N       the page that is read with errors beyond repair
 *   nosleep         a write does not sleep: the in-tree mtdpstore calls it in an oops,
 *                   where it may not, and the kernel would complain about that
 *   gone            writing to it unregisters the device
 * Read only: panic_writes, erasures, violations, erasing (one that is slow has begun).
 */
#include <linux/delay.h>
#include <linux/hardirq.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/mtd/mtd.h>
#include <linux/panic.h>
#include <linux/string.h>

static ulong address;
module_param(address, ulong, 0400);
static ulong size = 0x100000;
module_param(size, ulong, 0400);
static uint block = 0x8000;
module_param(block, uint, 0400);
static uint page = 2048;
module_param(page, uint, 0400);
static int bad[16];
static int bads;
module_param_array(bad, int, &bads, 0400);
static bool no_panic;
module_param(no_panic, bool, 0400);
static bool readonly;
module_param(readonly, bool, 0400);
static bool uneven;
module_param(uneven, bool, 0400);
static int fail_erase = -1;
module_param(fail_erase, int, 0600);
static int fail_page = -1;
module_param(fail_page, int, 0600);
static int stop_page = -1;
module_param(stop_page, int, 0600);
static bool fail_writes;
module_param(fail_writes, bool, 0600);
static bool erasing;
module_param(erasing, bool, 0400);
static uint slow_erase;
module_param(slow_erase, uint, 0600);
static int fail_read = -1;
module_param(fail_read, int, 0600);
static int damaged = -1;
module_param(damaged, int, 0600);
static bool nosleep;
module_param(nosleep, bool, 0600);
static uint panic_writes;
module_param(panic_writes, uint, 0400);
static uint erasures;
module_param(erasures, uint, 0400);
static uint violations;
module_param(violations, uint, 0400);

static u8 *memory;
static DEFINE_MUTEX(lock);

static int violation(const char *what, loff_t at)
{
	violations++;
	pr_err("violation: %s at %#llx\n", what, at);
	return -EIO;
}

static int is_bad(struct mtd_info *mtd, loff_t at)
{
	for (int i = 0; i < bads; i++)
		if (bad[i] == at / block)
			return 1;
	return 0;
}

static int erase(struct mtd_info *mtd, struct erase_info *what)
{
	if (what->addr % block || what->len % block)
		return violation("part of a block erased", what->addr);
	if (slow_erase) {
		WRITE_ONCE(erasing, true);
		msleep(slow_erase);
		return -EIO;
	}
	guard(mutex)(&lock);
	for (u64 at = what->addr; at < what->addr + what->len; at += block) {
		if (is_bad(mtd, at))
			return violation("bad block erased", at);
		if (at / block == fail_erase) {
			what->fail_addr = at;
			return -EIO;
		}
		memset(memory + at, 0xff, block);
		erasures++;
	}
	return 0;
}

static int read(struct mtd_info *mtd, loff_t at, size_t len, size_t *done, u_char *to)
{
	loff_t where = (loff_t)damaged * page;

	guard(mutex)(&lock);
	if (is_bad(mtd, at))
		return violation("bad block read", at);
	if (fail_read >= 0 && at < (fail_read + 1LL) * page && (loff_t)fail_read * page < at + len)
		return -EIO;
	memcpy(to, memory + at, len);
	*done = len;
	return damaged >= 0 && at < where + page && where < at + len ? -EBADMSG : 0;
}

static int write_pages(struct mtd_info *mtd, loff_t at, size_t len, size_t *done, const u_char *from)
{
	if (at % page || len % page)
		return violation("part of a page written", at);
	if (is_bad(mtd, at))
		return violation("bad block written", at);
	if (READ_ONCE(fail_writes) || (fail_page >= at / page && fail_page < (at + len) / page))
		return -EIO;
	for (; *done < len; *done += page, at += page) {
		if (at / page == stop_page)
			return -EIO;
		/* This and all that follow in the block. */
		if (memchr_inv(memory + at, 0xff, block - at % block))
			return violation("written before erased, or out of order", at);
		memcpy(memory + at, from + *done, page);
	}
	return 0;
}

static int write(struct mtd_info *mtd, loff_t at, size_t len, size_t *done, const u_char *from)
{
	int ret;

	if (READ_ONCE(nosleep)) {
		if (!mutex_trylock(&lock))
			return -EBUSY;
	} else {
		mutex_lock(&lock);
	}
	ret = write_pages(mtd, at, len, done, from);
	mutex_unlock(&lock);
	return ret;
}

static int panic_write(struct mtd_info *mtd, loff_t at, size_t len, size_t *done, const u_char *from)
{
	panic_writes++;
	if (!panic_on_this_cpu())
		return violation("panic_write without a panic", at);
	return write_pages(mtd, at, len, done, from);
}

static struct mtd_info mtd = {
	.name = "mpstore_test",
	.type = MTD_NANDFLASH,
	.flags = MTD_CAP_NANDFLASH,
	.owner = THIS_MODULE,
	._erase = erase,
	._read = read,
	._write = write,
	._block_isbad = is_bad,
};

/* A half of the device each. */
static struct mtd_erase_region_info regions[2];

static int go(const char *text, const struct kernel_param *param)
{
	return mtd_device_unregister(&mtd);
}
static const struct kernel_param_ops go_ops = { .set = go };
module_param_cb(gone, &go_ops, NULL, 0200);

static int __init test_init(void)
{
	int err;

	memory = memremap(address, size, MEMREMAP_WB);
	if (!memory)
		return -ENOMEM;
	mtd.size = size;
	mtd.erasesize = block;
	mtd.writesize = page;
	mtd.writebufsize = page;
	if (!no_panic)
		mtd._panic_write = panic_write;
	if (readonly)
		mtd.flags &= ~MTD_WRITEABLE;
	if (uneven) {
		mtd.numeraseregions = ARRAY_SIZE(regions);
		mtd.eraseregions = regions;
	}
	err = mtd_device_register(&mtd, NULL, 0);
	if (err)
		memunmap(memory);
	return err;
}

static void __exit test_exit(void)
{
	/* No error if it is gone. */
	WARN_ON(mtd_device_unregister(&mtd));
	memunmap(memory);
}

module_init(test_init);
module_exit(test_exit);
MODULE_DESCRIPTION("An MTD in memory that outlives a reset, for tests");
MODULE_LICENSE("GPL");
