//! The runtime of `main` is the default one of the process: any thread finds it.
#![deny(warnings)]

use std::thread;

use runtime::Handle;

#[runtime::main(worker_threads = 2, name = "the default")]
async fn main() {
    let here = Handle::current().id();
    let elsewhere = thread::spawn(|| Handle::current().id()).join().unwrap();
    assert_eq!(elsewhere, here);

    let task = thread::spawn(|| runtime::spawn(async { Handle::current().id() })).join().unwrap();
    assert_eq!(task.await.unwrap(), here);
}
