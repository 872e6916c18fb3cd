// SPDX-License-Identifier: GPL-2.0

//! What was handed over by kexec: the index, and the generations in memory that it lists.

use super::{
    ram::{
        records,
        Naming, //
    },
    symbols::Symbols, //
};
use crate::{
    record::{
        Record,
        GENERATION_STEP, //
    },
    source::Memory,
};
use mpstore_format::{
    kho::{
        Chunk,
        Generation,
        Index,
        INDEX_MAX,
        MAGIC,
        MEM_MAX, //
    },
    record::DmesgHeader,
};

/// Where in an index its magic number is.
const MAGIC_AT: usize = 16;

/// The first index in `bytes` from `at` on: indexes begin with a page.
pub(crate) fn next_index(bytes: &[u8], at: usize) -> Option<usize> {
    memchr::memmem::find_iter(bytes.get(at..)?, &MAGIC.to_ne_bytes())
        .map(|found| at + found)
        .find(|found| found % 4096 == MAGIC_AT)
        .map(|found| found - MAGIC_AT)
}

/// What an index lists.
pub(crate) struct Found {
    pub(crate) records: Vec<Record>,
    /// Generations, for lists.
    pub(crate) generations: Vec<Generation>,
    /// Number of the tables' version: of several indexes the newest counts.
    pub(crate) sequence: u64,
    /// Whether a later kernel has taken it over, and may have changed what it lists.
    pub(crate) taken: bool,
    /// What could not be read.
    pub(crate) complaints: Vec<String>,
}

/// Reads the generations of an index that lies at `own`, or anywhere if that is not known.
///
/// The records are those that a kernel shows that takes them over now.
pub(crate) fn read(
    blob: &[u8],
    own: Option<u64>,
    memory: &dyn Memory,
    backend: &str,
    symbols: &Symbols,
) -> Result<Found, mpstore_format::kho::KhoError> {
    let blob = blob.get(..blob.len().min(INDEX_MAX)).unwrap_or(&[]);
    let own = own.map_or(Chunk { phys: 0, size: 0 }, |phys| Chunk {
        phys,
        size: blob.len() as u64,
    });
    let index = Index::parse(blob, own)?;
    let mut found = Found {
        records: Vec::new(),
        generations: Vec::new(),
        sequence: index.sequence(),
        taken: index.taken(),
        complaints: Vec::new(),
    };
    let mut claimed = 0usize;
    for (generation, chunks) in index.generations() {
        // Each is believed to be as long as MEM_MAX, but not all of them.
        claimed = generation.mem_size.saturating_add(claimed);
        if claimed as u64 > MEM_MAX {
            found.complaints.push(format!(
                "generation {}: with it {claimed} bytes are claimed, which is too much to be read",
                generation.number
            ));
            continue;
        }
        let mut bytes = vec![0; generation.mem_size];
        let mut rest = bytes.as_mut_slice();
        for chunk in chunks {
            let len = usize::try_from(chunk.size).map_or(rest.len(), |n| n.min(rest.len()));
            let (now, later) = rest.split_at_mut(len);
            rest = later;
            if let Err(error) = memory.read_exact_at(chunk.phys, now) {
                found.complaints.push(format!(
                    "generation {}: {:#x}: {error:#}",
                    generation.number, chunk.phys
                ));
            }
        }
        let origin = format!("{} generation {}", memory.name(), generation.number);
        found.records.extend(of_generation(
            &generation,
            &bytes,
            backend,
            &origin,
            symbols,
        ));
        found.generations.push(generation);
    }
    Ok(found)
}

/// The records of one generation. The time of streams is its end, or else that of its last dump,
/// or else its begin.
fn of_generation(
    generation: &Generation,
    bytes: &[u8],
    backend: &str,
    origin: &str,
    symbols: &Symbols,
) -> Vec<Record> {
    let ecc_size = generation.ecc_size;
    let newest = (0..generation.layout.dmesg_count())
        .filter_map(|n| {
            let zone = generation.layout.dmesg(n)?.of(bytes);
            let (text, _) = super::ram::content(zone, mpstore_format::ram::SIGNATURE, ecc_size)?;
            Some(DmesgHeader::parse(&text)?.0.stamp)
        })
        .max();
    let time = generation.end.or(newest).unwrap_or(generation.start);
    let naming = Naming {
        backend,
        first_id: generation.number.saturating_mul(GENERATION_STEP),
        time: Some(time),
        origin,
        symbols,
    };
    records(&naming, bytes, &generation.layout, ecc_size)
}
