//! When to use colours, and which.

use std::io::{self, IsTerminal};

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Styles};

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorArg {
    Auto,
    Always,
    Never,
}

impl ColorArg {
    /// Whether to colour what people read on standard output: NO_COLOR, CLICOLOR_FORCE, CLICOLOR and TERM count, in this order.
    pub fn for_people(self) -> bool {
        match self {
            ColorArg::Always => true,
            ColorArg::Never => false,
            ColorArg::Auto => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
        }
    }

    /// The same for what programs read: nothing but a terminal, or a flag, may put escape codes into it.
    pub fn for_programs(self) -> bool {
        self == ColorArg::Always || (io::stdout().is_terminal() && self.for_people())
    }
}

/// How help and mistakes in flags look: by the rule of [`Palette`], which clap's own green and yellow break.
pub const HELP: Styles =
    Styles::styled().valid(AnsiColor::Magenta.on_default()).invalid(AnsiColor::Red.on_default().bold());

/// Escape codes, or nothing. Red and magenta can be read on black and on white; green, cyan and yellow cannot, nor can blue. Dim text
/// nearly vanishes on some terminals: it is for what can be missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Palette {
    pub answer: &'static str,
    pub name: &'static str,
    pub strong: &'static str,
    pub dim: &'static str,
    pub reset: &'static str,
}

impl Palette {
    pub fn new(color: ColorArg) -> Self {
        if color.for_people() { Self::COLORS } else { Self::default() }
    }

    pub const COLORS: Self =
        Self { answer: "\x1b[1;31m", name: "\x1b[35m", strong: "\x1b[1m", dim: "\x1b[2m", reset: "\x1b[0m" };

    pub fn is_plain(&self) -> bool {
        self.reset.is_empty()
    }
}
