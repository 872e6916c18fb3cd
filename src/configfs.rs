// SPDX-License-Identifier: GPL-2.0

//! Backends that are made and removed at run time, in the way of `null_blk`: a directory in
//! `/sys/kernel/config/mpstore` is a backend, its files are the parameters of one, and writing 1
//! to `power` starts it.
//!
//! A directory with the name of a backend that runs already stands for that one.
//!
//! Lock order: the mutex of a directory, then that of `control.rs`. Configfs calls with its own
//! locks held.

#[cfg(mpstore_before_7_3)]
use crate::THIS_MODULE; // For `configfs_attrs!`.
use crate::{
    control::Control,
    dispatch::Entry,
    params::{
        self,
        Choices,
        Suit,
        CHOICES, //
    },
    record::{
        Kind,
        Kinds, //
    },
    regions,
    sys::slots::RcuSlots,
};
use kernel::{
    configfs::{
        configfs_attrs,
        AttributeOperations,
        Group,
        GroupOperations,
        Subsystem, //
    },
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
};

/// What a directory has beside the choices, numbered after them.
const OTHERS: [&str; 2] = ["type", "power"];
const TYPE: usize = CHOICES.len();
const POWER: usize = TYPE + 1;
const SWITCHES: usize = POWER + 1;

/// What the directories are made with, while the subsystem is registered.
static CONTROL: RcuSlots<Control, 1> = RcuSlots::new();

/// The directory `mpstore`.
///
/// It has no data: the `kernel` crate of Linux 7.2 looks for that of a subsystem's own directory
/// in the wrong place.
#[pin_data]
struct Root {}

const _: () = assert!(size_of::<Root>() == 0 && align_of::<Root>() == 1);

/// What `type` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Medium {
    /// A region.
    Ram,
    /// Plain memory.
    Mem,
    /// Kexec HandOver.
    Kho,
    /// A block device.
    Blk,
}

impl Medium {
    const ALL: [Self; 4] = [Self::Ram, Self::Mem, Self::Kho, Self::Blk];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ram => "ram",
            Self::Mem => "mem",
            Self::Kho => "kho",
            Self::Blk => "blk",
        }
    }
}

/// One backend's directory.
#[pin_data]
struct Item {
    name: CString,
    #[pin]
    state: Mutex<State>,
}

struct State {
    control: Arc<Control>,
    choices: Choices,
    medium: Medium,
    /// The backend, while it runs.
    entry: Option<Arc<Entry>>,
    /// Whether it was made here, and so goes with the directory.
    made: bool,
    /// Kinds that are switched off, also before it runs.
    off: Kinds,
}

/// The registered subsystem. A directory in it holds the module.
pub(crate) struct Configfs {
    _subsystem: Pin<KBox<Subsystem<Root>>>,
}

impl Configfs {
    /// Registers it. May sleep.
    pub(crate) fn register(control: Arc<Control>) -> Result<Self> {
        let item_type = configfs_attrs! {
            container: Subsystem<Root>,
            data: Root,
            child: Item,
            attributes: [
                features: 0,
            ],
        };
        CONTROL.put(0, control).map_err(|_| EBUSY)?;
        let subsystem = KBox::pin_init(
            Subsystem::new(c"mpstore", item_type, try_pin_init!(Root {})),
            GFP_KERNEL,
        )
        .inspect_err(|_| drop(CONTROL.take(0)))?;
        Ok(Self {
            _subsystem: subsystem,
        })
    }
}

impl Drop for Configfs {
    fn drop(&mut self) {
        // Before the subsystem goes: a directory that is asked for from now on is refused.
        drop(CONTROL.take(0));
    }
}

/// Writes a line to the page of a file, and answers its length.
fn line(page: &mut [u8; PAGE_SIZE], text: &[u8]) -> Result<usize> {
    let (to, rest) = page.split_at_mut_checked(text.len()).ok_or(EIO)?;
    to.copy_from_slice(text);
    *rest.first_mut().ok_or(EIO)? = b'\n';
    Ok(text.len() + 1)
}

fn yes_or_no(on: bool) -> &'static [u8] {
    if on {
        b"Y"
    } else {
        b"N"
    }
}

#[vtable]
impl AttributeOperations<0> for Root {
    type Data = Root;

    fn show(_root: &Root, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let mut text = KVec::new();
        let kinds = Kind::ALL.iter().map(|kind| kind.as_str());
        let names = Iterator::chain(Iterator::chain(CHOICES.into_iter(), OTHERS), kinds);
        for name in names {
            if !text.is_empty() {
                text.push(b',', GFP_KERNEL)?;
            }
            text.extend_from_slice(name.as_bytes(), GFP_KERNEL)?;
        }
        line(page, &text)
    }
}

#[vtable]
impl GroupOperations for Root {
    type Child = Item;

