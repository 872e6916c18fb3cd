// SPDX-License-Identifier: GPL-2.0

//! What the tests do with disks and busybox can't: a dm-linear device, a partition that is given
//! another size while it is in use, and, on the host, a disk as each loss of power would have left it.

use mpstore_format::zone::{
    Header, Slot, ZoneLayout, ZoneSizes, ZoneType, DUMP_OVERHEAD, HEADER_BYTES,
};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::process::ExitCode;

const USAGE: &str = "\
usage: disktool COMMAND
  linear NAME DEVICE FIRST SECTORS
      make a dm-linear device of a part of DEVICE, in sectors of 512 bytes
  resize DISK NUMBER FIRST SECTORS
      give a partition another size, while it is in use
  cuts IMAGE LOG START BYTES BLOCK [KEY=BYTES...]
      (host) cuts a log of writes (QEMU's blklogwrites) to a disk that held IMAGE at every point, and
      looks at the zones in the BYTES from START on: each dump must be whole or not be there, and one
      that was flushed stays until its zone is written to again. KEYs are kmsg, console, pmsg,
      ftrace, tty and cpus. Prints `cuts N flushes N dumps N torn N lost N rings N`";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["linear", name, device, first, sectors] => linear(name, device, first, sectors),
        ["resize", disk, number, first, sectors] => resize(disk, number, first, sectors),
        ["cuts", image, log, start, bytes, block, sizes @ ..] => {
            cuts(image, log, start, bytes, block, sizes)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("disktool: {e}");
            ExitCode::FAILURE
        }
    }
}

// --- dm ------------------------------------------------------------------------------------------

/// `struct dm_ioctl` of `<linux/dm-ioctl.h>`, and room for a target behind it.
const DM_HEAD: usize = 312;
const DM_BYTES: usize = 4096;
nix::ioctl_readwrite!(dm_dev_create, 0xfd, 3, [u8; DM_HEAD]);
nix::ioctl_readwrite!(dm_dev_suspend, 0xfd, 6, [u8; DM_HEAD]);
nix::ioctl_readwrite!(dm_table_load, 0xfd, 9, [u8; DM_HEAD]);

fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    buffer[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A request about the device `name`, with a target if there is one.
fn dm_request(name: &str, target: Option<(u64, &str)>) -> Box<[u8; DM_BYTES]> {
    let mut request = Box::new([0u8; DM_BYTES]);
    let words = [4u32, 0, 0, DM_BYTES as u32, DM_HEAD as u32];
    for (i, word) in words.into_iter().enumerate() {
        put(&mut request[..], i * 4, &word.to_ne_bytes());
    }
    put(&mut request[..], 48, name.as_bytes());
    if let Some((sectors, parameters)) = target {
        put(&mut request[..], 20, &1u32.to_ne_bytes());
        put(&mut request[..], DM_HEAD + 8, &sectors.to_ne_bytes());
        put(&mut request[..], DM_HEAD + 24, b"linear");
        put(&mut request[..], DM_HEAD + 40, parameters.as_bytes());
    }
    request
}

fn linear(name: &str, device: &str, first: &str, sectors: &str) -> Result<bool> {
    if name.len() > 100 || device.len() > 200 {
        return Err("too long a name".into());
    }
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/mapper/control")?;
    let fd = control.as_raw_fd();
    let parameters = format!("{device} {first}");
    let (mut create, mut load, mut resume) = (
        dm_request(name, None),
        dm_request(name, Some((sectors.parse()?, &parameters))),
        dm_request(name, None),
    );
    // SAFETY: Each request says that it has `DM_BYTES` bytes, and does; the kernel writes to no
    // more, and keeps no pointer.
    unsafe {
        dm_dev_create(fd, create.as_mut_ptr().cast())?;
        dm_table_load(fd, load.as_mut_ptr().cast())?;
        dm_dev_suspend(fd, resume.as_mut_ptr().cast())?;
    }
    Ok(true)
}

// --- partitions ----------------------------------------------------------------------------------

/// `struct blkpg_ioctl_arg` and `struct blkpg_partition` of `<linux/blkpg.h>`.
#[repr(C)]
struct BlkpgArg {
    op: i32,
    flags: i32,
    len: i32,
    data: *mut BlkpgPartition,
}

#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: i32,
    names: [u8; 128],
}

const BLKPG_RESIZE_PARTITION: i32 = 3;
nix::ioctl_write_ptr_bad!(blkpg, nix::request_code_none!(0x12, 105), BlkpgArg);

fn resize(disk: &str, number: &str, first: &str, sectors: &str) -> Result<bool> {
    let disk = File::open(disk)?;
    let mut partition = BlkpgPartition {
        start: first.parse::<i64>()? * 512,
        length: sectors.parse::<i64>()? * 512,
        number: number.parse()?,
        names: [0; 128],
    };
    let arg = BlkpgArg {
        op: BLKPG_RESIZE_PARTITION,
        flags: 0,
        len: size_of::<BlkpgPartition>() as i32,
        data: &mut partition,
    };
    // SAFETY: Both structures are the kernel's, and are there until it returns.
    unsafe { blkpg(disk.as_raw_fd(), &arg) }?;
    Ok(true)
}

