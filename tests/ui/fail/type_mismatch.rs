//! Errors in a body are reported there, as for any `async fn`.

#[runtime::main]
async fn missing_return_type() {
    Ok(())
}

#[runtime::main]
async fn returns_a_value() {
    return 1;
}

#[runtime::main]
async fn extra_semicolon() -> Result<(), ()> {
    Ok(());
}

#[runtime::main]
async fn wrong_tail() -> Result<u8, String> {
    let port = 80;
    "port"
}

#[runtime::main]
async fn question_mark() {
    "1".parse::<u8>()?;
}

#[runtime::main]
async fn question_mark_on_option() -> Option<()> {
    Err(1)?;
    None
}

#[runtime::main]
async fn not_that_trait() -> impl std::fmt::Display {
    vec![1]
}

#[runtime::main]
async fn unknown_type() -> Missing {
    1
}

#[runtime::main]
async fn unknown_name() {
    missing();
}

#[runtime::main(worker_threads = 2)]
async fn main() -> u64 {
    1
}
