// SPDX-License-Identifier: GPL-2.0

//! Puts damaged regions into memory and compares what the module shows of them with what the
//! format crate, compiled for user space, makes of the same bytes.

// The host's test uses the rest.
#[allow(dead_code)]
mod regions;

use mpstore_format::{
    device_dump::{
        DeviceDump,
        NOTE_NAME_BYTES,
        NOTE_NAME_PREFIX,
        NOTE_OWNER,
        NOTE_TYPE, //
    },
    ecc::{
        repair_zone,
        EccGeometry, //
    },
    layout::{
        RamLayout,
        ZoneKind, //
    },
    ram::{
        split_zone,
        SIGNATURE, //
    },
};
use regions::{
    records,
    Case,
    Machine,
    Mutation,
    Record, //
};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: regiontool COMMAND
  kinds
      the kinds of damage, one a line; case N is of kind N modulo their number
  put SEED N ADDRESS
      case N to physical memory, GUARD bytes of something else on either side.
      Prints the parameters to load the module with
  check SEED N ADDRESS DIRECTORY [--inflate]
      compares the files in DIRECTORY with what the region holds, and the memory
      around it with what `put` left there. With --inflate the module is one that
      decompresses records
  inflate
      a raw deflate stream from standard input, as text; what follows it is left out
  notes VMCORE
      what mpstore added to an ELF vmcore, a line each: name, address, bytes, zones
      of the function trace
  note VMCORE NAME
      the medium in the one called NAME, as it is
  empty DIRECTORY
      removes all files there; complains if that leaves something";

/// What is on either side of a region.
const GUARD: usize = 0x1000;
/// Largest region.
const MEM_MOST: usize = 0x10000;
/// No record is longer, even inflated. A read that goes on and on ends here.
const LONGEST: u64 = 16 << 20;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["kinds"] => {
            Mutation::ALL.iter().for_each(|kind| println!("{kind:?}"));
            Ok(())
        }
        ["put", seed, number, at] => put(seed, number, at),
        ["check", seed, number, at, dir] => check(seed, number, at, dir, false),
        ["check", seed, number, at, dir, "--inflate"] => check(seed, number, at, dir, true),
        ["inflate"] => inflate(),
        ["notes", file] => notes(file),
        ["note", file, name] => note(file, name),
        ["empty", dir] => empty(dir),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("regiontool: {words:?}: {e}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> Result<u64> {
    Ok(match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16)?,
        None => text.parse()?,
    })
}

/// The machine this runs on.
fn machine() -> Result<Machine> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    // 7.3.4+deb13-amd64 is one of 7.3.4.
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let mut part = || parts.next().and_then(|part| part.ok()).ok_or("osrelease");
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = possible.trim().rsplit(['-', ',']).next().unwrap_or("0");
    Ok(Machine {
        cpus: last.parse::<usize>()? + 1,
        version: (part()? << 16) | (part()? << 8) | part()?.min(255),
        mem_most: MEM_MOST,
    })
}

fn case(seed: &str, number: &str) -> Result<(Case, Machine)> {
    let machine = machine()?;
    let case = Case::new(self::number(seed)?, self::number(number)?, &machine);
    Ok((case, machine))
}

/// Text that no region holds.
fn guard() -> Vec<u8> {
    b"outside the region! "
        .iter()
        .copied()
        .cycle()
        .take(GUARD)
        .collect()
}

fn put(seed: &str, number: &str, at: &str) -> Result<()> {
    let (case, _) = case(seed, number)?;
    let at = self::number(at)?;
    let mem = File::options().write(true).open("/dev/mem")?;
    mem.write_all_at(&guard(), at - GUARD as u64)?;
    mem.write_all_at(&case.bytes, at)?;
    mem.write_all_at(&guard(), at + case.bytes.len() as u64)?;
    let sizes = case.read_as;
    println!(
        "mem_size={} record_size={} console_size={} ftrace_size={} pmsg_size={} tty_size={} ecc={}",
        sizes.mem_size,
        sizes.record_size,
        sizes.console_size,
        sizes.ftrace_size,
        sizes.pmsg_size,
        sizes.tty_size,
        sizes.ecc_size
    );
    Ok(())
}

/// A file as the module should show it.
struct Shown {
    name: String,
    content: Vec<u8>,
    /// Seconds, where a record says them and they are no nonsense.
    time: Option<i64>,
}