    fn make_group(&self, name: &CStr) -> Result<impl PinInit<Group<Item>, Error>> {
        params::check_name(name)?;
        let control = CONTROL.get(0).ok_or(ENODEV)?;
        let entry = control.dispatcher().find(name);
        let state = State {
            control,
            choices: Choices::new()?,
            medium: Medium::Ram,
            off: entry.as_ref().map_or(Kinds::default(), |entry| {
                let not = |kinds: Kinds, kind| match entry.enabled().has(kind) {
                    true => kinds,
                    false => kinds.with(kind),
                };
                let takes = |kind: &Kind| entry.backend().kinds().has(*kind);
                let all = Kind::ALL.into_iter().filter(takes);
                all.fold(Kinds::default(), not)
            }),
            entry,
            made: false,
        };
        let item_type = configfs_attrs! {
            container: Group<Item>,
            data: Item,
            attributes: [
                mem_address: 0,
                mem_name: 1,
                mem_size: 2,
                mem_type: 3,
                record_size: 4,
                console_size: 5,
                ftrace_size: 6,
                pmsg_size: 7,
                tty_size: 8,
                ecc: 9,
                max_reason: 10,
                dump_oops: 11,
                ftrace_per_cpu: 12,
                blkdev: 13,
                kmsg_size: 14,
                best_effort: 15,
                blk_takeover: 16,
                blk_controller: 17,
                force: 18,
                type: 19,
                power: 20,
                dmesg: 21,
                console: 22,
                pmsg: 23,
                ftrace: 24,
                tty: 25,
            ],
        };
        let own = CString::try_from(name)?;
        Ok(Group::new(
            CString::try_from(name)?,
            item_type,
            try_pin_init!(Item {
                name: own,
                state <- new_mutex!(state),
            }),
        ))
    }
}

#[vtable]
impl<const ID: u64> AttributeOperations<ID> for Item {
    type Data = Item;

    fn show(item: &Item, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        item.show(usize::try_from(ID)?, page)
    }

    fn store(item: &Item, page: &[u8]) -> Result {
        let text = page.strip_suffix(b"\n").unwrap_or(page);
        item.store(usize::try_from(ID)?, text)
    }
}

impl Item {
    fn show(&self, index: usize, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let state = self.state.lock();
        match index {
            TYPE => line(page, state.medium.as_str().as_bytes()),
            POWER => line(page, yes_or_no(state.entry.is_some())),
            SWITCHES.. => {
                let kind = *Kind::ALL.get(index - SWITCHES).ok_or(EINVAL)?;
                line(page, yes_or_no(!state.off.has(kind)))
            }
            _ => line(page, state.choices.get(index)),
        }
    }

    fn store(&self, index: usize, text: &[u8]) -> Result {
        let mut state = self.state.lock();
        match index {
            POWER => match (params::switch("power", text)?, state.entry.take()) {
                (true, None) => self.start(&mut state),
                (false, Some(entry)) => {
                    state.control.remove(&entry);
                    Ok(())
                }
                (_, entry) => {
                    state.entry = entry;
                    Ok(())
                }
            },
            SWITCHES.. => {
                let kind = *Kind::ALL.get(index - SWITCHES).ok_or(EINVAL)?;
                let on = params::switch(kind.as_str(), text)?;
                state.off = match on {
                    true => state.off.without(kind),
                    false => state.off.with(kind),
                };
                if let Some(entry) = &state.entry {
                    state.control.enable(entry, kind, on);
                }
                Ok(())
            }
            _ if state.entry.is_some() => {
                pr_err!("{}: it runs; write 0 to power first\n", &*self.name);
                Err(EBUSY)
            }
            TYPE => {
                let mut all = Medium::ALL.into_iter();
                let Some(medium) = all.find(|m| m.as_str().as_bytes() == text) else {
                    pr_err!("{}: type: give ram, mem, kho or blk\n", &*self.name);
                    return Err(EINVAL);
                };
                // Its zones are of other sizes by default.
                if medium != state.medium {
                    state.choices.suit(match medium {
                        Medium::Ram | Medium::Mem => Suit::Ram,
                        Medium::Kho => Suit::Kho,
                        Medium::Blk => Suit::Blk,
                    })?;
                }
                state.medium = medium;
                Ok(())
            }
            _ => state.choices.set(index, text),
        }
    }

    fn start(&self, state: &mut State) -> Result {
        let (medium, choices, off) = (state.medium, &state.choices, state.off);
        let entry = state.control.add(off, |dispatcher| {
            if dispatcher.find(&self.name).is_some() {
                pr_err!("{}: there is a backend of that name\n", &*self.name);
                return Err(EEXIST);
            }
            match medium {
                Medium::Ram => Ok(regions::ram(&choices.region(&self.name)?, dispatcher)?.0),
                Medium::Mem => regions::plain(&choices.plain(&self.name)?),
                Medium::Kho => regions::kho(&choices.kho(&self.name)?),
                Medium::Blk => regions::blk(&choices.blk(&self.name)?),
            }
        })?;
        state.entry = Some(entry);
        state.made = true;
        Ok(())
    }
}

/// The directory is gone, and nobody has one of its files open: with it goes what was made here.
impl Drop for State {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take().filter(|_| self.made) {
            self.control.remove(&entry);
        }
    }
}
