//! Interrupts: where work is worth keeping the first one asks for an orderly end, the second one leaves at once.

/// Calls `stop` with the exit code that belongs to the first interrupt.
///
/// On Unix that is SIGINT or SIGTERM, on Windows Ctrl-C or Ctrl-Break; elsewhere the system's own way of ending programs stays in place.
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

#[cfg(windows)]
pub fn watch(stop: impl Fn(u8) + Send + 'static) -> std::io::Result<()> {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use signal_hook::consts::SIGINT;
    use signal_hook::flag;

    const CODE: u8 = 130;
    /// Ctrl-Break, which is also how a program ends another one in an orderly way.
    const SIGBREAK: i32 = 21;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGBREAK] {
        // Handlers run in this order, so only the second interrupt finds the flag set and leaves.
        flag::register_conditional_shutdown(signal, CODE.into(), Arc::clone(&interrupted))?;
        flag::register(signal, Arc::clone(&interrupted))?;
    }
    // Windows has no signals that a thread could wait for.
    std::thread::spawn(move || {
        while !interrupted.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop(CODE);
    });
    Ok(())
}

/// A flag that every interrupt sets, instead of ending the program.
#[cfg(any(unix, windows))]
pub fn flag() -> std::io::Result<std::sync::Arc<std::sync::atomic::AtomicBool>> {
    let flag = std::sync::Arc::default();
    signal_hook::flag::register(signal_hook::consts::SIGINT, std::sync::Arc::clone(&flag))?;
    Ok(flag)
}

#[cfg(not(any(unix, windows)))]
pub fn flag() -> std::io::Result<std::sync::Arc<std::sync::atomic::AtomicBool>> {
    Ok(std::sync::Arc::default())
}

#[cfg(not(any(unix, windows)))]
pub fn watch(_stop: impl Fn(u8) + Send + 'static) -> std::io::Result<()> {
    Ok(())
}
