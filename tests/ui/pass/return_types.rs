//! An entry point may return whatever a function may.
#![deny(warnings)]

use std::error::Error;
use std::fmt::Display;
use std::process::{ExitCode, Termination};

#[runtime::main]
async fn nothing() {}

#[runtime::main]
async fn unit() -> () {
    std::future::ready(()).await
}

#[runtime::main]
async fn boxed_error() -> Result<u16, Box<dyn Error>> {
    let port = "80".parse::<u16>()?;
    if port == 0 {
        return Err("no port".into());
    }
    Ok(port)
}

#[runtime::main]
async fn option() -> Option<u8> {
    Some(Some(1)? + 1)
}

#[runtime::main]
async fn exit_code() -> ExitCode {
    ExitCode::from(3)
}

#[runtime::main]
async fn impl_trait() -> impl Display + Send {
    "shown"
}

#[runtime::main]
async fn boxed_impl_trait() -> Box<dyn Fn(u8) -> Result<u8, ()>> {
    Box::new(|x| Ok(x + 1))
}

#[runtime::main]
async fn array() -> [u8; { let one = 1; one + one }] {
    [0; 2]
}

#[runtime::main]
async fn early_return() -> &'static str {
    if std::env::args().count() > 0 {
        return "early";
    }
    "late"
}

#[runtime::main]
async fn endless() -> i32 {
    loop {
        std::future::ready(()).await;
        if std::env::args().count() > 0 {
            break 5;
        }
    }
}

#[runtime::main]
async fn diverges_with_a_type() -> Result<(), String> {
    std::panic::resume_unwind(Box::new("as told"))
}

#[runtime::main]
async fn never() -> ! {
    std::future::ready(()).await;
    std::process::exit(0)
}

mod program {
    #[runtime::main]
    pub(super) async fn main() -> impl super::Termination {
        Ok::<(), std::io::Error>(())
    }
}

fn main() {
    nothing();
    unit();
    assert_eq!(boxed_error().unwrap(), 80);
    assert_eq!(option(), Some(2));
    assert_eq!(exit_code(), ExitCode::from(3));
    assert_eq!(impl_trait().to_string(), "shown");
    assert_eq!(boxed_impl_trait()(1), Ok(2));
    assert_eq!(array(), [0, 0]);
    assert_eq!(early_return(), "early");
    assert_eq!(endless(), 5);
    assert!(std::panic::catch_unwind(diverges_with_a_type).is_err());
    assert_eq!(program::main().report(), ExitCode::SUCCESS);
    never()
}
