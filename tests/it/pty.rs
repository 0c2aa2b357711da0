//! Programs at a terminal: a pseudo-terminal whose other end is the test.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program, and the terminal that it believes to be at.
pub struct Pty {
    child: Child,
    terminal: File,
    seen: String,
}

/// What a hanging program is given before the test fails, in milliseconds.
const PATIENCE: u16 = 60_000;

impl Pty {
    /// Starts a program at a terminal of some width.
    pub fn spawn(mut command: Command, columns: u16) -> Self {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).unwrap();
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm");
        }
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        Self { child, terminal: pair.master.into(), seen: String::new() }
    }

    /// Types something.
    pub fn send(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the program has printed something. Returns what it printed up to there, and forgets it.
    pub fn expect(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(self.read(PATIENCE), "{text:?} did not come: {:?}", self.seen);
        }
    }

    /// Interrupts the program until it has printed something: the first interrupt may come too early.
    pub fn interrupt_until(&mut self, text: &str) {
        let mut tries = 0;
        while !self.seen.contains(text) {
            tries += 1;
            assert!(tries < 1000, "{text:?} did not come: {:?}", self.seen);
            kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
            self.read(50);
        }
        self.expect(text);
    }

    /// Waits for the end. Returns the exit code, and what was printed since.
    pub fn end(mut self) -> (Option<i32>, String) {
        while self.read(PATIENCE) {}
        (self.child.wait().unwrap().code(), self.seen)
    }

    /// Reads what is there, or comes within some milliseconds. False if that is nothing.
    fn read(&mut self, patience: u16) -> bool {
        let mut ready = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(patience)).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        // The other end is gone: Linux calls that an error.
        let count = self.terminal.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }
}

/// The text without escape codes and carriage returns.
pub fn plain(text: &str) -> String {
    let mut rest = text.split('\x1b');
    let mut out = rest.next().unwrap_or_default().to_owned();
    for piece in rest {
        out.push_str(
            piece.trim_start_matches(|char: char| !char.is_alphabetic()).get(1..).unwrap_or_default(),
        );
    }
    out.replace('\r', "")
}
