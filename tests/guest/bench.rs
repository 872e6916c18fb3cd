// SPDX-License-Identifier: GPL-2.0

//! What an operation costs, in ticks of the processor's clock. Under
//! `qemu -icount shift=0` one tick is one instruction.
//!
//! Every subcommand prints lines `@CASE VALUE...`, one value for each repetition,
//! which `qemu/bench` collects.

use miniz_oxide::deflate::compress_to_vec;
use mpstore_format::layout::{RamLayout, RamSizes};
use mpstore_format::ram::{Header, HEADER_BYTES, SIGNATURE};
use mpstore_format::record::{DmesgHeader, Stamp, DMESG_HEADER_MAX};
use nix::kmod::{delete_module, finit_module, DeleteModuleFlags, ModuleInitFlags};
use nix::mount::{mount, umount, MsFlags};
use nix::sys::wait::waitpid;
use nix::unistd::{fork, write, ForkResult};
use std::arch::x86_64::_rdtsc;
use std::collections::HashMap;
use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::slice;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: bench COMMAND
  clock CASE
      ticks of 10000 `nop`s
  write CASE FILE BYTES COUNT
      mean cost of a write(2) of BYTES, COUNT of them in each repetition
  load CASE FILE [PARAMETER...] [+ FILE [PARAMETER...]]...
      cost of loading the modules, and as CASE-unload of removing them
  insmod FILE [PARAMETER...]
      load a module and leave it
  mount CASE FOLDER TYPE
      cost of mounting TYPE, as CASE-list of listing what is in it for the first time,
      as CASE-read of reading every file; also how many
      files, how many bytes, and how many of the files are compressed
  oops CASE
      cost of a child that oopses, to the end of waiting for it
  kmsg COUNT
      so many lines in the kernel log, always the same ones
  image ADDRESS SIZE RECORD_SIZE COUNT none|deflate
      COUNT records in a region of dmesg zones only, through /dev/mem
  memory CASE FILE [PARAMETER...] [+ FILE [PARAMETER...]]...
      bytes that the modules hold beside their own code and data, and as CASE-slab those of
      them that are not of vmalloc()
  threads CASE FILE BYTES COUNT MAX
      wall time per write in nanoseconds with 1, 2, 4, ... MAX threads";

const REPETITIONS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["clock", case] => clock(case),
        ["write", case, file, bytes, count] => writes(case, file, bytes, count),
        ["load", case, modules @ ..] => load(case, modules),
        ["insmod", modules @ ..] => insert(&parse_modules(modules)),
        ["mount", case, folder, kind] => mount_and_read(case, folder, kind),
        ["oops", case] => oops(case),
        ["kmsg", count] => kmsg(count),
        ["image", address, size, record_size, count, compress] => {
            image(address, size, record_size, count, compress)
        }
        ["memory", case, modules @ ..] => memory(case, modules),
        ["threads", case, file, bytes, count, max] => threads(case, file, bytes, count, max),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench {}: {e}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn ticks() -> u64 {
    // SAFETY: The instruction only reads the clock.
    unsafe { _rdtsc() }
}

/// What `f` costs.
fn cost<T>(f: impl FnOnce() -> Result<T>) -> Result<(u64, T)> {
    let start = ticks();
    let value = f()?;
    Ok((ticks() - start, value))
}

/// The line that the runner reads.
fn report(case: &str, values: &[f64]) {
    let mut line = format!("@{case}");
    for value in values {
        let _ = write!(line, " {value:.1}");
    }
    println!("{line}");
}

fn number(text: &str) -> Result<usize> {
    let (digits, radix) = text
        .strip_prefix("0x")
        .map_or((text, 10), |digits| (digits, 16));
    usize::from_str_radix(digits, radix).map_err(|e| format!("{text}: {e}").into())
}

/// `len` bytes of printable text that end with a line feed.
fn line(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|i| b'!' + (i * 7 % 90) as u8).collect();
    if let Some(last) = bytes.last_mut() {
        *last = b'\n';
    }
    bytes
}

fn clock(case: &str) -> Result<()> {
    let mut values = Vec::new();
    for _ in 0..REPETITIONS {
        let start = ticks();
        // SAFETY: Does nothing.
        unsafe { std::arch::asm!(".rept 10000", "nop", ".endr", options(nomem, nostack)) };
        values.push((ticks() - start) as f64);
    }
    report(case, &values);
    Ok(())
}

