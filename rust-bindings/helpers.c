// SPDX-License-Identifier: GPL-2.0
/* See helpers.h. */

#include <linux/blk-integrity.h>
#include <linux/blkdev.h>
#include <linux/capability.h>
#include <linux/cc_platform.h>
#include <linux/crash_dump.h>
#include <linux/cred.h>
#include <linux/dax.h>
#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/efi.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/ftrace.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/irq_work.h>
#include <linux/irqflags.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/libata.h>
#include <linux/libnvdimm.h>
#include <linux/lockdep.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mtd/mtd.h>
#include <linux/nd.h>
#include <linux/nvme_ioctl.h>
#include <linux/of.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/seq_file.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/suspend.h>
#include <linux/tty.h>
#include <linux/uaccess.h>
#include <linux/utsname.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/vmalloc.h>
#include <linux/vmcore_info.h>
#include <linux/workqueue.h>

#ifdef CONFIG_X86
#include <asm/fpu/api.h>
#endif

#include "helpers.h"

void mpstore_raw_spin_lock_init(struct raw_spinlock *lock, bool outer)
{
	/* Two call sites make two lockdep classes: an outer lock nests inner ones. */
	if (outer)
		raw_spin_lock_init(lock);
	else
		raw_spin_lock_init(lock);
}

/* Lockdep learns the order of locks from those that wait, not from those that try. */
void mpstore_raw_spin_might_lock(struct raw_spinlock *lock)
{
	unsigned long flags;

	local_irq_save(flags);
	might_lock(lock);
	local_irq_restore(flags);
}

bool mpstore_raw_spin_trylock_irqsave(struct raw_spinlock *lock, unsigned long *flags)
{
	unsigned long f;

	if (!raw_spin_trylock_irqsave(lock, f))
		return false;
	*flags = f;
	return true;
}

bool mpstore_in_nmi(void)
{
	return in_nmi();
}

void mpstore_cpu_relax(void)
{
	cpu_relax();
}

bool mpstore_pfn_valid(unsigned long pfn)
{
	return pfn_valid(pfn);
}

struct page *mpstore_pfn_to_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

/* The types are MemType in src/sys/mem.rs. */
void *mpstore_vmap(struct page **pages, unsigned int count, unsigned int type)
{
	pgprot_t prot = PAGE_KERNEL;

	if (type == 0)
		prot = pgprot_writecombine(prot);
	else if (type == 1)
		prot = pgprot_noncached(prot);
	/* VM_IOREMAP keeps /proc/kcore and its like away from the mapping. */
	return vmap(pages, count, VM_MAP | VM_IOREMAP, prot);
}

bool mpstore_phys_addr_fits(u64 last)
{
#ifdef CONFIG_X86
	return !(last >> boot_cpu_data.x86_phys_bits);
#else
	return last <= PHYS_ADDR_MAX;
#endif
}

void *mpstore_ioremap(u64 start, size_t size, unsigned int type)
{
	return (void __force *)(type == 0 ? ioremap_wc(start, size) : ioremap(start, size));
}

void mpstore_iounmap(void *virt)
{
	iounmap((void __iomem __force *)virt);
}

bool mpstore_copy_user_words(void *to, unsigned long from, size_t n)
{
	const u8 __user *src = (const u8 __user *)from;
	bool done = false;
	u8 *dst = to;

	pagefault_disable();
	if (user_read_access_begin(src, n)) {
		for (; n >= 4 * sizeof(u64); n -= 4 * sizeof(u64)) {
			const u64 __user *from4 = (const u64 __user *)src;
			u64 *to4 = (u64 *)dst;

			unsafe_get_user(to4[0], from4, out);
			unsafe_get_user(to4[1], from4 + 1, out);
			unsafe_get_user(to4[2], from4 + 2, out);
			unsafe_get_user(to4[3], from4 + 3, out);
			src += 4 * sizeof(u64);
			dst += 4 * sizeof(u64);
		}
		for (; n >= sizeof(u64); n -= sizeof(u64), src += sizeof(u64), dst += sizeof(u64))
			unsafe_get_user(*(u64 *)dst, (const u64 __user *)src, out);
		for (; n; n--)
			unsafe_get_user(*dst++, src++, out);
		done = true;
out:
		user_read_access_end();
	}
	pagefault_enable();
	return done;
}

