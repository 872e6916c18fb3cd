// SPDX-License-Identifier: GPL-2.0

//! `plan`: where on this machine records could be kept, and what has to be written where for that.

use crate::{
    cli::Context,
    disk::{
        self,
        Disk,
        Panic, //
    },
    find::{
        devices,
        memmaps, //
    },
    host::{
        words,
        Host,
        Resource, //
    },
    out::{
        Out,
        DOUBT,
        FAINT,
        NAME, //
    },
};
use anyhow::{
    bail,
    Result, //
};
use clap::Args;
use mpstore_format::{
    layout::{
        RamLayout,
        RamSizes,
        CRASH_SIZE_LEAST, //
    },
    zone::{
        ZoneLayout,
        ZoneSizes, //
    },
};
use serde::Serialize;
use std::{
    ops::Range,
    process::ExitCode, //
};

const MIB: u64 = 1 << 20;
/// What boot loaders put at the end of low memory, the initramfs first of all, stays clear of this.
const TOP_MARGIN: u64 = 128 * MIB;
/// Firmware and boot loaders work below this.
const BOTTOM: u64 = 256 * MIB;
const FOUR_GIB: u64 = 1 << 32;
/// What the crash kernel must be told of the regions that are in use.
const CRASH_CMDLINE: &str = "/sys/kernel/debug/mpstore/crash_cmdline";
/// KASLR on x86 keeps clear of as many `memmap=` ranges.
const KASLR_RANGES: usize = 4;

#[derive(Args, Debug)]
pub(crate) struct PlanArgs {
    /// Bytes of the region for the crash kernel; 0 for none; default: a quarter of it if one is
    /// reserved for
    #[arg(long, value_name = "BYTES", value_parser = size)]
    crash_size: Option<u64>,
    /// No fixed address: let the kernel find the place (reserve_mem=)
    #[arg(long)]
    named: bool,
    /// Parity bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    parity: usize,
    /// Propose this disk or partition, by the kernel's name; default: the best one that is free
    #[arg(long, value_name = "NAME")]
    disk: Option<String>,
    /// Propose no disk
    #[arg(long, conflicts_with = "disk")]
    no_disk: bool,
}

fn size(text: &str) -> Result<u64, String> {
    crate::host::parse_number(text).ok_or_else(|| format!("'{text}' is no size"))
}

/// What the machine is like.
#[derive(Debug, Serialize)]
struct Facts {
    /// Bytes that the firmware calls memory.
    memory: u64,
    firmware: &'static str,
    machine: Option<String>,
    kernel: Option<String>,
    kaslr: bool,
    crash_kernel: Vec<Range<u64>>,
    crash_loaded: bool,
    /// A panic is recorded before the crash kernel takes over.
    post_notifiers: bool,
    /// Taken out of the kernel's hands already.
    memmap: Vec<Range<u64>>,
    kho: bool,
    disks: Vec<Disk>,
    in_tree: Option<String>,
}

/// What is proposed.
#[derive(Debug, Serialize)]
struct Plan {
    address: Option<u64>,
    size: u64,
    crash_size: u64,
    /// Words for the kernel's command line.
    cmdline: String,
    /// What `blkdev=` is to be, and the kernel's name for it.
    blkdev: Option<String>,
    disk: Option<String>,
    /// The line for /etc/default/grub.
    grub: String,
    /// The line for /etc/modprobe.d/mpstore.conf.
    modprobe: String,
    /// Lines for /etc/default/kdump-tools.
    kdump_tools: Vec<String>,
    /// What the crash kernel must be told, where the address is known.
    crash_words: Option<String>,
    /// The same for who calls kexec himself.
    kexec: Option<String>,
    remarks: Vec<String>,
}

