// SPDX-License-Identifier: GPL-2.0

//! Short texts that are read without a lock and changed now and then.

use crate::sys::context;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};

/// Up to 128 bytes.
pub(crate) const MAX: usize = 8 * WORDS;
const WORDS: usize = 16;

/// How often a reader looks again before it takes what it saw. A writer may be preempted.
const TRIES: u32 = 64;

/// A text in atomics, so that reading it while it changes is sound, with a sequence number, so
/// that it is also right. Writers exclude each other by other means.
pub(crate) struct SharedText {
    /// Odd while it changes.
    seq: Atomic<u32>,
    len: Atomic<usize>,
    words: [Atomic<u64>; WORDS],
}

impl SharedText {
    /// An empty text.
    pub(crate) const fn new() -> Self {
        Self {
            seq: Atomic::new(0),
            len: Atomic::new(0),
            words: [const { Atomic::new(0) }; WORDS],
        }
    }

    /// Changes whenever the text does. Any context.
    pub(crate) fn version(&self) -> u32 {
        self.seq.load(Acquire)
    }

    /// Replaces the text; `false` if it is too long. Any context.
    pub(crate) fn set(&self, text: &[u8]) -> bool {
        if text.len() > MAX {
            return false;
        }
        let seq = self.seq.load(Relaxed);
        self.seq.store(seq.wrapping_add(1), Relaxed);
        context::smp_write_barrier();
        self.len.store(text.len(), Relaxed);
        for (word, bytes) in self.words.iter().zip(text.chunks(8)) {
            let mut raw = [0; 8];
            for (to, from) in raw.iter_mut().zip(bytes) {
                *to = *from;
            }
            word.store(u64::from_ne_bytes(raw), Relaxed);
        }
        self.seq.store(seq.wrapping_add(2), Release);
        true
    }

    /// Calls `f` with a copy of the text. Any context.
    pub(crate) fn read<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        let mut raw = [0; MAX];
        let mut len = 0;
        for _ in 0..TRIES {
            let seq = self.seq.load(Acquire);
            len = self.len.load(Relaxed).min(MAX);
            for (bytes, word) in raw
                .chunks_exact_mut(8)
                .zip(&self.words)
                .take(len.div_ceil(8))
            {
                bytes.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
            }
            context::smp_read_barrier();
            if seq % 2 == 0 && self.seq.load(Relaxed) == seq {
                break;
            }
        }
        f(raw.get(..len).unwrap_or(&[]))
    }
}