void mpstore_preempt_disable(void)
{
	preempt_disable_notrace();
}

void mpstore_preempt_enable(void)
{
	preempt_enable_notrace();
}

unsigned int mpstore_processor_id(void)
{
	return raw_smp_processor_id();
}

unsigned long mpstore_raw_irq_save(void)
{
	unsigned long flags;

	/* Not seen by lockdep, which may itself be what is traced. */
	raw_local_irq_save(flags);
	return flags;
}

void mpstore_raw_irq_restore(unsigned long flags)
{
	raw_local_irq_restore(flags);
}

int mpstore_sprint_symbol(char *to, unsigned long address)
{
#ifdef CONFIG_KALLSYMS
	return sprint_symbol(to, address);
#else
	return sprintf(to, "0x%lx", address);
#endif
}

int mpstore_sprint_symbol_no_offset(char *to, unsigned long address)
{
#ifdef CONFIG_KALLSYMS
	return sprint_symbol_no_offset(to, address);
#else
	return sprintf(to, "0x%lx", address);
#endif
}

bool mpstore_read_vmcoreinfo(void *to, size_t len)
{
#ifdef CONFIG_VMCORE_INFO
	phys_addr_t note = paddr_vmcoreinfo_note();

	/* Under Xen PV it is not an address of ours: believe nothing. */
	return pfn_valid(PHYS_PFN(note)) && !copy_from_kernel_nofault(to, phys_to_virt(note), len);
#else
	return false;
#endif
}

void mpstore_cond_resched(void)
{
	cond_resched();
}

struct page *mpstore_folio_alloc(unsigned int order, bool try_hard)
{
	/* A large one that is not to be had is no news: smaller ones will do. */
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN;
	struct folio *folio = folio_alloc(try_hard ? gfp : gfp | __GFP_NORETRY, order);

	return folio ? &folio->page : NULL;
}

void mpstore_folio_get(struct page *head)
{
	folio_get(page_folio(head));
}

void mpstore_folio_put(struct page *head)
{
	folio_put(page_folio(head));
}

u64 mpstore_page_to_phys(const struct page *page)
{
	return page_to_phys(page);
}

void *mpstore_page_address(const struct page *page)
{
	return page_address(page);
}

struct page *mpstore_pfn_to_online_page(unsigned long pfn)
{
	return pfn_to_online_page(pfn);
}

unsigned long mpstore_page_private(const struct page *page)
{
	return page_private(page);
}

struct platform_device *mpstore_platform_device_register(const char *name, const void *data,
							 size_t size)
{
	return platform_device_register_data(NULL, name, PLATFORM_DEVID_NONE, data, size);
}

/* With a reference. */
struct platform_device *mpstore_platform_device_find(const char *name)
{
	struct device *dev = bus_find_device_by_name(&platform_bus_type, NULL, name);

	return dev ? to_platform_device(dev) : NULL;
}

const char *mpstore_release(void)
{
	return init_uts_ns.name.release;
}

bool mpstore_has_syslog(void)
{
	return ns_capable_noaudit(&init_user_ns, CAP_SYSLOG);
}

void mpstore_fregs_arguments(struct ftrace_regs *fregs, unsigned long to[4])
{
#ifdef CONFIG_DYNAMIC_FTRACE_WITH_ARGS
	to[0] = ftrace_regs_get_argument(fregs, 0);
	to[1] = ftrace_regs_get_argument(fregs, 1);
	to[2] = ftrace_regs_get_argument(fregs, 2);
	to[3] = ftrace_regs_get_argument(fregs, 3);
#else
	to[0] = to[1] = to[2] = to[3] = 0;
#endif
}

