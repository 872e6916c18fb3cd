// SPDX-License-Identifier: GPL-2.0

//! Zones as ramoops has them: rings, parity, compression.

use super::{
    symbols::Symbols,
    unpack, //
};
use crate::record::{
    Kind,
    Parity,
    Record, //
};
use mpstore_format::{
    dump::EXPANSION_MAX,
    ecc::{
        repair_zone,
        EccGeometry,
        Repair, //
    },
    ftrace::{
        version_of,
        Merge,
        Run, //
    },
    layout::{
        RamLayout,
        Zone,
        ZoneKind, //
    },
    ram::{
        split_zone,
        zone_text,
        SIGNATURE, //
    },
    record::{
        DmesgHeader,
        Stamp, //
    },
};

/// How the records of a region are called, and what helps to read them.
pub(crate) struct Naming<'a> {
    /// The backend's name.
    pub(crate) backend: &'a str,
    /// Added to each id.
    pub(crate) first_id: u64,
    /// The time of what has none of its own.
    pub(crate) time: Option<Stamp>,
    /// Where the region is, for people.
    pub(crate) origin: &'a str,
    /// Whether a record may become larger than the in-tree reader takes.
    pub(crate) symbols: &'a Symbols,
}

/// The content of a zone, corrected and in order, and what parity told. [`None`] if the zone is
/// garbage.
pub(crate) fn content(zone: &[u8], sig: u32, ecc_size: usize) -> Option<(Vec<u8>, Repair)> {
    let mut zone = zone.to_vec();
    let repair = repair_zone(&mut zone, sig, ecc_size).ok()?;
    let text = zone_text(&zone, sig, ecc_size).ok()?.concat();
    Some((text, repair))
}

/// The signature of a zone, corrected if there is parity.
pub(crate) fn signature(zone: &[u8], ecc_size: usize) -> Option<u32> {
    let (header, _) = split_zone(zone)?;
    if header.sig == SIGNATURE || version_of(header.sig).is_some() || ecc_size == 0 {
        return Some(header.sig);
    }
    let mut zone = zone.to_vec();
    // Any signature: only the header is of interest.
    repair_zone(&mut zone, SIGNATURE, ecc_size).ok()?;
    split_zone(&zone).map(|(header, _)| header.sig)
}

/// What is appended to a record about its damage, as the mounted tree has it.
pub(crate) fn notice(repair: Repair) -> String {
    if repair == Repair::default() {
        "\nECC: No errors detected\n".to_owned()
    } else {
        format!(
            "\nECC: {} Corrected bytes, {} unrecoverable blocks\n",
            repair.corrected, repair.lost
        )
    }
}

/// A record of `text`, with the notice if there is parity.
fn finish(
    naming: &Naming<'_>,
    kind: Kind,
    id: u64,
    mut text: Vec<u8>,
    repair: Option<Repair>,
) -> Record {
    let notice = repair.map_or(String::new(), notice);
    text.extend_from_slice(notice.as_bytes());
    Record {
        backend: naming.backend.to_owned(),
        kind,
        id: naming.first_id.saturating_add(id),
        time: naming.time,
        text,
        notice: notice.len(),
        parity: repair.map(|repair| Parity {
            corrected: repair.corrected,
            lost: repair.lost,
        }),
        encoded: false,
        origin: naming.origin.to_owned(),
        path: None,
        remark: None,
    }
}

/// The record of a dmesg zone, if it holds one.
pub(crate) fn dmesg(naming: &Naming<'_>, zone: &[u8], id: u64, ecc_size: usize) -> Option<Record> {
    let (stored, repair) = content(zone, SIGNATURE, ecc_size)?;
    let (header, skip) = DmesgHeader::parse(&stored)?;
    let payload = stored.get(skip..)?;
    let mut encoded = false;
    let text = if header.compressed {
        let capacity = EccGeometry::new(zone.len(), ecc_size).ok()?.capacity();
        match unpack(payload, capacity.saturating_mul(EXPANSION_MAX)) {
            Some(text) => text,
            None => {
                encoded = true;
                payload.to_vec()
            }
        }
    } else {
        payload.to_vec()
    };
    let repair = (ecc_size != 0).then_some(repair);
    let mut record = finish(naming, Kind::Dmesg, id, text, repair);
    record.time = Some(header.stamp);
    record.encoded = encoded;
    Some(record)
}

/// All records of a region, as far as its zones are whole, in the order of the medium.
pub(crate) fn records(
    naming: &Naming<'_>,
    region: &[u8],
    layout: &RamLayout,
    ecc_size: usize,
) -> Vec<Record> {
    let mut out = Vec::new();
    let mut trace = Vec::new();
    for (kind, index, zone) in layout.zones() {
        let bytes = zone.of(region);
        match kind {
            ZoneKind::Dmesg => out.extend(dmesg(naming, bytes, index as u64, ecc_size)),
            ZoneKind::Ftrace => {
                let version =
                    signature(bytes, ecc_size).and_then(|sig| Some((sig, version_of(sig)?)));
                if let Some((sig, version)) = version {
                    if let Some((text, repair)) = content(bytes, sig, ecc_size) {
                        trace.push((version, text, repair));
                    }
                }
            }
            ZoneKind::Console | ZoneKind::Pmsg | ZoneKind::Tty => {
                match content(bytes, SIGNATURE, ecc_size) {
                    Some((text, repair)) if !text.is_empty() => {
                        let repair = (ecc_size != 0).then_some(repair);
                        out.push(finish(naming, kind.into(), 0, text, repair));
                    }
                    _ => {}
                }
            }
        }
    }
    if trace
        .iter()
        .any(|(_, text, _)| mpstore_format::ftrace::count(text) > 0)
    {
        let repair = trace
            .iter()
            .fold(Repair::default(), |sum, (_, _, repair)| Repair {
                corrected: sum.corrected + repair.corrected,
                lost: sum.lost + repair.lost,
            });
        let text = trace_text(&trace, naming.symbols);
        let repair = (ecc_size != 0).then_some(repair);
        out.push(finish(naming, Kind::Ftrace, 0, text, repair));
    }
    out
}

/// The function trace of all zones in one order, as the mounted tree shows it.
fn trace_text(zones: &[(u32, Vec<u8>, Repair)], symbols: &Symbols) -> Vec<u8> {
    let mut runs: Vec<_> = zones
        .iter()
        .enumerate()
        .map(|(index, (_, content, _))| Run::new(content, index))
        .collect();
    let mut text = String::new();
    for (index, record) in Merge::new(&mut runs) {
        let version = zones.get(index).map_or(0, |(version, _, _)| *version);
        symbols.line(version, &record, &mut text);
    }
    text.into_bytes()
}

/// What is at a place, in a few words, for lists of zones.
pub(crate) fn describe(region: &[u8], zone: Zone, ecc_size: usize) -> String {
    let bytes = zone.of(region);
    let Some(sig) = signature(bytes, ecc_size) else {
        return "too short".to_owned();
    };
    match content(bytes, sig, ecc_size) {
        _ if sig != SIGNATURE && version_of(sig).is_none() => format!("no zone, {sig:#010x}"),
        Some((text, _)) if text.is_empty() => "empty".to_owned(),
        Some((text, repair)) if repair.corrected + repair.lost > 0 => format!(
            "{} bytes, {} corrected, {} blocks lost",
            text.len(),
            repair.corrected,
            repair.lost
        ),
        Some((text, _)) => format!("{} bytes", text.len()),
        None => "damaged header".to_owned(),
    }
}
