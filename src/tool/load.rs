// SPDX-License-Identifier: GPL-2.0

//! From what the user has named to records: a mounted tree or a raw source.

use crate::{
    decode::{
        kho,
        ram::{
            self,
            Naming, //
        },
        symbols::{
            version_code,
            Symbols, //
        },
        zone, //
    },
    find::{
        self,
        Candidate,
        Place, //
    },
    host::{
        parse_number,
        Host, //
    },
    progress::Progress,
    record::Record,
    source::{
        self,
        Memory,
        Sort,
        Source, //
    },
    tree,
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use clap::{
    Args,
    ValueEnum, //
};
use mpstore_format::{
    device_dump::{
        self,
        DeviceDump, //
    },
    ecc::ECC_SIZE_DEFAULT,
    layout::{
        RamLayout,
        RamSizes, //
    },
};
use std::{
    ops::Range,
    path::{
        Path,
        PathBuf, //
    },
};

/// What a raw source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Whatever is found.
    Auto,
    /// A RAM region, of mpstore or the in-tree ramoops.
    Ram,
    /// What is handed over by kexec: an index, or memory with one in it.
    Kho,
    /// Zones of a block device, of mpstore or the in-tree pstore_blk; record-size is its kmsg_size,
    /// --size that of the device
    Zone,
    /// Device dump notes of a vmcore.
    Note,
}

fn number(text: &str) -> Result<u64, String> {
    parse_number(text).ok_or_else(|| format!("'{text}' is no number; 0x1000, 64K and 2M are"))
}

fn size(text: &str) -> Result<usize, String> {
    number(text).and_then(|n| usize::try_from(n).map_err(|e| e.to_string()))
}

/// Where records are read.
#[derive(Args, Clone, Debug)]
pub(crate) struct SourceArgs {
    /// A directory with record files, or a raw source: /dev/mem, /proc/kcore, /proc/vmcore, a core
    /// file, a makedumpfile or QEMU dump, a disk, an image; default: where pstore is mounted
    #[arg(
        short,
        long,
        value_name = "PATH",
        global = true,
        help_heading = "Source"
    )]
    pub(crate) source: Vec<PathBuf>,

    /// What a raw source holds
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        global = true,
        help_heading = "Source"
    )]
    pub(crate) format: Format,

    /// Where the region begins in a raw source; default: found
    #[arg(long, value_name = "ADDRESS", value_parser = number, global = true, help_heading = "Source")]
    pub(crate) address: Option<u64>,

    /// How long the region is, as mem_size=
    #[arg(long, value_name = "BYTES", value_parser = size, global = true, help_heading = "Source")]
    pub(crate) size: Option<usize>,

    /// As the parameter; without any of the zones' sizes they are told from the content
    #[arg(long, value_name = "BYTES", value_parser = size, global = true, help_heading = "Source")]
    pub(crate) record_size: Option<usize>,

    /// As the parameter
    #[arg(long, value_name = "BYTES", value_parser = size, global = true, help_heading = "Source")]
    pub(crate) console_size: Option<usize>,

    /// As the parameter
    #[arg(long, value_name = "BYTES", value_parser = size, global = true, help_heading = "Source")]
    pub(crate) ftrace_size: Option<usize>,

    /// As the parameter
    #[arg(long, value_name = "BYTES", value_parser = size, global = true, help_heading = "Source")]
    pub(crate) pmsg_size: Option<usize>,

    /// As the parameter; the in-tree ramoops has none, that is 0
    #[arg(long, value_name = "BYTES", value_parser = size, global = true, help_heading = "Source")]
    pub(crate) tty_size: Option<usize>,

    /// As the parameter: parity bytes, 1 means 16
    #[arg(long, value_name = "BYTES", global = true, help_heading = "Source")]
    pub(crate) ecc: Option<usize>,

    /// Zones of the function trace: possible CPUs of the kernel that wrote it; default: found
    #[arg(long, value_name = "NUMBER", global = true, help_heading = "Source")]
    pub(crate) ftrace_zones: Option<usize>,

    /// Name of the backend in records of a raw source
    #[arg(long, value_name = "NAME", global = true, help_heading = "Source")]
    pub(crate) name: Option<String>,

    /// Kernel command line that tells the regions of a dump: a file with it, or the words
    #[arg(long, value_name = "TEXT", global = true, help_heading = "Source")]
    pub(crate) cmdline: Option<String>,

    /// Search all of a raw source even where its regions are known
    #[arg(long, global = true, help_heading = "Source")]
    pub(crate) scan: bool,

    /// System.map or kallsyms of the kernel that wrote a function trace
    #[arg(long, value_name = "FILE", global = true, help_heading = "Source")]
    pub(crate) symbols: Option<PathBuf>,
}

