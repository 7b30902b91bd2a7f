//! Functions that cannot be entry points. Each has one error: its body is checked, its name is found.

use std::fmt::Debug;

#[runtime::main]
fn not_async() {}

#[runtime::test]
fn not_async_test() {}

#[runtime::main]
const fn constant() {}

#[runtime::main]
const async fn constant_and_async() {}

#[runtime::main]
async unsafe fn not_safe() {}

#[runtime::main]
pub(crate) async extern "C" fn foreign() {}

#[runtime::main]
async extern fn foreign_without_a_name() {}

#[runtime::main]
async fn generic<T: Fn() -> u8, const N: usize>() -> [T; N] {
    panic!()
}

#[runtime::main]
async fn lifetime<'a>() -> &'a str {
    ""
}

#[runtime::main]
async fn arguments(first: u8, second: &str) -> usize {
    usize::from(first) + second.len()
}

#[runtime::test]
async fn test_arguments(first: u8) -> u8 {
    first
}

#[runtime::main]
async fn arguments_and_impl_trait(first: u8) -> impl Debug {
    first
}

#[runtime::main]
async fn where_clause() -> u8
where
    u8: Copy,
{
    1
}

#[runtime::main]
async fn no_body() -> u8;

struct Server;

impl Server {
    #[runtime::main]
    async fn method(&self) -> u8 {
        1
    }

    #[runtime::main]
    async fn method_by_value(mut self: Box<Self>) {
        self = Box::new(Server);
        drop(self)
    }
}

#[runtime::main]
#[test]
async fn also_a_test() {}

#[runtime::test]
#[test]
async fn twice_a_test() {}

#[runtime::test]
#[::core::prelude::v1::test]
async fn twice_a_test_by_path() {}

#[runtime::main]
#[runtime::main(worker_threads = 2)]
async fn twice_a_main() {}

#[runtime::main]
async fn main(arguments: Vec<String>) {
    not_async();
    not_safe();
    foreign();
    let _: usize = self::arguments();
    arguments_and_impl_trait();
    let _: u8 = where_clause() + no_body();
    twice_a_main();
    drop(arguments);
}
