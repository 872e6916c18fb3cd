// SPDX-License-Identifier: GPL-2.0

//! Zones on a block device, in the byte format of the in-tree pstore_zone and pstore_blk.
//!
//! See `Documentation/blk.md` and `Documentation/format-blk.md`. Whoever records writes to memory
//! and never waits for the device; a task copies it there, at most `flush_ms` later, before a
//! restart, and when somebody asks. In a panic there is no block layer: then [`PanicIo`] writes, if
//! the device has one.
//!
//! Lock order: the mutex of the I/O, then `Inner` locks. No record on its way takes the mutex.

#[cfg(CONFIG_FS_DAX)]
mod dax_io;
mod dumps;
mod io;
pub(crate) mod panic_io;
mod streams;
mod target;

use self::{
    dumps::{
        Dumps,
        Table, //
    },
    io::{
        get,
        InPanic, //
    },
    panic_io::PanicIo,
    streams::{
        Images,
        Streams, //
    },
};
use crate::sys::errno::{
    EOPNOTSUPP,
    ESTALE, //
};
#[cfg(CONFIG_PCI)]
use crate::takeover::{
    Settings,
    Takeover, //
};
use crate::{
    backend::{
        lazy::{
            Lazy,
            Progress,
            Worker, //
        },
        Backend,
        Context,
        Risk, //
    },
    params::BlkConfig,
    record::{
        Call,
        Dump,
        Kind,
        Kinds,
        Reason,
        RecordId,
        RecordInfo, //
    },
    sys::{
        bdev::{
            Device,
            Holder,
            IoBuffer, //
        },
        context,
        mem::UserBytes,
        staging::Staging, //
    },
};
use kernel::{
    fmt, new_mutex,
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};
use mpstore_format::{
    layout::Zone,
    probe,
    zone::{
        is_blank,
        Slot,
        ZoneLayout,
        ZoneSizes,
        DUMP_OVERHEAD, //
    },
};

/// Bytes that are read or written at once.
const IO_BYTES: usize = 1 << 16;

/// Who is told about the device.
struct Watch {
    name: CString,
    /// The device is gone.
    dead: Atomic<bool>,
    /// Whom to ask for a flush, while the backend lives.
    core: Pin<KBox<Mutex<Option<Arc<Core>>>>>,
}

impl Holder for Watch {
    fn removed(&self) {
        if !self.dead.xchg(true, Full) {
            pr_err!(
                "{}: the device is gone; nothing more is kept there\n",
                &*self.name
            );
        }
        let core = self.core.lock().clone();
        if let Some(core) = core {
            core.disarm();
        }
    }

    fn sync(&self) {
        let core = self.core.lock().clone();
        if let Some(core) = core {
            let _ = core.flush_now();
        }
    }
}

/// What tasks share, one at a time.
struct Io {
    buffer: IoBuffer,
    table: Table,
    images: Option<Images>,
}

/// Everything that the worker needs.
struct Core {
    watch: Arc<Watch>,
    device: Arc<Device>,
    layout: ZoneLayout,
    dumps: Dumps,
    streams: Option<KBox<Streams>>,
    /// The way to the device in a panic.
    way: Way,
    io: Pin<KBox<Mutex<Io>>>,
    progress: Progress,
}

/// How a device can be written to in a panic.
enum Way {
    /// The configuration says no, or this kernel has no way.
    None(&'static str),
    /// It is memory.
    #[cfg(CONFIG_FS_DAX)]
    Memory(dax_io::DaxIo),
    /// Its controller is taken over, if that can be done.
    #[cfg(CONFIG_PCI)]
    Takeover(Takeover),
}

impl Way {
    /// Finds it, and changes nothing. May sleep.
    fn new(device: &Arc<Device>, config: &BlkConfig, reserve: Option<(u64, u64)>) -> Result<Self> {
        #[cfg(CONFIG_FS_DAX)]
        if let Some(io) = dax_io::DaxIo::new(device.clone()) {
            return Ok(Self::Memory(io));
        }
        if !config.takeover {
            return Ok(Self::None("blk_takeover=N"));
        }
        #[cfg(CONFIG_PCI)]
        {
            let controller = config.controller.to_bytes();
            let settings = Settings {
                controller: (!controller.is_empty()).then_some(controller),
                seconds: config.takeover_seconds,
                reserve,
            };
            Ok(Self::Takeover(Takeover::new(device.clone(), &settings)?))
        }
        #[cfg(not(CONFIG_PCI))]
        {
            let _ = (device, reserve);
            Ok(Self::None("this kernel was built without CONFIG_PCI"))
        }
    }

