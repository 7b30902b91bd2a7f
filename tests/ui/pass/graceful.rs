//! Lengths of time for `graceful`, beside other options.

#[runtime::main(graceful = "5s")]
async fn seconds() {}

#[runtime::main(graceful = "500ms", worker_threads = 1)]
async fn milliseconds() -> u8 {
    7
}

#[runtime::main(flavor = "current_thread", graceful = "1m", name = "api", crate = runtime)]
async fn minutes() -> Result<(), runtime::Error> {
    Ok(())
}

#[runtime::main(graceful = r"0s")]
async fn none_at_all() {}

fn main() {
    seconds();
    assert_eq!(milliseconds(), 7);
    minutes().unwrap();
    none_at_all();
}
