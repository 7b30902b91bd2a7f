//! `graceful`: each error points at what is wrong, and is the only one of its function.

#[runtime::main(graceful = 5)]
async fn number() {}

#[runtime::main(graceful = "5")]
async fn no_unit() {}

#[runtime::main(graceful = "s")]
async fn no_number() {}

#[runtime::main(graceful = "1.5s")]
async fn fraction() {}

#[runtime::main(graceful = "-1s")]
async fn negative() {}

#[runtime::main(graceful = "5 s")]
async fn space() {}

#[runtime::main(graceful = "5h")]
async fn unknown_unit() {}

#[runtime::main(graceful = "99999999999999999999s")]
async fn too_long() {}

#[runtime::main(graceful = "400000000000000000m")]
async fn too_long_in_milliseconds() {}

#[runtime::main(graceful = Duration::from_secs(5))]
async fn computed() {}

#[runtime::main(graceful)]
async fn no_value() {}

#[runtime::main(graceful = "5s", graceful = "6s")]
async fn twice() {}

#[runtime::test(graceful = "5s")]
async fn on_a_test() {}

fn main() {}