/// What was loaded, and what there is to say about it.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) records: Vec<Record>,
    /// Where regions were taken from, for `list`.
    pub(crate) regions: Vec<Region>,
    /// What went wrong without being the end.
    pub(crate) complaints: Vec<String>,
    /// What was looked at, for when nothing was found.
    pub(crate) tried: Vec<String>,
}

/// A region that was read.
pub(crate) struct Region {
    pub(crate) source: String,
    pub(crate) address: u64,
    pub(crate) size: usize,
    pub(crate) backend: String,
    /// Who said where it is.
    pub(crate) how: String,
    /// 100 where the division is not a guess.
    pub(crate) score: u32,
    pub(crate) doubt: Option<&'static str>,
    pub(crate) zones: Vec<ZoneLine>,
    pub(crate) ecc_size: usize,
}

/// A zone of a region.
#[derive(serde::Serialize)]
pub(crate) struct ZoneLine {
    pub(crate) kind: &'static str,
    pub(crate) index: usize,
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) holds: String,
}

/// Everything in a region that a layout tells.
fn zone_lines(bytes: &[u8], layout: &RamLayout, ecc_size: usize) -> Vec<ZoneLine> {
    layout
        .zones()
        .map(|(kind, index, zone)| ZoneLine {
            kind: kind.as_str(),
            index,
            offset: zone.offset,
            len: zone.len,
            holds: ram::describe(bytes, zone, ecc_size),
        })
        .collect()
}

impl SourceArgs {
    /// The sizes that were given, if there are any. What is not given is as the module's default.
    fn sizes(&self, mem_size: usize) -> Option<RamSizes> {
        let given = [
            self.record_size,
            self.console_size,
            self.ftrace_size,
            self.pmsg_size,
            self.tty_size,
        ];
        if given.iter().all(Option::is_none) {
            return None;
        }
        let or = |size: Option<usize>| size.unwrap_or(4096);
        Some(RamSizes {
            mem_size,
            record_size: or(self.record_size),
            console_size: or(self.console_size),
            ftrace_size: or(self.ftrace_size),
            pmsg_size: or(self.pmsg_size),
            tty_size: or(self.tty_size),
            ftrace_zones: self.ftrace_zones.unwrap_or(0),
            ecc_size: self.ecc_size().unwrap_or(0),
        })
    }

    fn ecc_size(&self) -> Option<usize> {
        self.ecc
            .map(|ecc| if ecc == 1 { ECC_SIZE_DEFAULT } else { ecc })
    }

    fn cmdline_text(&self) -> Option<String> {
        let given = self.cmdline.as_ref()?;
        Some(match std::fs::read_to_string(given) {
            Ok(text) => text.trim().to_owned(),
            Err(_) => given.clone(),
        })
    }
}

/// The symbols to name a trace with: those that were given, or else those of this kernel.
fn symbols(args: &SourceArgs, host: &Host, live: bool) -> Result<Symbols> {
    let version = host.release().as_deref().and_then(version_code);
    match &args.symbols {
        Some(path) if path.ends_with("kallsyms") => {
            Symbols::read(path, version, kaslr_offset(host))
        }
        // A System.map is of the kernel that the user says it is of.
        Some(path) => Symbols::read(path, None, 0),
        None if live => {
            let path = host.path("/proc/kallsyms");
            Ok(Symbols::read(&path, version, kaslr_offset(host)).unwrap_or_default())
        }
        None => Ok(Symbols::default()),
    }
}

/// How far KASLR moved this kernel, as its vmcoreinfo tells; zero if that can't be read.
fn kaslr_offset(host: &Host) -> u64 {
    let Ok(source) = source::open(&host.path("/proc/kcore"), host) else {
        return 0;
    };
    let note = source
        .memory
        .notes()
        .iter()
        .find(|n| n.name == "VMCOREINFO");
    note.and_then(|note| vmcoreinfo(&note.desc, "KERNELOFFSET"))
        .and_then(|text| u64::from_str_radix(&text, 16).ok())
        .unwrap_or(0)
}

