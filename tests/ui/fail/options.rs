//! Options: each error is the only one of its function, and `main` is still found.

#[runtime::main(threads = 4)]
async fn unknown() {}

#[runtime::test(threads = 4)]
async fn unknown_on_test() {}

#[runtime::main(worker_threads = 4, worker_threads = 5)]
async fn duplicate() {}

#[runtime::main(worker_threads)]
async fn no_value() {}

#[runtime::main(name =)]
async fn nothing_after_the_equals_sign() {}

#[runtime::main(worker_threads(4))]
async fn parentheses() {}

#[runtime::main(current_thread)]
async fn flavor_as_an_option() {}

#[runtime::main("current_thread")]
async fn only_a_value() {}

#[runtime::main(name = "a",, worker_threads = 4)]
async fn two_commas() {}

#[runtime::main(name = "a" worker_threads = 4)]
async fn no_comma() {}

#[runtime::main(flavor = "current_thread", worker_threads = 1)]
async fn workers_without_threads() {}

#[runtime::main(start_paused = true)]
async fn paused_main() {}

#[runtime::main(worker_threads = 0, flavor = "threads", nonsense)]
async fn only_the_first_is_reported() {}

#[runtime::main(threads = 4, crate = reexported)]
async fn later_options_still_count() -> impl Sized {}

use runtime as reexported;

#[runtime::main(threads = 4)]
async fn main() -> Result<(), std::num::ParseIntError> {
    let _: u8 = "1".parse()?;
    Ok(())
}
