// SPDX-License-Identifier: GPL-2.0

//! pmsg frontend: what user space writes to `/dev/pmsg0`, or to what else it is called.

use crate::{
    backend::Context,
    dispatch::Dispatcher,
    record::Kind,
    sys::{
        context,
        inline_atomic::{
            self,
            Claim,
            Claimed, //
        },
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
        Mutex, //
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
    /// Keeps the pieces of a long write together.
    turn: Claim,
    /// Somebody waited for his turn in vain, and nobody has got it since: who has it has died.
    stuck: Atomic<bool>,
    /// For bytes that can't be taken from where they are.
    #[pin]
    chunk: Mutex<KBox<[u8; CHUNK]>>,
}

impl Sink {
    /// One writer's turn, unless who has it has died of an oops, which a mutex would wait for
    /// without an end.
    fn order(&self) -> Option<Claimed<'_>> {
        let turn = self.turn.get(1);
        if turn.is_some() {
            if inline_atomic::read_once(&self.stuck) {
                self.stuck.store(false, Relaxed);
            }
            return turn;
        }
        self.wait()
    }

    #[cold]
    fn wait(&self) -> Option<Claimed<'_>> {
        if self.stuck.load(Relaxed) {
            return None;
        }
        for n in 0..SPINS + PATIENCE_MS {
            if n < SPINS {
                context::cond_resched();
            } else {
                fsleep(Delta::from_millis(1));
            }
            let turn = self.turn.get(1);
            if turn.is_some() {
                return turn;
            }
        }
        self.stuck.store(true, Relaxed);
        None
    }

    /// One piece: straight from where it is if that can be, else by way of `chunk`.
    fn put(&self, piece: UserBytes) -> Result {
        // A page may go again, but memory that can't be read is not to touch what is on the medium.
        if piece.fault_in() {
            if let Some(result) = self.dispatcher.append_user(Kind::Pmsg, piece) {
                return result;
            }
        }
        self.put_copy(piece)
    }

    #[inline(never)]
    fn put_copy(&self, piece: UserBytes) -> Result {
        let (mut held, mut own);
        let chunk: &mut [u8; CHUNK] = match self.chunk.try_lock() {
            Some(guard) => {
                held = guard;
                &mut held
            }
            // Who had his turn before has died with it, or was not waited for any longer.
            None => {
                own = KBox::new([0; CHUNK], GFP_KERNEL)?;
                &mut own
            }
        };
        let part = chunk.get_mut(..piece.len()).ok_or(EINVAL)?;
        piece.read(part)?;
        self.dispatcher.append(Kind::Pmsg, &[part], Context::Task)
    }
}

impl miscdev::Sink for Sink {
    fn write(&self, from: UserBytes) -> Result<usize> {
        // Without it pieces of long writes may get mixed, but they are there.
        let _turn = self.order();
        let mut done = 0;
        while done < from.len() {
            let piece = from.part(done, CHUNK);
            match self.put(piece) {
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
                turn: Claim::new(),
                stuck: Atomic::new(false),
                chunk <- new_mutex!(chunk),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _registration: miscdev::Registration::new(sink, module, name, 0o220)?,
        })
    }
}