unsigned long mpstore_fregs_return_value(struct ftrace_regs *fregs)
{
#ifdef CONFIG_DYNAMIC_FTRACE_WITH_ARGS
	return ftrace_regs_get_return_value(fregs);
#else
	return 0;
#endif
}

#ifdef CONFIG_KRETPROBES
struct kretprobe *mpstore_kretprobe_of(struct kretprobe_instance *ri)
{
	return get_kretprobe(ri);
}

void *mpstore_kretprobe_data(struct kretprobe_instance *ri)
{
	return ri->data;
}

void mpstore_regs_arguments(struct pt_regs *regs, unsigned long to[4])
{
	to[0] = regs_get_kernel_argument(regs, 0);
	to[1] = regs_get_kernel_argument(regs, 1);
	to[2] = regs_get_kernel_argument(regs, 2);
	to[3] = regs_get_kernel_argument(regs, 3);
}

unsigned long mpstore_regs_return_value(struct pt_regs *regs)
{
	return regs_return_value(regs);
}
#endif

u64 mpstore_local_clock(void)
{
	return local_clock();
}

const char *mpstore_tty_name(const struct tty_struct *tty)
{
	/* Its first bytes are read as a word. */
	static_assert(sizeof(tty->name) >= sizeof(u64));
	return tty->name;
}

void mpstore_inode_touch(struct inode *inode)
{
	inode_set_mtime_to_ts(inode, inode_set_ctime_current(inode));
}

bool mpstore_inode_is_new(struct inode *inode)
{
	return inode_state_read_once(inode) & I_NEW;
}

bool mpstore_dir_emit_dots(struct file *file, struct dir_context *ctx)
{
	return dir_emit_dots(file, ctx);
}

/*
 * A file of sysfs is a seq_file, and is read in show() of another. Lockdep takes the locks of all of
 * them for one, so this one's is given a class of its own.
 */
void mpstore_sysfs_may_nest(struct file *file)
{
	static struct lock_class_key key;

	if (S_ISREG(file_inode(file)->i_mode))
		lockdep_set_class(&((struct seq_file *)file->private_data)->lock, &key);
}

bool mpstore_dir_emit(struct dir_context *ctx, const char *name, int len, u64 ino, bool dir)
{
	return dir_emit(ctx, name, len, ino, dir ? DT_DIR : DT_REG);
}

const struct cred *mpstore_kernel_cred(void)
{
	return kernel_cred();
}

const struct cred *mpstore_override_kernel_creds(void)
{
	return override_creds(kernel_cred());
}

void mpstore_revert_creds(const struct cred *old)
{
	revert_creds(old);
}

bool mpstore_dentry_unhashed(const struct dentry *dentry)
{
	return d_unhashed(dentry);
}

const char *mpstore_dentry_name(const struct dentry *dentry)
{
	return dentry->d_name.name;
}

u32 mpstore_dentry_name_len(const struct dentry *dentry)
{
	return dentry->d_name.len;
}

const char *mpstore_fs_parameter_string(const struct fs_parameter *param)
{
	return param->type == fs_value_is_string ? param->string : NULL;
}

void mpstore_init_irq_work(struct irq_work *work, void (*func)(struct irq_work *work))
{
	init_irq_work(work, func);
}

void mpstore_init_delayed_work(struct delayed_work *work, void (*func)(struct work_struct *work))
{
	INIT_DELAYED_WORK(work, func);
}

void mpstore_mod_delayed_work(struct delayed_work *work, unsigned int ms)
{
	mod_delayed_work(system_dfl_wq, work, msecs_to_jiffies(ms));
}

