// SPDX-License-Identifier: GPL-2.0

//! Memory that goes from kernel to kernel over kexec (Kexec HandOver), with the zones of [`Ram`].
//!
//! Each load of the module makes a *generation*: memory of its own that it records to. Those of
//! earlier kernels are kept beside it until their records are erased or the space set for them runs
//! out, and are handed on again. An index tells the next kernel where they are; see
//! `Documentation/format-kho.md`.
//!
//! When the backend goes, everything is left as it is, for the next kernel or the next load: like a
//! RAM region, the medium does not go with the module.

use crate::sys::errno::{
    EOPNOTSUPP,
    ESTALE, //
};
use crate::{
    backend::{
        ram::Ram,
        Backend,
        Context,
        Risk, //
    },
    params::{
        KhoConfig,
        KhoTest, //
    },
    record::{
        Call,
        Dump,
        GenerationInfo,
        Kind,
        Kinds,
        RecordId,
        RecordInfo,
        Stamp, //
    },
    sys::{
        file,
        kho::{
            self,
            Block,
            Incoming,
            Left,
            Published,
            BLOCK_MAX,
            PAGE_SIZE, //
        },
        mem::{
            PersistentMem,
            UserBytes, //
        },
        time, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        Mutex, //
    },
};
use mpstore_format::{
    ecc::Repair,
    kho::{
        damage,
        Chunk,
        Generation,
        Header,
        Index,
        KhoError,
        SlotWriter,
        CHUNKS_WRITTEN,
        DAMAGE_COUNT,
        GENERATIONS_WRITTEN,
        HEADER_BYTES,
        INDEX_BYTES,
        NODE_NAME,
        SLOTS,
        SLOT_ROOM,
        TAKEN_AT, //
    },
    layout::RamLayout,
};

/// Numbers of records in a generation are below this, so that file names tell both.
const RECORDS_MAX: u64 = 10_000;

/// What is left behind in this kernel is found under this name.
const LEFT_NAME: &CStr = c"mpstore-kho";

/// Copies of the index with something wrong in them, for tests; this many in one block.
const TEST_NAMES: [&CStr; 5] = [
    c"mpstore-test0",
    c"mpstore-test1",
    c"mpstore-test2",
    c"mpstore-test3",
    c"mpstore-test4",
];
const TEST_COPIES: usize = 16;

/// Whether there is such a backend: the name in what is handed over can be had once.
static CLAIMED: Atomic<bool> = Atomic::new(false);

struct Claim;

impl Claim {
    fn take() -> Option<Self> {
        (!CLAIMED.xchg(true, Full)).then_some(Self)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.store(false, Release);
    }
}

/// One generation and its memory.
struct Kept {
    info: Generation,
    blocks: KVec<Block>,
    /// Its records when it was taken over.
    found: usize,
}

impl Kept {
    fn new(info: Generation, blocks: KVec<Block>) -> Self {
        Self {
            info,
            blocks,
            found: 0,
        }
    }

    fn bytes(&self) -> usize {
        self.blocks.iter().map(Block::size).sum()
    }

    /// Its records, opened for this moment. Copies the streams: the price of not holding them.
    fn open(&self, name: &CStr) -> Result<KBox<Ram>> {
        Ram::new(
            CString::try_from(name)?,
            kho::map(&self.blocks, self.info.mem_size)?,
            self.info.layout,
            0,
            self.info.ecc_size,
            // As of another kernel.
            Some((0, 0)),
        )
    }

    fn records(&self, name: &CStr) -> Result<KVec<RecordInfo>> {
        let mut list = KVec::new();
        self.open(name)?
            .records(&mut |info| Ok(list.push(*info, GFP_KERNEL)?))?;
        Ok(list)
    }

