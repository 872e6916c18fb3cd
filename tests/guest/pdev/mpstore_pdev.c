// SPDX-License-Identifier: GPL-2.0
/*
 * A platform device "ramoops", as firmware, board code or a device tree gives
 * one. With props=1 its region is a resource and its sizes are properties (those
 * of a software node, which a driver can't tell from a device tree's). With narrow=1 one of
 * them has a byte only.
 */
#include <linux/err.h>
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/pstore_ram.h>

static ulong address;
module_param(address, ulong, 0400);
static ulong size = 0x40000;
module_param(size, ulong, 0400);
static uint ecc;
module_param(ecc, uint, 0400);
static int poly;
module_param(poly, int, 0400);
static uint mem_type;
module_param(mem_type, uint, 0400);
static int max_reason = 2;
module_param(max_reason, int, 0400);
static bool props;
module_param(props, bool, 0400);
static bool narrow;
module_param(narrow, bool, 0400);

static struct platform_device *pdev;

static int __init pdev_init(void)
{
	struct ramoops_platform_data data = {
		.mem_size = size,
		.mem_address = address,
		.record_size = 0x4000,
		.console_size = 0x2000,
		.pmsg_size = 0x1000,
		.max_reason = max_reason,
		.mem_type = mem_type,
		.flags = RAMOOPS_FLAG_FTRACE_PER_CPU,
		.ecc_info.ecc_size = ecc,
		.ecc_info.poly = poly,
	};
	const struct resource res = DEFINE_RES_MEM(address, size);
	const struct property_entry properties[] = {
		narrow ? PROPERTY_ENTRY_U8("record-size", 0x40) :
			 PROPERTY_ENTRY_U32("record-size", 0x4000),
		PROPERTY_ENTRY_U32("pmsg-size", 0x1000),
		PROPERTY_ENTRY_U32("ecc-size", ecc),
		PROPERTY_ENTRY_BOOL("no-dump-oops"),
		{ }
	};
	struct platform_device_info info = { .name = "ramoops", .id = PLATFORM_DEVID_NONE };

	if (props) {
		info.res = &res;
		info.num_res = 1;
		info.properties = properties;
	} else {
		info.data = &data;
		info.size_data = sizeof(data);
	}
	pdev = platform_device_register_full(&info);
	return PTR_ERR_OR_ZERO(pdev);
}

static void __exit pdev_exit(void)
{
	platform_device_unregister(pdev);
}

module_init(pdev_init);
module_exit(pdev_exit);
MODULE_DESCRIPTION("A platform device that describes a ramoops region, for mpstore's tests");
MODULE_LICENSE("GPL");
