// SPDX-License-Identifier: GPL-2.0

//! How a region is divided, told from what is in it.
//!
//! A region says nothing about its sizes. But every zone begins with a signature, so their
//! distances are known; all dmesg zones have one length and come first, other zones have lengths
//! that are powers of two; records begin with a line of their own; and with parity, the end of
//! each zone fits its header for one number of parity bytes only.

use super::ram;
use mpstore_format::{
    ecc::{
        Codec,
        EccGeometry,
        ECC_SIZE_MAX, //
    },
    ftrace::version_of,
    layout::{
        RamLayout,
        Zone,
        ZoneKind, //
    },
    ram::{
        split_zone,
        Header,
        Ring,
        HEADER_BYTES,
        SIGNATURE, //
    },
    record::DmesgHeader,
};

/// Largest region that is looked for, and farthest that two zones of one region begin apart.
pub(crate) const REGION_MAX: usize = 64 << 20;
/// Most zones of a region.
const ZONES_MAX: usize = 1024;

/// A guess at the division of a region.
#[derive(Clone, Debug)]
pub(crate) struct Guess {
    /// From the first zone to behind the last one, as far as known.
    pub(crate) len: usize,
    pub(crate) layout: RamLayout,
    pub(crate) ecc_size: usize,
    /// How much speaks for it, from 0 to 100.
    pub(crate) score: u32,
    /// How many zones hold something.
    pub(crate) used: usize,
    /// Why it may be wrong.
    pub(crate) doubt: Option<&'static str>,
}

/// A place that looks like the header of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) at: usize,
    pub(crate) header: Header,
}

impl Hit {
    fn traces(&self) -> bool {
        self.header.sig != SIGNATURE
    }
}

/// Whether the counters are possible for any zone.
fn plausible(header: Header) -> bool {
    header.start <= header.size
        && usize::try_from(header.size).is_ok_and(|size| size < REGION_MAX)
        && (header.sig == SIGNATURE || version_of(header.sig).is_some())
}

fn header_at(bytes: &[u8], at: usize) -> Option<Header> {
    let (header, _) = split_zone(bytes.get(at..)?)?;
    Some(header)
}

/// Every place in `bytes` that looks like the header of a plain zone. Zones begin at even offsets.
pub(crate) fn hits(bytes: &[u8]) -> Vec<Hit> {
    let mut out = Vec::new();
    for at in memchr::memmem::find_iter(bytes, &SIGNATURE.to_ne_bytes()) {
        if at % 2 != 0 {
            continue;
        }
        if let Some(header) = header_at(bytes, at).filter(|header| plausible(*header)) {
            out.push(Hit { at, header });
        }
    }
    out
}

/// Codecs for every number of parity bytes from 1 on.
fn codecs() -> &'static [Codec] {
    static CODECS: std::sync::OnceLock<Vec<Codec>> = std::sync::OnceLock::new();
    CODECS.get_or_init(|| {
        (1..=ECC_SIZE_MAX)
            .filter_map(|size| Codec::new(size).ok())
            .collect()
    })
}

/// The number of parity bytes with which the parity of the zone's header is right, none if it
/// fits none. A header of zeros has a parity of zeros and tells nothing, but its signature is not
/// zero.
fn ecc_of(zone: &[u8]) -> Option<usize> {
    let header = zone.first_chunk::<HEADER_BYTES>()?;
    // The usual one first. One is never in use: as a parameter it means 16.
    let order = std::iter::once(16).chain((2..=ECC_SIZE_MAX).rev());
    for size in order {
        let from = zone.len().checked_sub(size)?;
        if from <= HEADER_BYTES || EccGeometry::new(zone.len(), size).is_err() {
            continue;
        }
        let codec = codecs().get(size - 1)?;
        let mut parity = vec![0; size];
        codec.encode(header, &mut parity);
        if zone.get(from..) == Some(parity.as_slice()) && parity.iter().any(|b| *b != 0) {
            return Some(size);
        }
    }
    None
}

fn accepted(zone: &[u8], sig: u32, ecc_size: usize) -> bool {
    let Ok(geometry) = EccGeometry::new(zone.len(), ecc_size) else {
        return false;
    };
    header_at(zone, 0).is_some_and(|h| Ring::check(h, sig, geometry.capacity()).is_ok())
}

/// What the content of a zone speaks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Empty,
    Record,
    Stream,
    Tty,
}

