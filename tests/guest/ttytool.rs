// SPDX-License-Identifier: GPL-2.0

//! Terminals the way a shell cannot use them: kept open across a module load,
//! written to by two threads at once, filled until they accept only a part. And
//! a few system calls whose errno a shell does not tell.
//!
//! Every subcommand says on standard output, in `KEY VALUE` lines, what the
//! kernel accepted, so that a test can compare it with what was recorded.

use mpstore_format::erst;
use nix::fcntl::{open, OFlag, AT_FDCWD};
use nix::kmod::{delete_module, finit_module, DeleteModuleFlags, ModuleInitFlags};
use nix::mount::MsFlags;
use nix::pty::openpty;
use nix::sys::mman::{mmap, mmap_anonymous, mprotect, MapFlags, ProtFlags};
use nix::sys::stat::Mode;
use nix::sys::termios::{
    cfmakeraw, tcdrain, tcflow, tcgetattr, tcsetattr, FlowArg, OutputFlags, SetArg,
};
use nix::unistd::write;
use nix::{errno::Errno, poll};
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::ptr::NonNull;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

const USAGE: &str = "\
usage: ttytool COMMAND
  open-hold TTY FIFO
      open TTY, print `open`, then write to it each line read from FIFO, with
      a newline; ends at the end of FIFO
  write TTY [--raw|--opost] [--nonblock] [--chunks N] TEXT | --pattern SEED LEN
      write TEXT (no newline is added) or LEN bytes made from SEED, in N calls;
      --raw and --opost set the terminal first. Prints `accepted BYTES`
  pattern SEED LEN
      the bytes that `write --pattern` would write, on standard output
  pty [--opost] FILE [SEED [LEN]]
      make a pty, write the pattern to its slave without blocking until the
      kernel takes no more, then read a little from the master and go on, until
      LEN bytes (65536) are through. FILE gets the bytes that write(2) accepted.
      Prints `pty PATH`, `accepted BYTES`, `partial CALLS`, `refused CALLS`
  two TTY1 TTY2 N
      two threads write N numbered lines each, at once: `A 000001` to TTY1,
      `B 000001` to TTY2
  flow TTY off|on
      stop the output of TTY, so that writers fill its buffer and sleep; start it
  kmsg N TEXT
      write N records `TEXT 000001` to /dev/kmsg
  insmod FILE [PARAMETER...]
      load a module in one attempt, where busybox makes a second one if the
      first fails. Prints the name of the errno
  as UID COMMAND [ARGUMENT...]
      run COMMAND as that user and group, so without capabilities
  mount SOURCE DIR [OPTIONS]
      mount pstore. Prints the name of the errno
  try open|unlink|umount|truncate|mkdir|rmdir PATH
      one system call; prints the name of the errno
  fault FILE LEN [READABLE]
      one write(2) of LEN bytes of which only the first READABLE (0) can be read,
      all of them `x`. Prints `accepted BYTES`, or the name of the errno
  ones FILE LEN
      fill memory that can be mapped, not written to, such as a PCI device's
  erst REGISTERS EXCHANGE good|foreign|other|damaged|bare|garbage
      write a record to ACPI's ERST as no pstore does, by QEMU's device, whose
      memory these files are: another writer's, of another kind, without its
      signature, shorter than its headers, compressed and not. Prints the status
  nth FIRST STEP DO UNDO
      run DO again and again; in each turn the kernel fails another allocation of
      it, the FIRSTth and every STEPth after that, until DO has no more of them.
      Where it went well it is undone by UNDO. DO and UNDO are one argument each:
      write PATH TEXT, mount DIR, umount DIR, insmod FILE PARAMETERS, rmmod NAME,
      mkdir PATH, rmdir PATH, read PATH, list DIR, unlink PATH. Prints how often
      each errno came, `ok` for none, and `turns N`. Needs /proc/self/fail-nth";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["open-hold", tty, fifo] => open_hold(tty, fifo),
        ["write", tty, rest @ ..] => write_once(tty, rest),
        ["pattern", seed, len] => print_pattern(seed, len),
        ["pty", rest @ ..] => pty(rest),
        ["two", one, other, n] => two(one, other, n),
        ["flow", tty, how] => flow(tty, how),
        ["kmsg", n, text] => kmsg(n, text),
        ["insmod", file, parameters @ ..] => insmod(file, parameters),
        ["as", uid, command, arguments @ ..] => run_as(uid, command, arguments),
        ["mount", source, dir, options @ ..] => mount(source, dir, &options.join(",")),
        ["try", what, path] => try_call(what, path),
        ["fault", path, len] => fault(path, len, "0"),
        ["fault", path, len, readable] => fault(path, len, readable),
        ["ones", path, len] => ones(path, len),
        ["erst", registers, exchange, what] => erst_write(registers, exchange, what),
        ["nth", first, step, what, undo] => nth(first, step, what, undo),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("ttytool: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Printable lines of varying length, another text for another seed. A byte of
/// it tells its place well enough for a lost or doubled one to be noticed.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut left = 0u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if left == 0 {
                left = 20 + state % 60;
                return b'\n';
            }
            left -= 1;
            b'!' + (state >> 32) as u8 % 94
        })
        .collect()
}

