// SPDX-License-Identifier: GPL-2.0

//! Every parameter: name, default, meaning and validation.
//!
//! One table serves `insmod`, `modprobe`, the kernel command line (`mpstore.<name>=`), sysfs and
//! the test that compares it with the documentation. Parameters are named as those of ramoops and
//! pstore where they mean the same thing.

use crate::sys::errno::EOPNOTSUPP;
use crate::{
    backend::mem::Fault,
    compress,
    dispatch::BACKENDS_MAX,
    fs::Layout,
    shared::SharedText,
    sys::{
        cpu,
        crash_dump,
        file,
        mem::MemType,
        param::{
            Param,
            Watch,
            MAX, //
        },
        slots::RcuSlots, //
    },
};
use kernel::{
    prelude::*,
    str::{
        BStr,
        CStr,
        CString, //
    },
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};
use mpstore_format::{
    dump::Method,
    ecc::{
        ECC_SIZE_DEFAULT,
        ECC_SIZE_MAX, //
    },
    efi::{
        Budget,
        CONTENT_MAX,
        RECORD_SIZE, //
    },
    layout::{
        RamSizes,
        CRASH_SIZE_LEAST, //
    },
    text::Reason,
    zone::ZoneSizes, //
};

/// The table. `$define` gets one entry per parameter; see [`crate::define_params`].
#[macro_export]
macro_rules! params_table {
    ($define:path) => {
        $define! {
            mem_address: list, 0o400, "", None,
                "Physical addresses of the RAM regions, one backend each; empty where mem_name is used";
            mem_name: list, 0o400, "", None,
                "Names of reserve_mem= regions, by place like mem_address";
            mem_size: list, 0o400, "", None,
                "Sizes of the regions in bytes; default with mem_name is the whole reservation";
            crash_size: list, 0o400, "0", None,
                "Bytes at the end of each region that a crash kernel records to, 0 for none";
            mem_type: list, 0o400, "0", None,
                "How the regions are mapped: 0 write-combining, 1 uncached, 2 cached";
            name: list, 0o400, "", None,
                "Names of the regions' directories; default ramoops, ramoops1, ...";
            record_size: list, 0o400, "4096", None,
                "Size of each dmesg record in bytes, rounded down to a power of two";
            console_size: list, 0o400, "4096", None,
                "Size of the console zone in bytes, rounded down to a power of two, 0 for none";
            ftrace_size: list, 0o400, "4096", None,
                "Size of all zones of the function trace in bytes, rounded down to a power of two, 0 for none";
            ftrace_per_cpu: list, 0o400, "Y", None,
                "Whether each CPU has its own zone of the function trace";
            pmsg_size: list, 0o400, "4096", None,
                "Size of the pmsg zone in bytes, rounded down to a power of two, 0 for none";
            tty_size: list, 0o400, "4096", None,
                "Size of the tty zone in bytes, at the end of the region, 0 for none";
            ecc: list, 0o400, "0", None,
                "Parity bytes per 128 bytes of data, 0 for none, 1 means 16, at most 127";
            max_reason: list, 0o400, "-1", None,
                "Dumps kept: 1 panic, 2 and oops (-1), 3 and emergency, 4 and shutdown, 0 as printk does";
            dump_oops: list, 0o400, "-1", None,
                "Old form of max_reason, which counts if both are given: 1 panic and oops, 0 panic only";
            kmsg_bytes: uint, 0o400, "10240", None,
                "Bytes of the kernel log that a dump keeps, in whole records";
            compress: string, 0o400, "deflate", None,
                "How dmesg records are compressed: none, deflate as in-tree, or zstd, which in-tree code can't read";
            layout: string, 0o400, "tree", None,
                "Where mounts that do not say show the records: tree, flat or both";
            update_ms: int, 0o600, "-1", Some($crate::params::set_update_ms),
                "Milliseconds after an oops until mounts show what is new, and from then on; -1 for never";
            pmsg_device: string, 0o400, "", None,
                "Name in /dev of what user space writes to; default pmsg0, or pmsg1 beside the in-tree pstore's pmsg0";
            tty: bool, 0o600, "Y", Some($crate::params::set_tty),
                "Whether terminal output is recorded";
            tty_names: list, 0o600, "*,!pts*,!ptm*", Some($crate::params::set_tty_names),
                "Terminals that are recorded: patterns with * and ?, ! excludes, the last match counts";
            tty_raw: bool, 0o600, "N", Some($crate::params::set_tty_raw),
                "Record terminal output as it is, without time and name of the terminal";
            tty_probe: string, 0o400, "auto", None,
                "How terminals are watched: fprobe, kprobe, or auto for what the kernel has";
            record_ftrace: bool, 0o400, "N", None,
                "Record the function trace from the load on; at run time by debugfs";
            kho: bool, 0o400, "N", None,
                "Whether records are kept over kexec by Kexec HandOver, as backend kho";
            kho_size: uint, 0o400, "1M", None,
                "Bytes of what this kernel records for the next, at most 64M";
            kho_keep: uint, 0o400, "4M", None,
                "Bytes kept of earlier kernels' records, the oldest go first, at most 64M";
            kho_record_size: uint, 0o400, "65536", None,
                "Size of each dmesg record of kho in bytes, rounded down to a power of two, 0 for none";
            kho_console_size: uint, 0o400, "131072", None,
                "Size of the console zone of kho in bytes, rounded down to a power of two, 0 for none";
            kho_ftrace_size: uint, 0o400, "65536", None,
                "Size of the ftrace zones of kho in bytes, rounded down to a power of two, 0 for none";
            kho_pmsg_size: uint, 0o400, "65536", None,
                "Size of the pmsg zone of kho in bytes, rounded down to a power of two, 0 for none";
            kho_tty_size: uint, 0o400, "65536", None,
                "Size of the tty zone of kho in bytes, rounded down to a power of two, 0 for none";
            kho_max_reason: string, 0o400, "4", None,
                "Dumps that kho keeps, as max_reason; a shutdown's is how a kexec is recorded";
            efi: bool, 0o400, "N", None,
                "Whether dumps are kept in EFI variables, as backend efi";
            efi_bytes: uint, 0o400, "32K", None,
                "Bytes of the variable store that dumps may take, those of earlier kernels included";
            efi_records: uint, 0o400, "32", None,
                "Variables that dumps may take, those of earlier kernels included, at most 512";
            efi_floor: uint, 0o400, "16K", None,
                "Bytes of the variable store that stay free, 0 for what the kernel itself insists on";
            efi_record_size: uint, 0o400, "1024", None,
                "Size of each dmesg record of efi in bytes; the in-tree code reads 1024 unless told otherwise";
            efi_max_reason: string, 0o400, "-1", None,
                "Dumps that efi keeps, as max_reason";
            erst: bool, 0o400, "N", None,
                "Whether dumps are kept in ACPI's ERST, as backend erst";
            erst_records: uint, 0o400, "16", None,
                "Records of it that dumps may take, those of earlier kernels included, at most 512";
            erst_record_size: uint, 0o400, "0", None,
                "Size of each record of erst in bytes, headers included, 0 for what the firmware takes";
            erst_max_reason: string, 0o400, "-1", None,
                "Dumps that erst keeps, as max_reason";
            vmcore: string, 0o400, "auto", None,
                "In a crash kernel, whether the crashed kernel's records are added to /proc/vmcore: auto, Y or N";
            blkdev: list, 0o400, "", None,
                "Block devices and MTDs, one backend each: a path, PARTUUID=, PARTLABEL=, major:minor, mtd:NAME or mtd:NUMBER";
            kmsg_size: list, 0o400, "64K", None,
                "Size of each dmesg record on a block device or MTD in bytes, a multiple of 4096, 0 for none";
            best_effort: list, 0o400, "Y", None,
                "Whether a block device or MTD is used although a panic can't be written to it";
            blk_takeover: list, 0o400, "Y", None,
                "Whether a panic may take over the controller of a block device to write to it, if that can be done";
            blk_takeover_seconds: uint, 0o400, "10", None,
                "How long that may take, in seconds, 1 to 3600";
            blk_controller: list, 0o400, "", None,
                "PCI addresses of the controllers of block devices where the kernel does not tell: NVMe multipath";
            force: bool, 0o400, "N", None,
                "Use block devices and MTDs even if they hold something else, which is overwritten";
            flush_ms: uint, 0o400, "500", None,
                "Milliseconds after which records are on a block device or MTD, at most 60000";
            strict: bool, 0o400, "N", None,
                "Fail the load if any backend or frontend can't start";
            test_mem: uint, 0o400, "0", None,
                "Number of plain-memory backends mem0, mem1, ..., for tests";
            test_mem_size: uint, 0o400, "65536", None,
                "Size of each of them in bytes";
            test_mem_fault: list, 0o400, "", None,
                "What each of them does wrong: none, register, write, erase";
            test_kho: string, 0o400, "", None,
                "What goes wrong with the index of kho: spoil or mutate it, or a number of a mutated one to read";
        }
    };
}