/// A value out of a vmcoreinfo text.
pub(crate) fn vmcoreinfo(text: &[u8], key: &str) -> Option<String> {
    text.split(|b| *b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(str::to_owned)
}

/// Loads all that the user has named.
pub(crate) fn load(args: &SourceArgs, host: &Host, progress: Progress) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    if args.source.is_empty() {
        if args.address.is_some() {
            bail!(
                "--address is for a raw source: say which one with --source, for instance /dev/mem"
            );
        }
        return tree::load_default(host);
    }
    for path in &args.source {
        if path.is_dir() {
            let tree = tree::load(path).with_context(|| {
                format!("{}: not a readable directory of records", path.display())
            })?;
            loaded.records.extend(tree.records);
            loaded.complaints.extend(tree.complaints);
            loaded.tried.extend(tree.tried);
            continue;
        }
        let source = source::open(path, host)?;
        raw(&source, path, args, host, progress, &mut loaded)?;
    }
    Ok(loaded)
}

/// What of a device can hold zones: as much as the in-tree code uses, and one of ours behind it.
const DEVICE_MAX: usize = (132 << 20) + 4096;

/// Most CPUs of another machine that are tried.
const CPUS_MAX: usize = 256;

/// Who says where the zones of a device are.
const fn found_how(guess: &zone::Guess) -> &'static str {
    match guess.score {
        100 => "given",
        _ => "zones of a block device, found by their signatures",
    }
}

/// Reads a raw source.
fn raw(
    source: &Source,
    path: &Path,
    args: &SourceArgs,
    host: &Host,
    progress: Progress,
    loaded: &mut Loaded,
) -> Result<()> {
    let memory = source.memory.as_ref();
    let symbols = symbols(args, host, source.sort == Sort::Live)?;
    let mut reader = Reader {
        memory,
        args,
        symbols: &symbols,
        loaded,
        regions: 0,
    };
    if matches!(args.format, Format::Auto | Format::Note) {
        reader.notes();
    }
    if args.format == Format::Note {
        return Ok(());
    }
    if let Some(address) = args.address {
        reader.at_address(address)?;
        return Ok(());
    }
    if source.sort == Sort::Image {
        let known = match args.format {
            Format::Auto | Format::Zone => reader.known_device(path, host),
            _ => false,
        };
        if known || reader.whole_image(path)? {
            return Ok(());
        }
    }
    let mut known = false;
    if args.format != Format::Kho {
        let cmdline = args.cmdline_text();
        // A dump is of this machine only if the user says so, by the command line that it had.
        if source.sort == Sort::Live || cmdline.is_some() {
            let (places, tried) = find::configured(host, cmdline.as_deref());
            reader.loaded.tried.extend(tried);
            for place in &places {
                known |= reader.place(place)?;
            }
        }
    }
    if args.scan || args.format == Format::Kho || !known && reader.regions == 0 {
        reader.search(progress, None);
    }
    // A device has zones at its front, and nothing of ramoops.
    if source.sort == Sort::Image && args.format == Format::Auto && reader.regions == 0 {
        let bytes = memory.read_some(0, DEVICE_MAX);
        if let Some(guess) = zone::guess(&bytes) {
            reader.take_device(0, &bytes, &guess, "blk", found_how(&guess));
        }
        reader
            .loaded
            .tried
            .push(format!("{}: zones of a block device", memory.name()));
    }
    Ok(())
}

/// Collects records of one source.
struct Reader<'a> {
    memory: &'a dyn Memory,
    args: &'a SourceArgs,
    symbols: &'a Symbols,
    loaded: &'a mut Loaded,
    regions: usize,
}

