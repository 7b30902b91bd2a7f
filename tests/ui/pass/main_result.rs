//! The program every tutorial starts with.
#![deny(warnings)]

#[runtime::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!("7".parse::<u8>()?, 7);
    Ok(())
}
