// SPDX-License-Identifier: GPL-2.0

//! What can be armed, and what not and why. All of it in task context.

use super::{
    parse_address,
    Armed,
    Bars,
    Memory,
    Running,
    Settings,
    Time, //
};
use crate::sys::{
    bdev,
    dmabuf::DmaMemory,
    pci::{
        self,
        Iommu,
        Path, //
    },
    random,
    staging::Staging,
    time, //
};
use kernel::{
    alloc::AllocError,
    prelude::*,
    str::{
        BStr,
        CString, //
    }, //
};
use mpstore_format::takeover::{
    Signature,
    MAGIC,
    RESERVED_BYTES,
    VERSION, //
};
use mpstore_polled::{
    Ahci,
    Controller,
    Dma as _,
    Nvme,
    Target,
    VirtioLegacy,
    VirtioModern,
    Window,
    DMA_BYTES, //
    SIGNATURE_BYTES,
};

/// What is prepared.
pub(super) struct Ready {
    pub(super) armed: Armed,
    pub(super) pci: pci::Device,
    /// By what means.
    pub(super) text: CString,
    /// Where the signature goes.
    pub(super) at: u64,
    pub(super) signature: [u8; SIGNATURE_BYTES],
}

/// Why not, in words, or an error on the way to find that out.
pub(super) enum No {
    Refused(CString),
    Error(Error),
}

impl From<Error> for No {
    fn from(e: Error) -> Self {
        Self::Error(e)
    }
}

impl From<AllocError> for No {
    fn from(e: AllocError) -> Self {
        Self::Error(e.into())
    }
}

macro_rules! refuse {
    ($($args:tt)*) => {
        return Err(No::Refused(CString::try_from_fmt(fmt!($($args)*))?))
    };
}

/// Where in an address register.
fn window(pci: &pci::Device, cap: u8) -> Window {
    let at = i32::from(cap);
    Window {
        // CAST: A byte of it.
        bar: pci.config32(at + 4) as u8,
        at: pci.config32(at + 8),
        len: pci.config32(at + 12),
    }
}

/// Whether it lies in a register, `min` bytes at least.
fn fits(pci: &pci::Device, window: &Window, min: u32) -> bool {
    let end = u64::from(window.at) + u64::from(window.len);
    // CAST: Widens.
    window.len >= min && end <= pci.bar_len(window.bar) as u64
}

/// A device as of virtio 1, if it has the registers of one.
fn modern(pci: &pci::Device, platform: bool) -> Option<VirtioModern> {
    const VENDOR_SPECIFIC: u8 = 9;
    let find = |kind: u32| {
        pci.capabilities(VENDOR_SPECIFIC, |cap| {
            // The capability's first four bytes: number, next, length, kind.
            (pci.config32(cap.into()) >> 24 == kind).then_some(cap)
        })
    };
    let (common, notify, device) = (find(1)?, find(2)?, find(4)?);
    let multiplier = pci.config32(i32::from(notify) + 16);
    let this = VirtioModern {
        common: window(pci, common),
        notify: window(pci, notify),
        notify_multiplier: multiplier,
        device: window(pci, device),
        platform,
    };
    let good = fits(pci, &this.common, 56)
        && fits(pci, &this.notify, 2)
        && fits(pci, &this.device, 24)
        // Else the queue's bell may be at an odd place.
        && multiplier & 1 == 0;
    good.then_some(this)
}

/// Controllers that must be left alone for a while before they are asked whether they are ready: as
/// the NVMe driver has it (`NVME_QUIRK_DELAY_BEFORE_CHK_RDY`).
const NVME_SLOW: [(u16, u16); 6] = [
    (0x1bb1, 0x0100),
    (0x1c58, 0x0003),
    (0x1c58, 0x0023),
    (0x1c5f, 0x0540),
    (0x144d, 0xa821),
    (0x144d, 0xa822),
];
const NVME_SETTLE_US: u32 = 2_300_000;
/// Has queues of another shape.
const VENDOR_APPLE: u16 = 0x106b;
const VENDOR_VIRTIO: u16 = 0x1af4;

const CLASS_NVME: u32 = 0x01_08_02;
const CLASS_AHCI: u32 = 0x01_06_01;

