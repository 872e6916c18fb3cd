// SPDX-License-Identifier: GPL-2.0

//! Block devices as the kernel describes them: which one `blkdev=` names, and which of them could
//! take records.

use crate::host::Host;
use mpstore_format::{
    probe,
    zone::{
        Header,
        HEADER_BYTES, //
    },
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::FileExt as _,
    path::PathBuf, //
};

const SECTOR: u64 = 512;
/// What is not worth a zone.
const LEAST: u64 = 1 << 20;
/// The controllers that mpstore drives in a panic, by their drivers.
const CONTROLLERS: [&str; 3] = ["virtio-pci", "nvme", "ahci"];
/// The takeover wants as much.
const TAKEOVER_LEAST: u64 = 64 << 10;
const TAKEOVER_BLOCK: u64 = 4096;
/// Names of disks that are made of others, or of memory, or have media that come and go.
const NOT_DISKS: [&str; 10] = [
    "loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "drbd", "rbd",
];

/// What becomes of a panic's dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Panic {
    /// Memory that is written by stores.
    Stores,
    /// The controller is taken away from its driver.
    Takeover,
    /// What was flushed before.
    BestEffort,
}

impl Panic {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Stores => "panics are written by stores",
            Self::Takeover => "panics are written by taking its controller over",
            Self::BestEffort => {
                "no panic can be written to it, only what was recorded half a second before"
            }
        }
    }
}

/// A disk, or a partition of one.
#[derive(Debug, Serialize)]
pub(crate) struct Volume {
    /// The kernel's name.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Bytes of a logical block.
    pub(crate) block: u64,
    pub(crate) partition: bool,
    pub(crate) label: Option<String>,
    /// What to say for `blkdev=`, such that it is the same device after the next boot if possible.
    pub(crate) reference: String,
    pub(crate) panic: Panic,
    /// mpstore has it already.
    pub(crate) ours: bool,
    /// Why it can't be proposed.
    pub(crate) why_not: Option<String>,
}

/// A whole disk.
#[derive(Debug, Serialize)]
pub(crate) struct Disk {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) driver: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) volumes: Vec<Volume>,
}