fn content(zone: &[u8], ecc_size: usize) -> Content {
    match ram::content(zone, SIGNATURE, ecc_size) {
        Some((text, _)) if text.is_empty() => Content::Empty,
        Some((text, _)) if DmesgHeader::parse(&text).is_some() => Content::Record,
        Some((text, _)) => {
            let lines = mpstore_format::tty::lines(&text).take(40);
            let (stamped, all) = lines.fold((0, 0), |(stamped, all), line| {
                (stamped + usize::from(line.time_us.is_some()), all + 1)
            });
            if stamped * 2 > all {
                Content::Tty
            } else {
                Content::Stream
            }
        }
        None => Content::Empty,
    }
}

/// The largest power of two that `len` has room for.
fn power(len: usize) -> usize {
    len.checked_ilog2().map_or(0, |log| 1 << log)
}

/// Zones of function trace from `at` on, before `end`: their length and number.
fn trace_row(bytes: &[u8], at: usize, end: usize) -> (usize, usize, usize) {
    let traced = |at: usize| {
        header_at(bytes, at)
            .filter(|h| h.sig != SIGNATURE && version_of(h.sig).is_some() && plausible(*h))
    };
    let Some(first) = traced(at) else {
        return (at, 0, 0);
    };
    // All have the signature of one kernel version; a ring of another may be left over.
    let same = first.sig.to_ne_bytes();
    let rest = bytes.get(at..end.min(bytes.len())).unwrap_or(&[]);
    let mut stride = 0;
    for next in memchr::memmem::find_iter(rest, &same).take(64) {
        if next >= 36 && next % 2 == 0 && traced(at + next).is_some() {
            stride = next;
            break;
        }
    }
    if stride == 0 {
        return (at, power(end.saturating_sub(at)), 1);
    }
    let mut count = 1;
    while count < ZONES_MAX
        && at + (count + 1) * stride <= end
        && traced(at + count * stride).is_some()
    {
        count += 1;
    }
    (at, stride, count)
}

/// [`guess`] for the first of `hits`, or one of those behind it that makes more sense as the first
/// zone: something else that looks like a zone may be in front of a region. Also says how many hits
/// are in front of it.
pub(crate) fn best(
    bytes: &[u8],
    hits: &[Hit],
    end: Option<usize>,
) -> Option<(usize, Guess, usize)> {
    let (mut best, mut used) = guess(bytes, hits, end)?;
    let mut skip = 0;
    let reach = hits.first()?.at.saturating_add(best.len);
    for (n, hit) in hits.iter().enumerate().skip(1).take(4) {
        if hit.at % 4096 != 0 || hit.at >= reach {
            continue;
        }
        if let Some((other, of_it)) = guess(bytes, hits.get(n..)?, end) {
            if other.score > best.score {
                (best, used, skip) = (other, of_it, n);
            }
        }
    }
    Some((skip, best, used))
}

/// How long the zone at `place` is, a power of two: up to the zone of a trace behind it, or the
/// `next` plain one. Of the last zone only the content tells, if the region's end does not.
fn len_of(bytes: &[u8], place: usize, next: Option<usize>, end: usize, ecc_size: usize) -> usize {
    let limit = next.unwrap_or(end);
    let powers = || {
        (6..26)
            .map(|log| 1usize << log)
            .filter(move |len| place + len <= limit)
    };
    if ecc_size > 0 {
        let zone = |len: usize| bytes.get(place..place + len);
        if let Some(len) = powers().find(|len| zone(*len).and_then(ecc_of) == Some(ecc_size)) {
            return len;
        }
    }
    if let Some(len) = powers().find(|len| trace_row(bytes, place + len, limit).2 > 0) {
        return len;
    }
    let room = limit.saturating_sub(place);
    // Rounding leaves some bytes over behind the last zone.
    if next.is_some() || room - power(room) < 256 {
        return power(room);
    }
    let held = header_at(bytes, place).map_or(0, |h| usize::try_from(h.size).unwrap_or(0));
    (held + HEADER_BYTES)
        .next_power_of_two()
        .max(4096)
        .min(power(room))
}

