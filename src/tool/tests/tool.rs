// SPDX-License-Identifier: GPL-2.0

//! The program `mpstore` as it is called: every command, every raw source, every format.
//!
//! What it is to say is in `golden/tool/`. With `MPSTORE_BLESS=1` those files are written anew, to
//! be looked at with `git diff`.

mod forms;

use forms::{
    device_dump_note, disk, elf32, elf64, flattened, handed_over, handed_over_anew, kdump,
    lone_note, note, region, AT,
};
use std::collections::BTreeMap;
use std::fs;
use std::io::{IoSliceMut, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/c-ramoops-64k-ecc16.img");

struct Said {
    out: Vec<u8>,
    err: String,
    code: Option<i32>,
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpstore"));
    command
        .args(args)
        .current_dir(dir)
        .env_remove("CLICOLOR_FORCE")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> Said {
    let said = command(dir, args).output().unwrap();
    Said {
        out: said.stdout,
        err: String::from_utf8_lossy(&said.stderr).into_owned(),
        code: said.status.code(),
    }
}

/// Runs it and compares all that it says with a file.
fn golden(dir: &Path, name: &str, code: i32, args: &[&str]) {
    let said = run(dir, args);
    let mut text = format!("$ mpstore {}\n", args.join(" "));
    text += &String::from_utf8_lossy(&said.out);
    for line in said.err.lines() {
        text += &format!("! {line}\n");
    }
    text += &format!("= {:?}\n", said.code);
    // Where the test ran is no part of it.
    let text = text.replace(&dir.display().to_string(), "DIR");
    assert_eq!(said.code, Some(code), "{text}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/tool")
        .join(name);
    if std::env::var_os("MPSTORE_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == text,
        "{name} differs; this is what was said:\n{text}"
    );
}

/// Every file below a folder.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            for (below, bytes) in files(&entry.path()) {
                out.insert(format!("{name}/{below}"), bytes);
            }
        } else {
            out.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    out
}

/// Memory with a region in it, the rest of it other things.
fn memory(region: &[u8]) -> Vec<u8> {
    let mut memory = vec![0; 0x30_0000];
    for (n, byte) in memory.iter_mut().enumerate() {
        *byte = (n * 7 + n / 256) as u8;
    }
    let at = usize::try_from(AT).unwrap();
    memory[at..at + region.len()].copy_from_slice(region);
    memory
}