fn writes(case: &str, path: &str, bytes: &str, count: &str) -> Result<()> {
    let (bytes, count) = (line(number(bytes)?), number(count)?);
    let file = File::options().write(true).open(path)?;
    let one = || match write(&file, &bytes) {
        Ok(n) if n == bytes.len() => Ok(()),
        Ok(n) => Err(format!("{path} took {n} bytes of {}", bytes.len())),
        Err(e) => Err(format!("{path}: {e}")),
    };
    for _ in 0..10 {
        one()?;
    }
    let mut values = Vec::new();
    for _ in 0..REPETITIONS {
        let mut sum = 0;
        for _ in 0..count {
            sum += cost(|| Ok(one()?))?.0;
        }
        values.push(sum as f64 / count as f64);
    }
    report(case, &values);
    Ok(())
}

/// A module's file, name and parameters.
struct Module {
    file: String,
    name: CString,
    options: CString,
}

fn parse_modules(words: &[&str]) -> Vec<Module> {
    words
        .split(|word| *word == "+")
        .filter_map(|words| {
            let (file, parameters) = words.split_first()?;
            let name = file.rsplit('/').next()?.trim_end_matches(".ko");
            Some(Module {
                file: (*file).into(),
                name: CString::new(name).ok()?,
                options: CString::new(parameters.join(" ")).ok()?,
            })
        })
        .collect()
}

fn insert(modules: &[Module]) -> Result<()> {
    for module in modules {
        finit_module(
            &File::open(&module.file)?,
            &module.options,
            ModuleInitFlags::empty(),
        )
        .map_err(|e| format!("{}: {e}", module.file))?;
    }
    Ok(())
}

fn remove(modules: &[Module]) -> Result<()> {
    for module in modules.iter().rev() {
        delete_module(&module.name, DeleteModuleFlags::O_NONBLOCK)
            .map_err(|e| format!("{}: {e}", module.file))?;
    }
    Ok(())
}

fn load(case: &str, words: &[&str]) -> Result<()> {
    let modules = parse_modules(words);
    let (mut loads, mut unloads) = (Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        loads.push(cost(|| insert(&modules))?.0 as f64);
        thread::sleep(Duration::from_millis(500));
        unloads.push(cost(|| remove(&modules))?.0 as f64);
        thread::sleep(Duration::from_millis(500));
    }
    report(case, &loads);
    report(&format!("{case}-unload"), &unloads);
    Ok(())
}

/// All files below `folder`.
fn files(folder: &str) -> Result<Vec<std::path::PathBuf>> {
    let (mut out, mut folders) = (Vec::new(), vec![folder.into()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir::<std::path::PathBuf>(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                out.push(entry.path());
            }
        }
    }
    Ok(out)
}

