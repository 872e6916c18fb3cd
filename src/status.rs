// SPDX-License-Identifier: GPL-2.0

//! What became of the records: `/sys/kernel/debug/mpstore/status`, a line for each backend and
//! kind.

use crate::{
    dispatch::{
        Dispatcher,
        Entry, //
    },
    record::Kind,
};
use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
};

/// The file in debugfs. Without debugfs there is none, and nothing is missing.
pub(crate) struct Status {
    _file: Pin<KBox<File<Arc<Dispatcher>>>>,
}

impl Status {
    /// Makes it in `dir`. May sleep.
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, dir: &Dir) -> Result<Self> {
        let file = KBox::pin_init(
            dir.read_callback_file(c"status", dispatcher, &show),
            GFP_KERNEL,
        )?;
        Ok(Self { _file: file })
    }
}

/// Columns are separated by blanks and keep their places; new ones come at the end.
fn show(dispatcher: &Arc<Dispatcher>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(
        "backend kind on records bytes busy full failed corrected lost_blocks last_error\n",
    )?;
    dispatcher.entries().try_for_each(|entry| lines(&entry, f))
}

fn lines(entry: &Entry, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let backend = entry.backend();
    let repairs = backend.repairs();
    for kind in Kind::ALL {
        if !backend.kinds().has(kind) {
            continue;
        }
        let Some(tally) = entry.tally(kind) else {
            continue;
        };
        f.write_fmt(fmt!(
            "{} {} {} {} {} {} {} {} {} {} {}\n",
            entry.name(),
            kind.as_str(),
            if entry.enabled().has(kind) { "Y" } else { "N" },
            tally.records.load(Relaxed),
            tally.bytes.load(Relaxed),
            tally.busy.load(Relaxed),
            tally.full.load(Relaxed),
            tally.failed.load(Relaxed),
            repairs.corrected,
            repairs.lost,
            entry.last_error()
        ))?;
    }
    Ok(())
}
