// SPDX-License-Identifier: GPL-2.0

//! Zones of a block device, as mpstore and the in-tree pstore_blk have them.

use super::{
    symbols::Symbols,
    unpack, //
};
use crate::record::{
    Kind,
    Record, //
};
use mpstore_format::{
    ftrace::{
        Merge,
        Run, //
    },
    layout::Zone,
    text::HeadLine,
    zone::{
        Header,
        Slot,
        ZoneLayout,
        ZoneSizes,
        ZoneType,
        DUMP_OVERHEAD,
        GRAIN,
        HEADER_BYTES,
        ZONE_MAX, //
    },
};

/// The kinds of zones.
const TYPES: [ZoneType; 5] = [
    ZoneType::Pmsg,
    ZoneType::Console,
    ZoneType::Ftrace,
    ZoneType::Dmesg,
    ZoneType::Tty,
];

/// A division of a device, and how sure it is.
pub(crate) struct Guess {
    pub(crate) zones: Vec<(ZoneType, Zone)>,
    pub(crate) score: u32,
    pub(crate) doubt: Option<&'static str>,
}

pub(crate) const fn name_of(kind: ZoneType) -> &'static str {
    match kind {
        ZoneType::Dmesg => "dmesg",
        ZoneType::Console => "console",
        ZoneType::Ftrace => "ftrace",
        ZoneType::Pmsg => "pmsg",
        ZoneType::Tty => "tty",
    }
}

fn header(bytes: &[u8], at: usize) -> Option<Header> {
    let head = bytes.get(at..)?.first_chunk::<HEADER_BYTES>()?;
    Some(Header::from_bytes(*head))
}

/// Whether that is the header of some zone of a device, whatever its size may be.
pub(crate) fn signed(header: &Header) -> bool {
    TYPES
        .into_iter()
        .any(|kind| header.sig == kind.signature() && header.ring(kind, ZONE_MAX).is_ok())
}

/// How many zones of a division have a header of their kind.
pub(crate) fn fits(bytes: &[u8], guess: &Guess) -> usize {
    guess
        .zones
        .iter()
        .filter(|(kind, zone)| {
            header(bytes, zone.offset).is_some_and(|h| h.ring(*kind, zone.len).is_ok())
        })
        .count()
}

/// The kind of zone that a header tells of.
fn kind_at(bytes: &[u8], at: usize) -> Option<ZoneType> {
    let header = header(bytes, at)?;
    let kind = TYPES
        .into_iter()
        .find(|kind| kind.signature() == header.sig)?;
    header.ring(kind, ZONE_MAX).ok()?;
    if kind == ZoneType::Dmesg {
        // A ramoops zone has this signature, too; but it has no dump header.
        let head = bytes.get(at..)?.first_chunk::<DUMP_OVERHEAD>()?;
        match Slot::parse(head, ZONE_MAX) {
            Slot::Dump(_) | Slot::Erased(Some(_)) => {}
            _ => return None,
        }
    }
    Some(kind)
}

/// Every zone of a layout.
pub(crate) fn of_sizes(sizes: &ZoneSizes) -> Result<Guess, mpstore_format::zone::ZoneError> {
    let layout = ZoneLayout::new(sizes, sizes.tty_size > 0)?;
    Ok(Guess {
        zones: layout.zones().collect(),
        score: 100,
        doubt: None,
    })
}