fn extract(dir: &Path, args: &[&str], to: &str) -> BTreeMap<String, Vec<u8>> {
    let said = run(dir, &[&["extract", "-o", to, "-q"], args].concat());
    assert_eq!(said.code, Some(0), "{args:?}: {}", said.err);
    files(&dir.join(to))
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_region_of_the_c_code() {
    let dir = temp();
    let dir = dir.path();
    fs::write(dir.join("region.img"), GOLDEN).unwrap();
    golden(
        dir,
        "c-list.txt",
        0,
        &["list", "-s", "region.img", "--zones"],
    );
    golden(
        dir,
        "c-list.json",
        0,
        &["list", "-s", "region.img", "--json"],
    );
    golden(dir, "c-show.txt", 0, &["show", "-s", "region.img"]);
    golden(
        dir,
        "c-given.txt",
        0,
        &[
            "list",
            "-s",
            "region.img",
            "--record-size",
            "4K",
            "--console-size",
            "8K",
            "--ftrace-size",
            "4K",
            "--pmsg-size",
            "4K",
            "--tty-size",
            "0",
            "--ecc",
            "1",
            "--zones",
        ],
    );
    // With symbols.
    fs::write(
        dir.join("System.map"),
        "ffffffff81231a30 T vfs_write\nffffffff81248ad0 T ksys_write\nffffffff81248b00 T end\n",
    )
    .unwrap();
    golden(
        dir,
        "c-ftrace.txt",
        0,
        &[
            "show",
            "ftrace-ramoops-0",
            "-s",
            "region.img",
            "--symbols",
            "System.map",
        ],
    );
    golden(
        dir,
        "c-one.json",
        0,
        &["show", "pmsg", "-s", "region.img", "--json"],
    );
}

#[test]
fn every_form_of_memory_gives_the_same_records() {
    let dir = temp();
    let dir = dir.path();
    for (ecc, name) in [(0, "plain"), (16, "parity")] {
        let (region, sizes) = region(ecc);
        let image = format!("{name}.img");
        fs::write(dir.join(&image), &region).unwrap();
        let expected = extract(dir, &["-s", &image], &format!("{name}.d"));
        assert_eq!(expected.len(), 6, "{:?}", expected.keys());
        let memory = memory(&region);
        let mut forms: Vec<(String, Vec<u8>)> = vec![
            ("memory".into(), memory.clone()),
            ("elf64".into(), elf64(&memory, &[])),
            ("elf32".into(), elf32(&memory)),
            ("flat-elf".into(), flattened(&elf64(&memory, &[]))),
        ];
        for (how, method) in [
            (0, "none"),
            (1, "zlib"),
            (2, "lzo"),
            (4, "snappy"),
            (0x20, "zstd"),
        ] {
            forms.push((format!("kdump-{method}"), kdump(&memory, how, &[])));
        }
        forms.push(("flat-kdump".into(), flattened(&kdump(&memory, 1, &[]))));
        for (form, bytes) in forms {
            let file = format!("{name}-{form}");
            fs::write(dir.join(&file), bytes).unwrap();
            // Found by a search, by the address, and by the command line of its kernel.
            let found = extract(dir, &["-s", &file], &format!("{file}.scan"));
            assert!(found == expected, "{file}: {:?}", found.keys());
            let address = format!("{AT:#x}");
            let found = extract(
                dir,
                &["-s", &file, "--address", &address],
                &format!("{file}.at"),
            );
            assert!(found == expected, "{file} at");
            let cmdline = format!(
                "quiet memmap=2M${AT:#x} mpstore.mem_address={AT:#x} mpstore.mem_size=128K mpstore.record_size=8K \
                 mpstore.console_size=8K mpstore.ftrace_size=8K mpstore.pmsg_size=4K mpstore.tty_size=8K mpstore.ecc={ecc}"
            );
            let found = extract(
                dir,
                &["-s", &file, "--cmdline", &cmdline],
                &format!("{file}.line"),
            );
            assert!(found == expected, "{file} cmdline");
        }
        // A device dump note, in both sorts of dump, without the memory.
        let mut other = b"cxgb4".to_vec();
        other.resize(200, 0);
        let notes = [
            note("CORE", 1, &[0; 336]),
            note("LINUX", 0x700, &other),
            device_dump_note(&region, &sizes),
            note("VMCOREINFO", 0, b"OSRELEASE=7.3.4\n"),
        ]
        .concat();
        let empty = vec![0x11; 0x30_0000];
        for (form, bytes) in [
            ("elf", elf64(&empty, &notes)),
            ("kdump", kdump(&empty, 1, &notes)),
        ] {
            let file = format!("{name}-note-{form}");
            fs::write(dir.join(&file), bytes).unwrap();
            let found = extract(
                dir,
                &["-s", &file, "--format", "note"],
                &format!("{file}.d"),
            );
            assert!(found == expected, "{file}");
            golden(
                dir,
                &format!("{file}.txt"),
                0,
                &["list", "-s", &file, "--zones"],
            );
        }
        // What the program crash writes of the note, whole and with a byte that is not as it was.
        let file = format!("{name}-note");
        let mut lone = lone_note(&region, &sizes);
        fs::write(dir.join(&file), &lone).unwrap();
        let found = extract(dir, &["-s", &file], &format!("{file}.d"));
        assert!(found == expected, "{file}");
        golden(
            dir,
            &format!("{file}.txt"),
            0,
            &["list", "-s", &file, "--zones"],
        );
        lone[70] ^= 1;
        let file = format!("{name}-note-damaged");
        fs::write(dir.join(&file), &lone).unwrap();
        golden(
            dir,
            &format!("{file}.txt"),
            1,
            &["list", "-s", &file, "--format", "note"],
        );
        lone.truncate(100);
        let file = format!("{name}-note-short");
        fs::write(dir.join(&file), &lone).unwrap();
        golden(dir, &format!("{file}.txt"), 1, &["list", "-s", &file]);
    }
    golden(
        dir,
        "elf-list.txt",
        0,
        &["list", "-s", "plain-elf64", "--zones"],
    );
}

#[test]
fn what_kexec_hands_over() {
    let dir = temp();
    let dir = dir.path();
    let (region, sizes) = region(0);
    let memory = handed_over(&region, &sizes);
    fs::write(dir.join("memory"), elf64(&memory, &[])).unwrap();
    golden(
        dir,
        "kho-list.txt",
        0,
        &["list", "-s", "memory", "--format", "kho"],
    );
    golden(
        dir,
        "kho-show.txt",
        0,
        &[
            "show",
            "-s",
            "memory",
            "--format",
            "kho",
            "--address",
            "0x100000",
        ],
    );
    // The same bytes as the region on its own.
    fs::write(dir.join("region.img"), &region).unwrap();
    let alone = extract(dir, &["-s", "region.img", "--name", "kho"], "alone");
    let handed = extract(dir, &["-s", "memory", "--format", "kho"], "handed");
    assert!(alone.values().eq(handed.values()));
    assert!(
        handed.contains_key("dmesg-kho-70001"),
        "{:?}",
        handed.keys()
    );
    // What the kernels before a reset left does not stand in for it, wherever it lies.
    for at in [0x8_0000, 0x18_0000] {
        let memory = handed_over_anew(&region, &sizes, at);
        let file = format!("anew-{at:x}");
        fs::write(dir.join(&file), elf64(&memory, &[])).unwrap();
        let args = ["-s", &file, "--format", "kho"];
        assert!(
            extract(dir, &args, &format!("{file}.d")) == handed,
            "{at:#x}"
        );
        let said = run(dir, &[&["list"], &args[..]].concat());
        assert!(
            said.err
                .contains("1 older indexes of kho besides the one at 0x100000"),
            "{}",
            said.err
        );
    }
}

#[test]
fn zones_of_a_block_device() {
    let dir = temp();
    let dir = dir.path();
    let disk = disk();
    fs::write(dir.join("disk.img"), &disk).unwrap();
    golden(
        dir,
        "blk-list.txt",
        0,
        &["list", "-s", "disk.img", "--zones"],
    );
    golden(
        dir,
        "blk-list.json",
        0,
        &["list", "-s", "disk.img", "--json"],
    );
    golden(dir, "blk-show.txt", 0, &["show", "-s", "disk.img"]);
    let given = [
        "-s",
        "disk.img",
        "--format",
        "zone",
        "--size",
        "512K",
        "--record-size",
        "8K",
        "--console-size",
        "8K",
        "--pmsg-size",
        "4K",
        "--ftrace-size",
        "8K",
        "--tty-size",
        "8K",
        "--ftrace-zones",
        "2",
    ];
    assert!(extract(dir, &["-s", "disk.img"], "found") == extract(dir, &given, "given"));
}

/// A tree as it is mounted, of the region that mpstore wrote.
fn tree(dir: &Path) -> PathBuf {
    let (region, _) = region(0);
    fs::write(dir.join("tree.img"), region).unwrap();
    let said = run(
        dir,
        &["extract", "-q", "-s", "tree.img", "--tree", "-o", "tree"],
    );
    assert_eq!(said.code, Some(0), "{}", said.err);
    let day = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_231_000);
    for kind in ["console", "tty", "pmsg", "ftrace"] {
        let path = dir.join(format!("tree/ramoops/{kind}-ramoops-0"));
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(day)
            .unwrap();
    }
    dir.join("tree")
}