fn mount_and_read(case: &str, folder: &str, kind: &str) -> Result<()> {
    let (mut mounts, mut lists, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = vec![0; 1 << 20];
    let (mut count, mut bytes, mut packed) = (0, 0, 0);
    for _ in 0..REPETITIONS {
        let (ticks, ()) = cost(|| {
            Ok(mount(
                Some(kind),
                folder,
                Some(kind),
                MsFlags::empty(),
                None::<&str>,
            )?)
        })?;
        mounts.push(ticks as f64);
        let (ticks, paths) = cost(|| files(folder))?;
        lists.push(ticks as f64);
        (count, bytes) = (paths.len(), 0);
        packed = paths
            .iter()
            .filter(|p| p.extension().is_some_and(|e| e == "z"))
            .count();
        let (ticks, n) = cost(|| {
            let mut n = 0;
            for path in &paths {
                let mut file = File::open(path)?;
                loop {
                    match file.read(&mut buffer)? {
                        0 => break,
                        some => n += some,
                    }
                }
            }
            Ok(n)
        })?;
        bytes += n;
        reads.push(ticks as f64);
        umount(folder)?;
    }
    report(case, &mounts);
    report(&format!("{case}-list"), &lists);
    report(&format!("{case}-read"), &reads);
    report(
        &format!("{case}-files"),
        &[count as f64, bytes as f64, packed as f64],
    );
    Ok(())
}

fn oops(case: &str) -> Result<()> {
    let mut values = Vec::new();
    for _ in 0..REPETITIONS {
        let (ticks, ()) = cost(|| {
            // SAFETY: There is one thread.
            match unsafe { fork() }? {
                ForkResult::Child => {
                    let _ = fs::write("/proc/mpstore_oops", "oops");
                    std::process::exit(1);
                }
                ForkResult::Parent { child } => waitpid(child, None)?,
            };
            Ok(())
        })?;
        values.push(ticks as f64);
        // Let the consoles print.
        thread::sleep(Duration::from_secs(4));
    }
    report(case, &values);
    Ok(())
}

/// Text as a kernel log has it: much of it the same, no two lines alike.
fn log_line(i: usize) -> String {
    let devices = [
        "pci 0000:00:1f.2",
        "usb 1-1.4",
        "nvme nvme0",
        "ata3.00",
        "eth0",
    ];
    let words = [
        "reg 0x10: [mem 0xfebd1000-0xfebd1fff]",
        "new high-speed device number",
        "configured for UDMA/133, queue depth",
        "link becomes ready, irq",
        "enabling extended tags, capability",
        "resource sanity check, requested",
    ];
    let noise = (i as u32).wrapping_mul(2_654_435_761);
    format!(
        "{}: {} {} {:08x}",
        devices[i % devices.len()],
        words[noise as usize % words.len()],
        noise % 997,
        noise
    )
}

fn kmsg(count: &str) -> Result<()> {
    // One write is one record, so nothing may be buffered together.
    let mut kmsg = File::options().write(true).open("/dev/kmsg")?;
    for i in 0..number(count)? {
        kmsg.write_all(format!("<6>{}\n", log_line(i)).as_bytes())?;
    }
    Ok(())
}

fn image(address: &str, size: &str, record: &str, count: &str, compress: &str) -> Result<()> {
    let (address, size, count) = (number(address)?, number(size)?, number(count)?);
    let compressed = match compress {
        "none" => false,
        "deflate" => true,
        _ => return Err(USAGE.into()),
    };
    let layout = RamLayout::new(&RamSizes {
        mem_size: size,
        record_size: number(record)?,
        console_size: 0,
        ftrace_size: 0,
        pmsg_size: 0,
        tty_size: 0,
        ftrace_zones: 0,
        ecc_size: 0,
    })
    .map_err(|e| e.to_string())?;
    let memory = File::options().read(true).write(true).open("/dev/mem")?;
    for index in 0..layout.dmesg_count() {
        let zone = layout.dmesg(index).ok_or("no such zone")?;
        let mut data = Vec::new();
        if index < count {
            let mut head = [0; DMESG_HEADER_MAX];
            let len = DmesgHeader {
                stamp: Stamp {
                    sec: 1_700_000_000 + index as u64,
                    usec: 0,
                },
                compressed,
            }
            .encode(&mut head);
            data.extend_from_slice(&head[..len]);
            let room = zone.len - HEADER_BYTES;
            let mut text = format!("Oops#{} Part1\n", index + 1);
            // As much as fits; compressed, what a record of this size usually holds.
            let lines = if compressed { room * 17 / 10 } else { room } / 80;
            for i in 0..lines {
                let i = index * 97 + i;
                let _ = writeln!(
                    text,
                    "<6>[{:5}.{:06}] {}",
                    i / 7,
                    i * 31 % 1_000_000,
                    log_line(i)
                );
            }
            if compressed {
                data.extend(compress_to_vec(text.as_bytes(), 6));
            } else {
                text.truncate(room - len);
                data.extend(text.as_bytes());
            }
            if data.len() > room {
                return Err(format!("record of {} bytes, {room} fit", data.len()).into());
            }
        }
        let len = u32::try_from(data.len())?;
        let header = Header {
            sig: SIGNATURE,
            start: len,
            size: len,
        };
        let mut raw = header.to_bytes().to_vec();
        raw.extend(data);
        memory.write_all_at(&raw, (address + zone.offset) as u64)?;
    }
    Ok(())
}

const TRACING: &str = "/sys/kernel/tracing";
/// What tells of an allocation, of the end of one, and that a module's own start begins.
const EVENTS: [&str; 7] = [
    "kmem/kmalloc",
    "kmem/kmem_cache_alloc",
    "kmem/kfree",
    "kmem/kmem_cache_free",
    "percpu/percpu_alloc_percpu",
    "percpu/percpu_free_percpu",
    "module/module_load",
];
const LOADED: &str = "mpstore_bench: loaded";

/// Bytes of all areas of `vmalloc()` but those that hold modules' code and data.
fn virtual_memory() -> Result<f64> {
    let text = fs::read_to_string("/proc/vmallocinfo")?;
    Ok(text
        .lines()
        .filter(|l| !l.contains("execmem"))
        .filter_map(|l| {
            l.split_once(" pages=")?
                .1
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .sum::<f64>()
        * 4096.0)
}

/// Bytes of the allocations by slab and for each processor that the modules' own starts made, or had made
/// by threads of theirs, and that were not given back by the end of the trace.
fn left_of(trace: &str) -> f64 {
    let (mut held, mut inside) = (HashMap::new(), false);
    for line in trace.lines() {
        let field = |name: &str| {
            let (_, rest) = line.split_once(name)?;
            rest.split(' ').next()
        };
        if line.contains(" module_load: ") {
            inside = true;
        } else if line.contains(LOADED) {
            inside = false;
        } else if line.contains("free: ") || line.contains("percpu_free_percpu: ") {
            field(" ptr=").map(|at| held.remove(at));
        } else if let (true, Some(at), Some(bytes)) =
            (inside, field(" ptr="), field(" bytes_alloc="))
        {
            held.insert(at, bytes.parse::<f64>().unwrap_or(f64::NAN));
        }
    }
    held.values().sum()
}

/// The memory that modules hold, without their own code and data and what the loader keeps for each.
fn memory(case: &str, words: &[&str]) -> Result<()> {
    let modules = parse_modules(words);
    let set = |file: &str, value: &str| fs::write(format!("{TRACING}/{file}"), value);
    mount(
        Some("tracefs"),
        TRACING,
        Some("tracefs"),
        MsFlags::empty(),
        None::<&str>,
    )?;
    set("buffer_size_kb", "65536")?;
    for event in EVENTS {
        set(&format!("events/{event}/enable"), "1")?;
    }
    let (mut slab, mut pages) = (Vec::new(), Vec::new());
    // The first time leaves things behind that are kept for the next.
    for repetition in 0..=REPETITIONS {
        set("trace", "")?;
        let before = virtual_memory()?;
        set("tracing_on", "1")?;
        for module in &modules {
            insert(slice::from_ref(module))?;
            set("trace_marker", LOADED)?;
        }
        // What is freed later, by RCU or a worker.
        thread::sleep(Duration::from_secs(2));
        set("tracing_on", "0")?;
        let after = virtual_memory()?;
        let trace = fs::read_to_string(format!("{TRACING}/trace"))?;
        let lost = fs::read_to_string(format!("{TRACING}/per_cpu/cpu0/stats"))?;
        if !lost.contains("\noverrun: 0\n") {
            return Err("the buffer for the trace is too small".into());
        }
        if repetition > 0 {
            slab.push(left_of(&trace));
            pages.push(after - before);
        }
        remove(&modules)?;
        // Areas are unmapped by and by.
        thread::sleep(Duration::from_secs(2));
    }
    report(
        case,
        &slab
            .iter()
            .zip(&pages)
            .map(|(s, p)| s + p)
            .collect::<Vec<_>>(),
    );
    report(&format!("{case}-slab"), &slab);
    Ok(())
}

fn threads(case: &str, path: &str, bytes: &str, count: &str, max: &str) -> Result<()> {
    let (bytes, count, max) = (line(number(bytes)?), number(count)?, number(max)?);
    let mut n = 1;
    while n <= max {
        let mut values = Vec::new();
        for _ in 0..REPETITIONS {
            let start = Barrier::new(n + 1);
            let time = thread::scope(|scope| -> Result<f64> {
                let threads: Vec<_> = (0..n)
                    .map(|_| {
                        let file = File::options().write(true).open(path)?;
                        let (bytes, start) = (&bytes, &start);
                        Ok(scope.spawn(move || {
                            start.wait();
                            for _ in 0..count {
                                if write(&file, bytes).is_err() {
                                    return false;
                                }
                            }
                            true
                        }))
                    })
                    .collect::<Result<_>>()?;
                start.wait();
                let begin = Instant::now();
                for thread in threads {
                    if !thread.join().unwrap_or(false) {
                        return Err("a write failed".into());
                    }
                }
                Ok(begin.elapsed().as_nanos() as f64)
            })?;
            values.push(time / (n * count) as f64);
        }
        report(&format!("{case}-{n}"), &values);
        n *= 2;
    }
    Ok(())
}