/// The parameters themselves.
mod table {
    params_table!(crate::define_params);
}

/// What the tty frontend looks at for every write; changes at run time.
pub(crate) struct TtySettings {
    /// Whether anything is recorded.
    pub(crate) enabled: Atomic<bool>,
    /// Whether lines go without time and name.
    pub(crate) raw: Atomic<bool>,
    /// Patterns of names.
    pub(crate) names: SharedText,
}

/// The settings in force.
pub(crate) static TTY: TtySettings = TtySettings {
    enabled: Atomic::new(true),
    raw: Atomic::new(false),
    names: SharedText::new(),
};

fn parse_bool(value: &[u8]) -> Option<bool> {
    match value {
        b"1" | b"y" | b"Y" | b"on" | b"t" | b"T" => Some(true),
        b"0" | b"n" | b"N" | b"off" | b"f" | b"F" => Some(false),
        _ => None,
    }
}

fn refuse<T>(param: &str, value: &[u8], right: &str) -> Result<T> {
    pr_err!("{}={}: {}\n", param, BStr::from_bytes(value), right);
    Err(EINVAL)
}

fn set_bool(name: &str, value: &[u8], to: &Atomic<bool>) -> Result {
    match parse_bool(value) {
        Some(on) => {
            to.store(on, Relaxed);
            Ok(())
        }
        None => refuse(name, value, "give Y or N"),
    }
}

/// Hook of the parameter `tty`. Off means that terminals are not even watched.
pub(crate) fn set_tty(value: &[u8]) -> Result {
    set_bool("tty", value, &TTY.enabled)?;
    let Some(watch) = TTY_WATCH.get(0) else {
        return Ok(());
    };
    watch.changed().inspect_err(|e| {
        TTY.enabled.store(false, Relaxed);
        pr_err!("tty=Y: terminals can't be watched: {:?}\n", e);
    })
}

/// Who wants to know when the parameter `tty` changes.
pub(crate) static TTY_WATCH: RcuSlots<KBox<dyn Watch>, 1> = RcuSlots::new();

/// Hook of the parameter `tty_raw`.
pub(crate) fn set_tty_raw(value: &[u8]) -> Result {
    set_bool("tty_raw", value, &TTY.raw)
}

/// Hook of the parameter `tty_names`.
pub(crate) fn set_tty_names(value: &[u8]) -> Result {
    if !value.iter().all(u8::is_ascii_graphic) {
        return refuse(
            "tty_names",
            value,
            "give patterns with commas between, no blanks",
        );
    }
    if !TTY.names.set(value) {
        return refuse("tty_names", value, "too long, give at most 128 bytes");
    }
    Ok(())
}

/// What `kmsg_bytes` is if nobody says.
pub(crate) const KMSG_BYTES: usize = 10240;

/// Most bytes of the log that a dump can be told to keep.
const KMSG_BYTES_MAX: usize = 16 << 20;

/// A value of `kmsg_bytes`, given by `name`.
pub(crate) fn kmsg_bytes(name: &str, value: &[u8]) -> Result<usize> {
    match parse_number(value).and_then(|n| usize::try_from(n).ok()) {
        Some(n) if n <= KMSG_BYTES_MAX => Ok(n),
        _ => refuse(name, value, "give a number of bytes up to 16M"),
    }
}

/// Shows the value of `pmsg_device` in force.
pub(crate) fn publish_pmsg_device(name: &CStr) -> Result {
    table::pmsg_device.store(name.to_bytes())
}

/// Shows a value of `kmsg_bytes` that came by another way.
pub(crate) fn publish_kmsg_bytes(bytes: usize) -> Result {
    let text = CString::try_from_fmt(fmt!("{}", bytes))?;
    table::kmsg_bytes.store(text.to_bytes())
}

/// A value of `layout`, given by `name`.
pub(crate) fn layout(name: &str, value: &[u8]) -> Result<Layout> {
    match Layout::parse(value) {
        Some(layout) => Ok(layout),
        None => refuse(name, value, "give tree, flat or both"),
    }
}

/// The value of `update_ms` in force.
pub(crate) static UPDATE_MS: Atomic<i32> = Atomic::new(-1);

/// Hook of the parameter `update_ms`.
pub(crate) fn set_update_ms(value: &[u8]) -> Result {
    let (digits, sign) = match value.strip_prefix(b"-") {
        Some(digits) => (digits, -1),
        None => (value, 1),
    };
    match parse_number(digits).and_then(|n| i32::try_from(n).ok()) {
        Some(n) => {
            UPDATE_MS.store(sign * n, Relaxed);
            Ok(())
        }
        None => refuse(
            "update_ms",
            value,
            "give a number of milliseconds, or -1 for never",
        ),
    }
}

/// How the tty frontend sees writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    /// As the kernel allows.
    Auto,
    /// By fprobe.
    Fprobe,
    /// By kretprobe.
    Kprobe,
}

/// The name that `pmsg_device` gives, if it does.
fn pmsg_device() -> Result<Option<CString>> {
    let value = Value::of("pmsg_device", &table::pmsg_device)?;
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"_-".contains(b);
    match value.as_bytes() {
        b"" => Ok(None),
        text if text.len() <= 32 && text.iter().all(fits) => Ok(Some(CString::try_from_fmt(
            fmt!("{}", BStr::from_bytes(text)),
        )?)),
        text => refuse(
            "pmsg_device",
            text,
            "give a name of at most 32 letters, digits, _ and -",
        ),
    }
}

fn probe_kind() -> Result<ProbeKind> {
    let value = Value::of("tty_probe", &table::tty_probe)?;
    match value.as_bytes() {
        b"auto" => Ok(ProbeKind::Auto),
        b"fprobe" => Ok(ProbeKind::Fprobe),
        b"kprobe" => Ok(ProbeKind::Kprobe),
        text => refuse("tty_probe", text, "give auto, fprobe or kprobe"),
    }
}