fn facts(host: &Host, iomem: &[Resource]) -> Facts {
    let cmdline = host.cmdline();
    let words = words(&cmdline);
    let map = host.firmware_map();
    let ram = |list: &[Resource]| {
        list.iter()
            .filter(|r| r.depth == 0 && r.name == "System RAM")
            .map(|r| r.end - r.start)
            .sum::<u64>()
    };
    let backend = host.parameters("pstore").get("backend").cloned();
    let in_use: Vec<_> = if host.exists("/sys/module/mpstore") {
        devices(host, None)
            .into_iter()
            .filter_map(|d| d.path)
            .collect()
    } else {
        Vec::new()
    };
    Facts {
        memory: if map.is_empty() {
            ram(iomem)
        } else {
            ram(&map)
        },
        firmware: if host.exists("/sys/firmware/efi") {
            "UEFI"
        } else {
            "BIOS or none"
        },
        machine: host
            .read("/sys/class/dmi/id/product_name")
            .or_else(|| host.read("/proc/device-tree/model")),
        kernel: host.release(),
        kaslr: !words.iter().any(|w| w == "nokaslr"),
        crash_kernel: iomem
            .iter()
            .filter(|r| r.name == "Crash kernel")
            .map(|r| r.start..r.end)
            .collect(),
        crash_loaded: host.read("/sys/kernel/kexec_crash_loaded").as_deref() == Some("1"),
        post_notifiers: words
            .iter()
            .any(|w| w == "crash_kexec_post_notifiers" || w == "crash_kexec_post_notifiers=1")
            || host
                .read("/sys/module/kernel/parameters/crash_kexec_post_notifiers")
                .as_deref()
                == Some("Y"),
        memmap: memmaps(&cmdline),
        kho: host.exists("/sys/kernel/debug/kho") || words.iter().any(|w| w == "kho=on"),
        disks: disk::disks(host, &in_use),
        in_tree: backend.filter(|b| !b.is_empty() && b != "(null)"),
    }
}

/// Stretches of memory that nothing is known to lie in.
fn gaps(iomem: &[Resource]) -> Vec<Range<u64>> {
    let mut out = Vec::new();
    let mut entries = iomem.iter().peekable();
    while let Some(entry) = entries.next() {
        if entry.depth != 0 || entry.name != "System RAM" {
            continue;
        }
        let mut at = entry.start;
        while let Some(child) = entries.next_if(|r| r.depth > 0) {
            if child.depth == 1 {
                if child.start > at {
                    out.push(at..child.start);
                }
                at = at.max(child.end);
            }
        }
        if entry.end > at {
            out.push(at..entry.end);
        }
    }
    out
}

/// A place for `size` bytes: in the middle of the largest gap below 4 GiB, away from where firmware
/// and boot loaders work.
fn choose(iomem: &[Resource], size: u64) -> Option<u64> {
    let align = size.next_power_of_two().clamp(2 * MIB, 64 * MIB);
    let low_end = iomem
        .iter()
        .filter(|r| r.depth == 0 && r.name == "System RAM" && r.start < FOUR_GIB)
        .map(|r| r.end.min(FOUR_GIB))
        .max()?;
    for (bottom, margin) in [(BOTTOM, TOP_MARGIN), (64 * MIB, 32 * MIB), (64 * MIB, 0)] {
        let best = gaps(iomem)
            .into_iter()
            .filter_map(|gap| {
                let from = gap.start.max(bottom);
                let to = gap.end.min(low_end.saturating_sub(margin));
                (from < to && to - from >= size + 2 * align).then_some(from..to)
            })
            .max_by_key(|gap| gap.end - gap.start);
        if let Some(gap) = best {
            let middle = gap.start + (gap.end - gap.start - size) / 2;
            return Some(middle / align * align).filter(|at| *at >= gap.start);
        }
    }
    None
}

/// What is proposed for a device: what to call it, and how long its zones are.
struct Zones {
    name: String,
    reference: String,
    stream: u64,
    small: u64,
}