#[test]
fn a_tree_is_listed_shown_and_erased() {
    let dir = temp();
    let dir = dir.path();
    tree(dir);
    golden(dir, "tree-list.txt", 0, &["list", "-s", "tree"]);
    golden(
        dir,
        "tree-panic.txt",
        0,
        &["show", "-s", "tree", "--reason", "panic"],
    );
    golden(
        dir,
        "tree-tty.txt",
        0,
        &["show", "-s", "tree", "--tty", "ttyS0"],
    );
    golden(
        dir,
        "tree-no-tty.txt",
        1,
        &["show", "-s", "tree", "--tty", "ttyS9"],
    );
    golden(dir, "tree-timeline.txt", 0, &["timeline", "-s", "tree"]);
    golden(
        dir,
        "tree-timeline.json",
        0,
        &["timeline", "-s", "tree", "--json"],
    );
    golden(
        dir,
        "tree-timeline-color.txt",
        0,
        &["timeline", "-s", "tree", "--color", "always", "-n", "3"],
    );
    // The raw region says the same.
    let raw = run(dir, &["timeline", "-s", "tree.img"]).out;
    assert_eq!(run(dir, &["timeline", "-s", "tree"]).out, raw);
    golden(
        dir,
        "tree-erase-unknown.txt",
        2,
        &["erase", "-s", "tree", "dmesg-ramoops"],
    );
    golden(dir, "tree-erase-none.txt", 2, &["erase", "-s", "tree"]);
    golden(
        dir,
        "tree-erase-dry.txt",
        0,
        &["erase", "-s", "tree", "--all", "-k", "dmesg", "-n"],
    );
    golden(
        dir,
        "tree-erase.txt",
        0,
        &["erase", "-s", "tree", "dmesg-ramoops-0"],
    );
    assert!(!dir.join("tree/ramoops/dmesg-ramoops-0").exists());
    assert_eq!(files(&dir.join("tree")).len(), 5);
    golden(
        dir,
        "tree-erase-all.txt",
        0,
        &["erase", "-s", "tree", "--all"],
    );
    assert!(files(&dir.join("tree")).is_empty());
    golden(dir, "tree-empty.txt", 1, &["list", "-s", "tree"]);
    golden(
        dir,
        "raw-erase.txt",
        2,
        &["erase", "-s", "tree.img", "--all"],
    );
}

#[test]
fn flat_trees_and_both() {
    let dir = temp();
    let dir = dir.path();
    let root = tree(dir);
    // One file with two names is one record.
    for name in files(&root).keys() {
        let flat = name.strip_prefix("ramoops/").unwrap();
        fs::hard_link(root.join(name), root.join(flat)).unwrap();
    }
    assert_eq!(
        String::from_utf8_lossy(&run(dir, &["list", "-s", "tree"]).out)
            .lines()
            .count(),
        6
    );
    fs::remove_dir_all(root.join("ramoops")).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&run(dir, &["list", "-s", "tree"]).out)
            .lines()
            .count(),
        6
    );
    // As root is mounted in another place.
    let proc = dir.join("root/proc/self");
    fs::create_dir_all(&proc).unwrap();
    fs::write(
        proc.join("mounts"),
        "pstore /mnt/my\\040tree pstore rw 0 0\n",
    )
    .unwrap();
    fs::create_dir_all(dir.join("root/mnt")).unwrap();
    fs::rename(root, dir.join("root/mnt/my tree")).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&run(dir, &["list", "--root", "root"]).out)
            .lines()
            .count(),
        6
    );
}

#[test]
fn new_records_are_followed() {
    let dir = temp();
    let dir = dir.path();
    let root = tree(dir);
    let mut child = command(
        dir,
        &["follow", "-s", "tree", "--interval", "0.05", "--count", "1"],
    )
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    // What is there is not new; how long the first look takes, nobody knows.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none());
    fs::write(
        root.join("ramoops/dmesg-ramoops-5"),
        "Oops#9 Part1\n<4>[   30.000000] new\n",
    )
    .unwrap();
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        said.contains("==> dmesg-ramoops-5 ") && said.contains("] new\n"),
        "{said}"
    );
}

#[test]
fn each_record_is_imported_once() {
    let dir = temp();
    let dir = dir.path();
    tree(dir);
    let import = |more: &[&str]| {
        run(
            dir,
            &[
                &[
                    "import",
                    "-s",
                    "tree",
                    "--to",
                    "json",
                    "--state",
                    "state/s.json",
                ],
                more,
            ]
            .concat(),
        )
    };
    // Interrupted after each record, after it was sent.
    for _ in 0..6 {
        assert_eq!(import(&["-o", "log", "--interrupt", "1"]).code, Some(2));
    }
    // And once in the middle of a line.
    let mut bytes = fs::read(dir.join("log")).unwrap();
    bytes.extend(b"{\"record_id\":\"cut");
    fs::write(dir.join("log"), bytes).unwrap();
    assert_eq!(
        import(&["-o", "log"]).out,
        b"0 records imported, 6 were already\n"
    );
    let text = fs::read_to_string(dir.join("log")).unwrap();
    let mut ids: Vec<String> = text
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(value["text"].is_string());
            value["record_id"].as_str().unwrap().to_owned()
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), text.lines().count()), (6, 6));
    // One that was not sent when it was interrupted is sent.
    let state = fs::read_to_string(dir.join("state/s.json")).unwrap();
    let without = state.replace(
        "\"pending\":null",
        "\"pending\":\"00000000000000000000000000000000\"",
    );
    assert_ne!(state, without);
    fs::write(dir.join("state/s.json"), without).unwrap();
    assert_eq!(
        import(&["-o", "log", "--erase"]).out,
        b"0 records imported, 6 were already\n"
    );
    assert!(files(&dir.join("tree")).is_empty());
    // A state file that is none.
    fs::write(dir.join("state/s.json"), "nonsense").unwrap();
    let said = import(&["-o", "log"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.err.contains("not a state file; move it away"),
        "{}",
        said.err
    );
}