fn print_pattern(seed: &str, len: &str) -> Result<()> {
    io::stdout().write_all(&pattern(seed.parse()?, len.parse()?))?;
    Ok(())
}

fn open_tty(path: &str, nonblock: bool) -> Result<OwnedFd> {
    let mut flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    if nonblock {
        flags |= OFlag::O_NONBLOCK;
    }
    open(path, flags, Mode::empty()).map_err(|e| format!("{path}: {e}").into())
}

/// With `opost` the line discipline sends `\r\n` for `\n`, without it what is
/// written.
fn set_mode(tty: &OwnedFd, opost: bool) -> Result<()> {
    let mut t = tcgetattr(tty)?;
    cfmakeraw(&mut t);
    if opost {
        t.output_flags |= OutputFlags::OPOST | OutputFlags::ONLCR;
    }
    tcsetattr(tty, SetArg::TCSANOW, &t)?;
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn open_hold(tty: &str, fifo: &str) -> Result<()> {
    let tty = open_tty(tty, false)?;
    say("open")?;
    for line in BufReader::new(File::open(fifo)?).split(b'\n') {
        let mut line = line?;
        line.push(b'\n');
        write_all(&tty, &line)?;
    }
    Ok(())
}

fn write_once(path: &str, rest: &[&str]) -> Result<()> {
    let (mut mode, mut nonblock, mut chunks, mut bytes) = (None, false, 1, None);
    let mut rest = rest.iter();
    while let Some(&word) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{word} wants a value"));
        match word {
            "--raw" => mode = Some(false),
            "--opost" => mode = Some(true),
            "--nonblock" => nonblock = true,
            "--chunks" => chunks = value()?.parse()?,
            "--pattern" => {
                let seed = value()?.parse()?;
                bytes = Some(pattern(seed, value()?.parse()?));
            }
            text => bytes = Some(text.as_bytes().to_vec()),
        }
    }
    let bytes = bytes.ok_or("nothing to write")?;
    let tty = open_tty(path, nonblock)?;
    if let Some(opost) = mode {
        set_mode(&tty, opost)?;
    }
    let mut accepted = 0;
    for chunk in bytes.chunks(bytes.len().div_ceil(chunks).max(1)) {
        if nonblock {
            // One call, whatever becomes of it: the caller wants to know.
            match write(&tty, chunk) {
                Ok(n) => accepted += n,
                Err(Errno::EAGAIN) => {}
                Err(e) => return Err(e.into()),
            }
        } else {
            write_all(&tty, chunk)?;
            accepted += chunk.len();
        }
    }
    if !nonblock {
        tcdrain(&tty)?;
    }
    say(&format!("accepted {accepted}"))
}

