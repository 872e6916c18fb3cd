// SPDX-License-Identifier: GPL-2.0

//! Where regions are: what the kernel was told, what the device tree says, and a search for
//! signatures.

use crate::{
    decode::{
        infer::{
            self,
            Guess,
            REGION_MAX, //
        },
        kho, //
    },
    disk,
    host::{
        parse_number,
        words,
        Host, //
    },
    progress::Progress,
    source::Memory, //
};
use mpstore_format::{
    ecc::ECC_SIZE_DEFAULT,
    layout::{
        RamLayout,
        RamSizes, //
    },
    zone::ZoneSizes,
};
use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf, //
};

/// What is read at once.
const WINDOW: usize = 4 << 20;
/// Regions and indexes begin with a page.
const PAGE: u64 = 4096;

/// A region as it was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: u64,
    /// How long it is, if that is known.
    pub(crate) size: Option<usize>,
    /// How it is divided, if that is known; the number of trace zones may be zero for unknown.
    pub(crate) sizes: Option<RamSizes>,
    pub(crate) backend: String,
    /// Who says so.
    pub(crate) how: String,
}

/// What a search has found.
pub(crate) enum Candidate {
    Region { address: u64, guess: Box<Guess> },
    Index { address: u64 },
}

impl Candidate {
    pub(crate) fn address(&self) -> u64 {
        match self {
            Self::Region { address, .. } | Self::Index { address } => *address,
        }
    }
}

/// Words that this machine's kernel, or another whose command line is given, was told.
fn options(cmdline: &str, module: &str) -> BTreeMap<String, String> {
    words(cmdline)
        .iter()
        .filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            let (given, name) = name.split_once('.')?;
            (given.replace('-', "_") == module).then(|| (name.replace('-', "_"), value.to_owned()))
        })
        .collect()
}

/// `memmap=SIZE$ADDRESS`: what is taken out of the kernel's hands.
pub(crate) fn memmaps(cmdline: &str) -> Vec<Range<u64>> {
    words(cmdline)
        .iter()
        .filter_map(|word| word.strip_prefix("memmap="))
        .flat_map(|list| list.split(','))
        .filter_map(|one| {
            let (size, address) = one.split_once('$')?;
            let (size, address) = (parse_number(size)?, parse_number(address)?);
            Some(address..address.checked_add(size)?)
        })
        .collect()
}

/// Element `index` of a list, or its only one.
fn element(list: &str, index: usize) -> Option<&str> {
    let mut parts = list.split(',');
    let count = list.split(',').count();
    if count == 1 {
        parts.next()
    } else {
        parts.nth(index)
    }
    .map(str::trim)
    .filter(|part| !part.is_empty() && *part != "(null)")
}