    /// When its streams were last written to, as far as is known: a dump is made when the kernel
    /// goes down.
    fn last(&self, records: &[RecordInfo]) -> Stamp {
        // The records' own times are what an earlier kernel wrote there.
        let times = records.iter().filter_map(|info| info.stamp);
        let newest = times.filter(|time| Generation::is_time(*time)).max();
        newest.unwrap_or_default().max(self.info.start)
    }
}

/// A generation as an index lists it, its memory not yet touched.
struct Listed {
    info: Generation,
    chunks: KVec<Chunk>,
}

/// Where earlier generations come from.
enum Source {
    Nothing,
    /// The kernel before; with the mark to be set.
    Incoming(Incoming),
    /// An earlier load in this kernel, and how often its index was written.
    Left(Left, u64),
    /// An earlier load whose index is worth nothing.
    Spoilt(Left),
}

/// What was found, before anything is changed.
struct Found {
    source: Source,
    list: KVec<Listed>,
    next_number: u64,
}

impl Found {
    fn nothing() -> Self {
        Self {
            source: Source::Nothing,
            list: KVec::new(),
            next_number: 1,
        }
    }

    /// Looks and changes nothing. What can't be used is one line. May sleep.
    fn look(name: &CStr, test: KhoTest) -> Result<Self> {
        if let KhoTest::Read(n) = test {
            let node = TEST_NAMES.get(n / TEST_COPIES).ok_or(EINVAL)?;
            let at = n % TEST_COPIES * INDEX_BYTES;
            return Self::incoming(name, node, at);
        }
        let Some(left) = Left::find(LEFT_NAME) else {
            return Self::incoming(name, NODE_NAME, 0);
        };
        let (phys, blob) = left.published()?;
        let own = Chunk {
            phys,
            size: blob.len() as u64,
        };
        let index = Index::parse(&blob, own).and_then(|index| match blob.len() {
            INDEX_BYTES => Ok(index),
            _ => Err(KhoError::Size),
        });
        match index {
            Ok(index) => {
                let mut found = Self::list(&index)?;
                found.source = Source::Left(left, index.sequence());
                Ok(found)
            }
            Err(e) => {
                pr_warn!(
                    "{}: what was left in this kernel is given up: {}\n",
                    name,
                    e
                );
                let mut found = Self::nothing();
                found.source = Source::Spoilt(left);
                Ok(found)
            }
        }
    }

    fn list(index: &Index<'_>) -> Result<Self> {
        let mut list = KVec::new();
        for (info, addresses) in index.generations() {
            let mut chunks = KVec::new();
            for chunk in addresses {
                chunks.push(chunk, GFP_KERNEL)?;
            }
            list.push(Listed { info, chunks }, GFP_KERNEL)?;
        }
        Ok(Self {
            source: Source::Nothing,
            list,
            next_number: index.next_number().max(1),
        })
    }

    fn incoming(name: &CStr, node: &CStr, at: usize) -> Result<Self> {
        if !kho::is_handover_boot() {
            pr_info!(
                "{}: nothing was handed over: this kernel was not started by kexec -s from one \
                 with kho=on\n",
                name
            );
            return Ok(Self::nothing());
        }
        let incoming = match Incoming::find(node) {
            Ok(Some(incoming)) => incoming,
            Ok(None) => {
                pr_info!("{}: the kernel before left no records\n", name);
                return Ok(Self::nothing());
            }
            Err(_) => {
                pr_warn!(
                    "{}: records of earlier kernels are lost: no such memory\n",
                    name
                );
                return Ok(Self::nothing());
            }
        };
        let own = Chunk {
            phys: incoming.phys(),
            size: incoming.room() as u64,
        };
        let blob = incoming.copy(at, INDEX_BYTES.max(incoming.room()))?;
        let index = match Index::parse(&blob, own) {
            Ok(index) => index,
            Err(e) => {
                pr_warn!(
                    "{}: records of earlier kernels are lost: index: {}\n",
                    name,
                    e
                );
                return Ok(Self::nothing());
            }
        };
        if index.taken() {
            pr_info!(
                "{}: what the kernel before handed over was taken by an earlier load, which left \
                 nothing\n",
                name
            );
            return Ok(Self {
                next_number: index.next_number().max(1),
                ..Self::nothing()
            });
        }
        let mut found = Self::list(&index)?;
        let chunks = || found.list.iter().flat_map(|listed| &listed.chunks);
        let there =
            |c: &&Chunk| usize::try_from(c.size).is_ok_and(|n| Block::is_preserved(c.phys, n));
        if index.page_size() != PAGE_SIZE as u64 {
            pr_warn!(
                "{}: records of earlier kernels are lost: other pages\n",
                name
            );
            return Ok(Self::nothing());
        }
        if let Some(chunk) = chunks().find(|c| !there(c)) {
            pr_warn!(
                "{}: records of earlier kernels are lost: index: {:#x} bytes at {:#x} were not \
                 handed over\n",
                name,
                chunk.size,
                chunk.phys
            );
            return Ok(Self::nothing());
        }
        found.source = Source::Incoming(incoming);
        Ok(found)
    }