/* A node of the device tree whose parent is not called reserved-memory. */
bool mpstore_device_outside_reserved_memory(const struct device *dev)
{
#ifdef CONFIG_OF
	struct device_node *parent;
	bool outside;

	if (!dev->of_node)
		return false;
	parent = of_get_parent(dev->of_node);
	outside = !of_node_name_eq(parent, "reserved-memory");
	of_node_put(parent);
	return outside;
#else
	return false;
#endif
}

bool mpstore_is_kdump_kernel(void)
{
	return is_kdump_kernel();
}

int mpstore_vmcore_add_device_dump(struct vmcoredd_data *data)
{
	return vmcore_add_device_dump(data);
}

#ifdef CONFIG_EFI
MODULE_IMPORT_NS("EFIVAR");

int mpstore_efi_errno(unsigned long status)
{
	switch (status) {
	case EFI_BUFFER_TOO_SMALL:
		return -EOVERFLOW;
	case EFI_NOT_READY:
		return -EBUSY;
	case EFI_UNSUPPORTED:
		return -EOPNOTSUPP;
	default:
		return efi_status_to_err(status);
	}
}

bool mpstore_efi_runtime(void)
{
	return efi_enabled(EFI_RUNTIME_SERVICES);
}

/* The efivar API has no form of this that does not sleep. */
int mpstore_efi_query_nonblocking(u32 attributes, u64 *free, u64 *largest)
{
	u64 all;

	if (!efi_enabled(EFI_RUNTIME_SERVICES) || !efi.query_variable_info_nonblocking)
		return -EOPNOTSUPP;
	return mpstore_efi_errno(efi.query_variable_info_nonblocking(attributes, &all, free, largest));
}

/*
 * A call of firmware uses the FPU. Who goes on afterwards must not find it changed in the middle
 * of its own use; who panics does not go on.
 */
bool mpstore_efi_may_call(bool panicking)
{
	if (panicking)
		return true;
	if (in_nmi())
		return false;
#ifdef CONFIG_X86
	return irq_fpu_usable();
#else
	return true;
#endif
}
#endif

#ifdef CONFIG_BLOCK
u32 mpstore_mkdev(u32 major, u32 minor)
{
	return MKDEV(major, minor);
}

u64 mpstore_bdev_nr_bytes(struct block_device *bdev)
{
	return bdev_nr_bytes(bdev);
}

