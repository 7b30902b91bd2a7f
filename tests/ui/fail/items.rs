//! Items that are no functions.

#[runtime::main]
struct Structure;

#[runtime::main]
pub mod module {}

#[runtime::test]
const CONSTANT: u8 = 1;

#[runtime::main]
impl Structure {}

#[runtime::main]
macro_rules! rules {
    () => {};
}

fn main() {
    let _ = (Structure, CONSTANT);
    rules!();
}
