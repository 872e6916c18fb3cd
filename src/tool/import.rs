// SPDX-License-Identifier: GPL-2.0

//! `import`: new records to the systemd journal or to a file of JSON lines, each once.
//!
//! What was imported is in a state file, by a number made of the record's content. The order is:
//! write down what is about to be sent; send; write down that it was. After an interruption the
//! record in question is looked for where it should be: in the journal by its field, in the file by
//! its line. So nothing is lost, and nothing is there twice, as long as the journal can be asked.

use crate::{
    cli::Context,
    list::{
        load_all,
        Filter, //
    },
    out::Out,
    record::{
        rfc3339,
        Record, //
    },
    tree,
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use clap::{
    Args,
    ValueEnum, //
};
use nix::{
    fcntl::{
        Flock,
        FlockArg, //
    },
    sys::{
        memfd::{
            memfd_create,
            MFdFlags, //
        },
        socket::{
            sendmsg,
            socket,
            AddressFamily,
            ControlMessage,
            MsgFlags,
            SockFlag,
            SockType,
            UnixAddr, //
        },
    },
};
use serde::{
    Deserialize,
    Serialize, //
};
use std::{
    collections::BTreeMap,
    fs::{
        self,
        File, //
    },
    io::{
        self,
        BufRead as _,
        Read as _,
        Seek as _,
        Write as _, //
    },
    os::{
        fd::AsRawFd as _,
        unix::fs::OpenOptionsExt as _, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::{
        Command,
        ExitCode, //
    },
};

/// Told from others by this in the journal.
const MESSAGE_ID: &str = "6d7073746f7265c0b1a5dd0fcca5e1a0";
/// Entries of the state file that are kept after their record is gone, newest first.
const REMEMBERED: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum To {
    /// The systemd journal
    Journal,
    /// JSON, a line for each record, on standard output or in the file of --output
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    filter: Filter,
    /// Where to
    #[arg(long, value_enum, default_value = "journal")]
    to: To,
    /// The file that JSON lines are appended to
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What was imported is kept here
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/lib/mpstore/imported.json"
    )]
    state: PathBuf,
    /// Erase records of a mounted tree once they are imported
    #[arg(long)]
    erase: bool,
    /// The journal's socket
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/systemd/journal/socket"
    )]
    socket: PathBuf,
    /// Program that is asked whether a record is in the journal after an interruption
    #[arg(long, value_name = "PATH", default_value = "journalctl", hide = true)]
    journalctl: PathBuf,
    /// Ends after so many records without writing down that the last one was sent, for tests
    #[arg(long, value_name = "NUMBER", hide = true)]
    interrupt: Option<usize>,
}

/// What is kept from one run to the next.
#[derive(Default, Serialize, Deserialize)]
struct State {
    version: u32,
    /// Numbers of what was imported, with a number that ascends with each.
    imported: BTreeMap<String, u64>,
    /// What was about to be sent.
    pending: Option<String>,
}

impl State {
    fn read(path: &Path) -> Result<Self> {
        match fs::read(path) {
            Ok(bytes) => {
                let state: Self = serde_json::from_slice(&bytes).with_context(|| {
                    format!(
                        "{}: not a state file; move it away, and all records that are still there \
                         will be imported again",
                        path.display()
                    )
                })?;
                if state.version != 1 {
                    bail!(
                        "{}: of version {}, only 1 is known",
                        path.display(),
                        state.version
                    );
                }
                Ok(state)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self {
                version: 1,
                ..Self::default()
            }),
            Err(error) => Err(error).with_context(|| format!("{}: can't read it", path.display())),
        }
    }

    /// Replaces the file as a whole, so that a crash leaves the old or the new one.
    fn write(&self, path: &Path) -> Result<()> {
        let new = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                File::open(folder)?.sync_all()?;
            }
            Ok(())
        };
        write().with_context(|| format!("{}: can't write what was imported", path.display()))
    }

    fn done(&mut self, identity: &str) {
        let next = self.imported.values().max().map_or(0, |n| n + 1);
        self.imported.insert(identity.to_owned(), next);
        self.pending = None;
    }

    /// Forgets the oldest of those that are not there any more.
    fn prune(&mut self, present: &dyn Fn(&str) -> bool) {
        if self.imported.len() <= REMEMBERED {
            return;
        }
        let mut order: Vec<u64> = self.imported.values().copied().collect();
        order.sort_unstable();
        let cut = order.get(order.len() - REMEMBERED).copied().unwrap_or(0);
        self.imported
            .retain(|identity, number| *number >= cut || present(identity));
    }
}

