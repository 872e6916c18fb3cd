// SPDX-License-Identifier: GPL-2.0
/*
 * Has a PCI device translate by a domain of its own, as a driver that manages one does, while the device
 * is in use: the domain maps the first `bytes` of memory one to one, so with iommu=pt the device's
 * driver notices nothing of it.
 */
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>

static char *device;
module_param(device, charp, 0400);
static ulong bytes = SZ_1G;
module_param(bytes, ulong, 0400);

static struct pci_dev *pdev;
static struct iommu_domain *domain;

static int __init own_domain_init(void)
{
	unsigned int segment, bus, slot, function;
	int ret;

	if (!device || sscanf(device, "%x:%x:%x.%x", &segment, &bus, &slot, &function) != 4)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(segment, bus, PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	domain = iommu_paging_domain_alloc(&pdev->dev);
	if (IS_ERR(domain)) {
		ret = PTR_ERR(domain);
		goto put;
	}
	ret = iommu_map(domain, 0, 0, bytes, IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);
	if (ret)
		goto free;
	ret = iommu_attach_device(domain, &pdev->dev);
	if (!ret)
		return 0;
free:
	iommu_domain_free(domain);
put:
	pci_dev_put(pdev);
	return ret;
}

static void __exit own_domain_exit(void)
{
	iommu_detach_device(domain, &pdev->dev);
	iommu_domain_free(domain);
	pci_dev_put(pdev);
}

module_init(own_domain_init);
module_exit(own_domain_exit);
MODULE_DESCRIPTION("Gives a device an IOMMU domain of its own, for mpstore's tests");
MODULE_LICENSE("GPL");