fn pty(rest: &[&str]) -> Result<()> {
    let (opost, rest) = match rest {
        ["--opost", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (file, seed, len) = match rest {
        [file] => (file, 1, 65536),
        [file, seed] => (file, seed.parse()?, 65536),
        [file, seed, len] => (file, seed.parse()?, len.parse()?),
        _ => return Err(USAGE.into()),
    };
    let ends = openpty(None, None)?;
    let path = nix::unistd::ttyname(&ends.slave)?;
    say(&format!("pty {}", path.display()))?;
    set_mode(&ends.slave, opost)?;
    let slave = open_tty(path.to_str().ok_or("odd pty name")?, true)?;
    let mut log = File::create(file)?;
    let mut master = File::from(ends.master);
    let bytes = pattern(seed, len);
    let (mut at, mut partial, mut refused) = (0, 0, 0);
    while at < len {
        match write(&slave, &bytes[at..]) {
            Ok(n) => {
                log.write_all(&bytes[at..at + n])?;
                if at + n < len {
                    partial += 1;
                }
                at += n;
            }
            Err(Errno::EAGAIN) => {
                refused += 1;
                // Room for some bytes, not for all.
                let mut some = [0; 1000];
                let mut fds = [poll::PollFd::new(master.as_fd(), poll::PollFlags::POLLIN)];
                poll::poll(&mut fds, 5000u16)?;
                if master.read(&mut some)? == 0 {
                    return Err("the pty's master is at its end".into());
                }
                // The room is given back by a work item.
                thread::sleep(Duration::from_millis(1));
            }
            Err(e) => return Err(e.into()),
        }
    }
    log.sync_all()?;
    say(&format!("accepted {at}"))?;
    say(&format!("partial {partial}"))?;
    say(&format!("refused {refused}"))
}

fn two(one: &str, other: &str, n: &str) -> Result<()> {
    let n: u32 = n.parse()?;
    let start = Arc::new(Barrier::new(2));
    let threads: Vec<_> = [('A', one), ('B', other)]
        .into_iter()
        .map(|(letter, path)| {
            let tty = open_tty(path, false)?;
            let start = start.clone();
            Ok(thread::spawn(move || {
                start.wait();
                for i in 1..=n {
                    let line = format!("{letter} {i:06}\n");
                    write_all(&tty, line.as_bytes()).map_err(|e| e.to_string())?;
                }
                Ok::<_, String>(())
            }))
        })
        .collect::<Result<_>>()?;
    for t in threads {
        t.join().map_err(|_| "a thread panicked")??;
    }
    say(&format!("lines {}", 2 * n))
}

fn flow(tty: &str, how: &str) -> Result<()> {
    let how = match how {
        "off" => FlowArg::TCOOFF,
        "on" => FlowArg::TCOON,
        _ => return Err(USAGE.into()),
    };
    let tty = open(
        tty,
        OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK,
        Mode::empty(),
    )?;
    Ok(tcflow(&tty, how)?)
}

fn kmsg(n: &str, text: &str) -> Result<()> {
    // One write is one record, so nothing may be buffered together.
    let mut kmsg = File::options().write(true).open("/dev/kmsg")?;
    for i in 1..=n.parse::<u32>()? {
        kmsg.write_all(format!("{text} {i:06}\n").as_bytes())?;
    }
    say(&format!("records {n}"))
}

fn insmod(file: &str, parameters: &[&str]) -> Result<()> {
    // As a shell would have it: what has blanks is one value all the same.
    let words: Vec<String> = parameters
        .iter()
        .map(|p| match p.split_once('=') {
            Some((name, value)) if value.contains(' ') => format!("{name}=\"{value}\""),
            _ => (*p).into(),
        })
        .collect();
    let options = std::ffi::CString::new(words.join(" "))?;
    match finit_module(&File::open(file)?, &options, ModuleInitFlags::empty()) {
        Ok(()) => Ok(()),
        // `{:?}` of an errno is its name.
        Err(e) => Err(format!("{e:?}").into()),
    }
}

fn run_as(uid: &str, command: &str, arguments: &[&str]) -> Result<()> {
    let id = uid.parse()?;
    // With a user given, the supplementary groups go too.
    let e = Command::new(command).args(arguments).uid(id).gid(id).exec();
    Err(e.into())
}

fn mount(source: &str, dir: &str, options: &str) -> Result<()> {
    let flags = MsFlags::empty();
    let done = nix::mount::mount(Some(source), dir, Some("pstore"), flags, Some(options));
    done.map_err(|e| format!("{e:?}").into())
}

fn try_call(what: &str, path: &str) -> Result<()> {
    let done = match what {
        "open" => open(path, OFlag::O_RDONLY, Mode::empty()).map(drop),
        "unlink" => nix::unistd::unlink(path),
        "umount" => nix::mount::umount(path),
        "truncate" => nix::unistd::truncate(path, 0),
        "mkdir" => nix::unistd::mkdir(path, Mode::S_IRWXU),
        "rmdir" => rmdir(path),
        _ => return Err(USAGE.into()),
    };
    done.map_err(|e| format!("{e:?}").into())
}

/// `nix` has none.
fn rmdir(path: &str) -> nix::Result<()> {
    nix::unistd::unlinkat(AT_FDCWD, path, nix::unistd::UnlinkatFlags::RemoveDir)
}

/// Memory that a program may name in a call and not read: what a kernel makes of it.
fn fault(path: &str, len: &str, readable: &str) -> Result<()> {
    const PAGE: usize = 4096;
    let (len, readable): (usize, usize) = (len.parse()?, readable.parse()?);
    let front = readable.next_multiple_of(PAGE);
    let all = NonZeroUsize::new(front + len.next_multiple_of(PAGE)).ok_or(USAGE)?;
    // SAFETY: New memory, wherever there is room.
    let memory = unsafe {
        mmap_anonymous(
            None,
            all,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE,
        )?
    };
    // SAFETY: `front` bytes and more were mapped, and nobody else knows of them.
    unsafe { memory.cast::<u8>().write_bytes(b'x', front) };
    // SAFETY: Within what was mapped, a page's beginning; nobody reads there from here on but the
    // kernel, which asks.
    let behind = unsafe { memory.byte_add(front) };
    // SAFETY: As above.
    unsafe { mprotect(behind, all.get() - front, ProtFlags::PROT_NONE)? };
    let file = open(path, OFlag::O_WRONLY, Mode::empty())?;
    // SAFETY: The kernel checks what it reads: that some of it can't be is what is asked for.
    let done = unsafe {
        let from = behind.byte_sub(readable);
        nix::libc::write(file.as_raw_fd(), from.as_ptr(), len)
    };
    let done = Errno::result(done).map_err(|e| format!("{e:?}"))?;
    println!("accepted {done}");
    Ok(())
}

/// Memory of a device, for as long as the program runs.
fn device_memory(path: &str, len: NonZeroUsize) -> Result<NonNull<c_void>> {
    let file = open(path, OFlag::O_RDWR, Mode::empty())?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: Wherever there is room, and it is not unmapped.
    Ok(unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, file, 0)? })
}