    /// Does all that can fail before anything is taken: what fails here leaves everything to the
    /// next load. The index that is handed on has only the present generation so far. May sleep.
    fn prepare(self, current: Option<&Kept>) -> Result<Ready> {
        let count = self.list.len();
        let mut list = KVec::with_capacity(count, GFP_KERNEL)?;
        let space = Space {
            taken: KVec::with_capacity(count, GFP_KERNEL)?,
            // With a place for the present generation, at the end.
            old: KVec::with_capacity(count + 1, GFP_KERNEL)?,
            gone: KVec::with_capacity(count, GFP_KERNEL)?,
        };
        for Listed { info, chunks } in self.list {
            let blocks = KVec::with_capacity(chunks.len(), GFP_KERNEL)?;
            list.push((chunks, Kept::new(info, blocks)), GFP_KERNEL)?;
        }
        let (outgoing, from) = match self.source {
            Source::Nothing => (Outgoing::new(current)?, From::Nobody),
            Source::Incoming(incoming) => (Outgoing::new(current)?, From::Kernel(incoming)),
            Source::Left(left, sequence) => {
                let (mem, buf) = (left.map()?, Outgoing::buffer()?);
                let (published, blocks) = left.prepare()?.take();
                let outgoing = Outgoing {
                    published,
                    mem,
                    sequence,
                    buf,
                };
                (outgoing, From::Load(blocks))
            }
            Source::Spoilt(left) => {
                // Its name is free before it is taken anew, and its memory.
                drop(left.prepare()?.take());
                (Outgoing::new(current)?, From::Nobody)
            }
        };
        Ok(Ready {
            outgoing,
            from,
            list,
            space,
        })
    }
}

/// As much space as all generations need.
struct Space {
    taken: KVec<Kept>,
    /// Those that stay.
    old: KVec<Kept>,
    /// The others, as long as an index may list them.
    gone: KVec<Kept>,
}

/// Whose memory is to be taken over.
enum From {
    Nobody,
    Kernel(Incoming),
    Load(KVec<Block>),
}

/// What was found, and space for all of it.
struct Ready {
    outgoing: Outgoing,
    from: From,
    /// Each without its blocks, but with space for them.
    list: KVec<(KVec<Chunk>, Kept)>,
    space: Space,
}

