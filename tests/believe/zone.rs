// SPDX-License-Identifier: GPL-2.0

//! What the zones of a disk, as the parser shows them, must hold. Tests and fuzz targets use it.

use mpstore_format::{
    probe,
    ram::Ring,
    zone::{
        Header,
        Slot,
        ZoneLayout,
        ZoneType,
        DUMP_OVERHEAD,
        HEADER_BYTES, //
    },
};

pub(crate) fn ring_of(zone: &[u8], kind: ZoneType) -> Option<(Ring, Vec<u8>)> {
    let header = Header::from_bytes(*zone.first_chunk::<HEADER_BYTES>()?);
    let ring = header.ring(kind, zone.len()).ok()?;
    let data = &zone[HEADER_BYTES..];
    let text = ring.linear().map(|span| span.of(data)).concat();
    Some((ring, text))
}

/// Reads everything, and says what is wrong with what it was told.
pub(crate) fn believe(image: &[u8], layout: &ZoneLayout) -> Result<usize, String> {
    let mut found = 0;
    for (kind, zone) in layout.zones() {
        let bytes = zone.of(image);
        if bytes.len() != zone.len {
            return Err(format!("{zone:?} lies outside"));
        }
        if kind != ZoneType::Dmesg {
            if let Some((ring, text)) = ring_of(bytes, kind) {
                let room = zone.len - HEADER_BYTES;
                if text.len() != ring.size() || ring.size() > room || ring.start() >= room {
                    return Err(format!("ring {ring:?} in {zone:?}"));
                }
                found += usize::from(!ring.is_empty());
            }
            continue;
        }
        let head = bytes.first_chunk::<DUMP_OVERHEAD>().unwrap();
        match Slot::parse(head, zone.len) {
            Slot::Dump(dump) => {
                let text = bytes[DUMP_OVERHEAD..].get(..dump.text_len());
                let text = text.ok_or(format!("{dump:?} is longer than {zone:?}"))?;
                if dump.info.stamp.usec > 999_999 {
                    return Err(format!("no time: {dump:?}"));
                }
                let _ = (dump.intact(text), dump.cookie());
                found += 1;
            }
            Slot::Blank | Slot::Erased(_) | Slot::Garbage(_) | Slot::Unknown => {}
        }
    }
    let mut piece = [0; 4096];
    probe::identify(image.len() as u64, &mut piece, &mut |at, to| {
        let at = usize::try_from(at).unwrap();
        to.copy_from_slice(&image[at..at + to.len()]);
        true
    });
    Ok(found)
}