impl Reader<'_> {
    /// A name that no other region of this source has.
    fn backend(&mut self, wanted: &str) -> String {
        let wanted = self.args.name.as_deref().unwrap_or(wanted);
        let taken = |name: &str| self.loaded.regions.iter().any(|r| r.backend == name);
        if !taken(wanted) {
            return wanted.to_owned();
        }
        (1..)
            .map(|n: u32| format!("{wanted}{n}"))
            .find(|name| !taken(name))
            .unwrap_or_else(|| wanted.to_owned())
    }

    /// Takes a region of which everything is known.
    #[allow(clippy::too_many_arguments)]
    fn region(
        &mut self,
        address: u64,
        bytes: &[u8],
        layout: &RamLayout,
        ecc_size: usize,
        backend: &str,
        how: &str,
        score: u32,
        doubt: Option<&'static str>,
    ) {
        let backend = self.backend(backend);
        let origin = format!("{} {address:#x}", self.memory.name());
        let naming = Naming {
            backend: &backend,
            first_id: 0,
            time: None,
            origin: &origin,
            symbols: self.symbols,
        };
        self.loaded
            .records
            .extend(ram::records(&naming, bytes, layout, ecc_size));
        self.loaded.regions.push(Region {
            source: self.memory.name().to_owned(),
            address,
            size: bytes.len(),
            backend,
            how: how.to_owned(),
            score,
            doubt,
            zones: zone_lines(bytes, layout, ecc_size),
            ecc_size,
        });
        self.regions += 1;
    }

    /// Device dump notes of mpstore.
    fn notes(&mut self) {
        let mut found = Vec::new();
        for note in self.memory.notes() {
            if note.kind != device_dump::NOTE_TYPE || note.name != "LINUX" {
                continue;
            }
            let Some((name, body)) = note.desc.split_at_checked(device_dump::NOTE_NAME_BYTES)
            else {
                continue;
            };
            let label = String::from_utf8_lossy(name.split(|b| *b == 0).next().unwrap_or(&[]));
            match DeviceDump::parse(body) {
                Ok(dump) => {
                    let sizes = dump.sizes();
                    let backend = String::from_utf8_lossy(dump.name()).into_owned();
                    found.push((
                        label.into_owned(),
                        backend,
                        dump.address(),
                        dump.kind(),
                        dump.data().to_vec(),
                        sizes,
                    ));
                }
                Err(device_dump::DumpError::Foreign) => {}
                Err(error) => self
                    .loaded
                    .complaints
                    .push(format!("note {label}: {error}")),
            }
        }
        for (label, backend, address, kind, data, sizes) in found {
            if kind != device_dump::KIND_RAM {
                self.loaded
                    .complaints
                    .push(format!("note {label}: of kind {kind}, which is not read"));
                continue;
            }
            match find::layout_of(&sizes, &data) {
                Ok(layout) => self.region(
                    address,
                    &data,
                    &layout,
                    sizes.ecc_size,
                    &backend,
                    &format!("device dump note {label}"),
                    100,
                    None,
                ),
                Err(error) => self
                    .loaded
                    .complaints
                    .push(format!("note {label}: {error}")),
            }
        }
        self.loaded
            .tried
            .push(format!("{}: device dump notes", self.memory.name()));
    }

    /// What begins at an address that the user gave.
    fn at_address(&mut self, address: u64) -> Result<()> {
        if self.args.format == Format::Kho {
            return self.index(address);
        }
        if self.args.format == Format::Zone {
            return self.device(address);
        }
        let most = self.args.size.unwrap_or(crate::decode::infer::REGION_MAX);
        let bytes = if self.args.size.is_some() {
            let mut bytes = vec![0; most];
            self.memory.read_exact_at(address, &mut bytes)?;
            bytes
        } else {
            self.memory.read_some(address, most)
        };
        if bytes.is_empty() {
            bail!(
                "{}: nothing to be read at {address:#x}{}",
                self.memory.name(),
                self.memory.advice()
            );
        }
        if let Some(sizes) = self.args.sizes(bytes.len()) {
            if self.args.size.is_none() {
                bail!("with the sizes of zones, the region's --size is needed too: it decides where they are");
            }
            let layout = find::layout_of(&sizes, &bytes)
                .map_err(|e| anyhow::anyhow!("the sizes contradict each other: {e}"))?;
            self.region(
                address,
                &bytes,
                &layout,
                sizes.ecc_size,
                "ramoops",
                "given",
                100,
                None,
            );
            return Ok(());
        }
        if !self.guessed(
            address,
            &bytes,
            "ramoops",
            "given",
            self.args.size.is_some(),
        ) {
            bail!(
                "{}: no zones at {address:#x}: nothing there begins with the signature 44 42 47 43. \
                 Leave --address out to search for them, or try `mpstore salvage`",
                self.memory.name()
            );
        }
        Ok(())
    }

    /// An image: one region, or an index with its memory, from its first byte on.
    fn whole_image(&mut self, path: &Path) -> Result<bool> {
        let Some(range) = self.memory.ranges().first().cloned() else {
            return Ok(false);
        };
        if self.args.format == Format::Zone {
            self.device(0)?;
            return Ok(true);
        }
        if self.args.format != Format::Kho {
            let len = usize::try_from(range.end).unwrap_or(usize::MAX);
            let wanted = self.args.size.unwrap_or(len);
            if let Some(sizes) = self.args.sizes(wanted) {
                let mut bytes = vec![0; wanted.min(len)];
                self.memory.read_exact_at(0, &mut bytes)?;
                let layout = find::layout_of(&sizes, &bytes)
                    .map_err(|e| anyhow::anyhow!("the sizes contradict each other: {e}"))?;
                self.region(
                    0,
                    &bytes,
                    &layout,
                    sizes.ecc_size,
                    "ramoops",
                    "given",
                    100,
                    None,
                );
                return Ok(true);
            }
        }
        let name = path.display().to_string();
        // What the kernel shows of what was handed over is an index without its memory, which is
        // this machine's.
        if name.contains("/kho/") && name.contains("sub_fdts") {
            let blob = self.memory.read_some(0, mpstore_format::kho::INDEX_MAX);
            let Some(real) = mem_for_kho() else {
                bail!(
                    "{name}: that is the index; the memory that it lists can't be read: neither \
                     /proc/kcore nor /dev/mem can be opened"
                );
            };
            let found = kho::read(&blob, None, real.memory.as_ref(), "kho", self.symbols)
                .with_context(|| format!("{name}: not an index"))?;
            self.take_index(found);
            return Ok(true);
        }
        Ok(false)
    }

    /// A device that the kernel was told to record to, or an image of one whose kernel's command line
    /// is given: then its sizes are known. They are believed if there is a zone where one would be.
    fn known_device(&mut self, path: &Path, host: &Host) -> bool {
        // What the user says counts more.
        if self.args.sizes(0).is_some() || self.args.size.is_some() {
            return false;
        }
        let line = self.args.cmdline_text();
        let real = path.canonicalize().ok();
        let end = self.memory.ranges().last().map_or(0, |r| r.end);
        let mut bytes = None;
        let mut best: Option<(usize, zone::Guess, String, String)> = None;
        for device in find::devices(host, line.as_deref()) {
            if line.is_none() && (real.is_none() || device.path != real) {
                continue;
            }
            // How many CPUs another machine had is told by the zones of its function trace.
            let cpus = |sizes: &mpstore_format::zone::ZoneSizes| match line {
                Some(_) => 1..=CPUS_MAX,
                None => sizes.cpus..=sizes.cpus,
            };
            let divisions = device
                .sizes
                .iter()
                .flat_map(|sizes| cpus(sizes).map(move |cpus| (sizes, cpus)));
            for (sizes, cpus) in divisions {
                let sizes = mpstore_format::zone::ZoneSizes {
                    bytes: end,
                    cpus,
                    ..*sizes
                };
                let Ok(guess) = zone::of_sizes(&sizes) else {
                    continue;
                };
                let bytes = bytes.get_or_insert_with(|| self.memory.read_some(0, DEVICE_MAX));
                let fits = zone::fits(bytes, &guess);
                if fits > best.as_ref().map_or(0, |(most, ..)| *most) {
                    let how = format!("blkdev={}, {}", device.spec, device.how);
                    best = Some((fits, guess, device.backend.clone(), how));
                }
            }
        }
        let (Some((_, guess, backend, how)), Some(bytes)) = (best, bytes) else {
            return false;
        };
        self.take_device(0, &bytes, &guess, &backend, &how);
        true
    }

    /// The zones of a block device that begins at `address`.
    fn device(&mut self, address: u64) -> Result<()> {
        let bytes = self.memory.read_some(
            address,
            self.args.size.unwrap_or(usize::MAX).min(DEVICE_MAX),
        );
        if bytes.is_empty() {
            bail!(
                "{}: nothing to be read at {address:#x}{}",
                self.memory.name(),
                self.memory.advice()
            );
        }
        let guess = match self.args.sizes(bytes.len()) {
            Some(sizes) => {
                let end = self.memory.ranges().last().map_or(0, |r| r.end);
                let zones = mpstore_format::zone::ZoneSizes {
                    bytes: self
                        .args
                        .size
                        .map_or(end.saturating_sub(address), |n| n as u64),
                    block: 512,
                    kmsg_size: sizes.record_size,
                    pmsg_size: sizes.pmsg_size,
                    console_size: sizes.console_size,
                    ftrace_size: sizes.ftrace_size,
                    tty_size: sizes.tty_size,
                    cpus: self.args.ftrace_zones.unwrap_or(1),
                };
                zone::of_sizes(&zones)
                    .map_err(|e| anyhow::anyhow!("the sizes contradict each other: {e}"))?
            }
            None => zone::guess(&bytes)
                .with_context(|| format!("{}: no zones of a block device", self.memory.name()))?,
        };
        self.take_device(address, &bytes, &guess, "blk", found_how(&guess));
        Ok(())
    }

    fn take_device(
        &mut self,
        address: u64,
        bytes: &[u8],
        guess: &zone::Guess,
        backend: &str,
        how: &str,
    ) {
        let backend = self.backend(backend);
        let origin = format!("{} {address:#x}", self.memory.name());
        self.loaded
            .records
            .extend(zone::records(bytes, guess, &backend, &origin, self.symbols));
        let mut counts = [0usize; 5];
        let zones = guess
            .zones
            .iter()
            .map(|(kind, zone)| {
                let name = zone::name_of(*kind);
                let slot = ["pmsg", "console", "ftrace", "dmesg", "tty"]
                    .iter()
                    .position(|n| *n == name);
                let index = slot
                    .and_then(|slot| counts.get_mut(slot))
                    .map_or(0, |count| {
                        *count += 1;
                        *count - 1
                    });
                ZoneLine {
                    kind: name,
                    index,
                    offset: zone.offset,
                    len: zone.len,
                    holds: String::new(),
                }
            })
            .collect();
        self.loaded.regions.push(Region {
            source: self.memory.name().to_owned(),
            address,
            size: bytes.len(),
            backend,
            how: how.to_owned(),
            score: guess.score,
            doubt: guess.doubt,
            zones,
            ecc_size: 0,
        });
        self.regions += 1;
    }

    /// A region whose place is known.
    fn place(&mut self, place: &Place) -> Result<bool> {
        let Some(size) = place.size else {
            return Ok(false);
        };
        let mut bytes = vec![0; size.min(1 << 30)];
        if let Err(error) = self.memory.read_exact_at(place.address, &mut bytes) {
            self.loaded
                .complaints
                .push(format!("{} ({}): {error:#}", place.backend, place.how));
            return Ok(false);
        }
        let Some(sizes) = place.sizes else {
            return Ok(self.guessed(place.address, &bytes, &place.backend, &place.how, true));
        };
        match find::layout_of(&sizes, &bytes) {
            Ok(layout) => {
                self.region(
                    place.address,
                    &bytes,
                    &layout,
                    sizes.ecc_size,
                    &place.backend,
                    &place.how,
                    100,
                    None,
                );
                Ok(true)
            }
            Err(error) => {
                self.loaded
                    .complaints
                    .push(format!("{} ({}): {error}", place.backend, place.how));
                Ok(false)
            }
        }
    }

    /// The regions in the memory at `address`, by their content. `whole`: it is all of it.
    fn guessed(
        &mut self,
        address: u64,
        bytes: &[u8],
        backend: &str,
        how: &str,
        whole: bool,
    ) -> bool {
        let found = find::regions_in(bytes);
        let mut any = false;
        for (at, guess) in found {
            // From an address on: the first one only.
            if !whole && at != 0 {
                break;
            }
            let end = at.saturating_add(guess.len);
            let Some(region) = bytes.get(at..end) else {
                continue;
            };
            let how = format!("{how}, divided by what is in it");
            self.region(
                address + at as u64,
                region,
                &guess.layout,
                guess.ecc_size,
                backend,
                &how,
                guess.score,
                guess.doubt,
            );
            any = true;
        }
        any
    }

    fn index(&mut self, address: u64) -> Result<()> {
        let blob = self
            .memory
            .read_some(address, mpstore_format::kho::INDEX_BYTES);
        let found = kho::read(&blob, Some(address), self.memory, "kho", self.symbols)
            .with_context(|| {
                format!(
                    "{} {address:#x}: not an index of mpstore",
                    self.memory.name()
                )
            })?;
        self.take_index(found);
        Ok(())
    }

    fn take_index(&mut self, found: kho::Found) {
        self.loaded.complaints.extend(found.complaints);
        for generation in &found.generations {
            self.loaded.regions.push(Region {
                source: self.memory.name().to_owned(),
                address: 0,
                size: generation.mem_size,
                backend: "kho".to_owned(),
                how: format!(
                    "generation {} of {}",
                    generation.number,
                    generation.release()
                ),
                score: 100,
                doubt: found
                    .taken
                    .then_some("a later kernel has taken this memory over and may have changed it"),
                zones: Vec::new(),
                ecc_size: generation.ecc_size,
            });
        }
        self.loaded.records.extend(found.records);
        self.regions += 1;
    }

    /// Looks for regions and indexes everywhere.
    fn search(&mut self, progress: Progress, within: Option<&Range<u64>>) {
        let (found, complaints) = find::scan(self.memory, within, &progress);
        self.loaded.complaints.extend(complaints);
        self.loaded
            .tried
            .push(format!("{}: a search for signatures", self.memory.name()));
        let known: Vec<(u64, u64)> = self
            .loaded
            .regions
            .iter()
            .map(|r| (r.address, r.address + r.size as u64))
            .collect();
        let mut indexes = Vec::new();
        for candidate in found {
            let address = candidate.address();
            if known
                .iter()
                .any(|(from, to)| (*from..*to).contains(&address))
            {
                continue;
            }
            match candidate {
                Candidate::Region { address, guess } if self.args.format != Format::Kho => {
                    let mut bytes = vec![0; guess.len];
                    if self.memory.read_exact_at(address, &mut bytes).is_ok() {
                        self.region(
                            address,
                            &bytes,
                            &guess.layout,
                            guess.ecc_size,
                            "ramoops",
                            "found by its signatures",
                            guess.score,
                            guess.doubt,
                        );
                    }
                }
                Candidate::Region { .. } => {}
                Candidate::Index { address } if self.args.format != Format::Ram => {
                    let blob = self
                        .memory
                        .read_some(address, mpstore_format::kho::INDEX_BYTES);
                    match kho::read(&blob, Some(address), self.memory, "kho", self.symbols) {
                        Ok(found) => indexes.push((address, found)),
                        Err(error) => self
                            .loaded
                            .complaints
                            .push(format!("index at {address:#x}: {error}")),
                    }
                }
                Candidate::Index { .. } => {}
            }
        }
        self.newest_index(indexes);
    }

    /// Of several indexes the one of the kernel that ran last: that whose newest generation began
    /// last. Numbers begin anew with every chain of kernels, and memory may still have what a chain
    /// before the last reset left, so they only count between equals; after them counts whether it
    /// was taken over, and the number of its tables. The zones of its generations are no regions.
    fn newest_index(&mut self, mut indexes: Vec<(u64, kho::Found)>) {
        indexes.sort_by_key(|(_, found)| {
            let newest = found.generations.iter().max_by_key(|g| g.number);
            (
                newest.map(|g| (g.start, g.number)),
                !found.taken,
                found.sequence,
            )
        });
        let Some((address, found)) = indexes.pop() else {
            return;
        };
        if !indexes.is_empty() {
            self.loaded.complaints.push(format!(
                "{} older indexes of kho besides the one at {address:#x}; --format kho --address \
                 reads one of them",
                indexes.len()
            ));
        }
        self.take_index(found);
    }
}

/// This machine's memory for the generations of an index.
fn mem_for_kho() -> Option<Source> {
    let host = Host::new(Path::new("/"));
    ["/proc/kcore", "/dev/mem"]
        .iter()
        .find_map(|path| source::open(Path::new(path), &host).ok())
}