/// The controller, the registers that it needs, and whether its memory is the DMA API's.
fn controller(
    device: &bdev::Device,
    path: &Path,
    given: bool,
) -> Result<(Controller, KVec<u8>, bool, u32), No> {
    let pci = &path.pci;
    let (vendor, id, class) = pci.ids();
    let mut bars = KVec::new();
    let unknown = || {
        let mut text = Err(EINVAL);
        pci.with_name(|name| {
            text = CString::try_from_fmt(fmt!(
                "controller {} ({:04x}:{:04x}, class {:06x}) is none that is known: virtio-blk, \
                 NVMe or AHCI, each with its own driver",
                name,
                vendor,
                id,
                class
            ));
        });
        match text {
            Ok(text) => No::Refused(text),
            Err(e) => No::Error(e),
        }
    };
    if class == CLASS_NVME && pci.driver_is(c"nvme") {
        if vendor == VENDOR_APPLE {
            refuse!("Apple's NVMe controllers are not like others");
        }
        let nsid = match device.nvme_namespace() {
            Some(nsid) => nsid,
            None => refuse!("it does not say which namespace it is"),
        };
        bars.push(0, GFP_KERNEL)?;
        let slow = NVME_SLOW.contains(&(vendor, id));
        let controller = Controller::Nvme(Nvme {
            nsid,
            settle_us: if slow { NVME_SETTLE_US } else { 0 },
            bar_len: u32::try_from(pci.bar_len(0)).unwrap_or(u32::MAX),
        });
        return Ok((controller, bars, true, nsid));
    }
    if given {
        refuse!("the controller given is no NVMe controller with its own driver");
    }
    match (path.virtio_platform, path.ata) {
        (Some(platform), _)
            if vendor == VENDOR_VIRTIO
                && matches!(id, 0x1001 | 0x1042)
                && pci.driver_is(c"virtio-pci") =>
        {
            if !platform && pci::guest_encrypted() {
                refuse!(
                    "the guest's memory is encrypted, and the device does not take bus addresses"
                );
            }
            let controller = match modern(pci, platform) {
                Some(m) => {
                    for bar in [m.common.bar, m.notify.bar, m.device.bar] {
                        bars.push(bar, GFP_KERNEL)?;
                    }
                    Controller::VirtioModern(m)
                }
                None if id == 0x1001 && !platform && cfg!(target_endian = "little") => {
                    bars.push(0, GFP_KERNEL)?;
                    Controller::VirtioLegacy(VirtioLegacy {
                        bar: 0,
                        msix: pci.msix(),
                    })
                }
                None => return Err(unknown()),
            };
            Ok((controller, bars, platform, 0))
        }
        (_, Some(port)) if class == CLASS_AHCI && pci.driver_is(c"ahci") => {
            if port.multiplier {
                refuse!("the disk is behind a port multiplier");
            }
            let number = match u8::try_from(port.number) {
                Ok(n) if n < 32 && port.disk => n,
                _ => refuse!("port {} has no disk with addresses of 48 bits", port.number),
            };
            bars.push(5, GFP_KERNEL)?;
            Ok((
                Controller::Ahci(Ahci { port: number }),
                bars,
                true,
                port.number,
            ))
        }
        _ => Err(unknown()),
    }
}

