//! Who has to do something about an error: what exit codes and HTTP statuses are made of.

/// A class of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The caller: a question, a request, a reference, a data set or an option.
    Caller,
    /// The model: its files, its tokenizer, or what it computes.
    Model,
    /// The machine: operating system, files, memory, devices, threads.
    Machine,
    /// The network: the hub, or the lack of one.
    Network,
}
