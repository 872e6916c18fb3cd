// SPDX-License-Identifier: GPL-2.0

//! Standard output: colours, JSON, and text from a medium that must not play with a terminal.

use anstream::{
    AutoStream,
    ColorChoice, //
};
use anstyle::{
    AnsiColor,
    Style, //
};
use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::io::{
    self,
    IsTerminal as _,
    Write, //
};

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

/// A colour of something.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const DOUBT: Style = AnsiColor::Yellow.on_default();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();

/// Standard output.
pub(crate) struct Out {
    stream: AutoStream<io::Stdout>,
    terminal: bool,
}

impl Out {
    pub(crate) fn new(color: Color) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let choice = match color {
            Color::Always => ColorChoice::AlwaysAnsi,
            Color::Never => ColorChoice::Never,
            Color::Auto => AutoStream::choice(&stdout),
        };
        Self {
            stream: AutoStream::new(stdout, choice),
            terminal,
        }
    }

    /// A line, with styles in it.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) -> Result<()> {
        writeln!(self.stream, "{text}")?;
        Ok(())
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.flush()?;
        io::stdout().write_all(bytes)?;
        Ok(())
    }

    /// Text from a medium. What moves a terminal's cursor or worse is shown instead of sent to one.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> Result<()> {
        if self.terminal {
            self.raw(&harmless(bytes))
        } else {
            self.raw(bytes)
        }
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.raw(&text)
    }

    pub(crate) fn json_pretty(&mut self, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(value)?;
        text.push(b'\n');
        self.raw(&text)
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.stream.flush()?;
        Ok(io::stdout().flush()?)
    }
}

/// `bytes` with control characters other than line feed and tab in a visible form.
pub(crate) fn harmless(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '\n' | '\t' => out.push(if c == '\n' { b'\n' } else { b'\t' }),
            '\r' => {}
            c if c.is_control() => out.extend(c.escape_default().to_string().bytes()),
            c => {
                let mut room = [0; 4];
                out.extend(c.encode_utf8(&mut room).bytes());
            }
        }
    }
    out
}

/// [`harmless`] for a single line.
pub(crate) fn harmless_line(bytes: &[u8]) -> String {
    let text = harmless(bytes);
    String::from_utf8_lossy(&text).replace('\n', "\\n")
}

/// Whether the reader of our output went away, which is his right.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_safe() {
        assert_eq!(
            harmless(b"a\x1b[2J\r\n\tb\xff"),
            "a\\u{1b}[2J\n\tb\u{fffd}".as_bytes()
        );
    }
}