/// All bits of a device's memory.
fn ones(path: &str, len: &str) -> Result<()> {
    let len = NonZeroUsize::new(len.parse()?).ok_or(USAGE)?;
    let memory = device_memory(path, len)?;
    // SAFETY: `len` bytes were mapped, and nobody else writes there.
    unsafe { memory.cast::<u8>().write_bytes(0xff, len.get()) };
    Ok(())
}

/// A record in QEMU's acpi-erst: the actions of ACPI 6.5, section 18.5.1, by two registers, of which
/// the second has what the first one's action is about.
fn erst_write(registers: &str, exchange: &str, what: &str) -> Result<()> {
    const PAGE: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
    const ID: u64 = 0x6a1b_0000_0000_0100;
    // By what QEMU knows that it is meant.
    const EXECUTE: u64 = 0x9c;
    let content = *b"no deflate stream at all";
    let mut head = [0; erst::HEADER_BYTES];
    let places = ["good", "foreign", "other", "damaged", "bare", "garbage"];
    let n = places.iter().position(|p| *p == what).ok_or(USAGE)?;
    erst::header(
        &mut head,
        ID + n as u64,
        5,
        content.len(),
        what == "garbage",
    );
    match what {
        "foreign" => head[64] ^= 1,
        "other" => head[144] ^= 1,
        "damaged" => head[0] = b'c',
        "bare" => head[20..24].copy_from_slice(&150u32.to_le_bytes()),
        _ => {}
    }
    let (action, buffer) = (
        device_memory(registers, PAGE)?,
        device_memory(exchange, PAGE)?,
    );
    for (n, byte) in head.iter().chain(&content).enumerate() {
        // SAFETY: Fewer than a page, which is mapped.
        unsafe { buffer.cast::<u8>().add(n).write_volatile(*byte) };
    }
    let act = |number: u64, value: u64| {
        let action = action.cast::<u64>();
        // SAFETY: Two registers of 64 bits, at the beginning of what is mapped.
        unsafe {
            action.add(1).write_volatile(value);
            action.write_volatile(number);
            action.add(1).read_volatile()
        }
    };
    // Begin to write; at this offset; do it.
    act(0, 0);
    act(4, 0);
    act(5, EXECUTE);
    let status = act(7, 0);
    act(3, 0);
    println!("status {status}");
    Ok(())
}

