// SPDX-License-Identifier: GPL-2.0

//! pmsg frontend: what user space writes to `/dev/pmsg0`, or to what else it is called.

use crate::{
    backend::Context,
    dispatch::Dispatcher,
    record::Kind,
    sys::{
        mem::UserBytes,
        miscdev, //
    }, //
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// How much is copied from user space at a time. One `write(2)` of up to this size is one piece.
const CHUNK: usize = 4096;

#[pin_data]
struct Sink {
    dispatcher: Arc<Dispatcher>,
    /// Also keeps the pieces of a long write together.
    #[pin]
    chunk: Mutex<KBox<[u8; CHUNK]>>,
}

impl Sink {
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
        let mut chunk = self.chunk.lock();
        let mut done = 0;
        while done < from.len() {
            let piece = from.part(done, CHUNK);
            match self.put(piece, &mut chunk) {
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
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _registration: miscdev::Registration::new(sink, module, name, 0o220)?,
        })
    }
}