/// What may be shown of one record: one way, or one of two where a compressed record is damaged
/// and two decompressors need not agree whether what is left of it is a stream.
fn shown(record: &Record, ecc: usize, capacity: usize, inflate: bool, intact: bool) -> Vec<Shown> {
    let compressed = record.header.is_some_and(|header| header.compressed);
    let name = format!("{}-ramoops-{}", record.kind.as_str(), record.index);
    let time = record
        .header
        .and_then(|header| i64::try_from(header.stamp.sec).ok())
        .filter(|sec| (1..1 << 33).contains(sec));
    let notice = record.notice(ecc);
    let shown = |name, payload: &[u8]| Shown {
        name,
        content: [payload, notice.as_bytes()].concat(),
        time,
    };
    if !compressed {
        return vec![shown(name, record.payload())];
    }
    let raw = shown(format!("{name}.enc.z"), record.payload());
    // As much as the in-tree reader would take.
    let limit = 3 * capacity;
    let text = miniz_oxide::inflate::decompress_to_vec_with_limit(record.payload(), limit);
    match text {
        _ if !inflate => vec![raw],
        Ok(text) if intact => vec![shown(name, &text)],
        Ok(text) => vec![shown(name, &text), raw],
        Err(_) => vec![raw],
    }
}

fn check(seed: &str, number: &str, at: &str, dir: &str, inflate: bool) -> Result<()> {
    let (case, machine) = case(seed, number)?;
    let at = self::number(at)?;
    let mem = File::open("/dev/mem")?;
    let read = |at: u64, len: usize| -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        mem.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    };
    if read(at - GUARD as u64, GUARD)? != guard() {
        return Err("memory in front of the region was written to".into());
    }
    if read(at + case.bytes.len() as u64, GUARD)? != guard() {
        return Err("memory behind the region was written to".into());
    }

    let ecc = case.read_as.ecc_size;
    let layout = RamLayout::new(&case.read_as).map_err(|e| e.to_string())?;
    let records = records(&case.bytes, &case.read_as, &machine);
    let survivors = case.survivors();
    let mut names: BTreeSet<String> = fs::read_dir(dir)?
        .map(|entry| Ok(entry?.file_name().into_string().map_err(|_| "odd name")?))
        .collect::<Result<_>>()?;
    for record in records.iter().filter(|r| r.kind != ZoneKind::Ftrace) {
        let intact = survivors
            .iter()
            .any(|(kind, index, ..)| (*kind, *index) == (record.kind, record.index));
        let zone = layout
            .zones()
            .find(|(kind, index, _)| (*kind, *index) == (record.kind, record.index))
            .map_or(0, |(_, _, zone)| zone.len);
        let capacity = EccGeometry::new(zone, ecc).map_or(0, |geometry| geometry.capacity());
        let ways = shown(record, ecc, capacity, inflate, intact);
        let way = ways.iter().find(|way| names.contains(&way.name));
        let Some(way) = way else {
            return Err(format!("no {}, only {names:?}", ways[0].name).into());
        };
        compare(&Path::new(dir).join(&way.name), way)?;
        names.remove(&way.name);
    }
    // The function trace is shown as text, which depends on the kernel's symbols.
    for name in names.iter().filter(|name| name.starts_with("ftrace-")) {
        content(&Path::new(dir).join(name))?;
    }
    names.retain(|name| !name.starts_with("ftrace-"));
    if !names.is_empty() {
        return Err(format!("{names:?} should not be there").into());
    }

    // Dumps stay on the medium as they are, damage included; zones with anything else are empty.
    let now = read(at, case.bytes.len())?;
    for (_, index, zone) in layout.zones().filter(|(kind, ..)| *kind == ZoneKind::Dmesg) {
        let is_record = |r: &Record| (r.kind, r.index) == (ZoneKind::Dmesg, index);
        let (before, after) = (zone.of(&case.bytes), zone.of(&now));
        // A damaged header that can be corrected to an empty one is one.
        let mut corrected = before.to_vec();
        let _ = repair_zone(&mut corrected, SIGNATURE, ecc);
        let was_empty = split_zone(&corrected)
            .is_some_and(|(h, _)| (h.sig, h.start, h.size) == (SIGNATURE, 0, 0));
        if records.iter().any(is_record) {
            if before != after {
                return Err(format!("dmesg {index} was changed by the load").into());
            }
        } else if !was_empty {
            match split_zone(after) {
                Some((header, _)) if (header.start, header.size) == (0, 0) => {}
                other => {
                    let header = other.map(|(header, _)| header);
                    return Err(format!("dmesg {index} is not empty: {header:?}").into());
                }
            }
        }
    }
    Ok(())
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == LONGEST {
        return Err(format!("{} does not end", path.display()).into());
    }
    Ok(bytes)
}

