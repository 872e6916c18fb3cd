// SPDX-License-Identifier: GPL-2.0

//! dmesg frontend: the kernel log when the kernel oopses, panics or goes down.
//!
//! The log is formatted once per dump, and compressed once; backends take as much of it as their
//! records hold. These two are what a dump costs, not the copies.

use crate::{
    compress::{
        chunk_size,
        Packer,
        TEXT_PER_BYTE, //
    },
    dispatch::Dispatcher,
    record::{
        self,
        Dump,
        Reason,
        Stamp, //
    },
    sys::{
        context,
        kmsg_dump::{
            Dumper,
            Log,
            Registration, //
        },
        raw_lock::{
            Level,
            RawLock, //
        },
        staging::Staging,
        time, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};
use mpstore_format::dump::Method;

/// Takes the dumps.
struct Main {
    dispatcher: Arc<Dispatcher>,
    /// Outer: backends take their own locks while it is held.
    lock: RawLock,
    buffers: Staging<Buffers>,
    /// For the CPU that panics while another, stopped by now, was in the middle of an oops.
    panic_buffers: Staging<Buffers>,
    /// For that CPU if it crashes in the middle of the panic's dump.
    rest_buffers: Staging<Buffers>,
    /// What `printk.always_kmsg_dump` said for the dump that is being made.
    always: Arc<Always>,
}

/// Where a dump is made: the text, and its compressed form.
struct Buffers {
    text: VVec<u8>,
    packer: Option<Packer>,
}

impl Buffers {
    /// May sleep.
    fn new(method: Option<Method>, len: usize, chunk: usize) -> Result<Self> {
        Ok(Self {
            text: VVec::from_elem(0, len, GFP_KERNEL)?,
            packer: match method {
                Some(method) => Some(Packer::new(method, len, chunk)?),
                None => None,
            },
        })
    }

    /// Takes the log, and compresses it; answers with its length.
    ///
    /// Not inlined: a compressor needs much of what is left of the stack, and this is all that stands
    /// above it.
    #[inline(never)]
    fn fill(&mut self, log: &mut Log) -> usize {
        let len = log.fill(&mut self.text);
        if let Some(packer) = &mut self.packer {
            packer.pack(self.text.get(..len).unwrap_or(&[]));
        }
        len
    }

    /// What was taken.
    fn log(&self, len: usize) -> record::Log<'_> {
        let text = self.text.get(..len).unwrap_or(&[]);
        record::Log::new(text, self.packer.as_ref().map(Packer::packed))
    }
}

/// Finds out what `printk.always_kmsg_dump` says, which no module can read: a dumper that follows
/// it is called for a reason beyond an oops only if it is set. It is registered, and so called,
/// right before [`Main`].
struct Always(Atomic<bool>);

impl Dumper for Always {
    fn dump(&self, reason: u32, _log: &mut Log) {
        self.0.store(reason > Reason::Oops.to_kmsg(), Relaxed);
    }
}

impl Main {
    /// Makes a dump in `buffers`, for all backends or for the `rest` of them. Answers whether they
    /// were free.
    fn take(&self, buffers: &Staging<Buffers>, rest: bool, reason: Reason, log: &mut Log) -> bool {
        let ns = time::real_ns();
        let always = self.always.0.xchg(false, Relaxed);
        buffers.with(|buffers| {
            // First of all, so that one which ends in a crash of its own is seen to be missing.
            let count = self.dispatcher.number_dump();
            let len = buffers.fill(log);
            self.hand_out(buffers, len, (reason, count, ns), always, rest);
        })
    }

    /// Hands what was taken, `len` bytes, to the backends. Not inlined, as [`Buffers::fill`].
    #[inline(never)]
    fn hand_out(
        &self,
        buffers: &Buffers,
        len: usize,
        (reason, count, ns): (Reason, u64, u64),
        always: bool,
        rest: bool,
    ) {
        let dump = Dump {
            reason,
            count,
            stamp: Stamp {
                sec: ns / 1_000_000_000,
                // CAST: Below a million.
                usec: (ns % 1_000_000_000 / 1000) as u32,
            },
            log: buffers.log(len),
            limit: self.dispatcher.kmsg_bytes(),
        };
        self.dispatcher.dump(&dump, always, rest);
    }
}

impl Dumper for Main {
    fn dump(&self, reason: u32, log: &mut Log) {
        let reason = Reason::from_kmsg(reason);
        let taken = if context::panicking() {
            // No other CPU comes here any more. If this one does twice, the buffers say so: it
            // crashed in its own dump. Who had that already keeps it, who was getting it is left
            // alone, and the others get one, which is the panic's even if an oops is the reason.
            self.take(&self.panic_buffers, false, reason, log)
                || self.take(&self.rest_buffers, true, Reason::Panic, log)
        } else if let Some(_guard) = self.lock.lock_crash() {
            self.take(&self.buffers, false, reason, log)
        } else {
            false
        };
        if !taken {
            skipped(reason);
        }
    }
}