/// Where records go.
trait Sink {
    fn send(&mut self, record: &Record, identity: &str) -> Result<()>;
    /// Whether a record that was about to be sent has arrived. [`None`]: nobody can tell.
    fn has(&mut self, identity: &str) -> Result<Option<bool>>;
    /// Waits until all that was sent is kept.
    fn settle(&mut self) -> Result<()>;
}

/// Fields of a journal entry.
fn fields(record: &Record, identity: &str) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, value: &[u8]| fields.push((name.to_owned(), value.to_vec()));
    let head = record.head();
    let what = head.map_or_else(
        || record.kind.as_str().to_owned(),
        |h| format!("{} #{} part {}", h.reason.as_str(), h.count, h.part),
    );
    let time = record
        .time
        .map_or(String::new(), |t| format!(", {}", rfc3339(t)));
    let title = format!("mpstore: {} ({what}{time})\n", record.name());
    add("MESSAGE", &[title.as_bytes(), &record.text].concat());
    add("MESSAGE_ID", MESSAGE_ID.as_bytes());
    let priority = match head.map(|h| h.reason.as_str()) {
        Some("Panic" | "Oops" | "Emergency") => "2",
        _ => "5",
    };
    add("PRIORITY", priority.as_bytes());
    add("SYSLOG_IDENTIFIER", b"mpstore");
    add("MPSTORE_RECORD", identity.as_bytes());
    add("MPSTORE_NAME", record.name().as_bytes());
    add("MPSTORE_BACKEND", record.backend.as_bytes());
    add("MPSTORE_KIND", record.kind.as_str().as_bytes());
    add("MPSTORE_ID", record.id.to_string().as_bytes());
    add("MPSTORE_SIZE", record.text.len().to_string().as_bytes());
    add("MPSTORE_ORIGIN", record.origin.as_bytes());
    if let Some(generation) = record.generation() {
        add("MPSTORE_GENERATION", generation.to_string().as_bytes());
    }
    if let Some(time) = record.time {
        add("MPSTORE_TIME", rfc3339(time).as_bytes());
        let us = u128::from(time.sec) * 1_000_000 + u128::from(time.usec);
        add("MPSTORE_TIME_USEC", us.to_string().as_bytes());
    }
    if let Some(head) = head {
        add("MPSTORE_REASON", head.reason.as_str().as_bytes());
        add("MPSTORE_COUNT", head.count.to_string().as_bytes());
        add("MPSTORE_PART", head.part.to_string().as_bytes());
    }
    if let Some(parity) = record.parity {
        add("MPSTORE_CORRECTED", parity.corrected.to_string().as_bytes());
        add("MPSTORE_LOST_BLOCKS", parity.lost.to_string().as_bytes());
    }
    if record.encoded {
        add("MPSTORE_ENCODED", b"1");
    }
    fields
}

/// An entry in the journal's native form: `NAME=value`, or where the value has line feeds or is no
/// text, the name, the length in 64 bit little endian, and the value.
fn encode(fields: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.extend(name.bytes());
        let plain = !value.contains(&b'\n') && std::str::from_utf8(value).is_ok();
        if plain {
            out.push(b'=');
        } else {
            out.push(b'\n');
            out.extend((value.len() as u64).to_le_bytes());
        }
        out.extend(value);
        out.push(b'\n');
    }
    out
}

struct Journal<'a> {
    socket: std::os::fd::OwnedFd,
    address: UnixAddr,
    path: &'a Path,
    journalctl: &'a Path,
}

