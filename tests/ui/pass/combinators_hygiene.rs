//! The macros that combine futures mean the same whatever is in scope, and through a re-export of the crate.
#![deny(warnings)]
#![allow(dead_code, non_camel_case_types, unused_macros)]

mod framework {
    pub use ::runtime as rt;
}
mod runtime {}
mod core {}
mod std {}

struct Ok;
struct Err;
struct Some;
struct None;
struct Result;
struct Option;
struct Poll;
struct Pin;
struct Selected;
struct bool;
struct u64;
trait Future {}

macro_rules! panic {
    () => {};
}
macro_rules! unreachable {
    () => {};
}

trait Shadow: Sized {
    fn poll(self) {}
    fn as_mut(self) {}
    fn into_future(self) {}
    fn is_pending(self) {}
    fn take(self) {}
}
impl<T> Shadow for T {}

async fn body() -> ::core::result::Result<(), framework::rt::Error> {
    let (one, two) = framework::rt::join!(async { 1 }, async { 2 });
    assert_eq!(one + two, 3);
    let three = framework::rt::select! {
        n = async { 3 } => n,
        () = ::core::future::pending() => 0,
    };
    assert_eq!(three, 3);
    let first = true;
    let four = framework::rt::select! {
        biased;
        ::core::option::Option::Some(n) = async { ::core::option::Option::Some(4) }, if first => n,
        else => 0,
    };
    assert_eq!(four, 4);
    assert_eq!(framework::rt::race!(async { 5 }, ::core::future::pending()), 5);
    let six = async { 6 };
    framework::rt::pin!(six);
    assert_eq!(six.await, 6);
    let joined: ::core::result::Result<_, ()> =
        framework::rt::try_join!(async { ::core::result::Result::Ok(7) });
    assert!(joined == ::core::result::Result::Ok((7,)));
    let (eight,) = framework::rt::gather!(async { 8 }).await?;
    assert_eq!(eight, 8);
    ::core::result::Result::Ok(())
}

fn main() {
    assert!(framework::rt::block_on(body()).is_ok());
}