    /// Why there is none, in words.
    fn missing(&self) -> Option<&[u8]> {
        match self {
            Self::None(why) => Some(why.as_bytes()),
            #[cfg(CONFIG_FS_DAX)]
            Self::Memory(_) => None,
            #[cfg(CONFIG_PCI)]
            Self::Takeover(takeover) => takeover.refused().map(CStr::to_bytes),
        }
    }

    fn io(&self) -> Option<&dyn PanicIo> {
        match self {
            Self::None(_) => None,
            #[cfg(CONFIG_FS_DAX)]
            Self::Memory(io) => Some(io),
            #[cfg(CONFIG_PCI)]
            Self::Takeover(takeover) => Some(takeover),
        }
    }

    fn risk(&self) -> Risk {
        match self {
            #[cfg(CONFIG_FS_DAX)]
            Self::Memory(_) => Risk::Memory,
            _ => Risk::Disk,
        }
    }
}

impl Core {
    /// Gets ready for a panic; says in one line what it can expect. May sleep.
    fn arm(&self) -> Result {
        match &self.way {
            Way::None(why) => {
                pr_info!("{}: panics are not written: {}\n", self.name(), why);
                Err(EOPNOTSUPP)
            }
            #[cfg(CONFIG_FS_DAX)]
            Way::Memory(_) => Ok(()),
            #[cfg(CONFIG_PCI)]
            Way::Takeover(takeover) => {
                takeover.arm(self.name())?;
                // It may have gone in the meantime.
                if self.dead() {
                    takeover.disarm();
                }
                Ok(())
            }
        }
    }

    /// Gives the way up. May sleep.
    fn disarm(&self) {
        #[cfg(CONFIG_PCI)]
        if let Way::Takeover(takeover) = &self.way {
            takeover.disarm();
        }
    }

