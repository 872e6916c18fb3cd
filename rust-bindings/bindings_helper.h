/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's headers that mpstore needs and the kernel crate does not bind.
 * Sorted alphabetically.
 */
#ifdef CONFIG_ACPI_APEI
#include <acpi/apei.h>
#include <linux/cper.h>
#endif
#include <linux/blkdev.h>
#include <linux/console.h>
#include <linux/crash_dump.h>
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/efi.h>
#include <linux/fprobe.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/fs_struct.h>
#include <linux/ftrace.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/ioport.h>
#include <linux/kallsyms.h>
#include <linux/irq_work.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/kmsg_dump.h>
#include <linux/kprobes.h>
#include <linux/magic.h>
#include <linux/miscdevice.h>
#include <linux/moduleparam.h>
#include <linux/mount.h>
#include <linux/mtd/mtd.h>
#include <linux/namei.h>
#include <linux/panic.h>
#include <linux/printk.h>
#include <linux/pstore_ram.h>
#include <linux/reboot.h>
#include <linux/shrinker.h>
#include <linux/string.h>
#include <linux/suspend.h>
#include <linux/sysfs.h>
#include <linux/timekeeping.h>
#include <linux/tty.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <linux/vmcore_info.h>
#include <linux/zlib.h>
#include <linux/zstd.h>

#include "helpers.h"

/* Constants that are expressions, which bindgen passes over. */
static const u32 MPSTORE_VMAP_FLAGS = VM_MAP | VM_IOREMAP;
static const u64 MPSTORE_PAGE_SIZE = PAGE_SIZE;
static const u32 MPSTORE_MAX_PAGE_ORDER = MAX_PAGE_ORDER;
static const u32 MPSTORE_RAMOOPS_FTRACE_PER_CPU = RAMOOPS_FLAG_FTRACE_PER_CPU;
static const u32 MPSTORE_VERSION_CODE = LINUX_VERSION_CODE;
static const u32 MPSTORE_SYMBOL_LEN = KSYM_SYMBOL_LEN;
static const u32 MPSTORE_VMCOREINFO_LEN = VMCOREINFO_NOTE_SIZE;
/* Where KASLR may put the kernel's image, in MiB: bindgen wants numbers that fit a signed one. */
#if defined(CONFIG_X86_64) && defined(CONFIG_RANDOMIZE_BASE)
static const u64 MPSTORE_IMAGE_START_MB = __START_KERNEL_map >> 20;
static const u64 MPSTORE_IMAGE_END_MB = MODULES_VADDR >> 20;
#else
static const u64 MPSTORE_IMAGE_START_MB = 0;
static const u64 MPSTORE_IMAGE_END_MB = 0;
#endif
static const u32 MPSTORE_BLK_OPEN_RW = (__force u32)(BLK_OPEN_READ | BLK_OPEN_WRITE);
static const u32 MPSTORE_LOOKUP_RCU = LOOKUP_RCU;
static const u32 MPSTORE_ATTR_SIZE = ATTR_SIZE;
static const u32 MPSTORE_GFP_ZERO = (__force u32)(GFP_KERNEL | __GFP_ZERO);
static const u32 MPSTORE_IOMMU_NONE = U32_MAX;
static const u32 MPSTORE_IOMMU_IDENTITY = IOMMU_DOMAIN_IDENTITY;
static const u32 MPSTORE_IOMMU_DMA = IOMMU_DOMAIN_DMA;
static const u32 MPSTORE_IOMMU_DMA_FQ = IOMMU_DOMAIN_DMA_FQ;
static const int MPSTORE_DEFAULT_SEEKS = DEFAULT_SEEKS;