fn compression() -> Result<Option<Method>> {
    let value = Value::of("compress", &table::compress)?;
    let (method, lacks) = match value.as_bytes() {
        b"none" => return Ok(None),
        b"deflate" => (Method::Deflate, "CONFIG_ZLIB_DEFLATE"),
        b"zstd" => (Method::Zstd, "CONFIG_ZSTD_COMPRESS"),
        text => return refuse("compress", text, "give none, deflate or zstd"),
    };
    if !compress::supported(method) {
        pr_err!(
            "compress={}: this kernel was built without {}; give another one, or none\n",
            BStr::from_bytes(value.as_bytes()),
            lacks
        );
        return Err(EOPNOTSUPP);
    }
    Ok(Some(method))
}

/// Whether a crash kernel adds the records of the kernel that crashed to the vmcore.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vmcore {
    /// If it can.
    Auto,
    /// Yes, and it is a line of an error if it can't.
    Always,
    /// Yes, and the region can't be used if it can't: with `strict`.
    Required,
    /// No.
    Never,
}

fn vmcore() -> Result<Vmcore> {
    let value = Value::of("vmcore", &table::vmcore)?;
    match value.as_bytes() {
        b"" | b"auto" => Ok(Vmcore::Auto),
        text => match parse_bool(text) {
            Some(true) if boolean("strict", &table::strict)? => Ok(Vmcore::Required),
            Some(true) => Ok(Vmcore::Always),
            Some(false) => Ok(Vmcore::Never),
            None => refuse("vmcore", text, "give auto, Y or N"),
        },
    }
}

/// A value of `crash_size`: whole pages.
fn crash_size(value: &Value, text: &[u8]) -> Result<usize> {
    let size = value.size(match text {
        b"" => b"0",
        text => text,
    })?;
    match size & !0xfff {
        0 if size == 0 => Ok(0),
        size if size >= CRASH_SIZE_LEAST => Ok(size),
        _ => refuse(value.name, text, "give 0 for none, or at least 16K"),
    }
}

/// Where a RAM region is.
pub(crate) enum Place {
    /// At a physical address.
    Address(u64),
    /// A `reserve_mem=` region.
    Name(CString),
}

/// One RAM region as configured.
pub(crate) struct RegionConfig {
    /// Directory name.
    pub(crate) name: CString,
    /// Where.
    pub(crate) place: Place,
    /// Bytes, if given.
    pub(crate) size: Option<usize>,
    /// Bytes at its end that are a crash kernel's.
    pub(crate) crash_size: usize,
    /// See the parameter.
    pub(crate) vmcore: Vmcore,
    /// How it is mapped.
    pub(crate) mem_type: MemType,
    /// Zones; `mem_size` is not filled in yet.
    pub(crate) sizes: RamSizes,
    /// See the parameter.
    pub(crate) max_reason: u32,
}

/// One plain-memory backend as configured.
pub(crate) struct MemConfig {
    /// Directory name.
    pub(crate) name: CString,
    /// Zones and size.
    pub(crate) sizes: RamSizes,
    /// See the parameter.
    pub(crate) max_reason: u32,
    /// What it does wrong.
    pub(crate) fault: Fault,
}

/// What a test does to the index that the next kernel gets, or reads instead.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(CONFIG_KEXEC_HANDOVER), allow(dead_code))]
pub(crate) enum KhoTest {
    /// No test.
    None,
    /// Makes it worthless.
    Spoil,
    /// Hands over damaged copies as well.
    Mutate,
    /// Reads that damaged copy instead.
    Read(usize),
}

/// One block device as configured.
#[cfg_attr(not(any(CONFIG_BLOCK, CONFIG_MTD)), allow(dead_code))]
pub(crate) struct BlkConfig {
    /// Directory name.
    pub(crate) name: CString,
    /// Which device.
    pub(crate) target: CString,
    /// Zones; the device's sizes are not filled in yet.
    pub(crate) sizes: ZoneSizes,
    /// See the parameter.
    pub(crate) max_reason: u32,
    /// See the parameter.
    pub(crate) best_effort: bool,
    /// See the parameter.
    pub(crate) takeover: bool,
    /// See the parameter.
    pub(crate) takeover_seconds: u32,
    /// PCI address of the controller, empty if it is to be found.
    pub(crate) controller: CString,
    /// See the parameter.
    pub(crate) force: bool,
    /// See the parameter.
    pub(crate) flush_ms: u32,
}

/// What an element of `blkdev` begins with where an MTD is meant, as `mount` and `root=` name one.
pub(crate) const MTD_PREFIX: &[u8] = b"mtd:";

/// Zones of a block device are as large as those of pstore_blk if nothing is said.
const BLK_SIZE: usize = 64 << 10;

/// The backend for Kexec HandOver as configured.
#[cfg_attr(not(CONFIG_KEXEC_HANDOVER), allow(dead_code))]
pub(crate) struct KhoConfig {
    /// Directory name.
    pub(crate) name: CString,
    /// Zones and size.
    pub(crate) sizes: RamSizes,
    /// Bytes kept of earlier generations.
    pub(crate) keep: usize,
    /// See the parameter.
    pub(crate) max_reason: u32,
    /// See the parameter.
    pub(crate) test: KhoTest,
}

/// Most bytes that the backend for Kexec HandOver has for one generation, or for all earlier ones.
const KHO_MAX: usize = 64 << 20;
const KHO_SIZE_RIGHT: &str = "give 64K to 64M";

fn kho_test() -> Result<KhoTest> {
    let value = Value::of("test_kho", &table::test_kho)?;
    match value.as_bytes() {
        b"" => Ok(KhoTest::None),
        b"spoil" => Ok(KhoTest::Spoil),
        b"mutate" => Ok(KhoTest::Mutate),
        text => match parse_number(text).and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Ok(KhoTest::Read(n)),
            None => refuse("test_kho", text, "give spoil, mutate or a number"),
        },
    }
}

fn kho_keep() -> Result<usize> {
    number("kho_keep", &table::kho_keep, KHO_MAX, "give at most 64M")
}

/// Whole pages.
fn kho_size(name: &'static str, size: usize) -> Result<usize> {
    let size = size & !0xfff;
    if !(0x1_0000..=KHO_MAX).contains(&size) {
        let text = CString::try_from_fmt(fmt!("{}", size))?;
        return refuse(name, text.to_bytes(), KHO_SIZE_RIGHT);
    }
    Ok(size)
}

/// The backend `kho`, if it is asked for.
fn kho() -> Result<Option<KhoConfig>> {
    let right = "give a number of bytes up to 64M";
    let size = |name, param| number(name, param, KHO_MAX, right);
    let sizes = RamSizes {
        mem_size: kho_size(
            "kho_size",
            number("kho_size", &table::kho_size, KHO_MAX, KHO_SIZE_RIGHT)?,
        )?,
        record_size: size("kho_record_size", &table::kho_record_size)?,
        console_size: size("kho_console_size", &table::kho_console_size)?,
        ftrace_size: size("kho_ftrace_size", &table::kho_ftrace_size)?,
        pmsg_size: size("kho_pmsg_size", &table::kho_pmsg_size)?,
        tty_size: size("kho_tty_size", &table::kho_tty_size)?,
        ftrace_zones: cpu::possible_ids(),
        ecc_size: 0,
    }
    .rounded();
    let reason = Value::of("kho_max_reason", &table::kho_max_reason)?;
    let old = Value::new("dump_oops", b"")?;
    let config = KhoConfig {
        name: CString::try_from_fmt(fmt!("kho"))?,
        sizes,
        keep: kho_keep()?,
        max_reason: match reason.as_bytes() {
            b"" | b"-1" => Reason::Shutdown.to_kmsg(),
            text => max_reason(&reason, text, &old, b"")?,
        },
        test: kho_test()?,
    };
    Ok(boolean("kho", &table::kho)?.then_some(config))
}