u32 mpstore_bdev_logical_block_size(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

u64 mpstore_bdev_start_sector(struct block_device *bdev)
{
	return get_start_sect(bdev);
}

u32 mpstore_bdev_dev(struct block_device *bdev)
{
	return bdev->bd_dev;
}

bool mpstore_bdev_read_only(struct block_device *bdev)
{
	return bdev_read_only(bdev);
}

bool mpstore_bdev_is_zoned(struct block_device *bdev)
{
	return bdev_is_zoned(bdev);
}

bool mpstore_bdev_is_partition(struct block_device *bdev)
{
	return bdev_is_partition(bdev);
}

/* To BDEVNAME_SIZE bytes. */
size_t mpstore_bdev_name(struct block_device *bdev, char *to)
{
	return scnprintf(to, BDEVNAME_SIZE, "%pg", bdev);
}

struct device *mpstore_bdev_device(struct block_device *bdev)
{
	return disk_to_dev(bdev->bd_disk);
}

bool mpstore_bdev_dead(struct block_device *bdev)
{
	return test_bit(GD_DEAD, &bdev->bd_disk->state);
}

bool mpstore_bdev_integrity(struct block_device *bdev)
{
	return blk_get_integrity(bdev->bd_disk);
}

/* Of a disk that the NVMe driver has named. */
int mpstore_nvme_namespace(struct block_device *bdev)
{
	const struct block_device_operations *ops = bdev->bd_disk->fops;

	return ops->ioctl ? ops->ioctl(bdev, BLK_OPEN_READ, NVME_IOCTL_ID, 0) : -ENOTTY;
}
#endif

#if defined(CONFIG_BLOCK) && defined(CONFIG_FS_DAX)
struct dax_device *mpstore_dax_get(struct block_device *bdev, u64 *start)
{
	return fs_dax_get_by_bdev(bdev, start, NULL, NULL);
}

void mpstore_dax_put(struct dax_device *dax)
{
	fs_put_dax(dax, NULL);
}

/* NULL unless all of it is there, in one piece, and the processor's stores suffice. */
void *mpstore_dax_map(struct dax_device *dax, u64 start, size_t len)
{
	long pages = PHYS_PFN(len), got = 0;
	void *addr = NULL;
	int id = dax_read_lock();

	if (dax_synchronous(dax))
		got = dax_direct_access(dax, PHYS_PFN(start), pages, DAX_ACCESS, &addr, NULL);
	dax_read_unlock(id);
	return pages > 0 && got >= pages ? addr : NULL;
}

/* Memory of this kind may be damaged, which is no reason to die once more. */
bool mpstore_dax_read(void *to, const void *from, size_t len)
{
	return !copy_mc_to_kernel(to, from, len);
}

void mpstore_dax_write(void *to, const void *from, size_t len)
{
	memcpy_flushcache(to, from, len);
}

/*
 * The memory of a raw namespace, which the driver has no DAX for: its disk hangs below the
 * namespace itself. NULL if it is none, or takes more than the processor's stores.
 */
void *mpstore_raw_pmem_map(struct block_device *bdev, size_t len)
{
#if IS_ENABLED(CONFIG_LIBNVDIMM)
	struct device *dev = disk_to_dev(bdev->bd_disk)->parent;
	u64 start = bdev->bd_start_sect << SECTOR_SHIFT;
	typeof(&to_nd_region) region;
	typeof(&is_nvdimm_sync) sync;
	struct nd_namespace_io *nsio;
	bool good = false;

	if (!dev || !dev->parent || !dev->type || !dev->type->name ||
	    (strcmp(dev->type->name, "nd_namespace_io") &&
	     strcmp(dev->type->name, "nd_namespace_pmem")))
		return NULL;
	/* Not linked to, which would load it everywhere. */
	region = symbol_get(to_nd_region);
	sync = symbol_get(is_nvdimm_sync);
	if (region && sync)
		good = sync(region(dev->parent));
	if (sync)
		symbol_put(is_nvdimm_sync);
	if (region)
		symbol_put(to_nd_region);
	nsio = to_nd_namespace_io(dev);
	if (!good || start > resource_size(&nsio->res) || len > resource_size(&nsio->res) - start)
		return NULL;
	return memremap(nsio->res.start + start, len, MEMREMAP_WB);
#else
	return NULL;
#endif
}
#endif
#ifdef CONFIG_PCI
void mpstore_device_lock(struct device *dev)
{
	device_lock(dev);
}

void mpstore_device_unlock(struct device *dev)
{
	device_unlock(dev);
}

struct pci_dev *mpstore_to_pci_dev(struct device *dev)
{
	return to_pci_dev(dev);
}

bool mpstore_pci_msix(struct pci_dev *pdev)
{
	return pdev->msix_enabled;
}

bool mpstore_pci_healthy(struct pci_dev *pdev)
{
	return !pci_dev_is_disconnected(pdev) && !pci_channel_offline(pdev);
}

const void *mpstore_iommu_domain(struct device *dev, u32 *type)
{
#ifdef CONFIG_IOMMU_API
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	*type = domain ? domain->type : U32_MAX;
	return domain;
#else
	*type = U32_MAX;
	return NULL;
#endif
}

/* Whether addresses are bus addresses; negative if it is no virtio device. */
int mpstore_virtio_platform(struct device *dev)
{
#if IS_ENABLED(CONFIG_VIRTIO)
	if (dev->bus && !strcmp(dev->bus->name, "virtio"))
		return virtio_has_feature(dev_to_virtio(dev), VIRTIO_F_ACCESS_PLATFORM);
#endif
	return -ENODEV;
}

/*
 * False if it is not the SCSI host of a port that libata drives for a PCI device. By the types' names,
 * as scsi_is_host_device() would have this module need scsi_mod.
 */
bool mpstore_ata_port(struct device *dev, u32 *number, bool *disk, bool *multiplier)
{
#if IS_REACHABLE(CONFIG_ATA) && IS_REACHABLE(CONFIG_SCSI)
	struct ata_port *port;

	if (!dev->type || strcmp(dev->type->name ?: "", "scsi_host") ||
	    !dev->parent || !dev->parent->parent || !dev->parent->type ||
	    strcmp(dev->parent->type->name ?: "", "ata_port") ||
	    !dev_is_pci(dev->parent->parent))
		return false;
	port = ata_shost_to_port(container_of(dev, struct Scsi_Host, shost_gendev));
	*number = port->port_no;
	*multiplier = port->nr_pmp_links;
	*disk = port->link.device[0].class == ATA_DEV_ATA &&
		(port->link.device[0].flags & ATA_DFLAG_LBA48);
	return true;
#else
	return false;
#endif
}

bool mpstore_guest_encrypted(void)
{
	return cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT);
}
#endif