impl Ready {
    /// Takes the memory over. Of what can't be, each generation is one line. May sleep.
    fn take(mut self, name: &CStr) -> Result<(Outgoing, Space)> {
        if let From::Kernel(incoming) = &self.from {
            // From here on it is this kernel's to hand on.
            incoming.write(TAKEN_AT, &1u64.to_ne_bytes())?;
        }
        let mut block = |chunk: &Chunk| match &mut self.from {
            From::Nobody => Err(ENXIO),
            From::Kernel(_) => Block::take(chunk.phys, usize::try_from(chunk.size)?),
            From::Load(all) => {
                let mut places = all.iter();
                let at = places.position(|block| block.phys() == chunk.phys);
                all.remove(at.ok_or(ENXIO)?).map_err(|_| ENXIO)
            }
        };
        for (chunks, mut kept) in self.list {
            let mut lost = None;
            for chunk in &chunks {
                // Of one that is lost the rest is let go, too.
                let taken = block(chunk);
                if let Err(e) = taken.and_then(|b| Ok(kept.blocks.push(b, GFP_KERNEL)?)) {
                    lost = Some(e);
                }
            }
            match lost {
                None => self.space.taken.push(kept, GFP_KERNEL)?,
                Some(e) => pr_warn!(
                    "{}: generation {} is lost: its memory can't be taken over: {:?}\n",
                    name,
                    kept.info.number,
                    e
                ),
            }
        }
        Ok((self.outgoing, self.space))
    }
}

/// What the next kernel finds first.
struct Outgoing {
    published: Published,
    mem: PersistentMem,
    sequence: u64,
    /// One slot.
    buf: VVec<u8>,
}

impl Outgoing {
    fn buffer() -> Result<VVec<u8>> {
        Ok(VVec::from_elem(0u8, SLOT_ROOM, GFP_KERNEL)?)
    }

    /// Publishes an index of the present generation. May sleep.
    fn new(current: Option<&Kept>) -> Result<Self> {
        let block = Block::alloc(INDEX_BYTES, true)?;
        let mem = kho::map(core::slice::from_ref(&block), INDEX_BYTES)?;
        mem.write(0, Header::new(u32::try_from(PAGE_SIZE)?).as_bytes());
        let mut buf = Self::buffer()?;
        Self::write(&mem, &mut buf, 1, &[], current)?;
        Ok(Self {
            published: Published::new(NODE_NAME, block, INDEX_BYTES)?,
            mem,
            sequence: 1,
            buf,
        })
    }

    fn write(
        mem: &PersistentMem,
        buf: &mut [u8],
        sequence: u64,
        old: &[Kept],
        current: Option<&Kept>,
    ) -> Result {
        let full = |_| ENOSPC;
        let mut next = 1;
        let mut slot = SlotWriter::new(&mut *buf);
        for kept in Iterator::chain(old.iter(), current) {
            slot.generation(&kept.info).map_err(full)?;
            for block in &kept.blocks {
                let chunk = Chunk {
                    phys: block.phys(),
                    size: block.size() as u64,
                };
                slot.chunk(chunk).map_err(full)?;
            }
            next = kept.info.number + 1;
        }
        let used = slot.finish(sequence, next).map_err(full)?;
        // CAST: Zero or one.
        let at = Header::slot_at((sequence % SLOTS as u64) as usize);
        mem.write(at, buf.get(..used).unwrap_or(&[]));
        Ok(())
    }

    /// Writes the older slot. Until that is whole, the other one counts.
    fn update(&mut self, old: &[Kept], current: Option<&Kept>) -> Result {
        Self::write(&self.mem, &mut self.buf, self.sequence + 1, old, current)?;
        self.sequence += 1;
        Ok(())
    }

    /// A copy of the index. May sleep.
    fn image(&self) -> Result<VVec<u8>> {
        let mut bytes = VVec::from_elem(0u8, INDEX_BYTES, GFP_KERNEL)?;
        self.mem.read(0, &mut bytes);
        Ok(bytes)
    }

    /// For tests: makes both slots worthless.
    fn spoil(&self) {
        for slot in 0..SLOTS {
            self.mem.write(Header::slot_at(slot), &[0xff; HEADER_BYTES]);
        }
    }
}

