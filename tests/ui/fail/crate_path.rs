//! A path that leads nowhere is reported where it stands.

#[runtime::main(crate = missing)]
async fn ident() {}

#[runtime::main(crate = "crate::missing")]
async fn string() {}

fn main() {}
