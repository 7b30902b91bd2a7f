//! Values of options.

const N: usize = 4;

#[runtime::main(worker_threads = 0)]
async fn zero() {}

#[runtime::main(worker_threads = "2")]
async fn string() {}

#[runtime::main(worker_threads = -1)]
async fn negative() {}

#[runtime::main(worker_threads = N)]
async fn constant() {}

#[runtime::main(worker_threads = 1 + 1)]
async fn sum() {}

#[runtime::main(worker_threads = 2.0)]
async fn float() {}

#[runtime::main(worker_threads = 2u8)]
async fn other_type() {}

#[runtime::main(worker_threads = 99999999999999999999999)]
async fn too_large() {}

#[runtime::main(flavor = "threaded")]
async fn unknown_flavor() {}

#[runtime::main(flavor = current_thread)]
async fn flavor_without_quotes() {}

#[runtime::main(flavor = b"current_thread")]
async fn flavor_in_bytes() {}

#[runtime::main(name = api)]
async fn name_without_quotes() {}

#[runtime::main(name = 'a')]
async fn name_of_one_character() {}

#[runtime::main(name = c"api")]
async fn name_for_c() {}

#[runtime::main(name = concat!("a", "b"))]
async fn computed_name() {}

#[runtime::main(crate = 4)]
async fn crate_number() {}

#[runtime::main(crate = "not a path")]
async fn crate_words() {}

#[runtime::main(crate = "")]
async fn crate_nothing() {}

#[runtime::main(crate = a::b::)]
async fn crate_half() {}

#[runtime::main(crate = a::<u8>)]
async fn crate_generic() {}

#[runtime::test(start_paused = "true")]
async fn paused_string() {}

#[runtime::test(start_paused = 1)]
async fn paused_number() {}

fn main() {}