/// For tests: publishes damaged copies of an index.
fn publish_damaged(image: &[u8]) -> Result<KVec<Published>> {
    let mut all = KVec::new();
    let mut copy = VVec::from_elem(0u8, INDEX_BYTES, GFP_KERNEL)?;
    for (place, name) in TEST_NAMES.into_iter().enumerate() {
        let size = (TEST_COPIES * INDEX_BYTES).min(BLOCK_MAX);
        let block = Block::alloc(size, true)?;
        let mem = kho::map(core::slice::from_ref(&block), size)?;
        for n in 0..TEST_COPIES {
            copy.copy_from_slice(image.get(..INDEX_BYTES).ok_or(EINVAL)?);
            if damage(&mut copy, place * TEST_COPIES + n) {
                mem.write(n * INDEX_BYTES, &copy);
            }
        }
        all.push(Published::new(name, block, size)?, GFP_KERNEL)?;
    }
    pr_info!(
        "test_kho=mutate: {} damaged indexes are handed over\n",
        DAMAGE_COUNT
    );
    Ok(all)
}

/// What changes, in task context only.
struct State {
    /// Until it is active.
    found: Option<Found>,
    /// Oldest first.
    old: KVec<Kept>,
    current: Option<Kept>,
    outgoing: Option<Outgoing>,
    test: KVec<Published>,
}

/// The backend.
///
/// Nothing depends on the order of its fields: whoever maps memory has a reference to it.
pub(crate) struct Kho {
    name: CString,
    ram: KBox<Ram>,
    /// Of the present generation.
    number: u64,
    /// Whether it records.
    live: Atomic<bool>,
    /// Bytes that earlier generations may take up.
    keep: usize,
    test: KhoTest,
    state: Pin<KBox<Mutex<State>>>,
    _claim: Claim,
}

/// Memory of `size` bytes, in as few blocks as there are to be had.
fn allocate(size: usize) -> Result<KVec<Block>> {
    // The index has room for some generations of so many.
    let least = (size / 32).next_power_of_two().clamp(PAGE_SIZE, BLOCK_MAX);
    let mut blocks = KVec::new();
    let mut most = BLOCK_MAX;
    let mut left = size;
    while left > 0 {
        let fits = match left.checked_ilog2() {
            Some(log) => (1usize << log).clamp(PAGE_SIZE, most),
            None => PAGE_SIZE,
        };
        match Block::alloc(fits, fits <= least) {
            Ok(block) => {
                blocks.push(block, GFP_KERNEL)?;
                left = left.saturating_sub(fits);
            }
            Err(_) if fits > least => most = fits / 2,
            Err(e) => return Err(e),
        }
    }
    Ok(blocks)
}

fn now() -> Stamp {
    let ns = time::real_ns();
    Stamp {
        sec: ns / 1_000_000_000,
        // CAST: Below a million.
        usec: (ns % 1_000_000_000 / 1000) as u32,
    }
}

/// This boot's identity as user space knows it, zeros where it can't be read. May sleep.
fn boot_id() -> [u8; 16] {
    let (mut text, mut id) = ([0u8; 36], [0u8; 16]);
    if file::read(c"/proc/sys/kernel/random/boot_id", &mut text).is_ok() {
        let mut digits = text.iter().filter_map(|b| char::from(*b).to_digit(16));
        for byte in &mut id {
            if let (Some(high), Some(low)) = (digits.next(), digits.next()) {
                // CAST: Two digits are a byte.
                *byte = (high << 4 | low) as u8;
            }
        }
    }
    id
}

