//! What tasks need to talk to each other: channels, locks, and places to meet.
//!
//! | what | for |
//! |---|---|
//! | [`oneshot`] | one value, from one to one |
//! | [`mpsc`] | many values from many senders to one receiver, with or without a bound |
//! | [`watch`] | the latest value, for any number of readers |
//! | [`broadcast`] | every value for every reader |
//! | `mpmc` | many values, each for one of many receivers; feature `mpmc` |
//! | [`Mutex`], [`RwLock`] | a value behind a lock that is held across an await |
//! | [`Semaphore`] | permits by the number; [`CapacityLimiter`](crate::CapacityLimiter) can be resized and asked |
//! | [`Notify`] | an event without a value |
//! | [`Condvar`] | waiting for a change of what a [`Mutex`] guards |
//! | [`Barrier`] | so many tasks that wait for each other |
//! | [`OnceCell`] | a value that the first user makes |
//! | [`SetOnce`] | a value that somebody sets once, and others wait for |
//!
//! For a value with many readers, or with an error in its place, there is [`Promise`](crate::Promise). A lock that is not
//! held across an await is better one of the standard library or of parking_lot.
//!
//! All but [`Condvar`] and `mpmc`, which is async-channel, are tokio's own types, from its feature `sync`, which needs nothing
//! of tokio's runtime: a library that takes or gives a `tokio::sync::mpsc::Sender` takes and gives these. They work in any
//! task, in [`block_on`](crate::block_on()), and between runtimes.
//!
//! ```
//! use runtime::sync::mpsc;
//!
//! runtime::block_on(async {
//!     let (sender, mut receiver) = mpsc::channel(8);
//!     for n in 0..3 {
//!         let sender = sender.clone();
//!         runtime::spawn(async move { sender.send(n).await.unwrap() });
//!     }
//!     drop(sender);
//!     let mut sum = 0;
//!     while let Some(n) = receiver.recv().await {
//!         sum += n;
//!     }
//!     assert_eq!(sum, 3);
//! });
//! ```
//!
//! # They do not charge the budget
//! Tokio's types charge the budget of tokio's scheduler, which is not here, and so none: a task that only receives from
//! a channel that never runs empty, or takes a lock that is always free, does not give way by itself. In such a loop
//! wrap the operation in [`coop::cooperative`](crate::task::coop::cooperative), or put a
//! [`consume_budget`](crate::task::coop::consume_budget) into it:
//!
//! ```
//! use runtime::sync::mpsc;
//! use runtime::task::coop::cooperative;
//!
//! # runtime::block_on(async {
//! # let (sender, mut receiver) = mpsc::unbounded_channel();
//! # (0..500).for_each(|n| sender.send(n).unwrap());
//! # drop(sender);
//! while let Some(item) = cooperative(receiver.recv()).await {
//!     // lets others run after 128 items at the latest
//! #   let _: i32 = item;
//! }
//! # });
//! ```
//!
//! # Blocking
//! `blocking_recv`, `blocking_send` and `blocking_lock` block their thread. Tokio's own check, that no worker does so,
//! knows tokio's workers only: call them on threads of your own and in [`spawn_blocking`](crate::spawn_blocking).

mod condvar;

pub use condvar::Condvar;
#[doc(no_inline)]
pub use tokio::sync::{
    Barrier, BarrierWaitResult, MappedMutexGuard, Mutex, MutexGuard, Notify, OnceCell, OwnedMappedMutexGuard,
    OwnedMutexGuard, OwnedRwLockMappedWriteGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard,
    OwnedSemaphorePermit, RwLock, RwLockMappedWriteGuard, RwLockReadGuard, RwLockWriteGuard, Semaphore,
    SemaphorePermit, SetOnce, broadcast, futures, mpsc, oneshot, watch,
};

pub use tokio::sync::{AcquireError, SetError, SetOnceError, TryAcquireError, TryLockError};

/// Channels from many senders to many receivers, each value for one of them: the crate `async-channel`.
///
/// ```
/// use runtime::sync::mpmc;
///
/// runtime::block_on(async {
///     let (sender, receiver) = mpmc::bounded(4);
///     let workers: Vec<_> = (0..3)
///         .map(|_| {
///             let receiver = receiver.clone();
///             runtime::spawn(async move {
///                 let mut sum = 0;
///                 while let Ok(n) = receiver.recv().await {
///                     sum += n;
///                 }
///                 sum
///             })
///         })
///         .collect();
///     for n in 1..=10 {
///         sender.send(n).await.unwrap();
///     }
///     drop(sender);
///     let mut total = 0;
///     for worker in workers {
///         total += worker.await.unwrap();
///     }
///     assert_eq!(total, 55);
/// });
/// ```
#[cfg(feature = "mpmc")]
#[cfg_attr(docsrs, doc(cfg(feature = "mpmc")))]
pub mod mpmc {
    #[doc(no_inline)]
    pub use async_channel::{
        Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError, WeakReceiver, WeakSender,
        bounded, unbounded,
    };
}