/// The regions that one set of parameters describes.
fn of_parameters(
    parameters: &BTreeMap<String, String>,
    module: &str,
    cpus: Option<usize>,
    how: &str,
) -> Vec<Place> {
    let empty = String::new();
    let get = |name: &str| parameters.get(name).unwrap_or(&empty).as_str();
    let addresses = get("mem_address");
    let count = addresses.split(',').count();
    let mut names = 0;
    (0..count)
        .filter_map(|index| {
            let address = parse_number(element(addresses, index).filter(|_| {
                // One address is one region, not all of them.
                count > 1 || index == 0
            })?)?;
            let number = |name: &str, default: u64| {
                element(get(name), index)
                    .and_then(parse_number)
                    .unwrap_or(default)
            };
            let size = number("mem_size", 0);
            // In-tree: nothing is loaded without a size.
            let size = usize::try_from(size).ok().filter(|size| *size > 0)?;
            if address == 0 {
                return None;
            }
            let bytes = |name: &str| usize::try_from(number(name, 4096)).unwrap_or(0);
            let per_cpu = element(get("ftrace_per_cpu"), index)
                .is_none_or(|v| matches!(v, "Y" | "y" | "1" | "on" | "T" | "t"));
            let ecc = match number("ecc", 0) {
                1 => ECC_SIZE_DEFAULT,
                n => usize::try_from(n).unwrap_or(0),
            };
            let ours = module == "mpstore";
            let backend = match element(get("name"), index).filter(|_| ours) {
                Some(name) => name.to_owned(),
                None if names == 0 => "ramoops".to_owned(),
                None => format!("ramoops{names}"),
            };
            names += 1;
            // The end of the region may be a crash kernel's, which calls it by its own name.
            let crash = usize::try_from(number("crash_size", 0)).unwrap_or(0) & !4095;
            let crash = crash.min(size);
            let bank = (ours && crash > 0).then(|| Place {
                address: address.saturating_add((size - crash) as u64),
                size: Some(crash),
                sizes: Some(RamSizes::of_crash_kernel(crash, ecc)),
                backend: if crash == size {
                    backend.clone()
                } else {
                    format!("{backend}_crash")
                },
                how: how.to_owned(),
            });
            let size = size - crash;
            let region = (size > 0).then(|| Place {
                address,
                size: Some(size),
                sizes: Some(RamSizes {
                    mem_size: size,
                    record_size: bytes("record_size"),
                    console_size: bytes("console_size"),
                    ftrace_size: bytes("ftrace_size"),
                    pmsg_size: bytes("pmsg_size"),
                    tty_size: if ours { bytes("tty_size") } else { 0 },
                    ftrace_zones: if per_cpu { cpus.unwrap_or(0) } else { 1 },
                    ecc_size: ecc,
                }),
                backend,
                how: how.to_owned(),
            });
            Some(region.into_iter().chain(bank))
        })
        .flatten()
        .collect()
}

/// A block device as it was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// As it was given.
    pub(crate) spec: String,
    /// Where it is on this machine.
    pub(crate) path: Option<PathBuf>,
    /// How it is divided, but for its length; several where it can't be told whether a size was given
    /// or is the default of regions, which devices do not share.
    pub(crate) sizes: Vec<ZoneSizes>,
    pub(crate) backend: String,
    /// Who says so.
    pub(crate) how: String,
}

/// What a size is where nothing was given, of mpstore and of the in-tree code as it is configured by
/// default.
const ZONE_DEFAULT: usize = 64 << 10;
/// What a region's sizes are by default.
const REGION_DEFAULT: usize = 4096;

/// The devices that one set of parameters describes.
fn devices_of(
    host: &Host,
    parameters: &BTreeMap<String, String>,
    module: &str,
    cpus: Option<usize>,
    how: &str,
) -> Vec<Device> {
    let empty = String::new();
    let get = |name: &str| parameters.get(name).unwrap_or(&empty).as_str();
    let ours = module == "mpstore";
    let list: Vec<&str> = get("blkdev")
        .split(',')
        .map(str::trim)
        .filter(|spec| !spec.is_empty() && *spec != "(null)")
        .collect();
    // In lists that regions and devices share, devices come behind.
    let count = |name: &str| get(name).split(',').count() * usize::from(!get(name).is_empty());
    let regions = if ours {
        ["mem_address", "mem_name"]
            .iter()
            .map(|name| match get(name) {
                "0" => 0,
                _ => count(name),
            })
            .max()
            .unwrap_or(0)
    } else {
        0
    };
    // Each kind is counted by itself.
    let (mut disks, mut mtds) = (0, 0);
    list.iter()
        .enumerate()
        .map(|(index, spec)| {
            let flash = disk::is_mtd(spec, ours);
            let (kind, before) = match flash {
                true => ("mtd", &mut mtds),
                false => ("blk", &mut disks),
            };
            let nth = *before;
            *before += 1;
            // The in-tree code counts in KiB.
            let unit = if ours { 1 } else { 1024 };
            let of = |name: &str, at: usize| {
                element(get(name), at)
                    .and_then(parse_number)
                    .and_then(|n| usize::try_from(n).ok()?.checked_mul(unit))
            };
            let kmsg = of("kmsg_size", index);
            let shared = |name: &str| of(name, regions + index);
            let sizes = |plain: bool| {
                let size = |name: &str| match shared(name) {
                    Some(REGION_DEFAULT) if ours && plain && count(name) == 1 => ZONE_DEFAULT,
                    Some(size) => size,
                    None => ZONE_DEFAULT,
                };
                // Flash has dumps and nothing else.
                let size = |name: &str| if flash { 0 } else { size(name) };
                ZoneSizes {
                    bytes: 0,
                    block: 512,
                    kmsg_size: kmsg.unwrap_or(ZONE_DEFAULT),
                    pmsg_size: size("pmsg_size"),
                    console_size: size("console_size"),
                    ftrace_size: size("ftrace_size"),
                    tty_size: if ours { size("tty_size") } else { 0 },
                    cpus: cpus.unwrap_or(1),
                }
            };
            let mut both = vec![sizes(true), sizes(false)];
            both.dedup();
            let backend = match element(get("name"), regions + index).filter(|_| ours) {
                Some(name) if count("name") > 1 || regions == 0 => name.to_owned(),
                _ if !ours => "pstore_blk".to_owned(),
                _ if nth == 0 => kind.to_owned(),
                _ => format!("{kind}{nth}"),
            };
            Device {
                spec: (*spec).to_owned(),
                path: match flash {
                    true => disk::resolve_mtd(host, spec),
                    false => disk::resolve(host, spec),
                },
                sizes: both,
                backend,
                how: how.to_owned(),
            }
        })
        .collect()
}