impl Kho {
    /// Allocates this generation's memory and looks at what there is of earlier ones. Changes
    /// nothing of that. May sleep.
    pub(crate) fn new(config: &KhoConfig, layout: RamLayout) -> Result<KBox<Self>> {
        let name = &*config.name;
        if !kho::is_enabled() {
            pr_err!(
                "{}: nothing can be handed over: this kernel has KHO switched off; boot it with \
                 kho=on (a crash kernel never has it)\n",
                name
            );
            return Err(EOPNOTSUPP);
        }
        let Some(claim) = Claim::take() else {
            pr_err!(
                "{}: there is a kho backend already, and can be only one\n",
                name
            );
            return Err(EBUSY);
        };
        if layout.dmesg_count() as u64 > RECORDS_MAX {
            pr_err!(
                "{}: record_size: makes {} records, at most {} are possible; give larger ones\n",
                name,
                layout.dmesg_count(),
                RECORDS_MAX
            );
            return Err(EINVAL);
        }
        let size = config.sizes.mem_size;
        let blocks = allocate(size).inspect_err(|_| {
            pr_err!(
                "{}: no {:#x} bytes of memory in large pieces; give less\n",
                name,
                size
            );
        })?;
        let ram = Ram::new(
            CString::try_from(name)?,
            kho::map(&blocks, size)?,
            layout,
            config.max_reason,
            config.sizes.ecc_size,
            Some((0, 0)),
        )?;
        let found = Found::look(name, config.test)?;
        let number = found.next_number;
        let info = Generation {
            number,
            start: now(),
            end: None,
            boot_id: boot_id(),
            release: Generation::release_from(kho::release()),
            open: true,
            mem_size: size,
            layout,
            ecc_size: config.sizes.ecc_size,
        };
        pr_info!(
            "{}: generation {}, {:#x} bytes in {} blocks, {} dmesg records of {} bytes\n",
            name,
            number,
            size,
            blocks.len(),
            ram.records_max(),
            ram.record_capacity()
        );
        let state = State {
            found: Some(found),
            old: KVec::new(),
            current: Some(Kept::new(info, blocks)),
            outgoing: None,
            test: KVec::new(),
        };
        let this = Self {
            name: CString::try_from(name)?,
            ram,
            number,
            live: Atomic::new(false),
            keep: config.keep,
            test: config.test,
            state: KBox::pin_init(new_mutex!(state), GFP_KERNEL)?,
            _claim: claim,
        };
        Ok(KBox::new(this, GFP_KERNEL)?)
    }

    /// Takes over what was found, lets go what there is no space for, and publishes the rest.
    fn begin(&self, state: &mut State) -> Result {
        let Some(found) = state.found.take() else {
            return Err(EINVAL);
        };
        let (outgoing, space) = found
            .prepare(state.current.as_ref())
            .and_then(|ready| ready.take(&self.name))
            .inspect_err(|e| {
                pr_err!("{}: nothing is handed over: {:?}\n", self.name(), e);
            })?;
        let Space {
            taken,
            mut old,
            mut gone,
        } = space;
        for mut kept in taken {
            match self.is_to_stay(&mut kept) {
                true => old.push(kept, GFP_KERNEL)?,
                false => gone.push(kept, GFP_KERNEL)?,
            }
        }
        let (mut bytes, mut expired) = (old.iter().map(Kept::bytes).sum::<usize>(), 0);
        let blocks = |old: &[Kept]| old.iter().map(|kept| kept.blocks.len()).sum::<usize>();
        let own = state.current.as_ref().map_or(0, |kept| kept.blocks.len());
        while !old.is_empty()
            && (bytes > self.keep
                || old.len() + 1 > GENERATIONS_WRITTEN
                || blocks(&old) + own > CHUNKS_WRITTEN)
        {
            let kept = old.remove(0).map_err(|_| EINVAL)?;
            bytes = bytes.saturating_sub(kept.bytes());
            gone.push(kept, GFP_KERNEL)?;
            expired += 1;
        }
        if expired > 0 {
            pr_info!(
                "{}: {} oldest generations went, for earlier ones have {:#x} bytes (kho_keep)\n",
                self.name(),
                expired,
                self.keep
            );
        }
        if !old.is_empty() {
            pr_info!(
                "{}: {} records in {} earlier generations\n",
                self.name(),
                old.iter().map(|kept| kept.found).sum::<usize>(),
                old.len()
            );
        }
        state.old = old;
        let outgoing = state.outgoing.insert(outgoing);
        // There is room for all of these. The memory of the others is free when none lists it.
        outgoing.update(&state.old, state.current.as_ref())?;
        drop(gone);
        match self.test {
            KhoTest::None | KhoTest::Read(_) => {}
            KhoTest::Mutate => state.test = publish_damaged(&outgoing.image()?)?,
            KhoTest::Spoil => outgoing.spoil(),
        }
        Ok(())
    }