/// The fields of an entry in the journal's native form.
fn entry(mut bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|b| *b == b'\n').unwrap();
        let line = &bytes[..end];
        match line.iter().position(|b| *b == b'=') {
            Some(at) => {
                out.insert(
                    String::from_utf8(line[..at].to_vec()).unwrap(),
                    line[at + 1..].to_vec(),
                );
                bytes = &bytes[end + 1..];
            }
            None => {
                let len = u64::from_le_bytes(bytes[end + 1..end + 9].try_into().unwrap()) as usize;
                out.insert(
                    String::from_utf8(line.to_vec()).unwrap(),
                    bytes[end + 9..end + 9 + len].to_vec(),
                );
                assert_eq!(bytes[end + 9 + len], b'\n');
                bytes = &bytes[end + 10 + len..];
            }
        }
    }
    out
}

#[test]
fn records_go_to_the_journal() {
    let dir = temp();
    let dir = dir.path();
    let root = tree(dir);
    // More than a datagram holds.
    let large = "x".repeat(99).into_bytes();
    let large: Vec<u8> = large
        .iter()
        .chain(b"\n")
        .copied()
        .cycle()
        .take(3 << 20)
        .collect();
    fs::write(root.join("ramoops/pmsg-big-0"), &large).unwrap();
    let socket = UnixDatagram::bind(dir.join("socket")).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(60)))
        .unwrap();
    let reader = std::thread::spawn(move || {
        let mut entries = Vec::new();
        while entries.len() < 7 {
            let mut room = vec![0; 1 << 20];
            let mut rights = nix::cmsg_space!([std::os::fd::RawFd; 1]);
            let (len, fds) = {
                let mut parts = [IoSliceMut::new(&mut room)];
                let message = nix::sys::socket::recvmsg::<()>(
                    socket.as_raw_fd(),
                    &mut parts,
                    Some(&mut rights),
                    nix::sys::socket::MsgFlags::empty(),
                )
                .unwrap();
                let mut fds = Vec::new();
                for one in message.cmsgs().unwrap() {
                    if let nix::sys::socket::ControlMessageOwned::ScmRights(given) = one {
                        fds.extend(given);
                    }
                }
                (message.bytes, fds)
            };
            let bytes = match fds.first() {
                None => room[..len].to_vec(),
                Some(fd) => {
                    // Opened anew, it is read from its beginning.
                    fs::read(format!("/proc/self/fd/{fd}")).unwrap()
                }
            };
            entries.push(entry(&bytes));
        }
        entries
    });
    let args = [
        "import",
        "-s",
        "tree",
        "--socket",
        "socket",
        "--state",
        "s.json",
        "--journalctl",
        "/bin/false",
    ];
    let said = run(dir, &args);
    assert_eq!(
        said.out, b"7 records imported, 0 were already\n",
        "{}",
        said.err
    );
    let entries = reader.join().unwrap();
    let by = |name: &str| {
        entries
            .iter()
            .find(|e| e["MPSTORE_NAME"] == name.as_bytes())
            .unwrap()
    };
    let big = by("pmsg-big-0");
    assert!(big["MESSAGE"].ends_with(&large));
    let panic = by("dmesg-ramoops-1");
    for (field, value) in [
        ("PRIORITY", "2"),
        ("SYSLOG_IDENTIFIER", "mpstore"),
        ("MPSTORE_BACKEND", "ramoops"),
        ("MPSTORE_KIND", "dmesg"),
        ("MPSTORE_REASON", "Panic"),
        ("MPSTORE_COUNT", "2"),
        ("MPSTORE_PART", "1"),
        ("MPSTORE_TIME", "2026-11-21T03:00:20.500000Z"),
    ] {
        assert_eq!(String::from_utf8_lossy(&panic[field]), value, "{field}");
    }
    assert!(panic["MESSAGE"].starts_with(b"mpstore: dmesg-ramoops-1 (Panic #2 part 1, "));
    let said = run(dir, &args);
    assert_eq!(said.out, b"0 records imported, 7 were already\n");
    let said = run(
        dir,
        &[
            "import", "-s", "tree", "--socket", "none", "--state", "s.json",
        ],
    );
    assert!(
        said.err
            .contains("there is no journal here. With --to json"),
        "{}",
        said.err
    );
}

