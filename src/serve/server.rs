//! A server from its first connection to its last.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, watch};

use super::admission::Admission;
use super::body::KIBIBYTE;
use super::config::Config;
use super::engine::{Engine, Opened};
use super::error::{Error, Result};
use super::metrics::Metrics;
use super::ranker::Lazy;
use super::stream::STREAMS;
use super::{listen, routes};

/// Whether a time can be written as the date of a reply.
fn is_a_date(time: SystemTime) -> bool {
    const END_OF_9999: u64 = 253_402_300_800;
    time.duration_since(UNIX_EPOCH).is_ok_and(|since| since.as_secs() < END_OF_9999)
}

/// A server that has an address, so that it can be found before its model is loaded.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all requests share.
pub struct Shared {
    pub config: Config,
    pub admission: Arc<Admission>,
    pub metrics: Arc<Metrics>,
    pub phase: watch::Sender<Phase>,
    /// Threads that may tokenise at a time.
    pub preparing: Arc<Semaphore>,
    /// Streams that may begin.
    pub streams: Arc<Semaphore>,
    /// Kibibytes of bodies that have room in memory.
    pub bodies: Arc<Semaphore>,
    pub embedder: Lazy,
    pub reranker: Lazy,
    /// Whether it can only be reached from this machine.
    pub local: bool,
    loaded: AtomicBool,
    engines: RwLock<Vec<Arc<Engine>>>,
}

/// How far the life of a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It listens, and its models are on their way.
    Loading,
    /// It answers.
    Ready,
    /// It answers, and says that it will soon not do so any more.
    Leaving,
    /// It answers what it has begun.
    Draining,
}

impl Phase {
    /// Whether new requests may be sent here.
    pub fn is_ready(self) -> bool {
        self == Phase::Ready
    }
}

/// Steers a server from another thread.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

impl Server {
    /// Takes the address. Requests wait from here on; [`Server::run`] answers them.
    pub fn bind(config: Config) -> Result<Self> {
        let address = format!("{}:{}", config.host, config.port);
        let failed = |source| Error::Listen { address: address.clone(), source };
        let bare = config.host.trim_matches(['[', ']']);
        let addresses: Vec<SocketAddr> = (bare, config.port).to_socket_addrs().map_err(failed)?.collect();
        let local = addresses.iter().all(|address| address.ip().is_loopback());
        if !(local || config.insecure || config.key.is_some()) {
            return Err(Error::Unprotected { address });
        }
        let routes = config.predict_routes.iter().chain(&config.health_routes);
        if let Some(path) = routes.into_iter().find(|path| !path.starts_with('/')) {
            return Err(Error::BadRoute { path: path.clone() });
        }
        if !is_a_date(SystemTime::now()) {
            return Err(Error::Clock);
        }
        let listener = TcpListener::bind(&addresses[..]).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            admission: Admission::new(config.bounds.queue_tokens),
            metrics: Arc::new(Metrics::new()),
            phase: watch::Sender::new(Phase::Loading),
            preparing: Arc::new(Semaphore::new(cores)),
            streams: Arc::new(Semaphore::new(STREAMS)),
            bodies: Arc::new(Semaphore::new(config.bounds.bodies.max(config.bounds.body).div_ceil(KIBIBYTE))),
            embedder: Lazy::new(config.embedder.clone()),
            reranker: Lazy::new(config.reranker.clone()),
            local,
            loaded: AtomicBool::new(false),
            engines: RwLock::default(),
            config,
        };
        Ok(Self { listener, address, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A way to steer it while it runs.
    pub fn control(&self) -> Control {
        Control(self.shared.clone())
    }

    /// Answers requests until [`Control::leave`] or [`Control::drain`] ends it. Whether everything that was begun was answered in time.
    pub fn run(self) -> Result<bool> {
        // One thread is enough for sockets. It is not one of those that compute.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        let shared = self.shared.clone();
        let done = runtime.block_on(async move {
            self.listener.set_nonblocking(true).map_err(Error::Start)?;
            let listener = tokio::net::TcpListener::from_std(self.listener).map_err(Error::Start)?;
            let router = routes::router(&self.shared);
            Ok(listen::serve(listener, &self.shared, router).await)
        });
        for engine in shared.engines() {
            engine.stop();
        }
        // Whatever is still computed is for nobody.
        runtime.shutdown_timeout(Duration::from_millis(100));
        done
    }
}

impl Control {
    /// Adds a loaded model. The first one answers requests that name none.
    pub fn add(&self, name: &str, opened: Opened) -> Result<()> {
        let shared = &self.0;
        let engine = Engine::new(name.into(), opened, shared.admission.clone(), shared.metrics.clone());
        let engine = Arc::new(engine);
        let mut engines = shared.engines.write().unwrap_or_else(PoisonError::into_inner);
        if engines.iter().any(|known| known.name == name) {
            return Err(Error::SameName { name: name.into() });
        }
        engines.push(engine.clone());
        drop(engines);
        let run = move || engine.run();
        thread::Builder::new().name(format!("model {name}")).spawn(run).map_err(Error::Start)?;
        Ok(())
    }

    /// Says that all models are there.
    pub fn ready(&self) {
        self.0.loaded.store(true, Ordering::SeqCst);
        self.advance(Phase::Ready);
    }

    /// Ends the server in two steps: for a while it answers and says that it is leaving, then it ends as with [`Control::drain`].
    pub fn leave(&self) {
        self.advance(Phase::Leaving);
    }

    /// Takes no more connections, answers what has begun, and ends.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// There is no way back.
    fn advance(&self, to: Phase) {
        self.0.phase.send_if_modified(|phase| {
            let further = *phase < to;
            if further {
                *phase = to;
            }
            further
        });
    }
}

impl Shared {
    /// The models that are loaded, the first one first.
    pub fn engines(&self) -> Vec<Arc<Engine>> {
        self.engines.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether all models are there, or were.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::SeqCst)
    }

    pub fn now(&self) -> Phase {
        *self.phase.borrow()
    }
}
