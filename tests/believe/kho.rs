// SPDX-License-Identifier: GPL-2.0

//! What an index for Kexec HandOver that the parser accepts must hold. Tests and fuzz targets use it.

use mpstore_format::kho::{
    Chunk,
    Index,
    KhoError,
    RELEASE_BYTES, //
};

/// Where the index itself lies.
pub(crate) const OWN: Chunk = Chunk {
    phys: 0x100_0000,
    size: 65536,
};

/// What is accepted is possible.
pub(crate) fn believe(blob: &[u8]) -> Result<(), KhoError> {
    let index = Index::parse(blob, OWN)?;
    let mut seen: Vec<Chunk> = vec![OWN];
    let mut numbers = Vec::new();
    for (generation, chunks) in index.generations() {
        assert!(generation.number < index.next_number());
        assert!(generation.release().len() < RELEASE_BYTES);
        numbers.push(generation.number);
        let mut sum = 0;
        for chunk in chunks {
            assert!(chunk.size.is_power_of_two() && chunk.size >= 4096);
            assert_eq!(chunk.phys % chunk.size, 0);
            let end = chunk.phys.checked_add(chunk.size).unwrap();
            assert!(seen
                .iter()
                .all(|c| end <= c.phys || c.phys + c.size <= chunk.phys));
            seen.push(chunk);
            sum += chunk.size;
        }
        assert!(sum >= generation.mem_size as u64);
        let mut end = 0;
        for (_, _, zone) in generation.layout.zones() {
            assert!(zone.offset >= end);
            end = zone.offset.checked_add(zone.len).unwrap();
        }
        assert!(end <= generation.mem_size);
    }
    assert!(numbers.windows(2).all(|w| w[0] < w[1]));
    Ok(())
}
