// SPDX-License-Identifier: GPL-2.0

//! Dumps in zones of the in-tree pstore_zone's format, as they are listed and shown.
//!
//! Only for tasks. See `Documentation/format-blk.md`.

use crate::{
    compress::Unpacker,
    record::{
        Kind,
        RecordId,
        RecordInfo, //
    },
    sys::bytes,
};
use kernel::prelude::*;
use mpstore_format::{
    dump::EXPANSION_MAX,
    zone::Found, //
};

/// A record's bytes as shown, and what is wrong with it.
pub(crate) type Shown = (KVVec<u8>, Option<&'static str>);

/// A record on the medium.
pub(crate) struct Stored {
    pub(crate) found: Found,
    /// Bytes as shown, and what is wrong with it, once it was looked at.
    text: Option<(usize, Option<&'static str>)>,
    /// Whether that was said.
    told: bool,
}

impl Stored {
    /// One that was not looked at yet.
    pub(crate) fn new(found: Found) -> Self {
        Self {
            found,
            text: None,
            told: false,
        }
    }

    /// What is told of the record in zone `index` of the backend `name`; `read` has its bytes. Says
    /// once what is wrong with it. May sleep.
    pub(crate) fn info(
        &mut self,
        name: &CStr,
        index: usize,
        read: impl FnOnce(&Found) -> Result<Shown>,
    ) -> Result<RecordInfo> {
        let (size, damage) = match self.text {
            Some(text) => text,
            None => {
                let (bytes, damage) = read(&self.found)?;
                *self.text.insert((bytes.len(), damage))
            }
        };
        if let (Some(why), false) = (damage, self.told) {
            self.told = true;
            pr_warn!(
                "{}: dmesg record {} is damaged and shown as it is: {}\n",
                name,
                index,
                why
            );
        }
        Ok(RecordInfo {
            id: RecordId {
                kind: Kind::Dmesg,
                id: index as u64,
                cookie: self.found.cookie(),
            },
            size,
            stamp: Some(self.found.info.stamp),
            compressed: damage.is_some() && self.found.info.compressed,
            open: false,
        })
    }
}

/// A record as it is shown: inflated, if it can be. `stored` is what the medium has, `capacity` what
/// fits in a zone. May sleep.
pub(crate) fn shown(
    stored: KVVec<u8>,
    found: &Found,
    capacity: usize,
    unpacker: &mut Unpacker,
) -> Result<Shown> {
    let torn = found.intact(&stored) == Some(false);
    if found.info.compressed {
        // The in-tree reader's limit; no writer should have put in more.
        let limit = capacity.saturating_mul(EXPANSION_MAX);
        match unpacker.unpack(&stored, limit)? {
            Ok(text) if !torn => return Ok((bytes::copy(text)?, None)),
            Ok(_) => {}
            Err(why) => return Ok((stored, Some(why))),
        }
    }
    let damage = torn.then_some("its checksum is wrong, it was written in part only");
    Ok((stored, damage))
}