/// The disk or partition to record to, if there is one.
fn propose_disk(
    facts: &Facts,
    cpus: usize,
    args: &PlanArgs,
    remarks: &mut Vec<String>,
) -> Result<Option<Zones>> {
    if args.no_disk {
        return Ok(None);
    }
    let volume = match &args.disk {
        Some(name) => {
            let name = name.strip_prefix("/dev/").unwrap_or(name);
            let found = facts
                .disks
                .iter()
                .flat_map(|d| &d.volumes)
                .find(|v| v.name == name);
            match found {
                None => {
                    bail!("--disk {name}: no such disk without partitions, and no such partition")
                }
                Some(volume) => {
                    if let Some(why) = &volume.why_not {
                        bail!("--disk {name}: it {why}");
                    }
                    Some(volume)
                }
            }
        }
        None => disk::choose(&facts.disks),
    };
    let Some(volume) = volume else {
        if !facts.disks.is_empty() {
            remarks.push(
                "no disk is free to be recorded to: a blank partition of 16 MiB would do, with \
                 'mpstore' as its label it is taken before others"
                    .to_owned(),
            );
        }
        return Ok(None);
    };
    let (stream, small) = if volume.bytes >= 16 * MIB {
        (256 << 10, 64 << 10)
    } else {
        (64 << 10, 64 << 10)
    };
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let sizes = ZoneSizes {
        bytes: volume.bytes,
        block: bytes(volume.block),
        kmsg_size: 64 << 10,
        pmsg_size: bytes(small),
        console_size: bytes(stream),
        ftrace_size: bytes(small),
        tty_size: bytes(stream),
        cpus,
    };
    if let Err(error) = ZoneLayout::new(&sizes, true) {
        remarks.push(format!("{}: can't be divided: {error}", volume.name));
        return Ok(None);
    }
    if volume.ours {
        remarks.push(format!("mpstore records to {} already", volume.name));
    }
    if volume.reference.starts_with("/dev/") && !volume.reference.starts_with("/dev/disk/") {
        remarks.push(format!(
            "{} has no name of its own and may be another one after the next boot: give it a \
             partition table with one partition",
            volume.reference
        ));
    }
    if volume.panic == Panic::Takeover && !facts.crash_kernel.is_empty() && !facts.post_notifiers {
        remarks.push(
            "with a crash kernel loaded, a panic is written to a disk only if the kernel is given \
             crash_kexec_post_notifiers; memory is not concerned"
                .to_owned(),
        );
    }
    Ok(Some(Zones {
        name: volume.name.clone(),
        reference: volume.reference.clone(),
        stream,
        small,
    }))
}

/// A size as parameters have it.
fn spell(bytes: u64) -> String {
    match bytes {
        n if n >= MIB && n % MIB == 0 => format!("{}M", n / MIB),
        n if n >= 1024 && n % 1024 == 0 => format!("{}K", n / 1024),
        n => n.to_string(),
    }
}

