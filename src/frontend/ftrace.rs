// SPDX-License-Identifier: GPL-2.0

//! Function trace frontend: which functions the kernel enters, and from where.
//!
//! Off until the parameter `record_ftrace` or the file of that name in debugfs turns it on. While it
//! is off nothing is registered with ftrace, and so nothing in the kernel is slower.

use crate::{
    dispatch::Dispatcher,
    params,
    record::Call,
    sys::{
        context::PreemptOff,
        debugfs,
        ftrace::{
            FtraceOps,
            Tracer, //
        }, //
    },
    trace, //
};
use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    new_mutex,
    prelude::*,
    str::CStr,
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::UserSliceReader, //
};
use mpstore_format::ftrace::Slide;

/// The switch's name in debugfs, and the parameter's.
const NAME: &CStr = c"record_ftrace";

/// Passes calls on.
struct Tap {
    dispatcher: Arc<Dispatcher>,
    slide: Slide,
}

impl Tracer for Tap {
    fn called(&self, ip: usize, parent_ip: usize, cpu: u32, here: PreemptOff<'_>) {
        // CAST: Addresses are of this size on the machines that this is built for.
        let call = Call {
            ip: self.slide.encode(ip as u64),
            parent_ip: self.slide.encode(parent_ip as u64),
            cpu,
        };
        self.dispatcher.trace(&call, here);
    }
}

/// What is behind the files.
#[pin_data]
struct Switch {
    tap: Arc<Tap>,
    /// There while the trace is on.
    #[pin]
    ops: Mutex<Option<FtraceOps<Tap>>>,
}

impl Switch {
    /// Turns the trace on or off; off waits until no CPU is in the callback. May sleep.
    fn set(&self, on: bool) -> Result {
        let mut ops = self.ops.lock();
        if on && ops.is_none() {
            *ops = Some(FtraceOps::new(self.tap.clone()).inspect_err(|e| {
                pr_err!("{}: can't register with ftrace: {:?}\n", NAME, e);
            })?);
        } else if !on {
            *ops = None;
        }
        params::show_record_ftrace(on);
        Ok(())
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", u8::from(self.ops.lock().is_some()))
    }

    /// Takes what the in-tree file takes: binary digits of a byte, zero for off.
    fn store(&self, reader: &mut UserSliceReader) -> Result {
        let mut buf = [0; 12];
        let len = reader.len();
        let text = buf.get_mut(..len).ok_or(EINVAL)?;
        reader.read_slice(text)?;
        let text: &[u8] = text;
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let digits = text.strip_prefix(b"+").unwrap_or(text);
        if digits.is_empty() {
            return Err(EINVAL);
        }
        let value = digits.iter().try_fold(0u32, |value, digit| match digit {
            b'0' | b'1' => Ok(value << 1 | u32::from(digit - b'0')),
            _ => Err(EINVAL),
        })?;
        if value > u32::from(u8::MAX) {
            return Err(ERANGE);
        }
        self.set(value != 0)
    }
}

/// A file that is the switch.
type SwitchFile = Pin<KBox<File<Arc<Switch>>>>;

fn file(dir: &Dir, switch: &Arc<Switch>) -> Result<SwitchFile> {
    KBox::pin_init(
        dir.read_write_callback_file(
            NAME,
            switch.clone(),
            &|switch: &Arc<Switch>, f: &mut fmt::Formatter<'_>| switch.show(f),
            &|switch: &Arc<Switch>, reader: &mut UserSliceReader| switch.store(reader),
        ),
        GFP_KERNEL,
    )
}

/// The frontend.
///
/// Dropped in the order of the fields: first nobody can turn the trace on again, then it goes off.
pub(crate) struct Ftrace {
    _file: SwitchFile,
    _in_tree: Option<(SwitchFile, Dir)>,
    _switch: Arc<Switch>,
}

impl Ftrace {
    /// Makes the switch in `debugfs`, and where the in-tree pstore has it unless that is in this
    /// kernel (`beside`) and may want the place. On if `on`. May sleep.
    pub(crate) fn start(
        dispatcher: Arc<Dispatcher>,
        debugfs: &Dir,
        beside: bool,
        on: bool,
    ) -> Result<Self> {
        let tap = Arc::new(
            Tap {
                dispatcher,
                slide: trace::slide(),
            },
            GFP_KERNEL,
        )?;
        let switch = Arc::pin_init(
            pin_init!(Switch {
                tap,
                ops <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )?;
        let in_tree = if beside || debugfs::exists(c"pstore") {
            None
        } else {
            let dir = Dir::new(c"pstore");
            Some((file(&dir, &switch)?, dir))
        };
        let this = Self {
            _file: file(debugfs, &switch)?,
            _in_tree: in_tree,
            _switch: switch.clone(),
        };
        if on {
            switch.set(true)?;
        }
        Ok(this)
    }
}