fn compare(path: &Path, want: &Shown) -> Result<()> {
    let got = content(path)?;
    let stat = fs::metadata(path)?;
    let name = &want.name;
    if got != want.content {
        let same = got.iter().zip(&want.content).take_while(|(a, b)| a == b);
        let (at, len, most) = (same.count(), got.len(), want.content.len());
        return Err(format!("{name} differs at {at}; {len} bytes, should be {most}").into());
    }
    if stat.len() != got.len() as u64 {
        return Err(format!("{name} has size {}, but {} bytes", stat.len(), got.len()).into());
    }
    match want.time {
        Some(time) if time != stat.mtime() => {
            Err(format!("{name} is of {}, should be of {time}", stat.mtime()).into())
        }
        _ => Ok(()),
    }
}

fn inflate() -> Result<()> {
    let mut stream = Vec::new();
    io::stdin().read_to_end(&mut stream)?;
    let text = miniz_oxide::inflate::decompress_to_vec_with_limit(&stream, LONGEST as usize)
        .map_err(|e| format!("{:?}", e.status))?;
    Ok(io::stdout().write_all(&text)?)
}

/// The bytes of an ELF file at an offset.
fn part(file: &File, at: u64, len: u64) -> Result<Vec<u8>> {
    if len > LONGEST {
        return Err(format!("{len} bytes at {at:#x} are too many").into());
    }
    let mut bytes = vec![0; usize::try_from(len)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    Ok(*field.ok_or("the file ends too early")?)
}

/// Calls `f` with every dump of mpstore in the notes of a 64-bit ELF file.
fn each_dump(name: &str, f: &mut dyn FnMut(&str, &DeviceDump<'_>) -> Result<()>) -> Result<()> {
    let file = File::open(name)?;
    let head = part(&file, 0, 64)?;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Err("not a 64-bit ELF file".into());
    }
    let table = u64::from_le_bytes(field(&head, 32)?);
    let size = u64::from(u16::from_le_bytes(field(&head, 54)?));
    for n in 0..u64::from(u16::from_le_bytes(field(&head, 56)?)) {
        let entry = part(&file, table + n * size, size)?;
        // PT_NOTE
        if u32::from_le_bytes(field(&entry, 0)?) != 4 {
            continue;
        }
        let at = u64::from_le_bytes(field(&entry, 8)?);
        let all = part(&file, at, u64::from_le_bytes(field(&entry, 32)?))?;
        let mut rest = &all[..];
        while rest.len() >= 12 {
            let word =
                |at| Ok::<_, Box<dyn std::error::Error>>(u32::from_le_bytes(field(rest, at)?));
            let whole = |n: u32| usize::try_from(n).map(|n| n.next_multiple_of(4));
            let (owner, len, kind) = (whole(word(0)?)?, whole(word(4)?)?, word(8)?);
            let content = rest.get(12 + owner..12 + owner + len);
            let content = content.ok_or("a note is longer than the notes")?;
            if kind == NOTE_TYPE && rest[12..].starts_with(NOTE_OWNER) {
                let (title, dump) = content.split_at(NOTE_NAME_BYTES.min(len));
                let title = String::from_utf8_lossy(title.split(|b| *b == 0).next().unwrap_or(&[]));
                if title.as_bytes().starts_with(NOTE_NAME_PREFIX) {
                    f(&title, &DeviceDump::parse(dump)?)?;
                }
            }
            rest = &rest[12 + owner + len..];
        }
    }
    Ok(())
}

fn notes(file: &str) -> Result<()> {
    each_dump(file, &mut |title, dump| {
        let zones = dump.sizes().ftrace_zones;
        println!(
            "{title} {:#x} {:#x} {zones}",
            dump.address(),
            dump.data().len()
        );
        Ok(())
    })
}

fn note(file: &str, name: &str) -> Result<()> {
    let mut found = false;
    each_dump(file, &mut |title, dump| {
        if title == name {
            found = true;
            io::stdout().write_all(dump.data())?;
        }
        Ok(())
    })?;
    match found {
        true => Ok(()),
        false => Err("no such dump in it".into()),
    }
}

fn empty(dir: &str) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        fs::remove_file(entry?.path())?;
    }
    match fs::read_dir(dir)?.next() {
        None => Ok(()),
        Some(entry) => Err(format!("{:?} is still there", entry?.file_name()).into()),
    }
}
