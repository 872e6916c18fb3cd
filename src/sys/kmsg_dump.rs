// SPDX-License-Identifier: GPL-2.0

//! kmsg dumpers: callbacks that get the kernel log when the kernel oopses, panics or goes down.
//!
//! C header: [`include/linux/kmsg_dump.h`](srctree/include/linux/kmsg_dump.h)

use super::hooked::Hooked;
use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};
use mpstore_bindings as bindings;

/// What is called for a dump.
pub(crate) trait Dumper: Send + Sync + 'static {
    /// The kernel log is to be saved now, for `reason` (an `enum kmsg_dump_reason`).
    ///
    /// Runs under RCU, with interrupts off in a panic, possibly in NMI: no sleeping, no
    /// allocation, no lock that another CPU could hold for ever.
    fn dump(&self, reason: u32, log: &mut Log);
}

/// Bytes of a message with its prefixes, rather less than most have.
const MESSAGE_BYTES: u64 = 64;

/// Walks the kernel log from its newest end towards older messages.
pub(crate) struct Log(bindings::kmsg_dump_iter);

impl Log {
    fn new() -> Self {
        let mut iter = bindings::kmsg_dump_iter {
            cur_seq: 0,
            next_seq: 0,
        };
        // SAFETY: `iter` is valid for writes.
        unsafe { bindings::kmsg_dump_rewind(&mut iter) };
        Self(iter)
    }

    /// Fills `buf` with the newest messages not yet given out, whole lines in chronological
    /// order with their `<prio>` prefixes, and answers how many bytes that were.
    ///
    /// Any context, NMI included.
    pub(crate) fn fill(&mut self, buf: &mut [u8]) -> usize {
        // The kernel looks twice at every message that does not fit, from the oldest on, which is
        // most of the cost where the log is long and `buf` is not. So let it begin with one that
        // is likely to be among those.
        let (oldest, newest) = (self.0.cur_seq, self.0.next_seq);
        let mut messages = buf.len() as u64 / MESSAGE_BYTES + 1;
        let len = loop {
            let from = newest.saturating_sub(messages).max(oldest);
            self.0.cur_seq = from;
            self.0.next_seq = newest;
            let len = self.fill_from_current(buf);
            // Where the first one fits too, there may be room for more.
            if from == oldest || self.0.next_seq > from {
                break len;
            }
            messages = messages.saturating_mul(4);
        };
        self.0.cur_seq = oldest;
        len
    }

    fn fill_from_current(&mut self, buf: &mut [u8]) -> usize {
        let mut len = 0;
        // SAFETY: The iterator was set up by `kmsg_dump_rewind()`, and holds numbers of messages
        // which need not exist; `buf` is valid for writes of its length, which is the size passed.
        let more = unsafe {
            bindings::kmsg_dump_get_buffer(
                &mut self.0,
                true,
                buf.as_mut_ptr().cast(),
                buf.len(),
                &mut len,
            )
        };
        if more {
            len.min(buf.len())
        } else {
            0
        }
    }
}

/// A registered dumper; dropping it unregisters and waits for running callbacks.
///
/// # Invariants
///
/// The dumper is registered, and stays where it is until it is unregistered.
pub(crate) struct Registration<T: Dumper> {
    inner: Pin<KBox<Hooked<bindings::kmsg_dumper, T>>>,
}

impl<T: Dumper> Registration<T> {
    /// Registers `target` for every dump whose reason is not above `max_reason`; 0 follows
    /// `printk.always_kmsg_dump`. Dumpers are called in the order of registration. May sleep.
    pub(crate) fn new(target: Arc<T>, max_reason: u32) -> Result<Self> {
        let raw = bindings::kmsg_dumper {
            dump: Some(Self::dump_callback),
            max_reason,
            ..Default::default()
        };
        let inner = Hooked::new(raw, target)?;
        // SAFETY: The dumper is initialised, pinned, and unregistered before it is freed.
        to_result(unsafe { bindings::kmsg_dump_register(inner.raw()) })?;
        // INVARIANT: Just registered, in a pinned box.
        Ok(Self { inner })
    }

    /// # Safety
    ///
    /// `dumper` is registered, in a [`Hooked`] with this `T`, and `detail` is valid.
    unsafe extern "C" fn dump_callback(
        dumper: *mut bindings::kmsg_dumper,
        detail: *mut bindings::kmsg_dump_detail,
    ) {
        // SAFETY: A registered dumper is not freed while it is called.
        let target: &T = unsafe { Hooked::target(dumper) };
        // SAFETY: By the contract of this function.
        let reason = unsafe { (*detail).reason };
        target.dump(reason, &mut Log::new());
    }
}

impl<T: Dumper> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant. Failure would mean that it was not.
        unsafe { bindings::kmsg_dump_unregister(self.inner.raw()) };
    }
}