/// A machine's files.
fn machine(dir: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = dir.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

const IOMEM: &str = "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n\
    00100000-7ffdffff : System RAM\n  01000000-01dfffff : Kernel code\n  01e00000-0219ffff : Kernel rodata\n\
    \u{20} 02a00000-02ffffff : Kernel bss\n  6f000000-76ffffff : Crash kernel\n\
    7ffe0000-7fffffff : Reserved\n100000000-17fffffff : System RAM\n";

/// A device below a PCI device with this driver, with the links that sysfs has.
fn pci_disk(root: &Path, name: &str, driver: &str) {
    use std::os::unix::fs::symlink;
    let device = format!("sys/devices/pci0000:00/0000:00:05.0-{name}/virtio1");
    fs::create_dir_all(root.join(&device).join("block").join(name)).unwrap();
    fs::create_dir_all(root.join("sys/block")).unwrap();
    symlink(
        format!("../devices/pci0000:00/0000:00:05.0-{name}/virtio1/block/{name}"),
        root.join("sys/block").join(name),
    )
    .unwrap();
    symlink(
        "../..",
        root.join(&device).join("block").join(name).join("device"),
    )
    .unwrap();
    symlink(
        "../../../bus/virtio/drivers/virtio_blk",
        root.join(&device).join("driver"),
    )
    .unwrap();
    symlink(
        format!("../../../bus/pci/drivers/{driver}"),
        root.join(&device).parent().unwrap().join("driver"),
    )
    .unwrap();
}

#[test]
fn a_plan_with_disks() {
    let dir = temp();
    let dir = dir.path();
    let root = dir.join("root");
    pci_disk(&root, "vda", "virtio-pci");
    pci_disk(&root, "sda", "megaraid_sas");
    machine(
        dir,
        &[
            ("root/proc/iomem", IOMEM),
            ("root/proc/cmdline", "root=/dev/vda1 crashkernel=128M nokaslr\n"),
            ("root/sys/devices/system/cpu/possible", "0-3\n"),
            ("root/proc/self/mountinfo", "22 1 254:1 / / rw,relatime - ext4 /dev/root rw\n"),
            ("root/proc/swaps", "Filename Type Size Used Priority\n/dev/vda2 partition 1 0 -2\n"),
            ("root/sys/block/vda/size", "4194304\n"),
            ("root/sys/block/vda/queue/logical_block_size", "512\n"),
            ("root/sys/block/vda/queue/zoned", "none\n"),
            ("root/sys/block/vda/vda1/partition", "1\n"),
            ("root/sys/block/vda/vda1/size", "2097152\n"),
            ("root/sys/block/vda/vda1/dev", "254:1\n"),
            ("root/sys/block/vda/vda2/partition", "2\n"),
            ("root/sys/block/vda/vda2/size", "65536\n"),
            ("root/sys/block/vda/vda2/dev", "254:2\n"),
            ("root/sys/block/vda/vda3/partition", "3\n"),
            ("root/sys/block/vda/vda3/size", "65536\n"),
            (
                "root/sys/block/vda/vda3/uevent",
                "MAJOR=254\nMINOR=3\nDEVNAME=vda3\nPARTNAME=a \u{1b}[31mdisk\nPARTUUID=2c5b8e0e-03\n",
            ),
            ("root/sys/block/vda/vda4/partition", "4\n"),
            ("root/sys/block/vda/vda4/size", "131072\n"),
            ("root/sys/block/vda/vda4/holders/dm-0/dev", "\n"),
            ("root/sys/block/vda/vda5/partition", "5\n"),
            ("root/sys/block/vda/vda5/size", "65536\n"),
            ("root/sys/block/vda/vda6/partition", "6\n"),
            ("root/sys/block/vda/vda6/size", "65536\n"),
            ("root/sys/block/sda/size", "65536\n"),
            ("root/sys/block/sdb/size", "65536\n"),
            ("root/sys/block/sdb/removable", "1\n"),
            ("root/sys/block/sdc/size", "65536\n"),
            ("root/sys/block/sdc/ro", "1\n"),
            ("root/sys/block/sdd/size", "65536\n"),
            ("root/sys/block/sdd/queue/zoned", "host-managed\n"),
            ("root/sys/block/sde/size", "64\n"),
            ("root/sys/block/sr0/size", "65536\n"),
            ("root/dev/vda3", &"\0".repeat(0x10000)),
            ("root/dev/vda5", &"x".repeat(0x10000)),
            ("root/dev/sda", &"\0".repeat(0x10000)),
        ],
    );
    let mut swap = vec![0; 0x10000];
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    fs::write(root.join("dev/vda6"), swap).unwrap();
    golden(dir, "plan-disks.txt", 0, &["plan", "--root", "root"]);
    golden(
        dir,
        "plan-disk.txt",
        0,
        &[
            "plan",
            "--root",
            "root",
            "--disk",
            "/dev/sda",
            "--crash-size",
            "0",
        ],
    );
    golden(
        dir,
        "plan-disk-used.txt",
        2,
        &["plan", "--root", "root", "--disk", "vda1"],
    );
    golden(
        dir,
        "plan-disk-unknown.txt",
        2,
        &["plan", "--root", "root", "--disk", "vda"],
    );
    golden(
        dir,
        "plan-no-disk.txt",
        0,
        &["plan", "--root", "root", "--no-disk"],
    );
    // What a label asks for comes before others, and memory that is a disk before disks.
    machine(
        dir,
        &[
            ("root/sys/block/pmem0/size", "65536\n"),
            ("root/sys/block/pmem0/queue/dax", "1\n"),
            ("root/dev/pmem0", &"\0".repeat(0x10000)),
        ],
    );
    let said = run(dir, &["plan", "--root", "root", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&said.out).unwrap();
    assert_eq!(value["plan"]["blkdev"], "/dev/pmem0");
    machine(
        dir,
        &[("root/sys/block/sda/uevent", "PARTNAME=My-MPSTORE\n")],
    );
    let said = run(dir, &["plan", "--root", "root", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&said.out).unwrap();
    assert_eq!(value["plan"]["disk"], "sda");
}

#[test]
fn a_device_that_is_configured() {
    let dir = temp();
    let dir = dir.path();
    let disk = disk();
    fs::create_dir_all(dir.join("root/dev")).unwrap();
    fs::write(dir.join("root/dev/vdb"), &disk).unwrap();
    fs::write(dir.join("disk.img"), &disk).unwrap();
    let sizes = "kmsg_size=8K console_size=8K ftrace_size=8K pmsg_size=4K tty_size=8K name=mine";
    let line = format!(" {sizes}").replace(' ', " mpstore.");
    machine(
        dir,
        &[
            (
                "root/proc/cmdline",
                &format!("quiet mpstore.blkdev=/dev/vdb{line}\n"),
            ),
            ("root/sys/devices/system/cpu/possible", "0-1\n"),
        ],
    );
    golden(
        dir,
        "blk-configured.txt",
        0,
        &["list", "--root", "root", "-s", "root/dev/vdb", "--zones"],
    );
    // Nothing is mounted: it says where records are.
    golden(dir, "blk-not-mounted.txt", 2, &["list", "--root", "root"]);
    // An image with its kernel's command line, which does not tell the number of CPUs.
    golden(
        dir,
        "blk-cmdline.txt",
        0,
        &[
            "list",
            "-s",
            "disk.img",
            "--cmdline",
            &format!("mpstore.blkdev=PARTLABEL=crash{line}"),
        ],
    );
    // A command line that is another machine's.
    let other = "mpstore.blkdev=/dev/vdb mpstore.kmsg_size=2M mpstore.console_size=2M";
    let found = extract(dir, &["-s", "disk.img", "--cmdline", other], "other");
    assert!(found == extract(dir, &["-s", "disk.img"], "found"));
}

#[test]
fn a_plan_for_a_machine() {
    let dir = temp();
    let dir = dir.path();
    machine(
        dir,
        &[
            ("root/proc/iomem", IOMEM),
            ("root/proc/cmdline", "root=/dev/vda1 crashkernel=128M\n"),
            ("root/proc/sys/kernel/osrelease", "7.3.4-custom\n"),
            ("root/sys/class/dmi/id/product_name", "Standard PC\n"),
            ("root/sys/devices/system/cpu/possible", "0-3\n"),
            ("root/sys/kernel/kexec_crash_loaded", "1\n"),
            ("root/sys/firmware/efi/runtime", "0x0\n"),
            ("root/sys/block/vda/size", "2097152\n"),
            ("root/sys/block/vda/vda1/partition", "1\n"),
            ("root/sys/block/loop0/size", "0\n"),
        ],
    );
    golden(dir, "plan.txt", 0, &["plan", "--root", "root"]);
    golden(dir, "plan.json", 0, &["plan", "--root", "root", "--json"]);
    golden(
        dir,
        "plan-named.txt",
        0,
        &[
            "plan",
            "--root",
            "root",
            "--named",
            "--size",
            "2M",
            "--crash-size",
            "0",
        ],
    );
    // Nothing above 4 GiB.
    let (low, _) = IOMEM.split_once("100000000-").unwrap();
    machine(
        dir,
        &[("low/proc/iomem", low), ("low/proc/cmdline", "nokaslr\n")],
    );
    golden(
        dir,
        "plan-named-low.txt",
        0,
        &["plan", "--root", "low", "--named"],
    );
    golden(
        dir,
        "plan-clash.txt",
        2,
        &["plan", "--root", "root", "--address", "0x6f000000"],
    );
    golden(
        dir,
        "plan-no-memory.txt",
        2,
        &["plan", "--root", "root", "--address", "0x90000000"],
    );
    machine(
        dir,
        &[("bare/proc/cmdline", "nokaslr memmap=4M$0x18000000\n")],
    );
    golden(dir, "plan-memmap.txt", 0, &["plan", "--root", "bare"]);
    machine(dir, &[("user/proc/cmdline", "quiet\n")]);
    golden(dir, "plan-no-root.txt", 2, &["plan", "--root", "user"]);
}

const STATUS: &str =
    "backend kind on records bytes busy full failed corrected lost_blocks last_error\n\
    ramoops dmesg Y 1 100 0 0 0 0 0 0\nramoops console Y 50 4000 0 0 0 0 0 0\n";

#[test]
fn monitoring() {
    let dir = temp();
    let dir = dir.path();
    machine(
        dir,
        &[
            ("root/sys/module/mpstore/parameters/mem_size", "1048576\n"),
            ("root/sys/kernel/debug/mpstore/status", STATUS),
            (
                "root/proc/self/mounts",
                "pstore /sys/fs/pstore pstore rw 0 0\n",
            ),
            ("root/sys/fs/pstore/ramoops/console-ramoops-0", "text\n"),
            ("root/proc/sys/kernel/panic", "10\n"),
            ("root/sys/kernel/kexec_crash_size", "134217728\n"),
            ("root/sys/kernel/kexec_crash_loaded", "1\n"),
            (
                "root/sys/kernel/debug/mpstore/crash_cmdline",
                "mpstore.mem_address=0x18000000 mpstore.crash_size=1048576\n",
            ),
            (
                "root/sys/module/kernel/parameters/crash_kexec_post_notifiers",
                "Y\n",
            ),
        ],
    );
    golden(
        dir,
        "check-ok.txt",
        0,
        &["check", "--root", "root", "--kdump", "--records"],
    );
    machine(
        dir,
        &[(
            "root/sys/module/kernel/parameters/crash_kexec_post_notifiers",
            "N\n",
        )],
    );
    golden(
        dir,
        "check-kdump-first.txt",
        0,
        &["check", "--root", "root", "--kdump"],
    );
    machine(
        dir,
        &[(
            "root/sys/fs/pstore/ramoops/dmesg-ramoops-0",
            "Oops#1 Part1\n",
        )],
    );
    golden(
        dir,
        "check-records.txt",
        1,
        &["check", "--root", "root", "--records"],
    );
    golden(
        dir,
        "check-two.txt",
        2,
        &["check", "--root", "root", "--backends", "2"],
    );
    machine(
        dir,
        &[
            (
                "root/sys/kernel/debug/mpstore/status",
                &STATUS.replace("100 0 0 0", "100 0 4 1"),
            ),
            ("root/sys/kernel/kexec_crash_loaded", "0\n"),
            ("root/proc/sys/kernel/panic", "0\n"),
        ],
    );
    golden(dir, "check-lost.txt", 1, &["check", "--root", "root"]);
    golden(
        dir,
        "check-kdump.json",
        2,
        &["check", "--root", "root", "--kdump", "--json"],
    );
    machine(dir, &[("none/proc/sys/kernel/panic", "10\n")]);
    golden(dir, "check-none.txt", 2, &["check", "--root", "none"]);
}

#[test]
fn a_survey_over_reboots() {
    let dir = temp();
    let dir = dir.path();
    let boot = |id: &str, loader: &str| {
        machine(
            dir,
            &[
                ("root/proc/sys/kernel/random/boot_id", id),
                ("root/proc/sys/kernel/bootloader_type", loader),
                ("root/proc/sys/kernel/osrelease", "7.3.4\n"),
            ],
        );
    };
    boot("one\n", "114\n");
    machine(
        dir,
        &[
            ("root/proc/sys/kernel/random/uuid", "11112222-3333\n"),
            ("root/dev/pmsg0", ""),
            (
                "root/proc/self/mounts",
                "pstore /sys/fs/pstore pstore rw 0 0\n",
            ),
            ("root/sys/fs/pstore/ramoops/console-ramoops-0", "text\n"),
            (
                "root/sys/kernel/debug/mpstore/status",
                "backend kind on\nramoops pmsg Y\nbank pmsg Y\nbank tty Y\n",
            ),
            ("memory", &"x".repeat(0x10000)),
        ],
    );
    let state = ["--root", "root", "--state", "s.json"];
    let survey = |args: &[&str]| run(dir, &[&["survey"], args, &state[..]].concat());
    golden(
        dir,
        "survey-none.txt",
        2,
        &["survey", "end", "--root", "root", "--state", "s.json"],
    );
    let said = survey(&[
        "begin",
        "--how",
        "warm",
        "-s",
        "memory",
        "--address",
        "0x4000",
        "--size",
        "0x4000",
    ]);
    assert!(said.err.contains("destroys what is there"), "{}", said.err);
    let said = survey(&[
        "begin",
        "--how",
        "warm",
        "-s",
        "memory",
        "--address",
        "0x4000",
        "--size",
        "0x4000",
        "--overwrite",
    ]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let said = survey(&["end"]);
    assert!(said.err.contains("was not rebooted"), "{}", said.err);
    // One backend kept it, the other did not, and a page of the memory is gone.
    let written = fs::read_to_string(dir.join("root/dev/pmsg0")).unwrap();
    machine(
        dir,
        &[(
            "root/sys/fs/pstore/ramoops/pmsg-ramoops-0",
            &format!("before\n{written}"),
        )],
    );
    let mut memory = fs::read(dir.join("memory")).unwrap();
    assert!(memory[0x4000..].starts_with(b"mpstore-survey 11112222-3333-"));
    assert_eq!(memory[0x3fff], b'x');
    assert_eq!(memory[0x8000], b'x');
    memory[0x5010] ^= 1;
    fs::write(dir.join("memory"), memory).unwrap();
    boot("two\n", "208\n");
    golden(
        dir,
        "survey-end.txt",
        0,
        &["survey", "end", "--root", "root", "--state", "s.json"],
    );
    golden(
        dir,
        "survey-show.txt",
        0,
        &["survey", "show", "--root", "root", "--state", "s.json"],
    );
}

#[test]
fn what_is_left_of_a_damaged_region() {
    let dir = temp();
    let dir = dir.path();
    let mut bytes = GOLDEN.to_vec();
    for zone in bytes.chunks_mut(0x1000) {
        zone[..12].fill(0);
    }
    bytes[0x1000 + 900..0x1000 + 1200].fill(0xff);
    fs::write(dir.join("damaged.img"), bytes).unwrap();
    golden(dir, "salvage.txt", 0, &["salvage", "-s", "damaged.img"]);
    golden(
        dir,
        "salvage.json",
        0,
        &[
            "salvage",
            "-s",
            "damaged.img",
            "--no-text",
            "--size",
            "0x1000",
            "--json",
        ],
    );
    fs::write(dir.join("zeros.img"), vec![0; 8192]).unwrap();
    golden(
        dir,
        "salvage-nothing.txt",
        1,
        &["salvage", "-s", "zeros.img"],
    );
    golden(dir, "list-nothing.txt", 1, &["list", "-s", "zeros.img"]);
}

#[test]
fn errors_say_what_to_do() {
    let dir = temp();
    let dir = dir.path();
    fs::write(dir.join("region.img"), GOLDEN).unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    fs::write(dir.join("elf"), b"\x7fELF\x02\x01\x01").unwrap();
    fs::write(dir.join("kdump"), b"KDUMP   ").unwrap();
    fs::write(
        dir.join("flat"),
        b"makedumpfile\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01",
    )
    .unwrap();
    fs::create_dir(dir.join("root")).unwrap();
    for (name, args) in [
        ("error-no-file.txt", &["list", "-s", "none"][..]),
        ("error-empty.txt", &["list", "-s", "empty"]),
        ("error-elf.txt", &["list", "-s", "elf"]),
        ("error-kdump.txt", &["list", "-s", "kdump"]),
        ("error-flat.txt", &["list", "-s", "flat"]),
        ("error-no-mount.txt", &["list", "--root", "root"]),
        (
            "error-name.txt",
            &["show", "-s", "region.img", "dmesg-efi-0"],
        ),
        (
            "error-sizes.txt",
            &[
                "list",
                "-s",
                "region.img",
                "--record-size",
                "4K",
                "--console-size",
                "64K",
            ],
        ),
        (
            "error-address.txt",
            &["list", "-s", "region.img", "--address", "0x3008"],
        ),
        (
            "error-number.txt",
            &["list", "-s", "region.img", "--address", "12Q"],
        ),
        ("error-follow.txt", &["follow", "-s", "region.img"]),
        (
            "error-format.txt",
            &[
                "list",
                "-s",
                "region.img",
                "--format",
                "kho",
                "--address",
                "0",
            ],
        ),
    ] {
        golden(dir, name, 2, args);
    }
    extract(dir, &["-s", "region.img"], "out");
    golden(
        dir,
        "error-exists.txt",
        2,
        &["extract", "-s", "region.img", "-o", "out"],
    );
}

/// What a terminal of 100 columns is sent on the standard error of a command.
fn on_a_terminal(dir: &Path, args: &[&str]) -> String {
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = nix::pty::openpty(Some(&size), None).unwrap();
    let mut child = command(dir, args)
        .env("TERM", "vt100")
        .stdout(Stdio::null())
        .stderr(Stdio::from(terminal.slave))
        .spawn()
        .unwrap();
    let mut sent = Vec::new();
    // EIO is what it ends with: nobody has the other side open any more.
    let _ = fs::File::from(terminal.master).read_to_end(&mut sent);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    String::from_utf8_lossy(&sent).into_owned()
}

/// A long search shows how far it is where somebody looks, and nothing of it stays.
#[test]
fn a_long_search_shows_how_far_it_is() {
    let dir = temp();
    let dir = dir.path();
    let size = 512 << 20;
    let file = fs::File::create(dir.join("memory.img")).unwrap();
    file.set_len(size).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, GOLDEN, size - (1 << 20)).unwrap();
    let args = ["list", "--format", "ram", "-s", "memory.img"];
    let sent = on_a_terminal(dir, &args);
    assert!(sent.contains("searching"), "{sent:?}");
    assert!(sent.contains(" of 512.00 MiB"), "{sent:?}");
    let shown: Vec<_> = sent.split('\r').filter(|s| s.contains("left")).collect();
    assert!(shown.len() > 1, "{sent:?}");
    // The line is empty in the end.
    let last = sent.rsplit("searching").next().unwrap();
    assert!(last.contains("\r\u{1b}[2K"), "{sent:?}");
    let quiet: Vec<_> = ["-q"].iter().chain(&args).copied().collect();
    assert_eq!(on_a_terminal(dir, &quiet), "");
    let said = run(dir, &args);
    assert!(!said.err.contains("searching"), "{}", said.err);
}

#[test]
fn pages_and_completions() {
    let dir = temp();
    let dir = dir.path();
    fs::create_dir(dir.join("man")).unwrap();
    assert_eq!(run(dir, &["man", "man"]).code, Some(0));
    let pages = files(&dir.join("man"));
    for page in [
        "mpstore.1",
        "mpstore-list.1",
        "mpstore-import.1",
        "mpstore-survey-begin.1",
    ] {
        assert!(pages.contains_key(page), "{page}: {:?}", pages.keys());
    }
    for shell in ["bash", "zsh", "fish"] {
        let said = run(dir, &["completions", shell]);
        assert!(said.code == Some(0) && said.out.len() > 1000);
    }
}

#[test]
fn damaged_dumps_are_no_crash() {
    let dir = temp();
    let dir = dir.path();
    let (region, _) = region(16);
    let mut memory = vec![0; 0x3_0000];
    memory[0x1_0000..].copy_from_slice(&region);
    let small = |how| {
        let mut dump = kdump(&memory, how, &note("LINUX", 0x700, &[0; 300]));
        dump.truncate(dump.len());
        dump
    };
    let forms = [
        elf32(&memory),
        flattened(&elf32(&memory)),
        small(1),
        small(2),
        small(4),
        small(0x20),
    ];
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut next = |bound: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as usize % bound
    };
    for round in 0..180 {
        let mut bytes = forms[round % forms.len()].clone();
        for _ in 0..1 + next(5) {
            let at = [
                next(200),
                400 + next(60),
                next(bytes.len() - 8),
                4096 + next(110),
            ][next(4)];
            match next(3) {
                0 => bytes[at] ^= 1 << next(8),
                1 => bytes[at..at + 4].fill(0xff),
                _ => bytes[at..at + 8].copy_from_slice(&(1u64 << next(64)).to_le_bytes()),
            }
        }
        if next(5) == 0 {
            bytes.truncate(next(bytes.len()));
        }
        fs::write(dir.join("bad"), &bytes).unwrap();
        let command = [&["list", "--zones"][..], &["show"], &["salvage"]][round % 3];
        let said = run(dir, &[command, &["-s", "bad", "-q"]].concat());
        assert!(
            matches!(said.code, Some(0..=2)),
            "round {round}: {:?} {}",
            said.code,
            said.err
        );
        assert!(
            !said.err.contains("panicked"),
            "round {round}: {}",
            said.err
        );
    }
}