/// The block devices that this kernel was told to record to, or another whose command line is given.
/// What was given to the module counts more than the command line.
pub(crate) fn devices(host: &Host, cmdline: Option<&str>) -> Vec<Device> {
    let mut out: Vec<Device> = Vec::new();
    let line = cmdline.map_or_else(|| host.cmdline(), str::to_owned);
    let cpus = host.possible_cpus().filter(|_| cmdline.is_none());
    let mut add = |new: Vec<Device>| {
        for device in new {
            if !out.iter().any(|d| d.spec == device.spec) {
                out.push(device);
            }
        }
    };
    for module in ["mpstore", "pstore_blk"] {
        if cmdline.is_none() {
            let how = format!("/sys/module/{module}/parameters");
            add(devices_of(
                host,
                &host.parameters(module),
                module,
                cpus,
                &how,
            ));
        }
        let how = format!("{module}.* on the kernel's command line");
        add(devices_of(
            host,
            &options(&line, module),
            module,
            cpus,
            &how,
        ));
    }
    out
}

/// Big endian cells of a device tree property.
fn cells(host: &Host, path: &str) -> Option<Vec<u32>> {
    let bytes = std::fs::read(host.path(path)).ok()?;
    Some(
        bytes
            .chunks_exact(4)
            .filter_map(|c| Some(u32::from_be_bytes(c.try_into().ok()?)))
            .collect(),
    )
}

/// Nodes with `compatible = "ramoops"` in the device tree.
fn of_device_tree(host: &Host) -> Vec<Place> {
    let folder = "/proc/device-tree/reserved-memory";
    let one =
        |name: &str| cells(host, &format!("{folder}/{name}")).and_then(|c| c.first().copied());
    let wide = |name| {
        usize::try_from(one(name).unwrap_or(2))
            .unwrap_or(2)
            .clamp(1, 2)
    };
    let (address_cells, size_cells) = (wide("#address-cells"), wide("#size-cells"));
    host.names(folder)
        .iter()
        .filter_map(|node| {
            let compatible = host.read(&format!("{folder}/{node}/compatible"))?;
            if !compatible.split('\0').any(|c| c == "ramoops") {
                return None;
            }
            let reg = cells(host, &format!("{folder}/{node}/reg"))?;
            let join = |cells: &[u32]| cells.iter().fold(0u64, |n, c| (n << 32) | u64::from(*c));
            let address = join(reg.get(..address_cells)?);
            let size = join(reg.get(address_cells..address_cells + size_cells)?);
            let number = |name: &str| {
                let cells = cells(host, &format!("{folder}/{node}/{name}"))?;
                usize::try_from(*cells.first()?).ok()
            };
            let mem_size = usize::try_from(size).ok()?;
            let flags = number("flags").unwrap_or(0);
            Some(Place {
                address,
                size: Some(mem_size),
                sizes: Some(RamSizes {
                    mem_size,
                    record_size: number("record-size").unwrap_or(0),
                    console_size: number("console-size").unwrap_or(0),
                    ftrace_size: number("ftrace-size").unwrap_or(0),
                    pmsg_size: number("pmsg-size").unwrap_or(0),
                    tty_size: 0,
                    ftrace_zones: if flags & 1 != 0 {
                        host.possible_cpus().unwrap_or(0)
                    } else {
                        1
                    },
                    ecc_size: match number("ecc-size").unwrap_or(0) {
                        1 => ECC_SIZE_DEFAULT,
                        n => n,
                    },
                }),
                backend: "ramoops".to_owned(),
                how: format!("device tree, {node}"),
            })
        })
        .collect()
}