/// The backend for EFI variables as configured.
#[cfg_attr(not(CONFIG_EFI), allow(dead_code))]
pub(crate) struct EfiConfig {
    /// Directory name.
    pub(crate) name: CString,
    /// What of the store it may use.
    pub(crate) budget: Budget,
    /// Bytes of a record.
    pub(crate) record_size: usize,
    /// See the parameter.
    pub(crate) max_reason: u32,
}

/// The backend for ACPI's ERST as configured.
#[cfg_attr(not(CONFIG_ACPI_APEI), allow(dead_code))]
pub(crate) struct ErstConfig {
    /// Directory name.
    pub(crate) name: CString,
    /// Dumps that it may keep.
    pub(crate) records: u64,
    /// Bytes of a record with its headers, if given.
    pub(crate) record_size: Option<usize>,
    /// See the parameter.
    pub(crate) max_reason: u32,
}

impl EfiConfig {
    /// Another one of the same. May sleep.
    #[cfg(CONFIG_EFI)]
    pub(crate) fn copy(&self) -> Result<Self> {
        Ok(Self {
            name: CString::try_from(&*self.name)?,
            ..*self
        })
    }
}

impl ErstConfig {
    /// Another one of the same. May sleep.
    #[cfg(CONFIG_ACPI_APEI)]
    pub(crate) fn copy(&self) -> Result<Self> {
        Ok(Self {
            name: CString::try_from(&*self.name)?,
            ..*self
        })
    }
}

/// Most records that either may have.
const FIRMWARE_RECORDS_MAX: usize = 512;

/// A number in a range.
fn number_in(
    name: &'static str,
    param: &Param,
    range: core::ops::RangeInclusive<usize>,
    right: &str,
) -> Result<usize> {
    let n = number(name, param, *range.end(), right)?;
    if !range.contains(&n) {
        return refuse(name, Value::of(name, param)?.as_bytes(), right);
    }
    Ok(n)
}

fn own_max_reason(name: &'static str, param: &Param) -> Result<u32> {
    let reason = Value::of(name, param)?;
    max_reason(
        &reason,
        reason.as_bytes(),
        &Value::new("dump_oops", b"")?,
        b"",
    )
}

/// The backend `efi`, if it is asked for.
fn efi() -> Result<Option<EfiConfig>> {
    let right = "give a number of bytes up to 16M";
    let bytes = number("efi_bytes", &table::efi_bytes, 16 << 20, right)?;
    let floor = number("efi_floor", &table::efi_floor, 16 << 20, right)?;
    let records = number_in(
        "efi_records",
        &table::efi_records,
        1..=FIRMWARE_RECORDS_MAX,
        "give 1 to 512",
    )?;
    let config = EfiConfig {
        name: CString::try_from_fmt(fmt!("efi"))?,
        budget: Budget {
            bytes: bytes as u64,
            records: records as u64,
            floor: floor as u64,
        },
        record_size: number_in(
            "efi_record_size",
            &table::efi_record_size,
            RECORD_SIZE..=CONTENT_MAX / 4 * 3,
            "give 1024 to 48K",
        )?,
        max_reason: own_max_reason("efi_max_reason", &table::efi_max_reason)?,
    };
    Ok(boolean("efi", &table::efi)?.then_some(config))
}

/// The backend `erst`, if it is asked for.
fn erst() -> Result<Option<ErstConfig>> {
    let right = "give 1024 to 64K, or 0 for what the firmware takes";
    let size = number("erst_record_size", &table::erst_record_size, 1 << 16, right)?;
    if size != 0 && size < 1024 {
        let text = Value::of("erst_record_size", &table::erst_record_size)?;
        return refuse("erst_record_size", text.as_bytes(), right);
    }
    let records = number_in(
        "erst_records",
        &table::erst_records,
        1..=FIRMWARE_RECORDS_MAX,
        "give 1 to 512",
    )?;
    let config = ErstConfig {
        name: CString::try_from_fmt(fmt!("erst"))?,
        records: records as u64,
        record_size: (size != 0).then_some(size),
        max_reason: own_max_reason("erst_max_reason", &table::erst_max_reason)?,
    };
    Ok(boolean("erst", &table::erst)?.then_some(config))
}

/// The whole configuration, checked as far as it can be without looking at the machine.
pub(crate) struct Config {
    /// RAM regions.
    pub(crate) regions: KVec<RegionConfig>,
    /// Block devices.
    pub(crate) blks: KVec<BlkConfig>,
    /// Kexec HandOver.
    pub(crate) kho: Option<KhoConfig>,
    /// EFI variables.
    pub(crate) efi: Option<EfiConfig>,
    /// ACPI's ERST.
    pub(crate) erst: Option<ErstConfig>,
    /// Plain-memory backends.
    pub(crate) mems: KVec<MemConfig>,
    /// See the parameter.
    pub(crate) kmsg_bytes: usize,
    /// See the parameter.
    pub(crate) layout: Layout,
    /// See the parameter.
    pub(crate) compress: Option<Method>,
    /// See the parameter.
    pub(crate) tty_probe: ProbeKind,
    /// See the parameter.
    pub(crate) pmsg_device: Option<CString>,
    /// See the parameter.
    pub(crate) record_ftrace: bool,
    /// See the parameter.
    pub(crate) strict: bool,
}

/// A parameter's value, copied out.
struct Value {
    name: &'static str,
    text: KBox<[u8; MAX]>,
    len: usize,
}

impl Value {
    fn of(name: &'static str, param: &Param) -> Result<Self> {
        let (text, len) = param.value();
        Ok(Self {
            name,
            text: KBox::new(text, GFP_KERNEL)?,
            len,
        })
    }

    /// A value that is no parameter's.
    fn new(name: &'static str, from: &[u8]) -> Result<Self> {
        let mut text = KBox::new([0; MAX], GFP_KERNEL)?;
        text.get_mut(..from.len())
            .ok_or(EINVAL)?
            .copy_from_slice(from);
        Ok(Self {
            name,
            text,
            len: from.len(),
        })
    }

    fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or(&[])
    }

    /// How many elements it has; an empty value has none.
    fn len(&self) -> usize {
        match self.as_bytes() {
            [] => 0,
            text => text.split(|b| *b == b',').count(),
        }
    }

    fn item(&self, index: usize) -> &[u8] {
        self.as_bytes()
            .split(|b| *b == b',')
            .nth(index)
            .unwrap_or(&[])
    }

    /// The element for backend `index` of `count`, where one element stands for all.
    fn shared(&self, index: usize, count: usize) -> Result<&[u8]> {
        match self.len() {
            0 => Ok(&[]),
            1 => Ok(self.item(0)),
            n if n == count => Ok(self.item(index)),
            n => {
                pr_err!(
                    "{}={}: {} values for {} backends; give one for all or one for each\n",
                    self.name,
                    BStr::from_bytes(self.as_bytes()),
                    n,
                    count
                );
                Err(EINVAL)
            }
        }
    }

    fn size(&self, text: &[u8]) -> Result<usize> {
        parse_number(text)
            .and_then(|n| usize::try_from(n).ok())
            .map_or_else(
                || {
                    refuse(
                        self.name,
                        text,
                        "not a number of bytes; give it in decimal or as 0x..., with K, M or G \
                         behind it if you like",
                    )
                },
                Ok,
            )
    }
}