    /// Whether an earlier generation has records, as far as can be seen now. May sleep.
    fn is_to_stay(&self, kept: &mut Kept) -> bool {
        match kept.records(&self.name) {
            // Erased: its memory is free from here on.
            Ok(list) if list.is_empty() => return false,
            Ok(list) => {
                kept.info.end = kept.info.end.or(Some(kept.last(&list)));
                kept.found = list.len();
            }
            Err(e) if e == ENOMEM => pr_warn!(
                "{}: generation {}: there is no memory to look at it now\n",
                self.name(),
                kept.info.number
            ),
            Err(e) => {
                pr_warn!(
                    "{}: generation {} is lost: it can't be read: {:?}\n",
                    self.name(),
                    kept.info.number,
                    e
                );
                return false;
            }
        }
        kept.info.open = false;
        true
    }

    fn check(&self) -> Result {
        match self.live.load(Acquire) {
            true => Ok(()),
            false => Err(ENODEV),
        }
    }

    /// The generation and the number in it that make an id.
    fn split(id: &RecordId) -> (u64, RecordId) {
        let inner = RecordId {
            id: id.id % RECORDS_MAX,
            ..*id
        };
        (id.id / RECORDS_MAX, inner)
    }

    fn join(number: u64, info: &RecordInfo, time: Option<Stamp>) -> RecordInfo {
        RecordInfo {
            id: RecordId {
                id: number * RECORDS_MAX + info.id.id,
                ..info.id
            },
            stamp: info.stamp.or(time),
            ..*info
        }
    }
}

impl Backend for Kho {
    fn name(&self) -> &CStr {
        &self.name
    }

    fn kinds(&self) -> Kinds {
        self.ram.kinds()
    }

    fn max_reason(&self) -> u32 {
        self.ram.max_reason()
    }

    fn record_capacity(&self) -> usize {
        self.ram.record_capacity()
    }

    fn repairs(&self) -> Repair {
        self.ram.repairs()
    }

    fn risk(&self) -> Risk {
        self.ram.risk()
    }

    fn activate(&self) -> Result {
        self.begin(&mut self.state.lock())?;
        self.ram.activate()?;
        self.live.store(true, Release);
        Ok(())
    }

    fn dump(&self, dump: &Dump<'_>) -> Result {
        self.check()?;
        self.ram.dump(dump)
    }

    fn append(&self, kind: Kind, parts: &[&[u8]], context: Context) -> Result {
        self.check()?;
        self.ram.append(kind, parts, context)
    }

    fn append_user(&self, kind: Kind, bytes: UserBytes) -> Result {
        self.check()?;
        self.ram.append_user(kind, bytes)
    }

    fn trace(&self, call: &Call) -> Result {
        // Unchecked, for a check would be a call: at worst this generation has a trace that nobody
        // is told of.
        self.ram.trace(call)
    }

    fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result {
        let mut list = KVec::new();
        {
            let state = self.state.lock();
            for kept in &state.old {
                for info in &kept.records(&self.name)? {
                    let info = Self::join(kept.info.number, info, kept.info.end);
                    list.push(info, GFP_KERNEL)?;
                }
            }
        }
        // Without the mutex: `f` may take locks under which `erase()` is called.
        list.iter().try_for_each(&mut *f)?;
        self.ram
            .records(&mut |info| f(&Self::join(self.number, info, None)))
    }

