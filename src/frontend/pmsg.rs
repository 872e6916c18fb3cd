// SPDX-License-Identifier: GPL-2.0

//! pmsg frontend: what user space writes to `/dev/pmsg0`.

use crate::{
    backend::Context,
    dispatch::Dispatcher,
    record::Kind,
    sys::miscdev, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::UserSliceReader,
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

impl miscdev::Sink for Sink {
    fn write(&self, mut from: UserSliceReader, len: usize) -> Result<usize> {
        let mut chunk = self.chunk.lock();
        let mut done = 0;
        while done < len {
            let n = (len - done).min(CHUNK);
            let part = chunk.get_mut(..n).ok_or(EINVAL)?;
            let result = from
                .read_slice(part)
                .and_then(|()| self.dispatcher.append(Kind::Pmsg, &[part], Context::Task));
            match result {
                Ok(()) => done += n,
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
    /// Makes the device, which only root may write, as in-tree. May sleep.
    pub(crate) fn start(dispatcher: Arc<Dispatcher>, module: &'static ThisModule) -> Result<Self> {
        let chunk = KBox::new([0; CHUNK], GFP_KERNEL)?;
        let sink = Arc::pin_init(
            pin_init!(Sink {
                dispatcher,
                chunk <- new_mutex!(chunk),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _registration: miscdev::Registration::new(sink, module, c"pmsg0", 0o220)?,
        })
    }
}