impl<'a> Journal<'a> {
    fn new(path: &'a Path, journalctl: &'a Path) -> Result<Self> {
        if !path.exists() {
            bail!(
                "{}: there is no journal here. With --to json records are written as JSON lines",
                path.display()
            );
        }
        let socket = socket(
            AddressFamily::Unix,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        let address = UnixAddr::new(path)?;
        Ok(Self {
            socket,
            address,
            path,
            journalctl,
        })
    }

    fn ask(&self, arguments: &[&str]) -> Option<std::process::Output> {
        Command::new(self.journalctl).args(arguments).output().ok()
    }
}

impl Sink for Journal<'_> {
    fn send(&mut self, record: &Record, identity: &str) -> Result<()> {
        let entry = encode(&fields(record, identity));
        let fd = self.socket.as_raw_fd();
        let sent = sendmsg(
            fd,
            &[io::IoSlice::new(&entry)],
            &[],
            MsgFlags::MSG_NOSIGNAL,
            Some(&self.address),
        );
        match sent {
            Ok(_) => return Ok(()),
            // Too large for a datagram: a sealed file instead.
            Err(nix::Error::EMSGSIZE | nix::Error::ENOBUFS) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("{}: can't send", self.path.display()))
            }
        }
        let memory = memfd_create(
            c"mpstore-record",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )
        .context("no memory for a large record")?;
        let mut file = File::from(memory);
        file.write_all(&entry)?;
        let seals = nix::fcntl::SealFlag::all();
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_ADD_SEALS(seals))
            .context("can't seal a large record, which the journal wants")?;
        sendmsg(
            fd,
            &[],
            &[ControlMessage::ScmRights(&[file.as_raw_fd()])],
            MsgFlags::MSG_NOSIGNAL,
            Some(&self.address),
        )
        .with_context(|| format!("{}: can't send a large record", self.path.display()))?;
        Ok(())
    }

    fn has(&mut self, identity: &str) -> Result<Option<bool>> {
        self.settle()?;
        let field = format!("MPSTORE_RECORD={identity}");
        let Some(said) = self.ask(&["--quiet", "--no-pager", "--output=cat", "--lines=1", &field])
        else {
            return Ok(None);
        };
        Ok(said
            .status
            .success()
            .then_some(said.stdout.iter().any(|b| !b.is_ascii_whitespace())))
    }

    fn settle(&mut self) -> Result<()> {
        // Without the program, the journal does so in its own time.
        let _ = self.ask(&["--sync"]);
        Ok(())
    }
}

/// JSON lines in a file.
struct Lines {
    file: File,
    path: PathBuf,
}

impl Lines {
    fn new(path: &Path) -> Result<Self> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("{}: can't open it", path.display()))?;
        // The end of a line that an interruption has cut.
        let end = file.seek(io::SeekFrom::End(0))?;
        let mut at = end;
        let mut buf = [0; 4096];
        while at > 0 {
            let from = at.saturating_sub(buf.len() as u64);
            let len = usize::try_from(at - from)?;
            file.seek(io::SeekFrom::Start(from))?;
            let part = buf.get_mut(..len).unwrap_or(&mut []);
            file.read_exact(part)?;
            if let Some(found) = memchr::memrchr(b'\n', part) {
                at = from + found as u64 + 1;
                break;
            }
            at = from;
        }
        if at < end {
            file.set_len(at)?;
        }
        file.seek(io::SeekFrom::Start(at))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }
}

#[derive(Serialize)]
struct LineJson<'a> {
    record_id: &'a str,
    #[serde(flatten)]
    record: crate::record::RecordJson<'a>,
}

fn line(record: &Record, identity: &str) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&LineJson {
        record_id: identity,
        record: record.to_json(true),
    })?;
    line.push(b'\n');
    Ok(line)
}