/// The lines of a device's `uevent`.
fn uevent(host: &Host, at: &str) -> BTreeMap<String, String> {
    host.read(&format!("{at}/uevent"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

/// A disk's or partition's name and its folder below `/sys`.
type Place = (String, String);

/// Every disk with its partitions.
fn all(host: &Host) -> Vec<(String, String, Vec<Place>)> {
    host.names("/sys/block")
        .into_iter()
        .map(|disk| {
            let at = format!("/sys/block/{disk}");
            let parts = host
                .names(&at)
                .into_iter()
                .filter(|p| host.exists(&format!("{at}/{p}/partition")))
                .map(|p| {
                    let below = format!("{at}/{p}");
                    (p, below)
                })
                .collect();
            (disk, at, parts)
        })
        .collect()
}

/// What stands before the name or number of an MTD.
const MTD_PREFIX: &str = "mtd:";

/// The path of the device that a value of `blkdev=` names, below the host's root.
pub(crate) fn resolve(host: &Host, spec: &str) -> Option<PathBuf> {
    let node = |name: &str| host.path(&format!("/dev/{name}"));
    let (key, value, any_case) = match spec.split_once('=') {
        Some(("PARTUUID", value)) => ("PARTUUID", value, true),
        Some(("PARTLABEL", value)) => ("PARTNAME", value, false),
        _ => {
            let pair = spec.split_once(':').and_then(|(major, minor)| {
                Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
            });
            let Some((major, minor)) = pair else {
                let path = host.path(spec);
                return Some(path.canonicalize().unwrap_or(path));
            };
            return volumes(host).find_map(|(name, at)| {
                let found = uevent(host, &at);
                let number = |k: &str| found.get(k).and_then(|v| v.parse::<u32>().ok());
                (number("MAJOR") == Some(major) && number("MINOR") == Some(minor))
                    .then(|| node(&name))
            });
        }
    };
    volumes(host).find_map(|(name, at)| {
        let found = uevent(host, &at);
        let has = found.get(key)?;
        let same = match any_case {
            true => has.eq_ignore_ascii_case(value),
            false => has == value,
        };
        same.then(|| node(&name))
    })
}

/// Whether a value of `blkdev=` names an MTD: for mpstore (`ours`) by its prefix, for the in-tree code,
/// which hands it to mtdpstore, if it is neither a path nor anything else that names a block device.
pub(crate) fn is_mtd(spec: &str, ours: bool) -> bool {
    match ours {
        true => spec.starts_with(MTD_PREFIX),
        false => !spec.contains(['/', '=', ':']),
    }
}

/// The path of the MTD that such a value names, by name or number as in `/proc/mtd`, to be read only.
pub(crate) fn resolve_mtd(host: &Host, spec: &str) -> Option<PathBuf> {
    let wanted = spec.strip_prefix(MTD_PREFIX).unwrap_or(spec);
    let table = host.read("/proc/mtd")?;
    let all: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| {
            let (number, rest) = line.strip_prefix("mtd")?.split_once(':')?;
            Some((number, rest.split_once('"')?.1.strip_suffix('"')?))
        })
        .collect();
    // Digits only are a number, or, if there is none such, a name.
    let number = wanted.parse::<u32>().ok().map(|n| n.to_string());
    all.iter()
        .find(|(n, _)| Some(*n) == number.as_deref())
        .or_else(|| all.iter().find(|(_, name)| *name == wanted))
        .map(|(n, _)| host.path(&format!("/dev/mtd{n}ro")))
}

fn volumes(host: &Host) -> impl Iterator<Item = (String, String)> {
    all(host)
        .into_iter()
        .flat_map(|(name, at, parts)| std::iter::once((name, at)).chain(parts))
}

/// Whether the controller that a disk hangs on is one that mpstore could drive: the first device
/// upwards whose driver is not that of the disk.
fn controller(host: &Host, at: &str) -> bool {
    let Ok(real) = host.path(at).canonicalize() else {
        return false;
    };
    let Ok(devices) = host.path("/sys/devices").canonicalize() else {
        return false;
    };
    // A disk on a network, or one that is made of others, has no PCI device above it.
    real.ancestors()
        .take_while(|folder| folder.starts_with(&devices))
        .filter_map(|folder| std::fs::read_link(folder.join("driver")).ok())
        .filter_map(|link| Some(link.file_name()?.to_str()?.to_owned()))
        .find(|driver| !["virtio_blk", "sd"].contains(&driver.as_str()))
        .is_some_and(|driver| CONTROLLERS.contains(&driver.as_str()))
}

/// What a device is used for, by its numbers or name.
fn used(host: &Host, name: &str, numbers: Option<&str>) -> Option<String> {
    let text = host.read("/proc/self/mountinfo").unwrap_or_default();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let [_, _, device, _, at, ..] = words.as_slice() {
            // A file system on several devices has numbers of its own, but names one of them.
            let source = line
                .split_once(" - ")
                .and_then(|(_, rest)| rest.split(' ').nth(1));
            if numbers == Some(*device) || source == Some(&format!("/dev/{name}")) {
                return Some(format!("is mounted on {at}"));
            }
        }
    }
    let swaps = host.read("/proc/swaps").unwrap_or_default();
    let path = format!("/dev/{name}");
    swaps
        .lines()
        .any(|line| line.split_ascii_whitespace().next() == Some(&path))
        .then(|| "is used for swap".to_owned())
}

/// What is on a device that keeps it from being taken, as mpstore itself judges it.
fn holds(host: &Host, name: &str, bytes: u64) -> Option<String> {
    let file = match File::open(host.path(&format!("/dev/{name}"))) {
        Ok(file) => file,
        Err(error) => return Some(format!("can't be looked into: {error}")),
    };
    let mut read = |at: u64, to: &mut [u8]| file.read_exact_at(to, at).is_ok();
    let mut piece = [0; 4096];
    if let Some(found) = probe::identify(bytes, &mut piece, &mut read) {
        return Some(format!("holds {found}"));
    }
    let mut first = true;
    for at in (0..16u64).map(|n| n * 4096) {
        if !read(at, &mut piece) {
            return Some(format!("can't be read at {at:#x}"));
        }
        // The first zone is there before anything else is written.
        if std::mem::take(&mut first) {
            let head = piece
                .first_chunk::<HEADER_BYTES>()
                .map(|h| Header::from_bytes(*h));
            if head.is_some_and(|h| crate::decode::zone::signed(&h)) {
                return None;
            }
        }
        let blank = |byte: u8| piece.iter().all(|b| *b == byte);
        if !blank(0) && !blank(0xff) {
            return Some("holds data that is no pstore zone".to_owned());
        }
    }
    None
}

/// What to call it, so that it is the same at the next boot.
fn reference(host: &Host, name: &str, found: &BTreeMap<String, String>) -> String {
    if let Some(uuid) = found.get("PARTUUID") {
        return format!("PARTUUID={uuid}");
    }
    for folder in ["by-partuuid", "by-id"] {
        for link in host.names(&format!("/dev/disk/{folder}")) {
            let path = format!("/dev/disk/{folder}/{link}");
            let target = std::fs::read_link(host.path(&path)).ok();
            let same = target.and_then(|t| Some(t.file_name()? == name));
            if same == Some(true) {
                return match folder {
                    "by-partuuid" => format!("PARTUUID={link}"),
                    _ => path,
                };
            }
        }
    }
    format!("/dev/{name}")
}

fn volume(host: &Host, name: &str, at: &str, disk: &str, in_use: &[PathBuf]) -> Option<Volume> {
    let number = |file: &str| host.read(file)?.parse::<u64>().ok();
    let bytes = number(&format!("{at}/size"))?.saturating_mul(SECTOR);
    let queue = |file: &str| host.read(&format!("{disk}/queue/{file}"));
    let block = queue("logical_block_size")
        .and_then(|n| n.parse().ok())
        .unwrap_or(SECTOR);
    let found = uevent(host, at);
    let numbers = host
        .read(&format!("{at}/dev"))
        .or_else(|| Some(format!("{}:{}", found.get("MAJOR")?, found.get("MINOR")?)));
    let node = host.path(&format!("/dev/{name}"));
    let ours = in_use.contains(&node);
    let holders = host.names(&format!("{at}/holders"));
    let set = |file: String| number(&file).is_some_and(|n| n != 0);
    let why_not = || -> Option<String> {
        if ours {
            return None;
        }
        if set(format!("{at}/ro")) {
            return Some("is read-only".to_owned());
        }
        if queue("zoned").is_some_and(|zoned| zoned != "none") {
            return Some("is a zoned device".to_owned());
        }
        if set(format!("{disk}/removable")) {
            return Some("can be removed".to_owned());
        }
        if bytes < LEAST {
            return Some("has less than 1 MiB".to_owned());
        }
        if !holders.is_empty() {
            return Some(format!("is used by {}", holders.join(" ")));
        }
        used(host, name, numbers.as_deref()).or_else(|| holds(host, name, bytes))
    };
    let panic = if queue("dax").as_deref() == Some("1") {
        Panic::Stores
    } else if controller(host, disk) && block <= TAKEOVER_BLOCK && bytes >= TAKEOVER_LEAST {
        Panic::Takeover
    } else {
        Panic::BestEffort
    };
    Some(Volume {
        name: name.to_owned(),
        bytes,
        block,
        partition: at != disk,
        label: found.get("PARTNAME").cloned(),
        reference: reference(host, name, &found),
        panic,
        ours,
        why_not: why_not(),
    })
}

/// The disks of a machine. `in_use`: what mpstore has already.
pub(crate) fn disks(host: &Host, in_use: &[PathBuf]) -> Vec<Disk> {
    all(host)
        .into_iter()
        .filter(|(name, ..)| !NOT_DISKS.iter().any(|p| name.starts_with(p)))
        .filter_map(|(name, at, parts)| {
            let sectors: u64 = host.read(&format!("{at}/size"))?.parse().ok()?;
            // A drive without a medium.
            if sectors == 0 {
                return None;
            }
            let link = std::fs::read_link(host.path(&format!("{at}/device/driver"))).ok();
            // What has partitions is theirs.
            let volumes = if parts.is_empty() {
                volume(host, &name, &at, &at, in_use).into_iter().collect()
            } else {
                parts
                    .iter()
                    .filter_map(|(part, below)| volume(host, part, below, &at, in_use))
                    .collect()
            };
            Some(Disk {
                bytes: sectors.saturating_mul(SECTOR),
                driver: link.and_then(|l| Some(l.file_name()?.to_string_lossy().into_owned())),
                model: host.read(&format!("{at}/device/model")),
                volumes,
                name,
            })
        })
        .collect()
}

/// The one to propose: what mpstore has already; what is labelled for it; what a panic reaches; a
/// partition rather than a disk; the smallest, since no more than 128 MiB are used.
pub(crate) fn choose(disks: &[Disk]) -> Option<&Volume> {
    let labelled = |v: &Volume| {
        v.label.as_deref().is_some_and(|label| {
            let label = label.to_ascii_lowercase();
            ["mpstore", "pstore", "crash"]
                .iter()
                .any(|word| label.contains(word))
        })
    };
    disks
        .iter()
        .flat_map(|disk| &disk.volumes)
        .filter(|v| v.why_not.is_none())
        .min_by_key(|v| (!v.ours, !labelled(v), v.panic, !v.partition, v.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn devices_are_found_by_what_names_them() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/block/vda/uevent", "MAJOR=254\nMINOR=0\nDEVNAME=vda\n");
        put("sys/block/vda/vda1/partition", "1\n");
        put(
            "sys/block/vda/vda1/uevent",
            "MAJOR=254\nMINOR=1\nDEVNAME=vda1\nPARTNAME=crash\nPARTUUID=2c5b8e0e-02\n",
        );
        put("dev/vda1", "");
        fs::create_dir_all(dir.path().join("dev/disk/by-id")).unwrap();
        std::os::unix::fs::symlink("../../vda1", dir.path().join("dev/disk/by-id/x")).unwrap();
        let host = Host::new(&dir.path().canonicalize().unwrap());
        let want = Some(host.path("/dev/vda1"));
        for spec in [
            "/dev/vda1",
            "/dev/disk/by-id/x",
            "PARTUUID=2C5B8E0E-02",
            "PARTLABEL=crash",
            "254:1",
        ] {
            assert_eq!(resolve(&host, spec), want, "{spec}");
        }
        assert_eq!(resolve(&host, "254:0"), Some(host.path("/dev/vda")));
        for spec in ["PARTLABEL=CRASH", "PARTUUID=", "254:2"] {
            assert_eq!(resolve(&host, spec), None, "{spec}");
        }
    }
}