/// Finds the zones on a device by their signatures. All begin at multiples of 4096, save zones of a
/// function trace whose size is divided by the number of CPUs, and what follows them.
///
/// A zone reaches to the next one at most; its own length is not on the medium. So that of a ring
/// which was full is what it holds.
pub(crate) fn guess(bytes: &[u8]) -> Option<Guess> {
    let mut found: Vec<(ZoneType, usize)> = Vec::new();
    let low = ZoneType::Dmesg.signature().to_ne_bytes();
    // All signatures have the same upper bytes.
    let upper = low.get(1..)?;
    for at in memchr::memmem::find_iter(bytes, upper) {
        let Some(at) = at.checked_sub(1) else {
            continue;
        };
        let regular = at % GRAIN == 0;
        let Some(kind) = kind_at(bytes, at) else {
            continue;
        };
        if !regular && kind != ZoneType::Ftrace && kind != ZoneType::Dmesg {
            continue;
        }
        // A copy inside of a zone, as in a log of a hex dump.
        let inside = found.last().is_some_and(|(last, start)| {
            let size = header(bytes, *start).map_or(0, |h| h.datalen);
            usize::try_from(size)
                .is_ok_and(|size| *last != kind && at < start + HEADER_BYTES + size)
        });
        if !inside || regular {
            found.push((kind, at));
        }
    }
    if found.is_empty() {
        return None;
    }
    // Dumps are all of one length: the smallest distance of two, or a multiple is missing.
    let dumps: Vec<usize> = found
        .iter()
        .filter(|(kind, _)| *kind == ZoneType::Dmesg)
        .map(|(_, at)| *at)
        .collect();
    let stride = dumps
        .windows(2)
        .filter_map(|w| Some(w.get(1)? - w.first()?))
        .min();
    let mut zones = Vec::new();
    for (n, (kind, at)) in found.iter().enumerate() {
        let next = found.get(n + 1).map_or(bytes.len(), |(_, next)| *next);
        let most = (next - at).min(ZONE_MAX);
        let held = header(bytes, *at).map_or(0, |h| usize::try_from(h.datalen).unwrap_or(0))
            + HEADER_BYTES;
        let len = match (kind, stride) {
            (ZoneType::Dmesg, Some(stride)) => stride.min(most),
            // A wrapped ring is exactly as long as what it holds.
            (ZoneType::Console | ZoneType::Pmsg | ZoneType::Tty, _) if held % GRAIN == 0 => held,
            _ => most,
        };
        zones.push((*kind, Zone { offset: *at, len }));
    }
    let dump = !dumps.is_empty();
    let score = 30 + u32::from(dump) * 30 + u32::try_from(zones.len().min(4)).unwrap_or(0) * 8;
    Some(Guess {
        zones,
        score: score.min(95),
        doubt: (!dump).then_some("no dump on it: it may hold something else by chance"),
    })
}

/// All records of a device.
pub(crate) fn records(
    bytes: &[u8],
    guess: &Guess,
    backend: &str,
    origin: &str,
    symbols: &Symbols,
) -> Vec<Record> {
    let mut out = Vec::new();
    let mut dumps = 0;
    let mut traces: Vec<Vec<u8>> = Vec::new();
    for (kind, zone) in &guess.zones {
        let place = zone.of(bytes);
        if *kind == ZoneType::Dmesg {
            let id = dumps;
            dumps += 1;
            out.extend(dump(place, id, backend, origin));
            continue;
        }
        let Some(text) = ring(place, *kind) else {
            continue;
        };
        if *kind == ZoneType::Ftrace {
            traces.push(text);
        } else if !text.is_empty() {
            out.push(record(
                Kind::parse(name_of(*kind)),
                0,
                text,
                backend,
                origin,
            ));
        }
    }
    let mut runs: Vec<_> = traces
        .iter()
        .enumerate()
        .map(|(n, text)| Run::new(text, n))
        .collect();
    let mut text = String::new();
    for (_, entry) in Merge::new(&mut runs) {
        // These zones do not tell the kernel's version.
        symbols.line(symbols.version().unwrap_or(0), &entry, &mut text);
    }
    if !text.is_empty() {
        out.push(record(Kind::Ftrace, 0, text.into_bytes(), backend, origin));
    }
    out
}

fn record(kind: Kind, id: u64, text: Vec<u8>, backend: &str, origin: &str) -> Record {
    Record {
        backend: backend.to_owned(),
        kind,
        id,
        time: None,
        text,
        notice: 0,
        parity: None,
        encoded: false,
        origin: origin.to_owned(),
        path: None,
        remark: None,
    }
}

fn ring(zone: &[u8], kind: ZoneType) -> Option<Vec<u8>> {
    let ring = header(zone, 0)?.ring(kind, zone.len()).ok()?;
    let data = zone.get(HEADER_BYTES..)?;
    Some(ring.linear().map(|span| span.of(data)).concat())
}

/// The dump in a zone. The line `Oops: Total 1 times`, which the in-tree code puts in front of text
/// that is not compressed, is not on the medium.
fn dump(zone: &[u8], id: u64, backend: &str, origin: &str) -> Option<Record> {
    let head = zone.first_chunk::<DUMP_OVERHEAD>()?;
    let Slot::Dump(found) = Slot::parse(head, zone.len()) else {
        return None;
    };
    let stored = zone.get(DUMP_OVERHEAD..)?.get(..found.text_len())?;
    let mut encoded = false;
    let text = if found.info.compressed {
        match unpack(stored, zone.len().saturating_mul(64)) {
            Some(text) => text,
            None => {
                encoded = true;
                stored.to_vec()
            }
        }
    } else {
        stored.to_vec()
    };
    let mut record = record(Kind::Dmesg, id, text, backend, origin);
    record.time = Some(found.info.stamp);
    record.encoded = encoded;
    if found.intact(stored) == Some(false) {
        record.remark = Some("its checksum is wrong: only a part of it was written".to_owned());
    } else if !encoded && HeadLine::parse(&record.text).is_none() && found.info.compressed {
        record.remark = Some("it does not begin as a dump does".to_owned());
    }
    Some(record)
}
