//! What Prometheus is told, by the names and meanings that text-embeddings-inference and Hugging Face's toolkit gave them.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labels = Vec<(String, String)>;

/// Counters and histograms of a server.
pub struct Metrics {
    registry: Mutex<Registry>,
    count: Family<Labels, Counter>,
    success: Family<Labels, Counter>,
    failure: Family<Labels, Counter>,
    duration: Histogram,
    tokenization: Histogram,
    queue: Histogram,
    inference: Histogram,
    input_length: Histogram,
    batch_work: Histogram,
    batch_tokens: Histogram,
    in_model: Gauge,
    queue_size: Gauge,
    queue_tokens: Gauge,
    queue_capacity: Gauge,
    connections: Gauge,
    inf_queue: Gauge,
    inf_batch: Gauge,
}

/// What one request took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    pub total: Duration,
    pub tokenization: Duration,
    pub queue: Duration,
    pub inference: Duration,
    pub tokens: usize,
}

fn seconds() -> Histogram {
    // 1 ms to 65 s.
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

fn amounts() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 20))
}

impl Metrics {
    pub fn new() -> Self {
        let own = Self {
            registry: Mutex::new(Registry::default()),
            count: Family::default(),
            success: Family::default(),
            failure: Family::default(),
            duration: seconds(),
            tokenization: seconds(),
            queue: seconds(),
            inference: seconds(),
            input_length: amounts(),
            batch_work: amounts(),
            batch_tokens: amounts(),
            in_model: Gauge::<i64, AtomicI64>::default(),
            queue_size: Gauge::default(),
            queue_tokens: Gauge::default(),
            queue_capacity: Gauge::default(),
            connections: Gauge::default(),
            inf_queue: Gauge::default(),
            inf_batch: Gauge::default(),
        };
        {
            let mut registry = own.registry.lock().unwrap_or_else(PoisonError::into_inner);
            registry.register("inf_queue_size", "Questions that wait for the model", own.inf_queue.clone());
            registry.register("inf_batch_current_size", "Questions in the model", own.inf_batch.clone());
            let ours = registry.sub_registry_with_prefix("spanqa");
            ours.register("request_count", "Requests by route", own.count.clone());
            ours.register("request_success", "Requests that were answered, by route", own.success.clone());
            ours.register("request_failure", "Requests that were not, by error", own.failure.clone());
            ours.register("request_duration", "Seconds from head to reply", own.duration.clone());
            ours.register(
                "request_tokenization_duration",
                "Seconds of tokenisation",
                own.tokenization.clone(),
            );
            ours.register("request_queue_duration", "Seconds of waiting for the model", own.queue.clone());
            ours.register("request_inference_duration", "Seconds in the model", own.inference.clone());
            ours.register("request_input_length", "Tokens of a request's windows", own.input_length.clone());
            ours.register("batch_next_size", "Questions that were taken together", own.batch_work.clone());
            ours.register(
                "batch_next_tokens",
                "Tokens that went through the model together",
                own.batch_tokens.clone(),
            );
            ours.register("batch_current_size", "Questions in the model", own.in_model.clone());
            ours.register("queue_size", "Questions that wait for the model", own.queue_size.clone());
            ours.register("queue_tokens", "Tokens that wait or are in the model", own.queue_tokens.clone());
            ours.register("queue_capacity_tokens", "Tokens that may", own.queue_capacity.clone());
            ours.register("connections", "Open connections", own.connections.clone());
        }
        own
    }

    /// Some questions went into the model.
    pub fn began(&self, work: usize) {
        self.batch_work.observe(work as f64);
        self.in_model.inc_by(work as i64);
        self.queue_size.dec_by(work as i64);
    }

    /// A batch came out of it.
    pub fn read(&self, tokens: usize) {
        self.batch_tokens.observe(tokens as f64);
    }

    /// A question was answered.
    pub fn answered(&self) {
        self.in_model.dec();
    }

    /// The model has nothing to do.
    pub fn idle(&self) {
        self.in_model.set(0);
    }

    /// A question waits.
    pub fn queued(&self) {
        self.queue_size.inc();
    }

    /// A connection came or went.
    pub fn connected(&self, by: i64) {
        self.connections.inc_by(by);
    }

    /// Something went wrong, whose error is called so.
    pub fn failed(&self, error: &str) {
        self.failure.get_or_create(&vec![("err".into(), error.into())]).inc();
    }

    /// A request of a route was answered.
    pub fn request(&self, route: &str, error: Option<&str>, timings: &Timings) {
        let method = vec![("method".into(), route.into())];
        self.count.get_or_create(&method).inc();
        match error {
            None => {
                self.success.get_or_create(&method).inc();
            }
            Some(error) => self.failed(error),
        }
        self.duration.observe(timings.total.as_secs_f64());
        if timings.tokens > 0 {
            self.tokenization.observe(timings.tokenization.as_secs_f64());
            self.queue.observe(timings.queue.as_secs_f64());
            self.inference.observe(timings.inference.as_secs_f64());
            self.input_length.observe(timings.tokens as f64);
        }
    }

    /// Everything as text, in the form that scrapers ask for.
    pub fn text(&self, held: usize, capacity: usize) -> Result<String, std::fmt::Error> {
        self.queue_tokens.set(held as i64);
        self.queue_capacity.set(capacity as i64);
        self.inf_queue.set(self.queue_size.get());
        self.inf_batch.set(self.in_model.get());
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}