fn propose(
    facts: &Facts,
    iomem: &[Resource],
    context: &Context<'_>,
    args: &PlanArgs,
) -> Result<Plan> {
    let mut remarks = Vec::new();
    let given = &context.cli.source;
    let size = given.size.map_or(4 * MIB, |n| n as u64);
    if size < 64 << 10 || size % 4096 != 0 {
        bail!("--size: give a multiple of 4096 bytes, at least 64K");
    }
    let crash = !facts.crash_kernel.is_empty();
    let crash_size = args
        .crash_size
        .unwrap_or(if crash { (size / 4) & !4095 } else { 0 });
    if crash_size != 0 && (crash_size < CRASH_SIZE_LEAST as u64 || crash_size > size) {
        bail!("--crash-size: give 0, or at least 16K and at most --size");
    }
    // Of what is not the crash kernel's, half is for dumps.
    let own = size - crash_size;
    let part = |n: u64| 1u64 << (own / n).max(1).ilog2();
    let (record, stream, small) = (part(32).clamp(4096, 65536), part(8), part(16));
    let mut words: Vec<(&str, String)> = Vec::new();
    let mut reservation = Vec::new();
    let address = if args.named {
        reservation.push(format!("reserve_mem={}:4096:oops", spell(size)));
        words.push(("mem_name", "oops".to_owned()));
        if facts.kaslr {
            remarks.push(
                "reserve_mem= finds a place anew at every boot; with KASLR it is more often another \
                 one, and the kernel may be put where the records were. A fixed address, or \
                 nokaslr, is safer"
                    .to_owned(),
            );
        }
        let mut ram = iomem
            .iter()
            .filter(|r| r.depth == 0 && r.name == "System RAM")
            .peekable();
        if ram.peek().is_some() && ram.all(|r| r.end <= FOUR_GIB) {
            remarks.push(
                "reserve_mem= takes the top of memory, which is below 4 GiB here: firmware and boot \
                 loaders (GRUB on a BIOS does) use that at every boot. A fixed address further down \
                 is safer"
                    .to_owned(),
            );
        }
        None
    } else {
        let address = match given.address {
            Some(address) => {
                let end = address.saturating_add(size);
                let clash = iomem
                    .iter()
                    .filter(|r| r.depth == 1)
                    .find(|r| r.start < end && address < r.end);
                if let Some(clash) = clash {
                    bail!(
                        "{address:#x}: '{}' lies there, {:#x} to {:#x}",
                        clash.name,
                        clash.start,
                        clash.end
                    );
                }
                if !iomem.is_empty()
                    && !iomem.iter().any(|r| {
                        r.depth == 0 && r.start <= address && end <= r.end && r.name == "System RAM"
                    })
                    && !facts
                        .memmap
                        .iter()
                        .any(|m| m.start <= address && end <= m.end)
                {
                    bail!(
                        "{address:#x}: {} are not all memory there, see /proc/iomem",
                        spell(size)
                    );
                }
                address
            }
            // What is set aside already is to be used.
            None => match facts.memmap.iter().find(|m| m.end - m.start >= size) {
                Some(range) => {
                    remarks.push(format!(
                        "memmap= has taken {:#x} to {:#x} out of the kernel's hands already",
                        range.start, range.end
                    ));
                    range.start
                }
                None if iomem.is_empty() => bail!(
                    "/proc/iomem tells no addresses: be root, or give --address, or --named to let \
                     the kernel choose"
                ),
                None => match choose(iomem, size) {
                    Some(address) => address,
                    None => bail!(
                        "no {} of free memory below 4 GiB: try a smaller --size, or --named",
                        spell(size)
                    ),
                },
            },
        };
        if !facts.memmap.iter().any(|m| m.contains(&address)) {
            reservation.push(format!("memmap={}${address:#x}", spell(size)));
            if facts.kaslr && facts.memmap.len() >= KASLR_RANGES {
                remarks.push(format!(
                    "there are {} memmap= ranges: with more than {KASLR_RANGES} the kernel turns \
                     KASLR off for physical addresses",
                    facts.memmap.len()
                ));
            }
        }
        words.push(("mem_address", format!("{address:#x}")));
        Some(address)
    };
    words.push(("mem_size", spell(size)));
    if crash_size > 0 {
        words.push(("crash_size", spell(crash_size)));
    }
    let cpus = context.host.possible_cpus().unwrap_or(1);
    let device = propose_disk(facts, cpus, args, &mut remarks)?;
    // The crash kernel leaves disks alone, and refuses a list that is longer than its regions.
    let mut both = words.clone();
    words.push(("record_size", spell(record)));
    both.push(("record_size", spell(record)));
    for (name, region, zone) in [
        ("console_size", stream, device.as_ref().map(|d| d.stream)),
        ("pmsg_size", small, device.as_ref().map(|d| d.small)),
        ("tty_size", stream, device.as_ref().map(|d| d.stream)),
        (
            "ftrace_size",
            small.min(65536),
            device.as_ref().map(|d| d.small),
        ),
    ] {
        words.push((name, spell(region)));
        // First the region's, then the device's.
        both.push((
            name,
            match zone {
                Some(zone) => format!("{},{}", spell(region), spell(zone)),
                None => spell(region),
            },
        ));
    }
    if let Some(device) = &device {
        both.push(("blkdev", device.reference.clone()));
    }
    if args.parity > 0 {
        words.push(("ecc", args.parity.to_string()));
        both.push(("ecc", args.parity.to_string()));
    }
    // What is printed must be what the module takes.
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    if own > 0 {
        if let Err(error) = RamLayout::new(&RamSizes {
            mem_size: bytes(own),
            record_size: bytes(record),
            console_size: bytes(stream),
            ftrace_size: bytes(small.min(65536)),
            pmsg_size: bytes(small),
            tty_size: bytes(stream),
            ftrace_zones: cpus,
            ecc_size: if args.parity == 1 { 16 } else { args.parity },
        }) {
            bail!("{}: too small to be divided: {error}", spell(size));
        }
    }
    let spelt = |words: &[(&str, String)]| -> Vec<String> {
        words.iter().map(|(k, v)| format!("{k}={v}")).collect()
    };
    let prefixed = |words: &[(&str, String)]| -> Vec<String> {
        words
            .iter()
            .map(|(k, v)| format!("mpstore.{k}={v}"))
            .collect()
    };
    let cmdline = [reservation.clone(), prefixed(&both)].concat().join(" ");
    let grub = format!("GRUB_CMDLINE_LINUX='{}'", cmdline.replace('$', "\\$"));
    let (mut kdump_tools, mut crash_words, mut kexec) = (Vec::new(), None, None);
    if crash_size > 0 || crash {
        kdump_tools = vec![
            "USE_KDUMP=1".to_owned(),
            "KDUMP_CMDLINE=\"$(sed -re 's/(^| )(crashkernel|hugepages|hugepagesz|abm|memmap|reserve_mem)=[^ ]*//g; s/(^| )mpstore\\.[^ ]*//g' /proc/cmdline)\"".to_owned(),
            format!("KDUMP_CMDLINE_APPEND=\"reset_devices systemd.unit=kdump-tools-dump.service nr_cpus=1 irqpoll usbcore.nousb $(cat {CRASH_CMDLINE})\""),
        ];
        kexec = Some(format!(
            "kexec -s -p /boot/vmlinuz-$(uname -r) --initrd=/boot/kdump.img \
             --command-line=\"root=... nr_cpus=1 reset_devices $(cat {CRASH_CMDLINE})\""
        ));
        // Only the running kernel knows where a region by name is.
        crash_words = address.map(|_| prefixed(&words).join(" "));
        remarks.push(format!(
            "{CRASH_CMDLINE} is there while mpstore is loaded: load it before kdump-tools does its \
             work, with a line 'mpstore' in /etc/modules-load.d/mpstore.conf"
        ));
        remarks.push(
            "no memmap= for the crash kernel: kdump-config has a shell read the command line, which \
             puts its own name for $0, and the kernel takes what is left for a limit of its memory. \
             KDUMP_CMDLINE as above takes it out; the memory is reserved there anyhow"
                .to_owned(),
        );
        remarks.push(if crash_size > 0 {
            "after the reboot, the crash kernel's records are in the directory ramoops_crash, the \
             first kernel's in ramoops"
                .to_owned()
        } else {
            "without crash_size= the crash kernel records nothing: it shows the region and leaves it \
             as it is"
                .to_owned()
        });
    }
    if !crash {
        remarks.push(
            "no memory is reserved for a crash kernel (crashkernel=): there is no kdump here, and \
             none is needed for these records"
                .to_owned(),
        );
    }
    for range in &facts.crash_kernel {
        if address.is_some_and(|at| at < range.end && range.start < at + size) {
            bail!(
                "the region would overlap the crash kernel's memory, {:#x} to {:#x}",
                range.start,
                range.end
            );
        }
    }
    if facts.firmware == "UEFI" {
        remarks.push(
            "UEFI firmware may clear memory at a reset when the kernel asks for it \
             (CONFIG_RESET_ATTACK_MITIGATION): try it with `mpstore survey`"
                .to_owned(),
        );
    }
    if let Some(backend) = &facts.in_tree {
        remarks.push(format!(
            "the in-tree pstore is in use, with the backend {backend}"
        ));
    }
    if facts.kho {
        remarks.push(
            "this kernel has Kexec HandOver: mpstore.kho=Y keeps records over kexec without a region"
                .to_owned(),
        );
    }
    remarks.push(
        "no address is known to survive before it was tried: `mpstore survey begin`, reboot, `mpstore \
         survey end`"
            .to_owned(),
    );
    Ok(Plan {
        address,
        size,
        crash_size,
        cmdline,
        grub,
        blkdev: device.as_ref().map(|d| d.reference.clone()),
        disk: device.map(|d| d.name),
        modprobe: format!("options mpstore {}", spelt(&both).join(" ")),
        kdump_tools,
        crash_words,
        kexec,
        remarks,
    })
}