/// A number as `memparse()` takes it: decimal, `0x` or with a suffix K, M, G.
fn parse_number(text: &[u8]) -> Option<u64> {
    let (digits, shift) = match text.split_last()? {
        (b'K' | b'k', rest) => (rest, 10),
        (b'M' | b'm', rest) => (rest, 20),
        (b'G' | b'g', rest) => (rest, 30),
        _ => (text, 0),
    };
    let (digits, radix) = match digits.strip_prefix(b"0x").or(digits.strip_prefix(b"0X")) {
        Some(rest) => (rest, 16),
        None => (digits, 10),
    };
    if digits.is_empty() {
        return None;
    }
    let mut n = 0u64;
    for b in digits {
        let digit = char::from(*b).to_digit(radix)?;
        n = n
            .checked_mul(u64::from(radix))?
            .checked_add(u64::from(digit))?;
    }
    n.checked_mul(1 << shift)
}

/// `enum kmsg_dump_reason`: the newer parameter counts, then the older one, then the default, as
/// in-tree.
fn max_reason(value: &Value, text: &[u8], old: &Value, old_text: &[u8]) -> Result<u32> {
    let old = match old_text {
        b"" | b"-1" | b"1" => Reason::Oops,
        b"0" => Reason::Panic,
        _ => return refuse(old.name, old_text, "give 1, 0, or -1 for the default"),
    };
    match text {
        b"" | b"-1" => Ok(old.to_kmsg()),
        [digit @ b'0'..=b'4'] => Ok(u32::from(digit - b'0')),
        _ => refuse(value.name, text, "give 0 to 4, or -1 for the default"),
    }
}

fn mem_type(value: &Value, text: &[u8]) -> Result<MemType> {
    match text {
        b"" | b"0" => Ok(MemType::WriteCombining),
        b"1" => Ok(MemType::Uncached),
        b"2" => Ok(MemType::Cached),
        _ => refuse(
            value.name,
            text,
            "give 0 (write-combining), 1 (uncached) or 2 (cached)",
        ),
    }
}

fn ecc_size(value: &Value, text: &[u8]) -> Result<usize> {
    match parse_number(text).and_then(|n| usize::try_from(n).ok()) {
        // As in-tree: 1 turns it on.
        Some(1) => Ok(ECC_SIZE_DEFAULT),
        Some(n) if n <= ECC_SIZE_MAX => Ok(n),
        _ => refuse(value.name, text, "give 0, 1 for 16, or 2 to 127 bytes"),
    }
}

fn backend_name(text: &[u8]) -> Result<CString> {
    let good = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    if text.is_empty() || text.len() > 15 || !text.iter().all(good) {
        return refuse("name", text, "give 1 to 15 letters, digits and underscores");
    }
    CString::try_from_fmt(fmt!("{}", BStr::from_bytes(text)))
}

/// Sets what stands on the kernel command line as `mpstore.<name>=` and was not given to `insmod`.
///
/// `modprobe` passes these itself; then they are given already.
fn from_command_line() -> Result {
    let mut text = VVec::from_elem(0u8, 4096, GFP_KERNEL)?;
    let Ok(len) = file::read(c"/proc/cmdline", &mut text) else {
        // No /proc (yet): `insmod`'s own parameters are all there is.
        return Ok(());
    };
    let line = text.get(..len).unwrap_or(&[]).trim_ascii();
    let mut quoted = false;
    let words = line.split(|b| {
        quoted ^= *b == b'"';
        !quoted && b.is_ascii_whitespace()
    });
    // Of several the last one counts, as everywhere on the command line.
    for word in words {
        let word = word.strip_prefix(b"\"").unwrap_or(word);
        if word == b"--" {
            // What follows is for init.
            break;
        }
        let Some(rest) = word.strip_prefix(b"mpstore.") else {
            continue;
        };
        let (key, value) = match rest.iter().position(|b| *b == b'=') {
            Some(at) => rest.split_at(at),
            // A switch without a value is on, as for the kernel's own.
            None => (rest, &b"=Y"[..]),
        };
        let value = value.strip_prefix(b"=").unwrap_or(value);
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let value = value.strip_suffix(b"\"").unwrap_or(value);
        let same = |name: &str| {
            name.len() == key.len()
                && name
                    .bytes()
                    .zip(key)
                    .all(|(a, b)| a == if *b == b'-' { b'_' } else { *b })
        };
        match table::ALL.iter().find(|(name, _)| same(name)) {
            Some((_, param)) if param.given() => {}
            Some((name, param)) => {
                if param.store(value).is_err() {
                    return refuse(name, value, "too long");
                }
            }
            None => pr_warn!(
                "mpstore.{} on the kernel command line: unknown parameter, ignored\n",
                BStr::from_bytes(key)
            ),
        }
    }
    Ok(())
}

fn boolean(name: &'static str, param: &Param) -> Result<bool> {
    let value = Value::of(name, param)?;
    match parse_bool(value.as_bytes()) {
        Some(on) => Ok(on),
        None => refuse(name, value.as_bytes(), "give Y or N"),
    }
}

/// Shows whether the function trace is recorded. Task context.
pub(crate) fn show_record_ftrace(on: bool) {
    // A single letter always fits.
    let _ = table::record_ftrace.store(if on { b"Y" } else { b"N" });
}

fn number(name: &'static str, param: &Param, most: usize, right: &str) -> Result<usize> {
    let value = Value::of(name, param)?;
    match parse_number(value.as_bytes()).and_then(|n| usize::try_from(n).ok()) {
        Some(n) if n <= most => Ok(n),
        _ => refuse(name, value.as_bytes(), right),
    }
}

/// The parameters that describe zones, for one backend each.
struct ZoneValues {
    record: Value,
    console: Value,
    ftrace: Value,
    pmsg: Value,
    tty: Value,
    ecc: Value,
    max_reason: Value,
    dump_oops: Value,
    ftrace_per_cpu: Value,
}

impl ZoneValues {
    /// `value` gives a value by the parameter's name.
    fn read(value: impl Fn(&'static str, &'static Param) -> Result<Value>) -> Result<Self> {
        Ok(Self {
            record: value("record_size", &table::record_size)?,
            console: value("console_size", &table::console_size)?,
            ftrace: value("ftrace_size", &table::ftrace_size)?,
            pmsg: value("pmsg_size", &table::pmsg_size)?,
            tty: value("tty_size", &table::tty_size)?,
            ecc: value("ecc", &table::ecc)?,
            max_reason: value("max_reason", &table::max_reason)?,
            dump_oops: value("dump_oops", &table::dump_oops)?,
            ftrace_per_cpu: value("ftrace_per_cpu", &table::ftrace_per_cpu)?,
        })
    }

    fn sizes(&self, index: usize, count: usize, mem_size: usize) -> Result<RamSizes> {
        let size = |value: &Value| value.size(value.shared(index, count)?);
        Ok(RamSizes {
            mem_size,
            record_size: size(&self.record)?,
            console_size: size(&self.console)?,
            ftrace_size: size(&self.ftrace)?,
            pmsg_size: size(&self.pmsg)?,
            tty_size: size(&self.tty)?,
            ftrace_zones: if self.ftrace_per_cpu(index, count)? {
                cpu::possible_ids()
            } else {
                1
            },
            ecc_size: ecc_size(&self.ecc, self.ecc.shared(index, count)?)?,
        }
        .rounded())
    }

    fn max_reason(&self, index: usize, count: usize) -> Result<u32> {
        max_reason(
            &self.max_reason,
            self.max_reason.shared(index, count)?,
            &self.dump_oops,
            self.dump_oops.shared(index, count)?,
        )
    }

    fn ftrace_per_cpu(&self, index: usize, count: usize) -> Result<bool> {
        let text = self.ftrace_per_cpu.shared(index, count)?;
        parse_bool(text).map_or_else(|| refuse(self.ftrace_per_cpu.name, text, "give Y or N"), Ok)
    }
}