    fn flush_locked(&self, io: &mut Io) -> Result {
        if !self.progress.active() || !self.dirty() {
            return Ok(());
        }
        self.usable()?;
        let (medium, layout) = (&*self.device, &self.layout);
        let dumps = self
            .dumps
            .write_waiting(medium, &mut io.buffer, layout, &mut io.table);
        let streams = match (&self.streams, &mut io.images) {
            (Some(streams), Some(images)) => streams.write(medium, &mut io.buffer, images),
            _ => Ok(()),
        };
        // Whoever reads the device by its file shall not see what was there before.
        self.device.invalidate();
        self.progress.flushes.fetch_add(1, Relaxed);
        dumps.and(streams)
    }
}

impl Lazy for Core {
    fn name(&self) -> &CStr {
        &self.watch.name
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn with_device(&self, f: &mut dyn FnMut(fmt::Arguments<'_>)) {
        self.device
            .with_name(|name| f(fmt!("{}", BStr::from_bytes(name))));
    }

    fn dead(&self) -> bool {
        self.watch.dead.load(Acquire)
    }

    fn read_only(&self) -> bool {
        self.device.read_only()
    }

    fn dirty(&self) -> bool {
        self.dumps.is_waiting() || self.streams.as_ref().is_some_and(|streams| streams.dirty())
    }

    fn write_out(&self) -> Result {
        let mut io = self.io.lock();
        self.flush_locked(&mut io)
    }
}

/// A device with zones.
///
/// Dropped in the order of the fields: the worker ends, then the device goes. The panic's way to it
/// goes first, in `drop()`.
pub(crate) struct Blk {
    worker: Worker<Core>,
    panic_buffer: Staging<IoBuffer>,
    block: usize,
    core: Arc<Core>,
    max_reason: u32,
    force: bool,
    best_effort: bool,
}

/// What a device holds, before it is accepted.
fn judge(
    config: &BlkConfig,
    device: &Device,
    buffer: &mut IoBuffer,
    dumps: &Dumps,
    streams: Option<&Streams>,
) -> Result {
    let streams = streams.map(|s| s.looked).unwrap_or_default();
    let ours = dumps.looked.ours + streams.ours;
    let foreign = dumps.looked.foreign + streams.foreign;
    // A filesystem would have damaged some of our zones, and what is inside of them is for anybody
    // to choose.
    if ours > 0 && foreign == 0 {
        return Ok(());
    }
    let bytes = device.bytes();
    let mut piece = KBox::new([0u8; 4096], GFP_KERNEL)?;
    let mut fetch = |at: u64, to: &mut [u8]| get(device, buffer, at, to).is_ok();
    let found = match probe::identify(bytes, &mut piece, &mut fetch) {
        Some(found) => found,
        None if ours > 0 => return Ok(()),
        None if foreign > 0 => "something that is no pstore zone",
        None => {
            // Zones are blank; so must be what is between their beginnings, as far as is likely.
            let mut clean = true;
            for at in (0..16u64).map(|n| n * 4096) {
                if at + 4096 <= bytes {
                    clean &= fetch(at, &mut piece[..]) && is_blank(&piece[..]);
                }
            }
            if clean {
                return Ok(());
            }
            "data that is no pstore zone"
        }
    };
    let name = &*config.name;
    let target = BStr::from_bytes(config.target.to_bytes());
    if config.force {
        pr_warn!(
            "{}: blkdev={}: holds {}, which is overwritten because of force=1\n",
            name,
            target,
            found
        );
        return Ok(());
    }
    pr_err!(
        "{}: blkdev={}: holds {}; wipe it, or give force=1 to have it overwritten\n",
        name,
        target,
        found
    );
    Err(EEXIST)
}

/// Whether a dump of the in-tree code lies where the tail would go.
fn in_the_way(device: &Device, buffer: &mut IoBuffer, layout: &ZoneLayout) -> Result<usize> {
    let mut count = 0;
    for zone in layout.dmesg_lost() {
        let mut head = [0; DUMP_OVERHEAD];
        get(device, buffer, zone.offset as u64, &mut head)?;
        count += usize::from(matches!(Slot::parse(&head, zone.len), Slot::Dump(_)));
    }
    Ok(count)
}

impl Blk {
    /// Opens the device, reads what it holds and changes nothing. What stands against it is one
    /// line. May sleep.
    pub(crate) fn new(config: &BlkConfig) -> Result<Self> {
        let watch = Arc::new(
            Watch {
                name: CString::try_from(&*config.name)?,
                dead: Atomic::new(false),
                core: KBox::pin_init(new_mutex!(None), GFP_KERNEL)?,
            },
            GFP_KERNEL,
        )?;
        let name = &*config.name;
        let device = Arc::new(
            target::open(name, config.target.to_bytes(), watch.clone())?,
            GFP_KERNEL,
        )?;
        if device.zoned() {
            pr_err!("{}: a zoned device can't be used\n", name);
            return Err(EOPNOTSUPP);
        }
        let block = device.block_size();
        if block > IO_BYTES {
            pr_err!("{}: blocks of {} bytes are too large\n", name, block);
            return Err(EOPNOTSUPP);
        }
        let sizes = ZoneSizes {
            bytes: device.bytes(),
            block,
            ..config.sizes
        };
        let divide = |tail| {
            ZoneLayout::new(&sizes, tail).map_err(|e| {
                pr_err!("{}: {}\n", name, e);
                Error::from(e)
            })
        };
        let mut buffer = IoBuffer::new(IO_BYTES)?;
        let mut layout = divide(true)?;
        let unreadable = |e: &Error| {
            device.with_name(|dev| {
                pr_err!(
                    "{}: {} can't be read: {:?}\n",
                    name,
                    BStr::from_bytes(dev),
                    e
                )
            });
        };
        let blocked = in_the_way(&device, &mut buffer, &layout).inspect_err(unreadable)?;
        if blocked > 0 {
            pr_warn!(
                "{}: {} dumps of the in-tree pstore_blk at the end of the device are in the way of \
                 the tty zone and the signature: without these until they are erased\n",
                name,
                blocked
            );
            layout = divide(false)?;
        }
        let (dumps, table) = Dumps::new(&*device, &mut buffer, &layout).inspect_err(unreadable)?;
        let streams = Streams::new(name, &*device, &mut buffer, &layout, config.sizes.cpus)
            .inspect_err(unreadable)?;
        let (streams, images) = match streams {
            Some((streams, images)) => (Some(streams), Some(images)),
            None => (None, None),
        };
        judge(config, &device, &mut buffer, &dumps, streams.as_deref())?;

        let way = Way::new(&device, config, layout.reserve())
            .inspect_err(|e| pr_err!("{}: can't be made ready for a panic: {:?}\n", name, e))?;
        match way.missing() {
            Some(why) if !config.best_effort => {
                pr_err!(
                    "{}: blkdev={}: a panic can't be written to it, and best_effort=N: {}\n",
                    name,
                    BStr::from_bytes(config.target.to_bytes()),
                    BStr::from_bytes(why)
                );
                return Err(EOPNOTSUPP);
            }
            _ => {}
        }

        let io = Io {
            buffer,
            table,
            images,
        };
        let core = Core {
            watch: watch.clone(),
            device,
            layout,
            dumps,
            streams,
            way,
            io: KBox::pin_init(new_mutex!(io), GFP_KERNEL)?,
            progress: Progress::new(config.flush_ms),
        };
        let core = Arc::new(core, GFP_KERNEL)?;
        let this = Self {
            worker: Worker::new(core.clone())?,
            panic_buffer: Staging::new(IoBuffer::new(IO_BYTES)?),
            block,
            core,
            max_reason: config.max_reason,
            force: config.force,
            best_effort: config.best_effort,
        };
        *watch.core.lock() = Some(this.core.clone());
        Ok(this)
    }

    /// How many dumps there is room for.
    pub(crate) fn records_max(&self) -> usize {
        self.core.layout.dmesg_count()
    }

    /// Calls `f` with the kernel's name of the device.
    pub(crate) fn with_device<R>(&self, f: impl FnOnce(&[u8], u64) -> R) -> R {
        let bytes = self.core.device.bytes();
        self.core.device.with_name(|name| f(name, bytes))
    }

    fn report(&self) {
        let core = &self.core;
        let streams = core.streams.as_ref().map(|s| s.looked).unwrap_or_default();
        let dumps = core.dumps.looked;
        let records = dumps.records + streams.records;
        let (ours, foreign) = (dumps.ours + streams.ours, dumps.foreign + streams.foreign);
        let zones = core.layout.zones().count();
        let name = core.name();
        if ours == 0 && foreign == 0 {
            pr_info!("{}: new device\n", name);
        } else if foreign > 0 {
            pr_warn!(
                "{}: {} of {} zones hold garbage, {} records kept\n",
                name,
                foreign,
                zones,
                records
            );
        } else if records > 0 {
            pr_info!("{}: {} records of earlier kernels\n", name, records);
        }
        if dumps.torn > 0 {
            pr_warn!(
                "{}: {} of {} dumps were written in part only\n",
                name,
                dumps.torn,
                dumps.records
            );
        }
    }

    fn panic_writer(&self) -> Result<&dyn PanicIo> {
        let io = self.core.way.io().ok_or(EOPNOTSUPP)?;
        if !io.armed() {
            return Err(EOPNOTSUPP);
        }
        Ok(io)
    }

    /// In a panic.
    fn write_panic(&self, dump: &Dump<'_>) -> Result {
        let core = &self.core;
        let io = self.panic_writer()?;
        let mut done = Err(EBUSY);
        let free = self.panic_buffer.with(|buffer| {
            done = io.begin().map_err(Error::from).and_then(|()| {
                let medium = InPanic {
                    io,
                    block: self.block,
                };
                let dumped = core
                    .dumps
                    .write_in_panic(&medium, buffer, &core.layout, dump);
                let streamed = match &core.streams {
                    Some(streams) => streams.write_in_panic(&medium, buffer),
                    None => Ok(()),
                };
                io.end();
                dumped.and(streamed)
            });
        });
        match free {
            true => done,
            false => Err(EBUSY),
        }
    }

    fn streams(&self) -> Result<&Streams> {
        if !self.core.progress.active() {
            return Err(EINVAL);
        }
        if self.core.dead() {
            return Err(ENODEV);
        }
        self.core.streams.as_deref().ok_or(EINVAL)
    }
}

impl Drop for Blk {
    fn drop(&mut self) {
        // Whoever asks for a flush from now on comes too late.
        let core = self.core.watch.core.lock().take();
        drop(core);
        self.core.disarm();
        // What was not due yet.
        let _ = self.core.flush_now();
    }
}

impl Backend for Blk {
    fn name(&self) -> &CStr {
        self.core.name()
    }

    fn kinds(&self) -> Kinds {
        let kinds = match &self.core.streams {
            Some(streams) => streams.ram.kinds(),
            None => Kinds::default(),
        };
        match self.core.layout.dmesg_count() {
            0 => kinds,
            _ => kinds.with(Kind::Dmesg),
        }
    }

    fn max_reason(&self) -> u32 {
        self.max_reason
    }

    fn record_capacity(&self) -> usize {
        self.core.dumps.capacity()
    }

    fn risk(&self) -> Risk {
        self.core.way.risk()
    }

    fn activate(&self) -> Result {
        self.report();
        let core = &self.core;
        if self.force {
            let mut io = core.io.lock();
            let io = &mut *io;
            core.dumps
                .clean(&*core.device, &mut io.buffer, &core.layout, &io.table)?;
        }
        let armed = core.arm();
        if !self.best_effort {
            armed?;
        }
        if let Some(streams) = &core.streams {
            streams.begin();
        }
        core.progress.activate();
        self.worker.ring();
        Ok(())
    }

    fn dump(&self, dump: &Dump<'_>) -> Result {
        if !self.core.progress.active() {
            return Err(EINVAL);
        }
        if self.core.dead() {
            return Err(ENODEV);
        }
        // Another CPU's oops may come while one panics.
        if dump.reason == Reason::Panic && context::panicking() {
            return self.write_panic(dump);
        }
        self.core.dumps.keep(dump)?;
        self.worker.ring();
        Ok(())
    }

    fn append(&self, kind: Kind, parts: &[&[u8]], context: Context) -> Result {
        let streams = self.streams()?;
        streams.ram.append(kind, parts, context)?;
        streams.touch(kind);
        self.worker.ring();
        Ok(())
    }

    #[inline]
    fn trace(&self, call: &Call) -> Result {
        let streams = self.core.streams.as_deref().ok_or(EINVAL)?;
        streams.ram.trace(call)?;
        streams.touch_trace();
        if self.core.progress.wants_ring() {
            self.worker.ring();
        }
        Ok(())
    }

    fn append_user(&self, kind: Kind, bytes: UserBytes) -> Result {
        let streams = self.streams()?;
        streams.ram.append_user(kind, bytes)?;
        streams.touch(kind);
        self.worker.ring();
        Ok(())
    }

    fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result {
        let core = &self.core;
        if !core.dead() {
            let mut io = core.io.lock();
            let io = &mut *io;
            if core.dumps.is_waiting() {
                let done = core.flush_locked(io);
                core.note(done);
            }
            core.dumps.records(
                core.name(),
                &*core.device,
                &mut io.buffer,
                &core.layout,
                &mut io.table,
                f,
            )?;
        }
        match &core.streams {
            Some(streams) => streams.ram.records(f),
            None => Ok(()),
        }
    }

    fn read(&self, id: &RecordId) -> Result<KVVec<u8>> {
        let core = &self.core;
        if id.kind != Kind::Dmesg {
            return core.streams.as_ref().ok_or(ESTALE)?.ram.read(id);
        }
        let mut io = core.io.lock();
        let io = &mut *io;
        core.dumps.read(
            &*core.device,
            &mut io.buffer,
            &core.layout,
            &mut io.table,
            id,
        )
    }

    fn erase(&self, id: &RecordId) -> Result {
        let core = &self.core;
        if id.kind != Kind::Dmesg {
            core.streams.as_ref().ok_or(ESTALE)?.ram.erase(id)?;
            // The rings on the device are this kernel's already, or are about to be.
            return core.write_out();
        }
        core.usable()?;
        let mut io = core.io.lock();
        let io = &mut *io;
        core.dumps.erase(
            &*core.device,
            &mut io.buffer,
            &core.layout,
            &mut io.table,
            id,
        )
    }

    fn flush(&self) -> Result {
        self.core.flush_now()
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = &self.core;
        let device = &core.device;
        let (major, minor) = device.number();
        let len = |zone: Option<Zone>| zone.map_or(0, |zone| zone.len);
        f.write_fmt(fmt!("{} ", core.name()))?;
        device.with_name(|name| f.write_fmt(fmt!("{} ", BStr::from_bytes(name))))?;
        f.write_fmt(fmt!(
            "{}:{} bytes={} block={} start={} dumps={} kmsg_size={} console_size={} pmsg_size={} \
             ftrace_size={} tty_size={} max_reason={} best_effort={} flush_ms={} waiting={} \
             flushes={} last_error={} state={}",
            major,
            minor,
            device.bytes(),
            device.block_size(),
            device.start_sector(),
            core.layout.dmesg_count(),
            len(core.layout.dmesg(0)),
            len(core.layout.console()),
            len(core.layout.pmsg()),
            len(core.layout.ftrace(0)).saturating_mul(core.layout.ftrace_count()),
            len(core.layout.tty()),
            self.max_reason,
            if self.best_effort { "Y" } else { "N" },
            core.progress.flush_ms,
            if core.dirty() { "Y" } else { "N" },
            core.progress.flushes.load(Relaxed),
            core.progress.last_error.load(Relaxed),
            core.state()
        ))?;
        match &core.way {
            Way::None(why) => f.write_fmt(fmt!(" panic=no: {}", why))?,
            #[cfg(CONFIG_FS_DAX)]
            Way::Memory(io) => {
                f.write_str(match io.armed() {
                    true => " panic=armed: ",
                    false => " panic=no: ",
                })?;
                io.show(f)?;
            }
            #[cfg(CONFIG_PCI)]
            Way::Takeover(takeover) => {
                f.write_str(" panic=")?;
                takeover.show(f)?;
            }
        }
        f.write_str("\n")
    }
}