/// Guesses how the region that begins with the first of `hits` is divided, `hits` being those in
/// `bytes`. `end` is where it ends, if that is known. Also says how many of the hits it has used.
pub(crate) fn guess(bytes: &[u8], hits: &[Hit], end: Option<usize>) -> Option<(Guess, usize)> {
    let first = hits.first()?.at;
    let bytes = bytes.get(first..)?;
    let end = end
        .map_or(bytes.len(), |end| end.saturating_sub(first))
        .min(bytes.len())
        .min(REGION_MAX);
    let places: Vec<usize> = hits
        .iter()
        .filter(|hit| !hit.traces() && hit.at - first < end)
        .map(|hit| hit.at - first)
        .take(ZONES_MAX)
        .collect();

    // With parity the length of the first zone is known by it: try each distance.
    let mut stride = None;
    for place in places.iter().skip(1).take(8) {
        if let Some(ecc) = bytes.get(..*place).and_then(ecc_of) {
            stride = Some((*place, ecc));
            break;
        }
    }
    let (stride, ecc_size) = match (stride, places.get(1)) {
        (Some(found), _) => found,
        (None, Some(second)) => (*second, 0),
        (None, None) => {
            // Alone: with parity a power of two fits.
            let len = (9..26)
                .map(|log| 1usize << log)
                .filter(|len| *len <= end)
                .find_map(|len| Some((len, ecc_of(bytes.get(..len)?)?)));
            len.unwrap_or((power(end), 0))
        }
    };

    // Only what lies on the way from one zone to the next counts; data may hold the signature.
    let mut chain: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    let next_place = |at: usize| places.iter().find(|place| **place >= at).copied();
    while places.binary_search(&at).is_ok() && chain.len() < ZONES_MAX && at + stride <= end {
        let zone = bytes.get(at..at + stride)?;
        // The tail has other lengths: something must begin where this zone ends, but for the few
        // bytes that rounding leaves over.
        let behind = at + stride;
        let slack = 2 * (chain.len() + 2);
        // One that begins behind this one's content is another zone; in it, it is content.
        let held = header_at(zone, 0).map_or(0, |h| usize::try_from(h.size).unwrap_or(0));
        let between = next_place(at + HEADER_BYTES + held).is_some_and(|place| place < behind);
        let ends = !between
            && (behind + slack >= end
                || next_place(behind).is_some_and(|place| place - behind < slack)
                || trace_row(bytes, behind, end).2 > 0);
        let parity = ecc_size > 0 && ecc_of(zone) != Some(ecc_size);
        if at > 0 && (!ends || !accepted(zone, SIGNATURE, ecc_size) || parity) {
            break;
        }
        chain.push((at, stride));
        at += stride;
    }
    if chain.is_empty() {
        return None;
    }
    let equal = chain.len();
    // What follows: at most two plain zones, the trace, the one at the end.
    let mut tail: Vec<(usize, usize)> = Vec::new();
    let mut trace = (at, 0, 0);
    let mut last = None;
    while let Some(place) = places.iter().find(|place| **place >= at).copied() {
        let found = trace_row(bytes, at, place);
        if found.2 > 0 && trace.2 == 0 && place > at {
            trace = found;
        }
        if place != at || trace.2 > 0 {
            last = Some(place);
            break;
        }
        let len = len_of(bytes, place, next_place(place + 1), end, ecc_size);
        tail.push((place, len));
        at = place + len;
        if tail.len() == 3 {
            break;
        }
    }
    if trace.2 == 0 && last.is_none() {
        let found = trace_row(bytes, at, end);
        if found.2 > 0 {
            trace = found;
        }
    }
    if trace.2 > 0 {
        at = trace.0 + trace.1 * trace.2;
    }
    // A zone at the end belongs to this region only if it is a power of two away from its end, or
    // nothing tells that end.
    let mut tty = None;
    if let Some(place) = last {
        let len = len_of(bytes, place, next_place(place + 1), end, ecc_size);
        let near = place - at < stride.max(power(place)).max(1 << 20);
        if near && accepted(bytes.get(place..place + len)?, SIGNATURE, ecc_size) {
            tty = Some((place, len));
        }
    }

    // Which of the zones of equal length are dmesg zones?
    let mut best: Option<(u32, usize)> = None;
    let all: Vec<_> = chain.iter().chain(&tail).copied().collect();
    let contents: Vec<Content> = all
        .iter()
        .map(|(at, len)| content(bytes.get(*at..*at + *len).unwrap_or(&[]), ecc_size))
        .collect();
    for dmesg in (0..=equal).rev() {
        let others = all.len() - dmesg;
        // Console, pmsg, and tty where no trace is in between.
        let most = if trace.2 > 0 || tty.is_some() { 2 } else { 3 };
        if others > most {
            break;
        }
        let lens_fit = all.iter().skip(dmesg).all(|(_, len)| len.is_power_of_two());
        if !lens_fit {
            continue;
        }
        let mut score = 0;
        let full = |c: &Content| matches!(c, Content::Stream | Content::Tty);
        // The console is the first stream, and has something if any has.
        let first_full = contents.iter().position(full).filter(|n| *n >= dmesg);
        for (n, content) in contents.iter().enumerate() {
            score += match (n < dmesg, content) {
                (true, Content::Record) => 8,
                (true, Content::Empty) => 2,
                (true, Content::Stream | Content::Tty) => 0,
                (false, Content::Record) => 0,
                (false, Content::Empty) if first_full.is_some_and(|first| n < first) => 1,
                // A stream that is not tty at the end of three speaks against it.
                (false, Content::Empty) => 3,
                (false, Content::Tty) if n + 1 == all.len() && n >= dmesg => 8,
                (false, Content::Stream | Content::Tty) => 7,
            };
        }
        // Both streams are there by default.
        if others >= 2 && first_full.is_none_or(|first| first == dmesg) {
            score += 2;
        }
        if best.is_none_or(|(old, _)| score > old) {
            best = Some((score, dmesg));
        }
    }
    let (_, dmesg) = best?;
    let mut streams = all.iter().skip(dmesg).copied();
    let console = streams.next();
    let mut pmsg = streams.next();
    let mut third = streams.next();
    // Two streams, the second of ttys: no pmsg.
    if third.is_none()
        && tty.is_none()
        && trace.2 == 0
        && pmsg.is_some()
        && contents.last() == Some(&Content::Tty)
    {
        third = pmsg.take();
    }
    let tty = tty.or(third);
    let empty = (0, 0);
    let row = |kind, zone: Option<(usize, usize)>, before: usize| {
        let (at, len) = zone.unwrap_or(empty);
        match zone {
            Some(_) => (kind, at, len, 1),
            None => (kind, before, 0, 0),
        }
    };
    let dmesg_end = dmesg * stride;
    let console_row = row(ZoneKind::Console, console, dmesg_end);
    let pmsg_row = row(ZoneKind::Pmsg, pmsg, console_row.1 + console_row.2);
    let pmsg_end = pmsg_row.1 + pmsg_row.2;
    let trace_row = match trace {
        (at, len, count) if count > 0 && at >= pmsg_end => (ZoneKind::Ftrace, at, len, count),
        _ => (ZoneKind::Ftrace, pmsg_end, 0, 0),
    };
    let tty_row = row(ZoneKind::Tty, tty, trace_row.1 + trace_row.2 * trace_row.3);
    let dmesg_len = if dmesg > 0 { stride & !1 } else { 0 };
    let rows = [
        (ZoneKind::Dmesg, 0, dmesg_len, dmesg),
        console_row,
        pmsg_row,
        trace_row,
        tty_row,
    ];
    let len = rows
        .iter()
        .map(|(_, at, len, count)| at + len * count)
        .max()?;
    let layout = RamLayout::from_rows(rows, len, ecc_size).ok()?;
    let zones: Vec<Zone> = layout.zones().map(|(_, _, zone)| zone).collect();
    let used = layout
        .zones()
        .filter(|(kind, _, zone)| {
            let zone = zone.of(bytes);
            *kind == ZoneKind::Ftrace && header_at(zone, 0).is_some_and(|h| h.size > 0)
                || *kind != ZoneKind::Ftrace && content(zone, ecc_size) != Content::Empty
        })
        .count();
    let records = contents.iter().filter(|c| **c == Content::Record).count();
    let mut score = 0u32;
    score += u32::from(first % 4096 == 0) * 16;
    score += u32::try_from(zones.len().min(4)).unwrap_or(0) * 6;
    score += u32::from(records > 0) * 20;
    score += u32::from(ecc_size > 0) * 20;
    score += u32::from(used > 0) * 10;
    // With two, nothing confirms that the distance is a length.
    score += u32::from(dmesg > 2) * 10;
    let doubt = if used == 0 {
        Some("no zone holds anything, so the kinds of the zones are a guess")
    } else if records == 0 {
        Some("no dmesg record in it, so the kinds of the zones are a guess")
    } else if used < zones.len() {
        Some("zones without content: their kinds are a guess")
    } else {
        None
    };
    let consumed = hits
        .iter()
        .filter(|hit| hit.at - first < len)
        .count()
        .max(1);
    Some((
        Guess {
            len,
            layout,
            ecc_size,
            score: score.min(100),
            used,
            doubt,
        },
        consumed,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpstore_format::{
        ecc::seal_zone,
        layout::RamSizes,
        record::Stamp, //
    };

    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/c-ramoops-64k-ecc16.img");

    fn alone(bytes: &[u8]) -> Guess {
        let hits = hits(bytes);
        guess(bytes, &hits, None).unwrap().0
    }

    #[test]
    fn the_golden_region_tells_its_sizes() {
        let guess = alone(GOLDEN);
        let expected = RamLayout::new(&RamSizes {
            mem_size: 0x10000,
            record_size: 0x1000,
            console_size: 0x2000,
            ftrace_size: 0x1000,
            pmsg_size: 0x1000,
            tty_size: 0,
            ftrace_zones: 2,
            ecc_size: 16,
        })
        .unwrap();
        assert_eq!(guess.ecc_size, 16);
        let zones = |layout: &RamLayout| layout.zones().collect::<Vec<_>>();
        assert_eq!(zones(&guess.layout), zones(&expected));
        assert_eq!(guess.score, 100);
    }

    fn put(zone: &mut [u8], sig: u32, text: &[u8], ecc_size: usize) {
        let capacity = EccGeometry::new(zone.len(), ecc_size).unwrap().capacity();
        let mut ring = Ring::empty(capacity);
        let plan = ring.append(text.len());
        let mut rest = &text[plan.skip..];
        for span in plan.spans {
            let (now, later) = rest.split_at(span.len);
            zone[HEADER_BYTES + span.at..HEADER_BYTES + span.end()].copy_from_slice(now);
            rest = later;
        }
        zone[..HEADER_BYTES].copy_from_slice(&ring.header(sig).to_bytes());
        seal_zone(zone, ecc_size).unwrap();
    }

    fn region(sizes: &RamSizes) -> (Vec<u8>, RamLayout) {
        let layout = RamLayout::new(sizes).unwrap();
        let mut bytes = vec![0; sizes.mem_size];
        for (kind, index, zone) in layout.zones() {
            let text = match kind {
                ZoneKind::Dmesg if index == 0 => {
                    let mut line = [0; mpstore_format::record::DMESG_HEADER_MAX];
                    let header = DmesgHeader {
                        stamp: Stamp { sec: 5, usec: 6 },
                        compressed: false,
                    };
                    let len = header.encode(&mut line);
                    [&line[..len], b"Oops#1 Part1\n<4>[    1.0] x\n"].concat()
                }
                ZoneKind::Dmesg => Vec::new(),
                ZoneKind::Console => b"[    0.000000] Linux\n".to_vec(),
                ZoneKind::Pmsg => b"hello\n".to_vec(),
                ZoneKind::Ftrace => vec![1; 48],
                ZoneKind::Tty => b"[    1.000000] ttyS0: x\n".repeat(5),
            };
            let sig = match kind {
                ZoneKind::Ftrace => SIGNATURE ^ 0x07_03_04,
                _ => SIGNATURE,
            };
            put(zone.of_mut(&mut bytes), sig, &text, sizes.ecc_size);
        }
        (bytes, layout)
    }

    #[test]
    fn regions_of_many_sizes_tell_them() {
        for ecc_size in [0, 8, 16, 32] {
            for record_size in [0x1000, 0x4000] {
                for console_size in [0x1000, 0x4000] {
                    for pmsg_size in [0, 0x1000] {
                        for ftrace_size in [0, 0x1000, 0x2000] {
                            for tty_size in [0, 0x1000, 0x8000] {
                                let sizes = RamSizes {
                                    mem_size: 0x40000,
                                    record_size,
                                    console_size,
                                    ftrace_size,
                                    pmsg_size,
                                    tty_size,
                                    ftrace_zones: 2,
                                    ecc_size,
                                };
                                let (bytes, layout) = region(&sizes);
                                let guess = alone(&bytes);
                                assert_eq!(guess.ecc_size, ecc_size, "{sizes:?}");
                                let rows = |layout: &RamLayout| {
                                    layout.rows().map(|(kind, at, len, count)| match count {
                                        0 => (kind, 0, 0, 0),
                                        _ => (kind, at, len, count),
                                    })
                                };
                                assert_eq!(rows(&guess.layout), rows(&layout), "{sizes:?}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn noise_is_no_region() {
        assert!(hits(&[0; 4096]).is_empty());
        assert!(hits(b"DBGC").is_empty());
        let mut bytes = vec![0xff; 4096];
        bytes[..4].copy_from_slice(b"DBGC");
        assert!(hits(&bytes).is_empty());
    }
}