/// The parameters that describe regions.
struct RegionValues {
    address: Value,
    label: Value,
    size: Value,
    mem_type: Value,
    zones: ZoneValues,
}

impl RegionValues {
    /// `value` gives a value by the parameter's name.
    fn read(value: impl Fn(&'static str, &'static Param) -> Result<Value>) -> Result<Self> {
        Ok(Self {
            address: value("mem_address", &table::mem_address)?,
            label: value("mem_name", &table::mem_name)?,
            size: value("mem_size", &table::mem_size)?,
            mem_type: value("mem_type", &table::mem_type)?,
            zones: ZoneValues::read(value)?,
        })
    }

    /// How many regions there are.
    fn count(&self) -> usize {
        self.address.len().max(self.label.len())
    }

    /// Region `index`, to be called `name`, where `total` backends share the lists of zone sizes.
    fn region(&self, name: CString, index: usize, total: usize) -> Result<RegionConfig> {
        let place = match (self.address.item(index), self.label.item(index)) {
            (b"", b"") => {
                return refuse(
                    "mem_address",
                    self.address.as_bytes(),
                    "an element is empty here and in mem_name; give one of them",
                )
            }
            (b"", label) => {
                Place::Name(CString::try_from_fmt(fmt!("{}", BStr::from_bytes(label)))?)
            }
            // In a crash kernel a name means another area, and the address is where it was.
            (text, label) if label.is_empty() || crash_dump::in_crash_kernel() => {
                match parse_number(text) {
                    Some(address) => Place::Address(address),
                    None => {
                        return refuse(
                            "mem_address",
                            text,
                            "not a physical address; give it as 0x... or in decimal",
                        )
                    }
                }
            }
            (text, _) => {
                return refuse(
                    "mem_address",
                    text,
                    "mem_name gives the same region; leave one of the two empty there",
                )
            }
        };
        let size = match self.size.shared(index, self.count())? {
            b"" => None,
            text => Some(self.size.size(text)?),
        };
        let map = self.mem_type.shared(index, self.count())?;
        Ok(RegionConfig {
            name,
            place,
            size,
            crash_size: 0,
            vmcore: Vmcore::Auto,
            mem_type: mem_type(&self.mem_type, map)?,
            sizes: self.zones.sizes(index, total, 0)?,
            max_reason: self.zones.max_reason(index, total)?,
        })
    }
}

/// The parameters that only block devices have.
struct BlkValues {
    target: Value,
    kmsg: Value,
    best_effort: Value,
    takeover: Value,
    controller: Value,
    force: Value,
}

impl BlkValues {
    /// `value` gives a value by the parameter's name.
    fn read(value: impl Fn(&'static str, &'static Param) -> Result<Value>) -> Result<Self> {
        Ok(Self {
            target: value("blkdev", &table::blkdev)?,
            kmsg: value("kmsg_size", &table::kmsg_size)?,
            best_effort: value("best_effort", &table::best_effort)?,
            takeover: value("blk_takeover", &table::blk_takeover)?,
            controller: value("blk_controller", &table::blk_controller)?,
            force: value("force", &table::force)?,
        })
    }

    /// How many devices there are.
    fn count(&self) -> usize {
        self.target.len()
    }

    /// Device `index`, to be called `name`; in the lists of zone sizes it has place `at` of `total`.
    /// With `defaults` what the parameters have by default is none for a device.
    fn device(
        &self,
        name: CString,
        index: usize,
        zones: &ZoneValues,
        at: usize,
        total: usize,
        defaults: bool,
    ) -> Result<BlkConfig> {
        let text = self.target.item(index);
        if text.is_empty() {
            return refuse(
                self.target.name,
                self.target.as_bytes(),
                "an element is empty; give a path, PARTUUID=, PARTLABEL= or major:minor",
            );
        }
        // The default of a list that is shared with RAM regions is meant for these.
        let shared = |value: &Value, param: &Param| -> Result<usize> {
            match value.shared(at, total)? {
                b"" => Ok(BLK_SIZE),
                _ if defaults && !param.changed() => Ok(BLK_SIZE),
                text => value.size(text),
            }
        };
        let best = self.best_effort.shared(index, self.count())?;
        let takeover = self.takeover.shared(index, self.count())?;
        // One for all would be wrong for all but one.
        let controller = match self.controller.len() {
            n if n > self.count() => {
                return refuse(
                    self.controller.name,
                    self.controller.as_bytes(),
                    "give no more values than blkdev",
                )
            }
            _ => self.controller.item(index),
        };
        let force = self.force.as_bytes();
        Ok(BlkConfig {
            name,
            target: CString::try_from_fmt(fmt!("{}", BStr::from_bytes(text)))?,
            sizes: ZoneSizes {
                bytes: 0,
                block: 0,
                kmsg_size: match self.kmsg.shared(index, self.count())? {
                    b"" => BLK_SIZE,
                    text => self.kmsg.size(text)?,
                },
                pmsg_size: shared(&zones.pmsg, &table::pmsg_size)?,
                console_size: shared(&zones.console, &table::console_size)?,
                ftrace_size: shared(&zones.ftrace, &table::ftrace_size)?,
                tty_size: shared(&zones.tty, &table::tty_size)?,
                cpus: cpu::possible_ids(),
            },
            max_reason: zones.max_reason(at, total)?,
            best_effort: match parse_bool(best) {
                Some(on) => on,
                None => return refuse(self.best_effort.name, best, "give Y or N"),
            },
            takeover: match parse_bool(takeover) {
                Some(on) => on,
                None => return refuse(self.takeover.name, takeover, "give Y or N"),
            },
            takeover_seconds: takeover_seconds()?,
            controller: CString::try_from_fmt(fmt!("{}", BStr::from_bytes(controller)))?,
            force: match parse_bool(force) {
                Some(on) => on,
                None => return refuse(self.force.name, force, "give Y or N"),
            },
            flush_ms: flush_ms()?,
        })
    }
}

fn takeover_seconds() -> Result<u32> {
    Ok(u32::try_from(number_in(
        "blk_takeover_seconds",
        &table::blk_takeover_seconds,
        1..=3600,
        "give 1 to 3600",
    )?)?)
}

fn flush_ms() -> Result<u32> {
    let right = "give a number of milliseconds up to 60000";
    Ok(u32::try_from(number(
        "flush_ms",
        &table::flush_ms,
        60_000,
        right,
    )?)?)
}

/// What a backend that is made at run time is given: the values of the parameters that describe
/// one, each with its default until it is set.
pub(crate) struct Choices {
    values: KVec<Value>,
}

/// The parameters that a backend made at run time has, in this order.
pub(crate) const CHOICES: [&str; 19] = [
    "mem_address",
    "mem_name",
    "mem_size",
    "mem_type",
    "record_size",
    "console_size",
    "ftrace_size",
    "pmsg_size",
    "tty_size",
    "ecc",
    "max_reason",
    "dump_oops",
    "ftrace_per_cpu",
    "blkdev",
    "kmsg_size",
    "best_effort",
    "blk_takeover",
    "blk_controller",
    "force",
];

impl Choices {
    /// Defaults. May sleep.
    pub(crate) fn new() -> Result<Self> {
        let mut values = KVec::with_capacity(CHOICES.len(), GFP_KERNEL)?;
        for name in CHOICES {
            values.push(
                Value::new(name, table::default_of(name).as_bytes())?,
                GFP_KERNEL,
            )?;
        }
        Ok(Self { values })
    }

