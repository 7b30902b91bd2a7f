//! The promises made to users, one file each; a test's name is the promise.

mod block_on;
mod blocking;
mod builder;
mod callbacks;
mod cancel;
mod current_thread;
mod entry;
mod examples;
mod fairness;
mod gather;
mod handle;
mod join;
mod local;
mod metrics;
mod nesting;
mod panic;
mod polls;
mod promise;
mod shutdown;
mod spawn;
mod tls;
