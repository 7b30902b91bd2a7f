//! The object model in sixty seconds: coroutine, task, promise, many tasks at once, cancel.
//!
//! ```sh
//! cargo run --example hello
//! ```

use runtime::{Error, Promise};

async fn square(n: u64) -> u64 {
    n * n
}

#[runtime::main]
async fn main() -> Result<(), Error> {
    // A coroutine is a lazy value: calling the function ran nothing of it, awaiting it does.
    let coroutine = square(3);
    println!("coroutine: {}", coroutine.await);

    // A task is running already, on whichever worker is free; awaiting it only fetches the output.
    let task = runtime::spawn(square(4));
    println!("task: {}", task.await?);

    // A promise is set by hand, once, from any thread. Its future is a handle: clones await the same value.
    let (promise, answer) = Promise::new();
    let other_reader = runtime::spawn(answer.clone());
    std::thread::spawn(move || promise.set_result(42));
    println!("promise: {} and {}", answer.await?, other_reader.await??);

    // Tasks that are all spawned before the first is awaited run side by side.
    let tasks: Vec<_> = (1..=1000).map(|n| runtime::spawn(square(n))).collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await?;
    }
    println!("sum of 1000 tasks: {sum}");

    // Cancelling drops the coroutine where it waits. The task then ends as an error, never as a hang.
    let stuck = runtime::spawn(std::future::pending::<()>());
    stuck.cancel();
    println!("cancelled: {}", stuck.await.is_err_and(|error| error.is_cancelled()));

    Ok(())
}
