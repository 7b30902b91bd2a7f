//! Every option in every form, on both attributes.
#![deny(warnings, unused_qualifications)]

extern crate runtime as renamed;

mod reexport {
    pub mod inner {
        pub use runtime;
    }
}

const NAME: &str = "own name";

#[runtime::main()]
async fn no_options() {}

#[runtime::main(worker_threads = 2,)]
async fn trailing_comma() {}

#[runtime::main(worker_threads = 1_usize)]
async fn suffix() {}

#[runtime::main(worker_threads = 0x2)]
async fn hexadecimal() {}

#[runtime::main(flavor = "multi_thread", worker_threads = 2, name = "all")]
async fn all() {}

#[runtime::main(flavor = r#"current_thread"#, name = r"raw")]
async fn raw_strings() {}

#[runtime::main(name = "sch\u{f6}n")]
async fn escapes() {}

#[runtime::main(crate = renamed)]
async fn renamed_crate() {}

#[runtime::main(crate = ::runtime)]
async fn absolute_path() {}

#[runtime::main(crate = crate::reexport::inner::runtime)]
async fn path() {}

#[runtime::main(crate = "crate::reexport::inner::runtime", worker_threads = 2)]
async fn path_in_a_string() -> &'static str {
    NAME
}

#[runtime::test(flavor = "current_thread", start_paused = true, name = "test", crate = runtime)]
async fn test_options() {}

#[runtime::test(start_paused = false, worker_threads = 2)]
async fn test_on_many_threads() {}

fn main() {
    no_options();
    trailing_comma();
    suffix();
    hexadecimal();
    all();
    raw_strings();
    escapes();
    renamed_crate();
    absolute_path();
    path();
    assert_eq!(path_in_a_string(), NAME);
}