int mpstore_register_pm_notifier(struct notifier_block *nb)
{
	return register_pm_notifier(nb);
}

void mpstore_unregister_pm_notifier(struct notifier_block *nb)
{
	unregister_pm_notifier(nb);
}

void mpstore_udelay(unsigned int us)
{
	udelay(us);
}

u64 mpstore_cycles(void)
{
#ifdef CONFIG_X86_TSC
	return rdtsc_ordered();
#else
	return 0;
#endif
}

u64 mpstore_cycles_per_ms(void)
{
#ifdef CONFIG_X86_TSC
	/* Without that feature the kernel trusts it as long as nothing has spoken against it. */
	return boot_cpu_has(X86_FEATURE_CONSTANT_TSC) || !check_tsc_unstable() ? tsc_khz : 0;
#else
	return 0;
#endif
}

void mpstore_mb(void)
{
	mb();
}

#if IS_ENABLED(CONFIG_MTD)
/* What of it each kind of symbol is called here, in the order of the structure. */
#define MTD_CALLS(do) \
	do(register_user, register_mtd_user) \
	do(unregister_user, unregister_mtd_user) \
	do(get_device, __get_mtd_device) \
	do(put_device, __put_mtd_device) \
	do(block_isbad, mtd_block_isbad) \
	do(erase, mtd_erase) \
	do(read, mtd_read) \
	do(write, mtd_write) \
	do(panic_write, mtd_panic_write)

bool mpstore_mtd_get_calls(struct mpstore_mtd_calls *calls)
{
	bool all = true;

#define MTD_GET(field, name) calls->field = symbol_get(name); all = all && calls->field;
	MTD_CALLS(MTD_GET)
#define MTD_UNGET(field, name) if (!all && calls->field) symbol_put(name);
	MTD_CALLS(MTD_UNGET)
	return all;
}

void mpstore_mtd_put_calls(void)
{
#define MTD_PUT(field, name) symbol_put(name);
	MTD_CALLS(MTD_PUT)
}

void mpstore_mtd_get_facts(struct mtd_info *mtd, struct mpstore_mtd_facts *facts)
{
	*facts = (struct mpstore_mtd_facts) {
		.size = mtd->size,
		.erasesize = mtd->erasesize,
		.writesize = mtd->writesize,
		.index = mtd->index,
		.writable = (mtd->flags & MTD_WRITEABLE) && !(mtd->flags & MTD_NO_ERASE),
		.uniform = mtd->numeraseregions <= 1,
		.panic_write = mtd_get_master(mtd)->_panic_write,
	};
}

const char *mpstore_mtd_name(const struct mtd_info *mtd)
{
	return mtd->name;
}
#endif
