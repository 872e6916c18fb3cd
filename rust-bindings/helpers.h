/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Macros and inline functions of the kernel's headers that bindgen cannot see,
 * as functions. Nothing else belongs here: one call each, no policy.
 */
#ifndef MPSTORE_HELPERS_H
#define MPSTORE_HELPERS_H

#include <linux/kconfig.h>
#include <linux/types.h>

struct block_device;
struct dax_device;
struct delayed_work;
struct dentry;
struct device;
struct dir_context;
struct erase_info;
struct file;
struct fprobe;
struct fs_parameter;
struct ftrace_regs;
struct inode;
struct irq_work;
struct kretprobe;
struct kretprobe_instance;
struct mtd_info;
struct mtd_notifier;
struct notifier_block;
struct page;
struct pci_dev;
struct platform_device;
struct pt_regs;
struct raw_spinlock;
struct tty_struct;
struct vmcoredd_data;
struct work_struct;

/* linux/spinlock.h */
void mpstore_raw_spin_lock_init(struct raw_spinlock *lock, bool outer);
void mpstore_raw_spin_might_lock(struct raw_spinlock *lock);
bool mpstore_raw_spin_trylock_irqsave(struct raw_spinlock *lock, unsigned long *flags);
void mpstore_raw_spin_unlock_irqrestore(struct raw_spinlock *lock, unsigned long flags);

/* linux/preempt.h, asm/processor.h */
bool mpstore_in_nmi(void);
void mpstore_cpu_relax(void);

/* linux/mm.h, linux/io.h, asm/pgtable.h */
bool mpstore_pfn_valid(unsigned long pfn);
struct page *mpstore_pfn_to_page(unsigned long pfn);
void *mpstore_vmap(struct page **pages, unsigned int count, unsigned int type);
bool mpstore_phys_addr_fits(u64 last);
void *mpstore_ioremap(u64 start, size_t size, unsigned int type);
void mpstore_iounmap(void *virt);

/* linux/uaccess.h: does not sleep; after a fault, false, and a part may be copied. */
bool mpstore_copy_user_words(void *to, unsigned long from, size_t n);

/* linux/preempt.h */
void mpstore_preempt_disable(void);
void mpstore_preempt_enable(void);

/* linux/smp.h, linux/irqflags.h: called in trace callbacks, so they may not be traced: Kbuild. */
unsigned int mpstore_processor_id(void);
unsigned long mpstore_raw_irq_save(void);
void mpstore_raw_irq_restore(unsigned long flags);

/* linux/kallsyms.h, linux/vmcore_info.h, linux/sched.h */
int mpstore_sprint_symbol(char *to, unsigned long address);
int mpstore_sprint_symbol_no_offset(char *to, unsigned long address);
bool mpstore_read_vmcoreinfo(void *to, size_t len);
void mpstore_cond_resched(void);

/* linux/gfp.h, linux/mm.h, linux/memory_hotplug.h: folios by their first page */
struct page *mpstore_folio_alloc(unsigned int order, bool try_hard);
void mpstore_folio_get(struct page *head);
void mpstore_folio_put(struct page *head);
u64 mpstore_page_to_phys(const struct page *page);
void *mpstore_page_address(const struct page *page);
struct page *mpstore_pfn_to_online_page(unsigned long pfn);
unsigned long mpstore_page_private(const struct page *page);

/* linux/platform_device.h */
struct platform_device *mpstore_platform_device_register(const char *name, const void *data,
							 size_t size);
struct platform_device *mpstore_platform_device_find(const char *name);

/* linux/utsname.h */
const char *mpstore_release(void);

/* linux/ftrace_regs.h */
bool mpstore_has_syslog(void);
void mpstore_fregs_arguments(struct ftrace_regs *fregs, unsigned long to[4]);
unsigned long mpstore_fregs_return_value(struct ftrace_regs *fregs);

/* linux/kprobes.h, asm/ptrace.h */
struct kretprobe *mpstore_kretprobe_of(struct kretprobe_instance *ri);
void *mpstore_kretprobe_data(struct kretprobe_instance *ri);
void mpstore_regs_arguments(struct pt_regs *regs, unsigned long to[4]);
unsigned long mpstore_regs_return_value(struct pt_regs *regs);

/* linux/sched/clock.h */
u64 mpstore_local_clock(void);

/* linux/tty.h */
const char *mpstore_tty_name(const struct tty_struct *tty);

/* linux/property.h */
bool mpstore_device_outside_reserved_memory(const struct device *dev);

/* linux/fs.h */
void mpstore_inode_touch(struct inode *inode);
bool mpstore_inode_is_new(struct inode *inode);
bool mpstore_dir_emit_dots(struct file *file, struct dir_context *ctx);
/* linux/seq_file.h, linux/lockdep.h: for a file of sysfs */
void mpstore_sysfs_may_nest(struct file *file);
bool mpstore_dir_emit(struct dir_context *ctx, const char *name, int len, u64 ino, bool dir);

/* linux/cred.h */
const struct cred *mpstore_kernel_cred(void);
const struct cred *mpstore_override_kernel_creds(void);
void mpstore_revert_creds(const struct cred *old);