/// Prepares everything but the signature on the device; answers why not if that can't be.
pub(super) fn prepare(device: &bdev::Device, settings: &Settings<'_>) -> Result<Ready, No> {
    let block = device.block_size();
    if device.read_only() {
        refuse!("the device is read-only");
    }
    if device.zoned() {
        refuse!("a zoned device can be written in a certain order only");
    }
    if device.integrity() {
        refuse!("the device wants checksums with its blocks (integrity)");
    }
    if !(512..=4096).contains(&block) {
        refuse!("blocks of {} bytes, only 512 to 4096 are supported", block);
    }
    let at = match settings.reserve {
        Some((at, len)) if len >= RESERVED_BYTES => at,
        _ => refuse!(
            "there is no room for the signature behind the zones: they take all, or dumps of the \
             in-tree pstore_blk are in the way"
        ),
    };
    let path = match settings.controller {
        None => match Path::of(device) {
            Some(path) => path,
            None => refuse!(
                "no PCI device is behind it alone (dm, md, loop, network), or it is an NVMe \
                 namespace that may have several paths: then give the controller's address"
            ),
        },
        Some(address) => {
            if !device.with_name(|name| name.starts_with(b"nvme")) {
                refuse!("a controller can be given for NVMe only");
            }
            let found =
                parse_address(address).and_then(|(d, b, s, f)| pci::Device::find(d, b, s, f));
            match found {
                Some(pci) => Path {
                    pci,
                    virtio_platform: None,
                    ata: None,
                },
                None => refuse!("there is no PCI device {}", BStr::from_bytes(address)),
            }
        }
    };
    let pci = &path.pci;
    let (controller, which, coherent, unit) =
        controller(device, &path, settings.controller.is_some())?;
    let (domain, iommu) = pci.iommu();
    if let Iommu::Other(kind) = iommu {
        refuse!(
            "its IOMMU domain is of a kind that is not known ({:#x})",
            kind
        );
    }
    let bars = pci::Bars::map(pci, &which)?;
    let memory = match coherent {
        true => DmaMemory::coherent(pci, DMA_BYTES)?,
        false => DmaMemory::physical(DMA_BYTES.ilog2() - kernel::page::PAGE_SHIFT as u32)?,
    };
    let memory = Memory(memory);

    // CAST: At most 4096.
    let block_bytes = block as u32;
    let start = match device.start_sector().checked_mul(bdev::SECTOR_BYTES) {
        Some(start) if start.checked_rem(u64::from(block_bytes)) == Some(0) => start,
        _ => refuse!("it does not begin with a whole block of its disk"),
    };
    let signature = signature(device, pci, unit, start, at)?;
    let tag = [device.start_sector(), device.bytes(), memory.bus(0), domain];
    let target = match Target::new(controller, start, at, block_bytes, signature, tag) {
        Some(target) => target,
        None => refuse!("it does not begin or end with a whole block"),
    };
    let mut text = Err(Error::from(AllocError));
    pci.with_name(|name| {
        text = CString::try_from_fmt(fmt!(
            "{} at {}, {}, bytes {} to {} of the disk, within {} s",
            controller.name(),
            name,
            match iommu {
                Iommu::Dma if coherent => "behind an IOMMU",
                _ => "no IOMMU",
            },
            start,
            start + at - 1,
            settings.seconds
        ));
    });
    let armed = Armed {
        target,
        bars: Bars(bars),
        memory,
        seconds: settings.seconds,
        running: Staging::new(Running {
            session: None,
            time: Time::limited(0),
            trouble: None,
        }),
    };
    Ok(Ready {
        armed,
        pci: path.pci,
        text: text?,
        at,
        signature,
    })
}

fn signature(
    device: &bdev::Device,
    pci: &pci::Device,
    unit: u32,
    start: u64,
    at: u64,
) -> Result<[u8; SIGNATURE_BYTES]> {
    let mut text = CString::try_from_fmt(fmt!(""))?;
    pci.with_name(|pci| {
        device.with_name(|name| {
            if let Ok(new) = CString::try_from_fmt(fmt!("{} {}", pci, BStr::from_bytes(name))) {
                text = new;
            }
        });
    });
    let mut name = [0u8; 32];
    let len = text.to_bytes().len().min(name.len());
    for (to, from) in name.iter_mut().zip(text.to_bytes()) {
        *to = *from;
    }
    let mut nonce = [0; 16];
    random::fill(&mut nonce);
    let (vendor, id, _) = pci.ids();
    let block = device.block_size() as u64;
    Ok(Signature {
        magic: MAGIC,
        version: VERSION,
        checksum: 0,
        nonce,
        start_block: start.checked_div(block).unwrap_or(0),
        bytes: device.bytes(),
        at,
        // CAST: At most 4096.
        block_bytes: block as u32,
        pci_id: u32::from(vendor) | (u32::from(id) << 16),
        unit,
        // CAST: At most 32.
        name_len: len as u32,
        name,
        seconds: time::real_ns() / 1_000_000_000,
        reserved: [0; 16],
    }
    .sealed()
    .to_bytes())
}

/// Puts the signature where it belongs, and sees whether it is there.
pub(super) fn write(device: &bdev::Device, at: u64, signature: &[u8]) -> Result {
    let len = RESERVED_BYTES as usize;
    let mut buffer = bdev::IoBuffer::new(len)?;
    let fill = |buffer: &mut bdev::IoBuffer, byte| {
        buffer.bytes_mut().fill(byte);
    };
    if let Some(to) = buffer.bytes_mut().get_mut(..signature.len()) {
        to.copy_from_slice(signature);
    }
    device.write(at, &buffer, len)?;
    device.flush()?;
    device.invalidate();
    fill(&mut buffer, 0xff);
    device.read(at, &mut buffer, len)?;
    if buffer.bytes().get(..signature.len()) != Some(signature) {
        return Err(EIO);
    }
    Ok(())
}