impl Sink for Lines {
    fn send(&mut self, record: &Record, identity: &str) -> Result<()> {
        let line = line(record, identity)?;
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("{}: can't write", self.path.display()))
    }

    fn has(&mut self, identity: &str) -> Result<Option<bool>> {
        let start = format!("{{\"record_id\":\"{identity}\"");
        let reader = io::BufReader::new(File::open(&self.path)?);
        for line in reader.split(b'\n') {
            if line?.starts_with(start.as_bytes()) {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    fn settle(&mut self) -> Result<()> {
        self.file.sync_all()?;
        Ok(())
    }
}

/// JSON lines on standard output: nobody can ask what has arrived.
struct Stdout;

impl Sink for Stdout {
    fn send(&mut self, record: &Record, identity: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(&line(record, identity)?)?;
        out.flush()?;
        Ok(())
    }

    fn has(&mut self, _: &str) -> Result<Option<bool>> {
        Ok(None)
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}

/// `mpstore import`.
pub(crate) fn import(context: &Context<'_>, args: &ImportArgs, out: &mut Out) -> Result<ExitCode> {
    let mut sink: Box<dyn Sink + '_> = match (args.to, &args.output) {
        (To::Journal, Some(_)) => bail!("--output is for --to json"),
        (To::Journal, None) => Box::new(Journal::new(&args.socket, &args.journalctl)?),
        (To::Json, Some(path)) => Box::new(Lines::new(path)?),
        (To::Json, None) => Box::new(Stdout),
    };
    let folder = args
        .state
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| {
        format!(
            "{}: can't make it; --state names another place for what was imported",
            folder.display()
        )
    })?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(args.state.with_extension("lock"))
        .with_context(|| format!("{}: can't lock it", args.state.display()))?;
    // Two imports at once would each find the same records to be new.
    let _lock = match Flock::lock(lock, FlockArg::LockExclusive) {
        Ok(lock) => Some(lock),
        // A kernel without CONFIG_FILE_LOCKING, as small ones are, or a file system without locks.
        Err((_, nix::Error::ENOSYS | nix::Error::EOPNOTSUPP | nix::Error::ENOLCK)) => {
            context.remark("files can't be locked here: do not run two imports at once");
            None
        }
        Err((_, error)) => return Err(error).context("can't lock the state file"),
    };
    let mut state = State::read(&args.state)?;
    let loaded = load_all(context)?;
    // What a boot left is told from what another left with the same words.
    let salt = context.host.boot_id().unwrap_or_default();
    let records: Vec<(&Record, String)> = loaded
        .records
        .iter()
        .filter(|r| args.filter.takes(r))
        .map(|r| (r, r.identity(&salt)))
        .collect();
    if let Some(pending) = state.pending.clone() {
        match sink.has(&pending)? {
            Some(true) => state.done(&pending),
            Some(false) => state.pending = None,
            None => {
                context.remark(
                    "the last import was interrupted, and nobody can tell whether its last record \
                     arrived: it is sent again",
                );
                state.pending = None;
            }
        }
        state.write(&args.state)?;
    }
    let (mut sent, mut known) = (0, 0);
    for (record, identity) in &records {
        if state.imported.contains_key(identity) {
            known += 1;
            continue;
        }
        state.pending = Some(identity.clone());
        state.write(&args.state)?;
        sink.send(record, identity)?;
        sent += 1;
        if args.interrupt.is_some_and(|n| sent >= n) {
            bail!("interrupted as asked");
        }
        state.done(identity);
        state.write(&args.state)?;
    }
    // It takes its time, at every boot.
    if sent > 0 {
        sink.settle()?;
    }
    state.prune(&|identity| records.iter().any(|(_, other)| other == identity));
    state.write(&args.state)?;
    let mut failed = None;
    if args.erase {
        for (record, _) in records.iter().filter(|(r, _)| r.path.is_some()) {
            if let Err(error) = tree::erase(record) {
                context.remark(&format!("{error:#}"));
                failed = Some(error);
            }
        }
    }
    if args.to == To::Journal || args.output.is_some() {
        if context.cli.json {
            out.json(&serde_json::json!({ "imported": sent, "known": known }))?;
        } else if !context.cli.quiet {
            out.line(format!("{sent} records imported, {known} were already"))?;
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    #[test]
    fn entries_have_the_native_form() {
        let bytes = encode(&[
            ("A".into(), b"x=y".to_vec()),
            ("B".into(), b"1\n2".to_vec()),
            ("C".into(), vec![0xff]),
        ]);
        assert_eq!(
            bytes,
            b"A=x=y\nB\n\x03\0\0\0\0\0\0\x001\n2\nC\n\x01\0\0\0\0\0\0\0\xff\n"
        );
    }

    #[test]
    fn old_entries_are_forgotten_unless_needed() {
        let mut state = State {
            version: 1,
            ..State::default()
        };
        for n in 0..REMEMBERED + 10 {
            state.imported.insert(format!("{n}"), n as u64);
        }
        state.prune(&|id| id == "3");
        assert_eq!(state.imported.len(), REMEMBERED + 1);
        assert!(state.imported.contains_key("3") && !state.imported.contains_key("4"));
        // The next number is still above all.
        state.done("x");
        assert_eq!(state.imported["x"], REMEMBERED as u64 + 10);
    }

    #[test]
    fn kinds_are_told() {
        let record = Record {
            backend: "ramoops".into(),
            kind: Kind::Pmsg,
            id: 0,
            time: None,
            text: b"x".to_vec(),
            notice: 0,
            parity: None,
            encoded: false,
            origin: "o".into(),
            path: None,
            remark: None,
        };
        let all = fields(&record, "id");
        assert!(all.iter().any(|(n, v)| n == "MPSTORE_KIND" && v == b"pmsg"));
        // The journal takes no other names.
        assert!(all
            .iter()
            .all(|(n, _)| n.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')));
    }
}