/* linux/dcache.h */
bool mpstore_dentry_unhashed(const struct dentry *dentry);
const char *mpstore_dentry_name(const struct dentry *dentry);
u32 mpstore_dentry_name_len(const struct dentry *dentry);

/* linux/fs_parser.h */
const char *mpstore_fs_parameter_string(const struct fs_parameter *param);

/* linux/crash_dump.h */
bool mpstore_is_kdump_kernel(void);
int mpstore_vmcore_add_device_dump(struct vmcoredd_data *data);

#ifdef CONFIG_EFI
/* linux/efi.h, asm/fpu/api.h */
int mpstore_efi_errno(unsigned long status);
bool mpstore_efi_runtime(void);
int mpstore_efi_query_nonblocking(u32 attributes, u64 *free, u64 *largest);
bool mpstore_efi_may_call(bool panicking);
#endif

/* linux/blkdev.h, linux/kdev_t.h */
u32 mpstore_mkdev(u32 major, u32 minor);
u64 mpstore_bdev_nr_bytes(struct block_device *bdev);
u32 mpstore_bdev_logical_block_size(struct block_device *bdev);
u64 mpstore_bdev_start_sector(struct block_device *bdev);
u32 mpstore_bdev_dev(struct block_device *bdev);
bool mpstore_bdev_read_only(struct block_device *bdev);
bool mpstore_bdev_is_zoned(struct block_device *bdev);
bool mpstore_bdev_is_partition(struct block_device *bdev);
size_t mpstore_bdev_name(struct block_device *bdev, char *to);
struct device *mpstore_bdev_device(struct block_device *bdev);
bool mpstore_bdev_dead(struct block_device *bdev);
bool mpstore_bdev_integrity(struct block_device *bdev);
int mpstore_nvme_namespace(struct block_device *bdev);

/* linux/device.h, linux/pci.h, linux/iommu.h, linux/virtio_config.h, linux/libata.h */
void mpstore_device_lock(struct device *dev);
void mpstore_device_unlock(struct device *dev);
struct pci_dev *mpstore_to_pci_dev(struct device *dev);
bool mpstore_pci_msix(struct pci_dev *pdev);
bool mpstore_pci_healthy(struct pci_dev *pdev);
const void *mpstore_iommu_domain(struct device *dev, u32 *type);
int mpstore_virtio_platform(struct device *dev);
bool mpstore_ata_port(struct device *dev, u32 *number, bool *disk, bool *multiplier);
bool mpstore_guest_encrypted(void);

/* linux/suspend.h */
int mpstore_register_pm_notifier(struct notifier_block *nb);
void mpstore_unregister_pm_notifier(struct notifier_block *nb);

/* linux/delay.h, asm/tsc.h */
void mpstore_udelay(unsigned int us);
u64 mpstore_cycles(void);
u64 mpstore_cycles_per_ms(void);
void mpstore_mb(void);

/* linux/dax.h */
struct dax_device *mpstore_dax_get(struct block_device *bdev, u64 *start);
void mpstore_dax_put(struct dax_device *dax);
void *mpstore_dax_map(struct dax_device *dax, u64 start, size_t len);
bool mpstore_dax_read(void *to, const void *from, size_t len);
void mpstore_dax_write(void *to, const void *from, size_t len);
void *mpstore_raw_pmem_map(struct block_device *bdev, size_t len);

/* linux/mtd/mtd.h: what a module that need not be loaded exports. All or none are got, and put. */
struct mpstore_mtd_calls {
	void (*register_user)(struct mtd_notifier *notifier);
	int (*unregister_user)(struct mtd_notifier *notifier);
	int (*get_device)(struct mtd_info *mtd);
	void (*put_device)(struct mtd_info *mtd);
	int (*block_isbad)(struct mtd_info *mtd, loff_t at);
	int (*erase)(struct mtd_info *mtd, struct erase_info *what);
	int (*read)(struct mtd_info *mtd, loff_t at, size_t len, size_t *done, u8 *to);
	int (*write)(struct mtd_info *mtd, loff_t at, size_t len, size_t *done, const u8 *from);
	int (*panic_write)(struct mtd_info *mtd, loff_t at, size_t len, size_t *done,
			   const u8 *from);
};
struct mpstore_mtd_facts {
	u64 size;
	u32 erasesize;
	u32 writesize;
	u32 index;
	bool writable;
	bool uniform;
	bool panic_write;
};
#if IS_ENABLED(CONFIG_MTD)
bool mpstore_mtd_get_calls(struct mpstore_mtd_calls *calls);
void mpstore_mtd_put_calls(void);
void mpstore_mtd_get_facts(struct mtd_info *mtd, struct mpstore_mtd_facts *facts);
const char *mpstore_mtd_name(const struct mtd_info *mtd);
#endif

/* linux/irq_work.h, linux/workqueue.h */
void mpstore_init_irq_work(struct irq_work *work, void (*func)(struct irq_work *work));
void mpstore_init_delayed_work(struct delayed_work *work, void (*func)(struct work_struct *work));
void mpstore_mod_delayed_work(struct delayed_work *work, unsigned int ms);

#endif