    /// The value of choice `index`.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        self.values.get(index).map_or(&[], Value::as_bytes)
    }

    /// Sets choice `index`. What it is worth is found out when the backend is made.
    pub(crate) fn set(&mut self, index: usize, text: &[u8]) -> Result {
        let place = self.values.get_mut(index).ok_or(EINVAL)?;
        if text.contains(&b',') {
            return refuse(place.name, text, "one backend, so give one value");
        }
        if text.len() > MAX {
            return refuse(place.name, b"...", "too long");
        }
        *place = Value::new(place.name, text)?;
        Ok(())
    }

    fn value(&self, name: &'static str) -> Result<Value> {
        let value = self.values.iter().find(|v| v.name == name).ok_or(EINVAL)?;
        Value::new(name, value.as_bytes())
    }

    /// The region that they describe; a wrong value is reported in one line. May sleep.
    pub(crate) fn region(&self, name: &CStr) -> Result<RegionConfig> {
        let values = RegionValues::read(|name, _| self.value(name))?;
        values.region(CString::try_from(name)?, 0, 1)
    }

    /// Plain memory instead, for tests. May sleep.
    pub(crate) fn plain(&self, name: &CStr) -> Result<MemConfig> {
        let zones = ZoneValues::read(|name, _| self.value(name))?;
        let size = self.value("mem_size")?;
        Ok(MemConfig {
            name: CString::try_from(name)?,
            sizes: zones.sizes(0, 1, size.size(size.as_bytes())?)?,
            max_reason: zones.max_reason(0, 1)?,
            fault: Fault::None,
        })
    }
}

/// What `kho` means by default, by the names of [`CHOICES`].
const KHO_CHOICES: [(&str, &str); 7] = [
    ("mem_size", "kho_size"),
    ("record_size", "kho_record_size"),
    ("console_size", "kho_console_size"),
    ("ftrace_size", "kho_ftrace_size"),
    ("pmsg_size", "kho_pmsg_size"),
    ("tty_size", "kho_tty_size"),
    ("max_reason", "kho_max_reason"),
];

/// What zones are by default.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suit {
    /// As those of a region.
    Ram,
    /// As those of Kexec HandOver.
    Kho,
    /// As those of a block device, for which nothing is as much as its own default.
    Blk,
}

impl Choices {
    /// Sets what describes zones to what suits a medium. May sleep.
    pub(crate) fn suit(&mut self, suit: Suit) -> Result {
        for (name, own) in KHO_CHOICES {
            let from = if suit == Suit::Kho { own } else { name };
            let text = match suit {
                Suit::Blk if name.ends_with("_size") => "",
                _ => table::default_of(from),
            };
            let value = Value::new(name, text.as_bytes())?;
            *self
                .values
                .iter_mut()
                .find(|v| v.name == name)
                .ok_or(EINVAL)? = value;
        }
        Ok(())
    }

    /// A block device instead of a region. May sleep.
    pub(crate) fn blk(&self, name: &CStr) -> Result<BlkConfig> {
        let zones = ZoneValues::read(|name, _| self.value(name))?;
        let values = BlkValues::read(|name, _| self.value(name))?;
        values.device(CString::try_from(name)?, 0, &zones, 0, 1, false)
    }

    /// Kexec HandOver instead of a region. May sleep.
    pub(crate) fn kho(&self, name: &CStr) -> Result<KhoConfig> {
        let zones = ZoneValues::read(|name, _| self.value(name))?;
        let size = self.value("mem_size")?;
        Ok(KhoConfig {
            name: CString::try_from(name)?,
            sizes: zones.sizes(0, 1, kho_size("mem_size", size.size(size.as_bytes())?)?)?,
            keep: kho_keep()?,
            max_reason: zones.max_reason(0, 1)?,
            test: KhoTest::None,
        })
    }
}

/// Whether a backend may be called that; if not, that is said.
pub(crate) fn check_name(name: &CStr) -> Result {
    backend_name(name.to_bytes()).map(drop)
}

/// A switch in configfs.
pub(crate) fn switch(name: &str, text: &[u8]) -> Result<bool> {
    match parse_bool(text) {
        Some(on) => Ok(on),
        None => refuse(name, text, "give Y or N"),
    }
}

impl Config {
    /// Reads and checks all parameters. May sleep. A wrong one is reported in one line.
    pub(crate) fn read() -> Result<Self> {
        from_command_line()?;
        for (name, param, hook) in [
            ("tty", &table::tty, set_tty as fn(&[u8]) -> Result),
            ("tty_raw", &table::tty_raw, set_tty_raw),
            ("tty_names", &table::tty_names, set_tty_names),
            ("update_ms", &table::update_ms, set_update_ms),
        ] {
            hook(Value::of(name, param)?.as_bytes())?;
        }
        let values = RegionValues::read(Value::of)?;
        let mem_count = number("test_mem", &table::test_mem, BACKENDS_MAX, "give 0 to 32")?;
        let blk = BlkValues::read(Value::of)?;
        let total = values.count() + blk.count() + mem_count;
        let regions = Self::regions(&values, &blk, total)?;
        let blks = Self::blks(&values, &blk, &regions, total)?;
        let mems = Self::mems(&values.zones, &regions, blks.len(), mem_count)?;
        let kho = kho()?;
        if kho.is_some() && regions.iter().any(|r| r.name.to_bytes() == b"kho") {
            return refuse("name", b"kho", "taken by kho=Y; give another");
        }
        let (efi, erst) = (efi()?, erst()?);
        if efi.is_some() && regions.iter().any(|r| r.name.to_bytes() == b"efi") {
            return refuse("name", b"efi", "taken by efi=Y; give another");
        }
        if erst.is_some() && regions.iter().any(|r| r.name.to_bytes() == b"erst") {
            return refuse("name", b"erst", "taken by erst=Y; give another");
        }
        if kho.is_some() && blks.iter().any(|b| b.name.to_bytes() == b"kho") {
            return refuse("name", b"kho", "taken by kho=Y; give another");
        }
        if efi.is_some() && blks.iter().any(|b| b.name.to_bytes() == b"efi") {
            return refuse("name", b"efi", "taken by efi=Y; give another");
        }
        if erst.is_some() && blks.iter().any(|b| b.name.to_bytes() == b"erst") {
            return refuse("name", b"erst", "taken by erst=Y; give another");
        }
        Ok(Self {
            regions,
            blks,
            kho,
            efi,
            erst,
            mems,
            kmsg_bytes: kmsg_bytes(
                "kmsg_bytes",
                Value::of("kmsg_bytes", &table::kmsg_bytes)?.as_bytes(),
            )?,
            layout: layout("layout", Value::of("layout", &table::layout)?.as_bytes())?,
            compress: compression()?,
            tty_probe: probe_kind()?,
            pmsg_device: pmsg_device()?,
            record_ftrace: boolean("record_ftrace", &table::record_ftrace)?,
            strict: boolean("strict", &table::strict)?,
        })
    }

