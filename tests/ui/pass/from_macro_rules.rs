//! An attribute may stand in a macro, and parts of it may come from the macro's arguments.
#![deny(warnings, unused_qualifications)]

macro_rules! entry {
    ($(#[$meta:meta])* $vis:vis $name:ident, $threads:literal, $label:expr, $krate:path, $output:ty, $body:block) => {
        $(#[$meta])*
        #[runtime::main(worker_threads = $threads, name = $label, crate = $krate)]
        $vis async fn $name() -> $output $body
    };
}

macro_rules! dollar_crate {
    ($name:ident) => {
        #[runtime::main(crate = $crate::reexport)]
        async fn $name() {}
    };
}

macro_rules! item {
    ($item:item) => {
        #[runtime::main]
        $item
    };
}

macro_rules! tokens {
    ($($token:tt)*) => {
        #[runtime::main]
        $($token)*
    };
}

mod reexport {
    pub use runtime::*;
}

entry!(#[doc = "Documented."] pub(crate) public, 2, "label", ::runtime, Result<u8, ()>, { Ok(1) });
entry!(private, 1, "label", crate::reexport, impl Fn() -> u8, { || 2 });
dollar_crate!(with_dollar_crate);
item! { async fn whole_item() -> u8 { 3 } }
item! { pub(crate) async fn whole_public_item() -> u8 { 4 } }
tokens! { async fn single_tokens() -> u8 { 5 } }

fn main() {
    assert_eq!(public(), Ok(1));
    assert_eq!(private()(), 2);
    with_dollar_crate();
    assert_eq!(whole_item(), 3);
    assert_eq!(whole_public_item(), 4);
    assert_eq!(single_tokens(), 5);
}