/// What is known about regions without looking at memory. `cmdline` stands for that of the kernel
/// that runs, if it is another's. Also tells what was looked at.
pub(crate) fn configured(host: &Host, cmdline: Option<&str>) -> (Vec<Place>, Vec<String>) {
    let (mut places, mut tried): (Vec<Place>, Vec<String>) = (Vec::new(), Vec::new());
    let cpus = host.possible_cpus().filter(|_| cmdline.is_none());
    let add = |places: &mut Vec<Place>, new: Vec<Place>| {
        for place in new {
            if !places.iter().any(|p| p.address == place.address) {
                places.push(place);
            }
        }
    };
    if cmdline.is_none() {
        for module in ["mpstore", "ramoops"] {
            let parameters = host.parameters(module);
            let how = format!("/sys/module/{module}/parameters");
            tried.push(match parameters.get("mem_address") {
                Some(value) if value.is_empty() || value == "0" => format!("{how}: no mem_address"),
                Some(_) => how.clone(),
                None if host.exists(&how) => format!("{how}: not to be read (as root it may be)"),
                None => format!("{how}: not loaded"),
            });
            add(&mut places, of_parameters(&parameters, module, cpus, &how));
        }
    }
    let line = cmdline.map_or_else(|| host.cmdline(), str::to_owned);
    tried.push(if line.is_empty() {
        "the kernel's command line: not to be had".to_owned()
    } else {
        "the kernel's command line: mpstore.*, ramoops.*, memmap=".to_owned()
    });
    for module in ["mpstore", "ramoops"] {
        let given = options(&line, module);
        add(
            &mut places,
            of_parameters(
                &given,
                module,
                cpus,
                &format!("{module}.* on the kernel's command line"),
            ),
        );
    }
    for device in devices(host, cmdline) {
        let path = device.path.map_or_else(
            || "which is not here".to_owned(),
            |path| format!("to be read with --source {}", path.display()),
        );
        tried.push(format!(
            "{}: blkdev={}, no memory but a device, {path}",
            device.how, device.spec
        ));
    }
    if cmdline.is_none() {
        tried.push("/proc/device-tree/reserved-memory".to_owned());
        add(&mut places, of_device_tree(host));
    }
    // A reservation without parameters: what is in it tells.
    for range in memmaps(&line) {
        let known = places.iter().any(|p| range.contains(&p.address));
        if !known {
            places.push(Place {
                address: range.start,
                size: usize::try_from(range.end - range.start).ok(),
                sizes: None,
                backend: "ramoops".to_owned(),
                how: "memmap= on the kernel's command line".to_owned(),
            });
        }
    }
    (places, tried)
}

/// The division of a region by sizes, where the number of trace zones may be open: then it is the
/// one that fits what is there.
pub(crate) fn layout_of(
    sizes: &RamSizes,
    region: &[u8],
) -> Result<RamLayout, mpstore_format::layout::LayoutError> {
    let word = |at: usize| {
        let bytes = region.get(at..at.saturating_add(4)).unwrap_or(&[]);
        bytes.try_into().map_or(0, u32::from_ne_bytes)
    };
    let ftrace_zones = match sizes.ftrace_zones {
        0 => sizes.ftrace_zones_found(word).unwrap_or(1),
        given => given,
    };
    RamLayout::new(&RamSizes {
        ftrace_zones,
        ..*sizes
    })
}