    /// `total` backends share the lists of zone sizes: regions, block devices, plain memory.
    fn regions(values: &RegionValues, blk: &BlkValues, total: usize) -> Result<KVec<RegionConfig>> {
        let name = Value::of("name", &table::name)?;
        let crash = Value::of("crash_size", &table::crash_size)?;
        let vmcore = vmcore()?;
        let count = values.count();
        if count > BACKENDS_MAX {
            let text = values.address.as_bytes();
            return refuse("mem_address", text, "give at most 32 regions");
        }
        if count == 0 && values.size.len() > 0 {
            return refuse(
                "mem_address",
                b"",
                "missing, and mem_size says nothing without it or mem_name",
            );
        }
        // Of block devices all have one or none.
        if name.len() != 0 && name.len() != count && name.len() != count + blk.count() {
            let right = match blk.count() {
                0 => "give one name for each region",
                _ => "give one name for each region, or for each region and block device",
            };
            return refuse("name", name.as_bytes(), right);
        }
        let mut regions = KVec::<RegionConfig>::with_capacity(count, GFP_KERNEL)?;
        for index in 0..count {
            let dir = match (name.len(), index) {
                (0, 0) => CString::try_from_fmt(fmt!("ramoops"))?,
                (0, _) => CString::try_from_fmt(fmt!("ramoops{}", index))?,
                _ => backend_name(name.item(index))?,
            };
            if regions.iter().any(|r| *r.name == *dir) {
                return refuse(
                    "name",
                    dir.to_bytes(),
                    "given twice; directories need their own",
                );
            }
            let mut region = values.region(dir, index, total)?;
            region.crash_size = crash_size(&crash, crash.shared(index, count)?)?;
            region.vmcore = vmcore;
            regions.push(region, GFP_KERNEL)?;
        }
        Ok(regions)
    }

    fn blks(
        values: &RegionValues,
        blk: &BlkValues,
        regions: &[RegionConfig],
        total: usize,
    ) -> Result<KVec<BlkConfig>> {
        let name = Value::of("name", &table::name)?;
        let count = blk.count();
        if count > BACKENDS_MAX {
            return refuse("blkdev", blk.target.as_bytes(), "give at most 32 devices");
        }
        let named = name.len() == regions.len() + count && count > 0;
        let mut blks = KVec::<BlkConfig>::with_capacity(count, GFP_KERNEL)?;
        // Each kind is counted by itself.
        let (mut disks, mut mtds) = (0usize, 0usize);
        for index in 0..count {
            let (kind, before) = match blk.target.item(index).starts_with(MTD_PREFIX) {
                true => ("mtd", &mut mtds),
                false => ("blk", &mut disks),
            };
            let dir = match (named, *before) {
                (false, 0) => CString::try_from_fmt(fmt!("{}", kind))?,
                (false, _) => CString::try_from_fmt(fmt!("{}{}", kind, *before))?,
                _ => backend_name(name.item(regions.len() + index))?,
            };
            *before += 1;
            let taken = regions.iter().any(|r| *r.name == *dir);
            if taken || blks.iter().any(|b| *b.name == *dir) {
                return refuse(
                    "name",
                    dir.to_bytes(),
                    "given twice; directories need their own",
                );
            }
            let config = blk.device(
                dir,
                index,
                &values.zones,
                regions.len() + index,
                total,
                true,
            )?;
            blks.push(config, GFP_KERNEL)?;
        }
        Ok(blks)
    }

    fn mems(
        zones: &ZoneValues,
        regions: &[RegionConfig],
        blks: usize,
        count: usize,
    ) -> Result<KVec<MemConfig>> {
        let size = number(
            "test_mem_size",
            &table::test_mem_size,
            64 << 20,
            "give a number of bytes up to 64M",
        )?;
        let faults = Value::of("test_mem_fault", &table::test_mem_fault)?;
        if faults.len() > count {
            return refuse(
                "test_mem_fault",
                faults.as_bytes(),
                "give no more values than test_mem",
            );
        }
        let first = regions.len() + blks;
        let total = first + count;
        let mut mems = KVec::with_capacity(count, GFP_KERNEL)?;
        for index in 0..count {
            let name = CString::try_from_fmt(fmt!("mem{}", index))?;
            if regions.iter().any(|r| *r.name == *name) {
                return refuse("name", name.to_bytes(), "taken by test_mem; give another");
            }
            let fault = match faults.item(index) {
                b"" | b"none" => Fault::None,
                b"register" => Fault::Register,
                b"write" => Fault::Write,
                b"erase" => Fault::Erase,
                text => {
                    return refuse(
                        "test_mem_fault",
                        text,
                        "give none, register, write or erase",
                    )
                }
            };
            mems.push(
                MemConfig {
                    name,
                    sizes: zones.sizes(first + index, total, size)?,
                    max_reason: zones.max_reason(first + index, total)?,
                    fault,
                },
                GFP_KERNEL,
            )?;
        }
        Ok(mems)
    }
}

/// Values in force, to be shown in sysfs instead of what was asked for: a list each, in the order
/// of the regions.
#[derive(Default)]
pub(crate) struct Effective {
    lists: [KVec<u8>; 12],
}

impl Effective {
    fn params() -> [&'static Param; 12] {
        [
            &table::name,
            &table::mem_address,
            &table::mem_size,
            &table::mem_type,
            &table::record_size,
            &table::console_size,
            &table::ftrace_size,
            &table::pmsg_size,
            &table::tty_size,
            &table::ecc,
            &table::max_reason,
            &table::crash_size,
        ]
    }

    /// Adds a region that is in use at `address`.
    pub(crate) fn add(&mut self, region: &RegionConfig, address: u64, sizes: &RamSizes) -> Result {
        let values = [
            CString::try_from_fmt(fmt!("{}", &*region.name))?,
            CString::try_from_fmt(fmt!("{:#x}", address))?,
            CString::try_from_fmt(fmt!("{:#x}", sizes.mem_size))?,
            CString::try_from_fmt(fmt!("{}", region.mem_type as u32))?,
            CString::try_from_fmt(fmt!("{}", sizes.record_size))?,
            CString::try_from_fmt(fmt!("{}", sizes.console_size))?,
            CString::try_from_fmt(fmt!("{}", sizes.ftrace_size))?,
            CString::try_from_fmt(fmt!("{}", sizes.pmsg_size))?,
            CString::try_from_fmt(fmt!("{}", sizes.tty_size))?,
            CString::try_from_fmt(fmt!("{}", sizes.ecc_size))?,
            CString::try_from_fmt(fmt!("{}", region.max_reason))?,
            CString::try_from_fmt(fmt!("{:#x}", region.crash_size))?,
        ];
        for (list, value) in self.lists.iter_mut().zip(values) {
            if !list.is_empty() {
                list.push(b',', GFP_KERNEL)?;
            }
            list.extend_from_slice(value.to_bytes(), GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Shows them.
    pub(crate) fn publish(&self) -> Result {
        for (list, param) in self.lists.iter().zip(Self::params()) {
            if !list.is_empty() {
                param.store(list)?;
            }
        }
        Ok(())
    }
}

/// What a crash kernel must be told to find the regions that are in use, as words for its command
/// line; nothing if there are none. May sleep.
pub(crate) fn crash_words(f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
    let value = |param| Value::of("", param).map_err(|_| kernel::fmt::Error);
    if value(&table::mem_address)?.len() == 0 {
        return Ok(());
    }
    // What the first kernel's own words may have named.
    f.write_str("mpstore.mem_name=")?;
    for name in [
        "mem_address",
        "mem_size",
        "crash_size",
        "mem_type",
        "name",
        "record_size",
        "console_size",
        "ftrace_size",
        "pmsg_size",
        "tty_size",
        "ecc",
        "vmcore",
    ] {
        let Some((_, param)) = table::ALL.iter().find(|(known, _)| *known == name) else {
            continue;
        };
        let value = value(param)?;
        let text = value.as_bytes();
        let default = table::default_of(name).as_bytes();
        if !text.split(|b| *b == b',').all(|item| item == default) {
            f.write_fmt(fmt!(" mpstore.{}={}", name, BStr::from_bytes(text)))?;
        }
    }
    f.write_str("\n")
}