/// Says that a dump was not kept because another one is being made and does not end. printk takes
/// it in any context.
#[cold]
#[inline(never)]
fn skipped(reason: Reason) {
    pr_err!("dump skipped, another is in the way: {}\n", reason.as_str());
}

/// A record can hold less text than its size by this much: header lines, and a line that does not
/// fit any more, which printk keeps below 1 KiB without its prefixes.
const RECORD_SLACK: usize = 2048;

/// What the backends together ask of the frontend.
#[derive(Clone, Copy)]
struct Reach {
    /// The highest reason for a dump.
    max_reason: u32,
    /// Whether one of them follows `printk.always_kmsg_dump`.
    follow: bool,
    /// Bytes of text to take.
    room: usize,
    /// The same where it is not compressed.
    plain_room: usize,
    /// Bytes of text to compress at a time.
    chunk: usize,
    compress: Option<Method>,
}

impl Reach {
    fn of(dispatcher: &Dispatcher, compress: Option<Method>) -> Self {
        let (mut capacity, mut smallest) = (0, usize::MAX);
        let mut reach = Self {
            max_reason: 0,
            follow: false,
            room: 0,
            plain_room: 0,
            chunk: 0,
            compress,
        };
        for entry in dispatcher.entries() {
            let backend = entry.backend();
            if backend.record_capacity() == 0 {
                continue;
            }
            let max = match backend.max_reason() {
                0 => {
                    reach.follow = true;
                    // It may want any reason.
                    Reason::Shutdown.to_kmsg()
                }
                max => max,
            };
            reach.max_reason = reach.max_reason.max(max);
            capacity = capacity.max(backend.record_capacity());
            smallest = smallest.min(backend.record_capacity());
        }
        let room = |compress| text_room(capacity, smallest, dispatcher.kmsg_bytes(), compress);
        reach.room = room(compress);
        reach.plain_room = room(None);
        reach.chunk = chunk_size(smallest);
        reach
    }

    fn covers(&self, other: &Self) -> bool {
        self.max_reason >= other.max_reason
            && self.follow >= other.follow
            && self.room >= other.room
            && self.plain_room >= other.plain_room
            && self.chunk <= other.chunk
    }
}

/// How much of the log to take: what the largest record may hold and, if the smallest can hold less
/// than `kmsg_bytes`, as much more, since that counts whole records. What no backend keeps would
/// only cost time.
fn text_room(
    capacity: usize,
    smallest: usize,
    kmsg_bytes: usize,
    compress: Option<Method>,
) -> usize {
    let record = match compress {
        Some(_) => capacity.saturating_mul(TEXT_PER_BYTE),
        None => capacity,
    };
    if smallest >= kmsg_bytes.saturating_add(RECORD_SLACK) {
        record
    } else {
        record.saturating_add(kmsg_bytes)
    }
}

/// The frontend.
///
/// Dropped in the order of the fields, so that the helper outlives no user.
pub(crate) struct Dmesg {
    _main: Registration<Main>,
    _always: Option<Registration<Always>>,
    reach: Reach,
}

impl Dmesg {
    /// Registers for the reasons that the backends want. May sleep.
    pub(crate) fn start(dispatcher: Arc<Dispatcher>, compress: Option<Method>) -> Result<Self> {
        let reach = Reach::of(&dispatcher, compress);
        let buffers = || Buffers::new(compress, reach.room, reach.chunk).map(Staging::new);
        let always = Arc::new(Always(Atomic::new(false)), GFP_KERNEL)?;
        let main = Arc::new(
            Main {
                lock: RawLock::new(Level::Outer)?,
                buffers: buffers()?,
                panic_buffers: buffers()?,
                // Not compressed: that may be what it crashed in.
                rest_buffers: Staging::new(Buffers::new(None, reach.plain_room, reach.chunk)?),
                always: always.clone(),
                dispatcher,
            },
            GFP_KERNEL,
        )?;
        let _always = match reach.follow {
            true => Some(Registration::new(always, 0)?),
            false => None,
        };
        Ok(Self {
            _main: Registration::new(main, reach.max_reason)?,
            _always,
            reach,
        })
    }

    /// Whether its buffers and reasons are enough for the backends that there are now.
    pub(crate) fn fits(&self, dispatcher: &Dispatcher) -> bool {
        self.reach
            .covers(&Reach::of(dispatcher, self.reach.compress))
    }

    /// One that fits, with the same settings. May sleep.
    pub(crate) fn again(&self, dispatcher: Arc<Dispatcher>) -> Result<Self> {
        Self::start(dispatcher, self.reach.compress)
    }
}