/// The regions in the bytes of one place, whose division is not known.
pub(crate) fn regions_in(bytes: &[u8]) -> Vec<(usize, Guess)> {
    let hits = infer::hits(bytes);
    let mut out = Vec::new();
    let mut rest = hits.as_slice();
    while !rest.is_empty() {
        let Some(first) = rest.first() else { break };
        // A region begins with a page, unless it is all there is.
        let begins = first.at == 0 || first.at % 4096 == 0;
        match infer::best(bytes, rest, None).filter(|_| begins) {
            Some((skip, guess, used)) => {
                let at = rest.get(skip).map_or(first.at, |hit| hit.at);
                out.push((at, guess));
                rest = rest.get(skip + used..).unwrap_or(&[]);
            }
            None => rest = rest.get(1..).unwrap_or(&[]),
        }
    }
    out
}

/// Searches all of a memory for regions and indexes.
pub(crate) fn scan(
    memory: &dyn Memory,
    within: Option<&Range<u64>>,
    progress: &Progress,
) -> (Vec<Candidate>, Vec<String>) {
    let mut found: Vec<Candidate> = Vec::new();
    let mut complaints = Vec::new();
    let ranges: Vec<Range<u64>> = memory
        .ranges()
        .into_iter()
        .filter_map(|range| {
            let range = match within {
                Some(w) => range.start.max(w.start)..range.end.min(w.end),
                None => range,
            };
            (range.start < range.end).then_some(range)
        })
        .collect();
    let bar = progress.bar("searching", ranges.iter().map(|r| r.end - r.start).sum());
    let mut refused = 0u64;
    let mut first_refused = None;
    for range in &ranges {
        let mut at = range.start;
        while at < range.end {
            let want = usize::try_from(range.end - at).map_or(WINDOW, |left| left.min(WINDOW));
            let window = memory.read_some(at, want);
            if window.is_empty() {
                // A page that can't be read: others may be.
                refused += 1;
                first_refused = first_refused.or(Some(at));
                let next = (at / PAGE + 1) * PAGE;
                bar.inc(next.min(range.end) - at);
                at = next;
                if refused > 65536 {
                    break;
                }
                continue;
            }
            look(memory, range, at, &window, &mut found);
            // A signature or a magic number may lie across the end, but pages begin behind it.
            let step = (window.len() as u64).min(range.end - at);
            bar.inc(step);
            at += step;
        }
    }
    bar.finish_and_clear();
    if let Some(at) = first_refused {
        complaints.push(format!(
            "{}: {refused} places could not be read, the first at {at:#x}{}",
            memory.name(),
            memory.advice()
        ));
    }
    (found, complaints)
}