// --- losses of power -----------------------------------------------------------------------------

/// The format of dm-log-writes, which blklogwrites writes.
const LOG_MAGIC: u64 = 0x006a_7366_7773_6872;
const LOG_FLUSH: u64 = 1;
const LOG_FUA: u64 = 2;
const LOG_DISCARD: u64 = 4;

/// A write to the area; or none, at a flush.
struct Entry {
    flush: bool,
    fua: bool,
    /// Offset in the area, and bytes.
    write: Option<(usize, Vec<u8>)>,
}

fn word(bytes: &[u8], at: usize) -> Result<u64> {
    let bytes = bytes.get(at..at + 8).ok_or("the log is cut off")?;
    Ok(u64::from_le_bytes(bytes.try_into()?))
}

/// What the log has of the `area` bytes from `start` on, in order.
fn entries(log: &[u8], start: u64, area: usize) -> Result<Vec<Entry>> {
    if word(log, 0)? != LOG_MAGIC || word(log, 8)? != 1 {
        return Err("no log of writes".into());
    }
    let count = word(log, 16)?;
    let sector = usize::try_from(word(log, 24)? & 0xffff_ffff)?;
    let mut at = sector;
    let mut list = Vec::new();
    for _ in 0..count {
        let (first, sectors, flags) = (word(log, at)?, word(log, at + 8)?, word(log, at + 16)?);
        at += sector;
        let (from, len) = (first * sector as u64, usize::try_from(sectors)? * sector);
        let mut entry = Entry {
            flush: flags & LOG_FLUSH != 0,
            fua: flags & LOG_FUA != 0,
            write: None,
        };
        let discard = flags & LOG_DISCARD != 0;
        let (end, area_end) = (from + len as u64, start + area as u64);
        let (low, high) = (from.max(start), end.min(area_end));
        if low < high {
            if discard {
                return Err("discards are not expected".into());
            }
            let skip = usize::try_from(low - from)?;
            let bytes = log
                .get(at + skip..at + skip + usize::try_from(high - low)?)
                .ok_or("the log is cut off")?;
            entry.write = Some((usize::try_from(low - start)?, bytes.to_vec()));
        }
        if !discard {
            at += len;
        }
        list.push(entry);
    }
    Ok(list)
}

/// What is in a dmesg zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// A dump, all of it; the number tells it from others.
    Whole(u64),
    Nothing,
    /// A part of one, or garbage.
    Torn,
}

struct Judge {
    layout: ZoneLayout,
    cuts: usize,
    torn: usize,
    lost: usize,
    rings: usize,
    /// Cuts by how many dumps they have.
    dumps: HashMap<usize, usize>,
}

impl Judge {
    fn seen(&self, image: &[u8], index: usize) -> Seen {
        let Some(zone) = self.layout.dmesg(index) else {
            return Seen::Torn;
        };
        let bytes = zone.of(image);
        let Some(head) = bytes.first_chunk::<DUMP_OVERHEAD>() else {
            return Seen::Torn;
        };
        match Slot::parse(head, zone.len) {
            Slot::Dump(found) => match bytes[DUMP_OVERHEAD..].get(..found.text_len()) {
                Some(text) if found.intact(text) == Some(true) => Seen::Whole(found.cookie()),
                _ => Seen::Torn,
            },
            Slot::Blank | Slot::Erased(_) => Seen::Nothing,
            Slot::Garbage(_) | Slot::Unknown => Seen::Torn,
        }
    }

    fn all(&self, image: &[u8]) -> Vec<Seen> {
        (0..self.layout.dmesg_count())
            .map(|index| self.seen(image, index))
            .collect()
    }

    /// Looks at what a loss of power left, against what was flushed before; `touched` are the zones
    /// that were written to since.
    fn cut(&mut self, image: &[u8], flushed: &[Seen], touched: &[bool], what: &str) {
        self.cuts += 1;
        let seen = self.all(image);
        let whole = seen.iter().filter(|s| matches!(s, Seen::Whole(_))).count();
        *self.dumps.entry(whole).or_default() += 1;
        for (index, now) in seen.iter().enumerate() {
            if *now == Seen::Torn {
                self.torn += 1;
                println!("# {what}: dump {index} is torn");
            }
            if !touched[index] && *now != flushed[index] {
                self.lost += 1;
                println!(
                    "# {what}: dump {index} is {now:?}, was {:?}",
                    flushed[index]
                );
            }
        }
        for (kind, zone) in self.layout.zones() {
            if kind == ZoneType::Dmesg {
                continue;
            }
            let bytes = zone.of(image);
            let good = bytes.first_chunk::<HEADER_BYTES>().is_some_and(|head| {
                head.iter().all(|b| *b == 0)
                    || Header::from_bytes(*head).ring(kind, zone.len).is_ok()
            });
            if !good {
                self.rings += 1;
                println!("# {what}: the {kind:?} zone is damaged");
            }
        }
    }
}

