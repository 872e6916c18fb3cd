// SPDX-License-Identifier: GPL-2.0

//! How far a long search has come, for somebody at a terminal.

use indicatif::{
    ProgressBar,
    ProgressDrawTarget,
    ProgressStyle, //
};
use std::io::IsTerminal as _;

/// Whether there is somebody to tell.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    shown: bool,
}

impl Progress {
    /// On a terminal, unless `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            shown: !quiet && std::io::stderr().is_terminal(),
        }
    }

    #[cfg(test)]
    pub(crate) fn off() -> Self {
        Self { shown: false }
    }

    /// A bar for `bytes` to go through.
    pub(crate) fn bar(self, what: &'static str, bytes: u64) -> ProgressBar {
        // What is over in a moment needs none.
        if !self.shown || bytes < 64 << 20 {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template(
            "{msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar
    }
}