/// `mpstore plan`.
pub(crate) fn plan(context: &Context<'_>, args: &PlanArgs, out: &mut Out) -> Result<ExitCode> {
    let iomem = context.host.iomem();
    let facts = facts(&context.host, &iomem);
    let plan = propose(&facts, &iomem, context, args)?;
    if context.cli.json {
        out.json_pretty(&serde_json::json!({ "machine": facts, "plan": plan }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (name, faint, doubt) = (NAME, FAINT, DOUBT);
    let unknown = || "unknown".to_owned();
    out.line(format!(
        "{faint}machine: {}, {} MiB of memory, {}, kernel {}, KASLR {}{faint:#}",
        facts.machine.clone().unwrap_or_else(unknown),
        facts.memory / MIB,
        facts.firmware,
        facts.kernel.clone().unwrap_or_else(unknown),
        if facts.kaslr {
            "on unless the kernel lacks it"
        } else {
            "off"
        },
    ))?;
    for range in &facts.crash_kernel {
        out.line(format!(
            "{faint}crash kernel: {:#x} to {:#x}, {}{faint:#}",
            range.start,
            range.end,
            if facts.crash_loaded {
                "loaded"
            } else {
                "none loaded"
            }
        ))?;
    }
    for disk in &facts.disks {
        out.line(format!(
            "{faint}disk: {} {} MiB {}{faint:#}",
            disk.name,
            disk.bytes / MIB,
            disk.driver
                .as_deref()
                .or(disk.model.as_deref())
                .unwrap_or(""),
        ))?;
        for volume in &disk.volumes {
            let what = match &volume.why_not {
                Some(why) => format!("no: it {why}"),
                None if plan.disk.as_ref() == Some(&volume.name) => {
                    format!("proposed; {}", volume.panic.text())
                }
                None => format!("could be taken; {}", volume.panic.text()),
            };
            let label = volume.label.as_ref().map_or(String::new(), |label| {
                format!(" '{}'", crate::out::harmless_line(label.as_bytes()))
            });
            out.line(format!(
                "{faint}    {}{label} {} MiB: {what}{faint:#}",
                volume.name,
                volume.bytes / MIB
            ))?;
        }
    }
    out.line("")?;
    out.line(format!("{name}kernel command line{name:#}"))?;
    out.line(format!("    {}", plan.cmdline))?;
    out.line(format!(
        "{name}or, with GRUB, in /etc/default/grub, then update-grub{name:#}"
    ))?;
    out.line(format!("    {}", plan.grub))?;
    out.line(format!(
        "{name}or the reservation only, and in /etc/modprobe.d/mpstore.conf{name:#}"
    ))?;
    out.line(format!("    {}", plan.modprobe))?;
    if !plan.kdump_tools.is_empty() {
        out.line(format!(
            "{name}the crash kernel's initramfs, with kdump-tools{name:#}"
        ))?;
        out.line("    echo mpstore >>/etc/initramfs-tools/modules")?;
        out.line("    /etc/kernel/postinst.d/kdump-tools $(uname -r)")?;
        out.line(format!("{name}kdump-tools, in /etc/default/kdump-tools, then kdump-config unload; kdump-config load{name:#}"))?;
        for line in &plan.kdump_tools {
            out.line(format!("    {line}"))?;
        }
    }
    if let Some(kexec) = &plan.kexec {
        out.line(format!("{name}or kexec{name:#}"))?;
        out.line(format!("    {kexec}"))?;
    }
    if let Some(words) = &plan.crash_words {
        out.line(format!(
            "{name}or, where mpstore is not loaded before, these words instead of $(cat ...){name:#}"
        ))?;
        out.line(format!("    {words}"))?;
    }
    out.line("")?;
    for remark in &plan.remarks {
        out.line(format!("{doubt}note:{doubt:#} {remark}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(depth: usize, start: u64, end: u64, name: &str) -> Resource {
        Resource {
            depth,
            start,
            end,
            name: name.to_owned(),
        }
    }

    #[test]
    fn places_are_free() {
        let iomem = [
            resource(0, 0x1000, 0x9fc00, "System RAM"),
            resource(0, 0x10_0000, 0x7ffe_0000, "System RAM"),
            resource(1, 0x100_0000, 0x1e0_0000, "Kernel code"),
            resource(1, 0x6f00_0000, 0x7700_0000, "Crash kernel"),
            resource(0, 0xfd00_0000, 0xfe00_0000, "PCI Bus"),
            resource(0, 0x1_0000_0000, 0x2_0000_0000, "System RAM"),
        ];
        let at = choose(&iomem, 4 * MIB).unwrap();
        assert!((BOTTOM..0x6f00_0000 - 4 * MIB).contains(&at), "{at:#x}");
        assert_eq!(at % (4 * MIB), 0);
        // A small machine.
        let iomem = [resource(0, 0x10_0000, 0x1000_0000, "System RAM")];
        let at = choose(&iomem, 4 * MIB).unwrap();
        assert!((64 * MIB..0x1000_0000 - 4 * MIB).contains(&at));
        assert_eq!(choose(&[resource(0, 0, MIB, "System RAM")], 4 * MIB), None);
    }
}
