// SPDX-License-Identifier: GPL-2.0

//! pmsg frontend: what user space writes to `/dev/pmsg0`, or to what else it is called.

use crate::{
    backend::Context,
    dispatch::Dispatcher,
    record::Kind,
    sys::{
        context,
        mem::UserBytes,
        miscdev, //
    }, //
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        MutexGuard, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// How much is copied from user space at a time. One `write(2)` of up to this size is one piece.
const CHUNK: usize = 4096;

/// How often a writer looks for the end of another one's write before it sleeps in between.
const SPINS: u32 = 1 << 12;

/// How many milliseconds it then waits.
const PATIENCE_MS: u32 = 10_000;

#[pin_data]
struct Sink {
    dispatcher: Arc<Dispatcher>,
    /// Also keeps the pieces of a long write together.
    #[pin]
    chunk: Mutex<KBox<[u8; CHUNK]>>,
    /// Somebody waited for the mutex in vain, and it was not free since: who holds it has died.
    stuck: Atomic<bool>,
}

impl Sink {
    /// The mutex, unless who held it has died of an oops, which a plain `lock()` would wait for
    /// without an end.
    fn order(&self) -> Option<MutexGuard<'_, KBox<[u8; CHUNK]>>> {
        if let Some(guard) = self.chunk.try_lock() {
            self.stuck.store(false, Relaxed);
            return Some(guard);
        }
        if self.stuck.load(Relaxed) {
            return None;
        }
        for n in 0..SPINS + PATIENCE_MS {
            if n < SPINS {
                context::cond_resched();
            } else {
                fsleep(Delta::from_millis(1));
            }
            if let Some(guard) = self.chunk.try_lock() {
                return Some(guard);
            }
        }
        self.stuck.store(true, Relaxed);
        None
    }

    /// One piece: straight from where it is if that can be, else by way of `chunk`.
    fn put(&self, piece: UserBytes, chunk: &mut [u8; CHUNK]) -> Result {
        // A page may go again, but memory that can't be read is not to touch what is on the medium.
        if piece.fault_in() {
            if let Some(result) = self.dispatcher.append_user(Kind::Pmsg, piece) {
                return result;
            }
        }
        let part = chunk.get_mut(..piece.len()).ok_or(EINVAL)?;
        piece.read(part)?;
        self.dispatcher.append(Kind::Pmsg, &[part], Context::Task)
    }
}

impl miscdev::Sink for Sink {
    fn write(&self, from: UserBytes) -> Result<usize> {
        let (mut order, mut own);
        let chunk: &mut [u8; CHUNK] = match self.order() {
            Some(guard) => {
                order = guard;
                &mut order
            }
            // Pieces of long writes may get mixed, but they are there.
            None => {
                own = KBox::new([0; CHUNK], GFP_KERNEL)?;
                &mut own
            }
        };
        let mut done = 0;
        while done < from.len() {
            let piece = from.part(done, CHUNK);
            match self.put(piece, chunk) {
                Ok(()) => done += piece.len(),
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

/// The frontend.
pub(crate) struct Pmsg {
    _registration: miscdev::Registration<Sink>,
}

impl Pmsg {
    /// Makes the device `/dev/<name>`, which only root may write, as in-tree. May sleep.
    pub(crate) fn start(
        dispatcher: Arc<Dispatcher>,
        module: &'static ThisModule,
        name: CString,
    ) -> Result<Self> {
        let chunk = KBox::new([0; CHUNK], GFP_KERNEL)?;
        let sink = Arc::pin_init(
            pin_init!(Sink {
                dispatcher,
                chunk <- new_mutex!(chunk),
                stuck: Atomic::new(false),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _registration: miscdev::Registration::new(sink, module, name, 0o220)?,
        })
    }
}
