//! Interrupts: the first one asks for an orderly end, the second one leaves at once.

/// Calls `stop` with the exit code that belongs to the first SIGINT or SIGTERM. Elsewhere than on Unix the system's own way of
/// ending programs stays in place.
#[cfg(unix)]
pub fn watch(stop: impl Fn(u8) + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        let mut stopping = false;
        for signal in signals.forever() {
            let code = 128 + signal;
            if stopping {
                signal_hook::low_level::exit(code);
            }
            stopping = true;
            stop(code as u8);
        }
    });
    Ok(())
}

#[cfg(not(unix))]
pub fn watch(_stop: impl Fn(u8) + Send + 'static) -> std::io::Result<()> {
    Ok(())
}
