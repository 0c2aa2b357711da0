//! Runs the cases of a target within its bounds and its budget.

use std::fs::File;
use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use spanqa::random::Random;

use super::allocator;
use super::target::Target;

/// The most that a case may take, on a machine that does other things as well.
pub const LONGEST: Duration = Duration::from_secs(10);
/// The most memory that a case may take beyond what was in use before.
pub const MOST_MEMORY: usize = 768 << 20;
/// Damage may double a text again and again. What is larger says nothing new, and takes its time on the disk.
const LARGEST_INPUT: usize = 16 << 20;
/// A case that takes so long will not end.
const ENDLESS: Duration = Duration::from_secs(90);

/// One target at a time, so that memory and panics are those of its case.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Runs what libFuzzer found, then cases: the seeds as they are, then what damage makes of them.
pub fn fuzz(target: &Target, cases: usize) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    count_panics();
    let Target { name, seeds, .. } = target;
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().expect(name));
    let seed = number("SPANQA_FUZZ_SEED").unwrap_or(1) as u64;
    let only = number("SPANQA_FUZZ_CASE");
    let end =
        number("SPANQA_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds as u64));
    let purpose = name.bytes().fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    // Stays open: a file system that is careful with files that are written anew would wait for the disk in each case.
    let mut running = File::create(&place).expect("target/tmp can be written");
    let mut slowest = Duration::ZERO;
    let mut largest = 0;
    let mut run = |case: String, input: &[u8]| {
        if input.len() > LARGEST_INPUT {
            return;
        }
        running.set_len(0).and_then(|()| running.rewind()).expect("target/tmp can be written");
        running.write_all(input).expect("target/tmp can be written");
        let measured = measured(&case, &place, || (target.run)(input));
        let (took, bytes) =
            measured.unwrap_or_else(|problem| panic!("{case}: {problem}; its input is {}", place.display()));
        slowest = slowest.max(took);
        largest = largest.max(bytes);
    };
    let found = if only.is_none() { target.found() } else { Vec::new() };
    for (line, input) in found.iter().enumerate() {
        run(format!("tests/fuzz/found/{name}, line {}", line + 1), input);
    }
    let mut case = only.unwrap_or(0);
    loop {
        let more = match (only, end) {
            (Some(only), _) => case == only,
            (None, Some(end)) => case < seeds.len() || Instant::now() < end,
            (None, None) => case < cases,
        };
        if !more {
            break;
        }
        let mut random = Random::derive(seed ^ purpose, case as u64);
        let input =
            if case < seeds.len() { seeds[case].clone() } else { (target.change)(&mut random, seeds) };
        run(format!("{name}, seed {seed}, case {case}"), &input);
        case += 1;
    }
    let found = found.len();
    println!(
        "{name}: {case} cases and {found} inputs of libFuzzer, slowest {slowest:?}, most memory {} KiB",
        largest >> 10
    );
}

/// How long a case took and how many bytes, or what was wrong with it.
fn measured(case: &str, place: &Path, run: impl FnOnce()) -> Result<(Duration, usize), String> {
    let over = Arc::new(AtomicBool::new(false));
    let _watch = Watch::over(case, place.to_owned(), over.clone());
    let (before, panics) = (allocator::used(), PANICS.load(Ordering::SeqCst));
    allocator::forget_peak();
    let begun = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(run));
    let took = begun.elapsed();
    over.store(true, Ordering::SeqCst);
    let bytes = allocator::peak().saturating_sub(before);
    if result.is_err() || PANICS.load(Ordering::SeqCst) != panics {
        return Err("it panicked".into());
    }
    if took > LONGEST {
        return Err(format!("it took {took:?}"));
    }
    if bytes > MOST_MEMORY {
        return Err(format!("it took {bytes} bytes"));
    }
    Ok((took, bytes))
}

/// Ends the process if a case does not.
struct Watch(Option<std::thread::JoinHandle<()>>, Arc<AtomicBool>);

impl Watch {
    fn over(case: &str, place: PathBuf, over: Arc<AtomicBool>) -> Self {
        let (case, done) = (case.to_owned(), over.clone());
        let watch = move || {
            let begun = Instant::now();
            while !done.load(Ordering::SeqCst) {
                if begun.elapsed() > ENDLESS {
                    eprintln!("{case}: it does not end; its input is {}", place.display());
                    std::process::abort();
                }
                std::thread::park_timeout(Duration::from_secs(1));
            }
        };
        Self(Some(std::thread::spawn(watch)), over)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
        if let Some(watch) = self.0.take() {
            watch.thread().unpark();
            let _ = watch.join();
        }
    }
}

/// Counts panics, on whatever thread and whether caught or not, but for those that become errors of a tokenizer.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !spanqa::text::panics_become_errors() {
                PANICS.fetch_add(1, Ordering::SeqCst);
                tell(panic);
            }
        }));
    });
}

#[test]
fn panics_hangs_and_memory_are_noticed() {
    let problem = |run: fn()| measured("none", Path::new("none"), run).unwrap_err();
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    count_panics();
    assert_eq!(problem(|| drop(std::thread::spawn(|| panic!("on purpose")).join())), "it panicked");
    let large = problem(|| drop(std::hint::black_box(vec![0u8; MOST_MEMORY + 1])));
    assert!(large.contains("bytes"), "{large}");
}