type Call = Box<dyn FnMut() -> nix::Result<()>>;

/// A system call, or two, with all that can be had beforehand.
fn call(words: &str) -> Result<Call> {
    let (what, rest) = words.split_once(' ').ok_or(USAGE)?;
    let path = rest.to_owned();
    Ok(match what {
        "write" => {
            let (path, text) = rest.split_once(' ').ok_or(USAGE)?;
            let (path, text) = (path.to_owned(), format!("{text}\n"));
            Box::new(move || {
                let file = open(path.as_str(), OFlag::O_WRONLY, Mode::empty())?;
                write(&file, text.as_bytes()).map(drop)
            })
        }
        "read" => Box::new(move || {
            let file = open(path.as_str(), OFlag::O_RDONLY, Mode::empty())?;
            let mut piece = [0; 65536];
            while nix::unistd::read(&file, &mut piece)? != 0 {}
            Ok(())
        }),
        "list" => Box::new(move || {
            let errno = |e: io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(0));
            for entry in std::fs::read_dir(&path).map_err(errno)? {
                entry.and_then(|e| e.metadata()).map_err(errno)?;
            }
            Ok(())
        }),
        "mount" => Box::new(move || {
            let (source, none) = (Some("pstore"), None::<&str>);
            nix::mount::mount(
                source,
                path.as_str(),
                Some("pstore"),
                MsFlags::empty(),
                none,
            )
        }),
        "umount" => Box::new(move || nix::mount::umount(path.as_str())),
        "insmod" => {
            let (file, parameters) = rest.split_once(' ').unwrap_or((rest, ""));
            let (file, parameters) = (File::open(file)?, std::ffi::CString::new(parameters)?);
            Box::new(move || finit_module(&file, &parameters, ModuleInitFlags::empty()))
        }
        "rmmod" => {
            let name = std::ffi::CString::new(rest)?;
            Box::new(move || delete_module(&name, DeleteModuleFlags::O_NONBLOCK))
        }
        "mkdir" => Box::new(move || nix::unistd::mkdir(path.as_str(), Mode::S_IRWXU)),
        "rmdir" => Box::new(move || rmdir(path.as_str())),
        "unlink" => Box::new(move || nix::unistd::unlink(path.as_str())),
        _ => return Err(USAGE.into()),
    })
}

fn nth(first: &str, step: &str, what: &str, undo: &str) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let at = File::options()
        .read(true)
        .write(true)
        .open("/proc/thread-self/fail-nth")?;
    let (mut what, mut undo) = (call(what)?, call(undo)?);
    let mut came = std::collections::BTreeMap::<String, (u32, u32)>::new();
    let mut turns = 0;
    for n in (first.parse::<u32>()?..).step_by(step.parse()?) {
        at.write_all_at(format!("{n}\n").as_bytes(), 0)?;
        let done = what();
        let mut left = [0; 16];
        let len = at.read_at(&mut left, 0)?;
        at.write_all_at(b"0\n", 0)?;
        let failed = left[..len].trim_ascii() == b"0";
        if done.is_ok() {
            undo().map_err(|e| format!("undo in turn {n}: {e:?}"))?;
        }
        if !failed && done.is_ok() {
            break;
        }
        turns += u32::from(failed);
        let errno = done.map_or_else(|e| format!("{e:?}"), |()| "ok".into());
        came.entry(errno).or_insert((0, n)).0 += 1;
        if !failed {
            break;
        }
    }
    for (errno, (times, n)) in came {
        println!("{errno} {times} first {n}");
    }
    println!("turns {turns}");
    Ok(())
}
