//! Names in scope do not change what an attribute means.
#![deny(warnings, unused_qualifications)]
#![allow(dead_code, non_camel_case_types, unused_macros)]

mod runtime {}
mod core {}
mod std {}
mod alloc {}

struct Ok;
struct Err;
struct Some;
struct None;
struct Result;
struct Option;
struct Builder;
struct String;
struct usize;
struct str;
trait Future {}
trait IntoFuture {}

fn body() {}
fn drop() {}

macro_rules! compile_error {
    () => {};
}
macro_rules! unreachable {
    () => {};
}

trait Shadow: Sized {
    fn worker_threads(self, _: u8) {}
    fn current_thread(self, _: u8) {}
    fn name(self, _: u8) {}
    fn poll(self) {}
}
impl<T> Shadow for T {}

#[::runtime::main(worker_threads = 2, name = "shadowed")]
async fn shadowed() -> Ok {
    body();
    drop();
    Ok
}

#[::runtime::main(flavor = "current_thread")]
async fn inner_attribute() -> u8 {
    #![allow(unused_variables)]
    let unused = 1;
    ::core::future::ready(2).await
}

/// The attribute's own function stays what the name means inside the body, too.
#[::runtime::main]
async fn recursive() -> u8 {
    let itself: fn() -> u8 = recursive;
    if ::std::ptr::fn_addr_eq(itself, shadowed as fn() -> Ok) { itself() } else { 4 }
}

fn main() {
    let Ok = shadowed();
    assert!(inner_attribute() == 2);
    assert!(recursive() == 4);
}