fn apply(image: &mut [u8], write: &(usize, Vec<u8>)) {
    put(image, write.0, &write.1);
}

fn cuts(
    image: &str,
    log: &str,
    start: &str,
    bytes: &str,
    block: &str,
    sizes: &[&str],
) -> Result<bool> {
    let (start, bytes, block) = (start.parse::<u64>()?, bytes.parse::<u64>()?, block.parse()?);
    let mut all = ZoneSizes {
        bytes,
        block,
        kmsg_size: 0x1_0000,
        pmsg_size: 0x1_0000,
        console_size: 0x1_0000,
        ftrace_size: 0x1_0000,
        tty_size: 0x1_0000,
        cpus: 2,
    };
    let mut flush = true;
    for size in sizes {
        let (key, value) = size.split_once('=').ok_or("KEY=BYTES is wanted")?;
        let value = value.parse()?;
        match key {
            "kmsg" => all.kmsg_size = value,
            "pmsg" => all.pmsg_size = value,
            "console" => all.console_size = value,
            "ftrace" => all.ftrace_size = value,
            "tty" => all.tty_size = value,
            "cpus" => all.cpus = value,
            "flushes" => flush = value != 0,
            _ => return Err(format!("no such key: {key}").into()),
        }
    }
    let layout = ZoneLayout::new(&all, true).map_err(|e| e.to_string())?;
    let mut judge = Judge {
        layout,
        cuts: 0,
        torn: 0,
        lost: 0,
        rings: 0,
        dumps: HashMap::new(),
    };
    let mut durable = vec![0; usize::try_from(bytes)?];
    let mut file = File::open(image)?;
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut durable)?;
    let list = entries(&std::fs::read(log)?, start, durable.len())?;

    // What was flushed, and the writes since.
    let mut since: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut flushes = 0;
    let zones: Vec<_> = (0..judge.layout.dmesg_count())
        .filter_map(|i| judge.layout.dmesg(i))
        .collect();
    let mut flushed = judge.all(&durable);
    for (number, entry) in list.iter().enumerate() {
        let at = format!("entry {number} of {}", list.len());
        // A flush comes before the data of its own request.
        if !flush && judge.torn > 0 {
            break;
        }
        if entry.flush && flush {
            for write in since.drain(..) {
                apply(&mut durable, &write);
            }
            flushed = judge.all(&durable);
            flushes += 1;
        }
        if let Some(write) = &entry.write {
            if entry.fua && flush {
                // It may be there before what came earlier, and is when it is done.
                for write in since.drain(..) {
                    apply(&mut durable, &write);
                }
                apply(&mut durable, write);
                flushed = judge.all(&durable);
                continue;
            }
            since.push(write.clone());
        } else {
            continue;
        }
        let touched: Vec<bool> = zones
            .iter()
            .map(|zone| {
                since.iter().any(|(at, bytes)| {
                    *at < zone.offset + zone.len && at + bytes.len() > zone.offset
                })
            })
            .collect();
        let last = since.len() - 1;
        // All in order, the last one up to each block of it.
        let mut image = durable.clone();
        for write in &since[..last] {
            apply(&mut image, write);
        }
        let (to, from) = &since[last];
        for (i, piece) in from.chunks(block).enumerate() {
            put(&mut image, to + i * block, piece);
            judge.cut(&image, &flushed, &touched, &at);
        }
        // In another order: one of them has not come, one only has, or only one block of one.
        for skipped in 0..=last {
            let mut image = durable.clone();
            for (i, write) in since.iter().enumerate() {
                if i != skipped {
                    apply(&mut image, write);
                }
            }
            judge.cut(
                &image,
                &flushed,
                &touched,
                &format!("{at} without {skipped}"),
            );
            let mut image = durable.clone();
            apply(&mut image, &since[skipped]);
            judge.cut(&image, &flushed, &touched, &format!("{at}, only {skipped}"));
        }
        for (i, piece) in from.chunks(block).enumerate() {
            let mut image = durable.clone();
            put(&mut image, to + i * block, piece);
            judge.cut(&image, &flushed, &touched, &format!("{at}, only block {i}"));
        }
    }
    let mut by_dumps: Vec<_> = judge.dumps.iter().collect();
    by_dumps.sort();
    for (dumps, cuts) in by_dumps {
        println!("# {cuts} cuts with {dumps} dumps");
    }
    let end = {
        for write in &since {
            apply(&mut durable, write);
        }
        let whole = |s: &Seen| matches!(s, Seen::Whole(_));
        judge.all(&durable).iter().filter(|s| whole(s)).count()
    };
    println!(
        "cuts {} flushes {flushes} dumps {end} torn {} lost {} rings {}",
        judge.cuts, judge.torn, judge.lost, judge.rings
    );
    Ok(judge.torn + judge.lost + judge.rings == 0 && judge.cuts > 0)
}