    fn generations(&self, f: &mut dyn FnMut(&GenerationInfo<'_>) -> Result) -> Result {
        let state = self.state.lock();
        for kept in Iterator::chain(state.old.iter(), &state.current) {
            f(&GenerationInfo {
                number: kept.info.number,
                current: kept.info.open,
                start: kept.info.start,
                end: kept.info.end,
                boot_id: kept.info.boot_id,
                release: kept.info.release(),
                bytes: kept.bytes(),
                records: kept.records(&self.name)?.len(),
            })?;
        }
        Ok(())
    }

    fn settle(&self, id: &RecordId) -> Result<(KVVec<u8>, bool)> {
        let (number, inner) = Self::split(id);
        if number == self.number {
            return self.ram.settle(&inner);
        }
        let state = self.state.lock();
        let mut all = state.old.iter();
        let kept = all.find(|kept| kept.info.number == number).ok_or(ESTALE)?;
        kept.open(&self.name)?.settle(&inner)
    }

    fn still(&self, id: &RecordId) -> Result {
        let (number, inner) = Self::split(id);
        if number == self.number {
            return self.ram.still(&inner);
        }
        // Nobody writes to what another kernel has left.
        let state = self.state.lock();
        let mut all = state.old.iter();
        all.any(|kept| kept.info.number == number)
            .then_some(())
            .ok_or(ESTALE)
    }

    fn read(&self, id: &RecordId) -> Result<KVVec<u8>> {
        let (number, inner) = Self::split(id);
        if number == self.number {
            return self.ram.read(&inner);
        }
        let state = self.state.lock();
        let mut all = state.old.iter();
        let kept = all.find(|kept| kept.info.number == number).ok_or(ESTALE)?;
        kept.open(&self.name)?.read(&inner)
    }

    fn erase(&self, id: &RecordId) -> Result {
        let (number, inner) = Self::split(id);
        if number == self.number {
            return self.ram.erase(&inner);
        }
        let mut state = self.state.lock();
        let State {
            old,
            current,
            outgoing,
            ..
        } = &mut *state;
        let mut all = old.iter();
        let at = all
            .position(|kept| kept.info.number == number)
            .ok_or(ESTALE)?;
        let kept = old.get(at).ok_or(ESTALE)?;
        kept.open(&self.name)?.wipe(&inner)?;
        if !kept.records(&self.name)?.is_empty() {
            return Ok(());
        }
        // The last one: the memory is free as soon as no index lists it.
        let gone = old.remove(at).map_err(|_| EINVAL)?;
        if let Some(outgoing) = outgoing {
            outgoing.update(old, current.as_ref())?;
        }
        drop(gone);
        Ok(())
    }
}

impl Drop for Kho {
    /// Nobody records any more. What there is stays where it is.
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let State {
            old,
            current,
            outgoing,
            ..
        } = &mut *state;
        let Some(mut out) = outgoing.take() else {
            // It never began.
            return;
        };
        if matches!(self.test, KhoTest::Read(_)) {
            return;
        }
        let mut blocks = KVec::new();
        let mut end = || -> Result<bool> {
            if let Some(mut kept) = current.take() {
                // One that can't be looked at now may be full of them.
                let list = kept.records(&self.name);
                if !list.is_ok_and(|list| list.is_empty()) {
                    kept.info.open = false;
                    kept.info.end = Some(now());
                    old.push(kept, GFP_KERNEL)?;
                }
            }
            out.update(old, None)?;
            for kept in old.drain_all() {
                for block in kept.blocks {
                    blocks.push(block, GFP_KERNEL)?;
                }
            }
            Ok(!blocks.is_empty())
        };
        let left = match end() {
            Ok(true) => kho::leave(LEFT_NAME, out.published, blocks),
            // Nothing in it.
            Ok(false) => Ok(()),
            Err(e) => Err(e),
        };
        if let Err(e) = left {
            pr_err!("{}: its records are lost: {:?}\n", &*self.name, e);
        }
    }
}