/// Looks at one window for places at which something begins.
fn look(
    memory: &dyn Memory,
    range: &Range<u64>,
    at: u64,
    window: &[u8],
    found: &mut Vec<Candidate>,
) {
    let mut done = found
        .iter()
        .filter_map(|c| match c {
            Candidate::Region { address, guess } => Some(address + guess.len as u64),
            Candidate::Index { .. } => None,
        })
        .max()
        .unwrap_or(0);
    for hit in infer::hits(window) {
        let address = at + hit.at as u64;
        if address % PAGE != 0 || address < done {
            continue;
        }
        // As much as is needed until the guess no longer ends with what was read.
        let mut len = 1 << 20;
        let most = usize::try_from(range.end - address).map_or(REGION_MAX, |n| n.min(REGION_MAX));
        let guess = loop {
            let bytes = memory.read_some(address, len.min(most));
            let hits = infer::hits(&bytes);
            let guess = infer::best(&bytes, &hits, None).map(|(skip, guess, _)| {
                let at = hits.get(skip).map_or(0, |hit| hit.at);
                (address + at as u64, guess)
            });
            let cut = guess
                .as_ref()
                .is_some_and(|(at, g)| (at - address) as usize + g.len * 2 > bytes.len());
            if !cut || len >= most {
                break guess;
            }
            len *= 4;
        };
        if let Some((address, guess)) = guess {
            // One zone alone, with nothing in it, is as good as nothing.
            let lonely = guess.layout.zones().count() < 2 && guess.used == 0;
            if guess.score >= 40 && !lonely {
                done = address + guess.len as u64;
                let guess = Box::new(guess);
                found.push(Candidate::Region { address, guess });
            }
        }
    }
    let mut from = 0;
    let skew = usize::try_from(at % PAGE).unwrap_or(0);
    if skew == 0 {
        while let Some(place) = kho::next_index(window, from) {
            from = place + 4096;
            let address = at + place as u64;
            let blob = memory.read_some(address, mpstore_format::kho::INDEX_BYTES);
            let own = mpstore_format::kho::Chunk {
                phys: address,
                size: blob.len() as u64,
            };
            if mpstore_format::kho::Index::parse(&blob, own).is_ok() {
                found.push(Candidate::Index { address });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = Host::new(dir.path());
        (dir, host)
    }

    #[test]
    fn parameters_of_the_module() {
        let (_dir, host) = host(&[
            (
                "/sys/module/mpstore/parameters/mem_address",
                "0x18000000,0x18200000\n",
            ),
            (
                "/sys/module/mpstore/parameters/mem_size",
                "0x100000,0x80000\n",
            ),
            (
                "/sys/module/mpstore/parameters/record_size",
                "65536,16384\n",
            ),
            ("/sys/module/mpstore/parameters/ecc", "0,16\n"),
            ("/sys/module/mpstore/parameters/name", "ramoops,bank\n"),
            ("/sys/devices/system/cpu/possible", "0-3\n"),
        ]);
        let (places, _) = configured(&host, None);
        assert_eq!(places.len(), 2);
        let second = &places[1];
        assert_eq!(
            (second.address, second.backend.as_str()),
            (0x1820_0000, "bank")
        );
        let sizes = second.sizes.unwrap();
        assert_eq!(
            (sizes.mem_size, sizes.record_size, sizes.ecc_size),
            (0x80000, 16384, 16)
        );
        assert_eq!((sizes.ftrace_zones, sizes.tty_size), (4, 4096));
    }

    #[test]
    fn command_lines() {
        let (_dir, host) = host(&[]);
        let (places, _) = configured(
            &host,
            Some("quiet memmap=4M$0x18000000 ramoops.mem_address=0x20000000 ramoops.mem_size=0x100000 ramoops.ecc=1"),
        );
        assert_eq!(places.len(), 2);
        assert_eq!(places[0].address, 0x2000_0000);
        assert_eq!(places[0].sizes.unwrap().ecc_size, 16);
        assert_eq!(places[0].sizes.unwrap().tty_size, 0);
        assert_eq!(
            (places[1].address, places[1].size),
            (0x1800_0000, Some(4 << 20))
        );
        assert_eq!(
            memmaps("memmap=1M$1G,2M$2G memmap=3M"),
            [0x4000_0000..0x4010_0000, 0x8000_0000..0x8020_0000]
        );
    }

    #[test]
    fn block_devices_and_their_sizes() {
        let (_dir, host) = host(&[
            ("/sys/module/mpstore/parameters/mem_address", "0x18000000\n"),
            (
                "/sys/module/mpstore/parameters/blkdev",
                "/dev/vda1,PARTLABEL=gone\n",
            ),
            ("/sys/module/mpstore/parameters/kmsg_size", "131072,65536\n"),
            (
                "/sys/module/mpstore/parameters/console_size",
                "8192,16384,32768\n",
            ),
            ("/sys/module/mpstore/parameters/pmsg_size", "4096\n"),
            ("/sys/module/mpstore/parameters/name", "a,b,c\n"),
            ("/sys/devices/system/cpu/possible", "0-1\n"),
            (
                "/proc/cmdline",
                "mpstore.blkdev=/dev/vda1 pstore_blk.blkdev=/dev/vdc pstore_blk.console_size=8\n",
            ),
        ]);
        let devices = devices(&host, None);
        assert_eq!(devices.len(), 3);
        let first = &devices[0];
        assert_eq!(first.path, Some(host.path("/dev/vda1")));
        assert_eq!(first.backend, "b");
        let sizes = first.sizes[0];
        assert_eq!(
            (sizes.kmsg_size, sizes.console_size, sizes.cpus),
            (131_072, 16384, 2)
        );
        // A region's default, or what was given for all.
        assert_eq!((sizes.pmsg_size, first.sizes[1].pmsg_size), (65536, 4096));
        assert_eq!(devices[1].sizes[0].console_size, 32768);
        assert_eq!(
            (devices[1].path.as_ref(), &*devices[1].backend),
            (None, "c")
        );
        // In KiB, without a zone for terminals.
        let theirs = &devices[2];
        assert_eq!(
            (theirs.sizes[0].console_size, theirs.sizes[0].tty_size),
            (8192, 0)
        );
        assert_eq!(theirs.backend, "pstore_blk");
        let (_, tried) = configured(&host, None);
        assert!(
            tried.iter().any(|t| t.contains("blkdev=PARTLABEL=gone")),
            "{tried:?}"
        );
    }

    #[test]
    fn flash_and_its_numbers() {
        let (_dir, host) = host(&[
            (
                "/sys/module/mpstore/parameters/blkdev",
                "mtd:oops,/dev/vda1,mtd:1,mtd:7,mtd:gone\n",
            ),
            ("/sys/module/mpstore/parameters/kmsg_size", "131072\n"),
            ("/sys/module/mpstore/parameters/console_size", "8192\n"),
            ("/sys/module/pstore_blk/parameters/blkdev", "1\n"),
            ("/sys/module/pstore_blk/parameters/kmsg_size", "16\n"),
            (
                "/proc/mtd",
                "dev:    size   erasesize  name\n\
                 mtd0: 00040000 00008000 \"oops\"\n\
                 mtd1: 00100000 00004000 \"a \\\"b\"\n\
                 mtd2: 00100000 00004000 \"7\"\n",
            ),
        ]);
        let devices = devices(&host, None);
        let path = |n: usize| devices[n].path.clone();
        let names: Vec<&str> = devices.iter().map(|d| &*d.backend).collect();
        assert_eq!(names, ["mtd", "blk", "mtd1", "mtd2", "mtd3", "pstore_blk"]);
        assert_eq!(path(0), Some(host.path("/dev/mtd0ro")));
        assert_eq!(path(2), Some(host.path("/dev/mtd1ro")));
        assert_eq!(path(3), Some(host.path("/dev/mtd2ro")));
        assert_eq!(path(4), None);
        assert_eq!(path(5), Some(host.path("/dev/mtd1ro")));
        let sizes = devices[0].sizes[0];
        assert_eq!((sizes.kmsg_size, sizes.console_size), (131_072, 0));
        assert_eq!(devices[1].sizes[0].console_size, 8192);
        assert_eq!(devices[5].sizes[0].kmsg_size, 16384);
    }

    #[test]
    fn device_trees() {
        let (dir, host) = host(&[(
            "/proc/device-tree/reserved-memory/ramoops@8f000000/compatible",
            "ramoops\0",
        )]);
        let node = dir
            .path()
            .join("proc/device-tree/reserved-memory/ramoops@8f000000");
        let be = |cells: &[u32]| {
            cells
                .iter()
                .flat_map(|c| c.to_be_bytes())
                .collect::<Vec<_>>()
        };
        fs::write(node.join("reg"), be(&[0, 0x8f00_0000, 0, 0x10_0000])).unwrap();
        fs::write(node.join("record-size"), be(&[0x4000])).unwrap();
        fs::write(node.join("console-size"), be(&[0x2000])).unwrap();
        let (places, _) = configured(&host, None);
        assert_eq!(places.len(), 1);
        let sizes = places[0].sizes.unwrap();
        assert_eq!(
            (sizes.mem_size, sizes.record_size, sizes.console_size),
            (0x10_0000, 0x4000, 0x2000)
        );
    }

    #[test]
    fn regions_are_found_among_other_things() {
        let golden = include_bytes!("../../tests/golden/c-ramoops-64k-ecc16.img");
        let mut memory = vec![0u8; 0x40000];
        memory[0x3000..0x3004].copy_from_slice(b"DBGC");
        memory[0x20000..0x30000].copy_from_slice(golden);
        let (found, _) = scan(&crate::source::Bytes(&memory), None, &Progress::off());
        let regions: Vec<_> = found.iter().map(Candidate::address).collect();
        assert_eq!(regions, [0x20000]);
    }
}
