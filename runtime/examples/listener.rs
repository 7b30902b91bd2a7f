//! Replies matched with requests by promises: the heart of a client for almost any pipelined protocol.
//!
//! ```sh
//! cargo run --example listener
//! ```
//!
//! A server, here a plain thread at the other end of a socket pair, answers in whatever order it likes. The client
//! numbers its requests and keeps one promise for each; a listener on the blocking pool reads the replies and sets
//! the promise with the same number. What can go wrong is shown as well: a caller that cancels before its reply
//! arrives, and a server that hangs up on requests it has read.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;

use runtime::Promise;

#[runtime::main]
async fn main() -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let server = thread::spawn(move || serve(theirs));
    let client = Arc::new(Client::new(ours.try_clone()?));
    let listener = runtime::spawn_blocking({
        let client = Arc::clone(&client);
        move || client.listen(ours)
    });

    // All three are on their way before the first reply is awaited.
    let (first, second, third) = (client.request("one"), client.request("two"), client.request("three"));
    println!("first:   {}", outcome(first.await));
    println!("second:  {}", outcome(second.await));
    println!("third:   {}", outcome(third.await));

    // Dropping a future or the task that awaits it only stops waiting; `cancel` is what takes the request back.
    let fourth = client.request("four");
    fourth.cancel();
    println!("fourth:  {}", outcome(fourth.await));
    println!("fifth:   {}", outcome(client.request("five").await));

    // The server reads both and hangs up. Nobody waits for ever.
    let (sixth, seventh) = (client.request("six"), client.request("seven"));
    println!("sixth:   {}", outcome(sixth.await));
    println!("seventh: {}", outcome(seventh.await));
    println!("eighth:  {}", outcome(client.request("eight").await));

    let log = listener.await?;
    println!("replies arrived in the order {:?}; nobody wanted {:?}", log.arrived, log.unwanted);
    // Ended already: hanging up was the last thing it did.
    server.join().expect("the server does not panic")
}

fn outcome(reply: Result<String, runtime::Error>) -> String {
    match reply {
        Ok(text) => text,
        Err(error) if error.is_cancelled() => "cancelled".to_owned(),
        // The exception is still the `io::Error` that it was set with.
        Err(error) => match error.downcast_ref::<io::Error>() {
            Some(error) => format!("{:?}: {error}", error.kind()),
            None => error.to_string(),
        },
    }
}

/// One connection, shared by those who ask and by the listener.
struct Client {
    wire: Mutex<UnixStream>,
    pending: Mutex<Pending>,
}

/// The promises that no reply has come for.
struct Pending {
    last_id: u64,
    /// `None` once the connection is gone, so that a late request fails at once instead of waiting in a table that
    /// nobody reads any more.
    promises: Option<HashMap<u64, Promise<String>>>,
}

/// What the listener saw, by request number.
struct Log {
    arrived: Vec<u64>,
    unwanted: Vec<u64>,
}

impl Client {
    fn new(wire: UnixStream) -> Client {
        let pending = Pending { last_id: 0, promises: Some(HashMap::new()) };
        Client { wire: Mutex::new(wire), pending: Mutex::new(pending) }
    }

    /// Sends the request and returns the place where its reply will be. Nothing here waits for the server.
    fn request(&self, text: &str) -> runtime::Future<String> {
        let (promise, reply) = Promise::new();
        // Registered before it is sent: the reply may be faster than the rest of this function.
        let Some(id) = self.register(promise) else { return runtime::Future::failed(reset()) };
        if let Err(error) = self.send(id, text) {
            if let Some(promise) = self.take(id) {
                let _ = promise.set_exception(error);
            }
        }
        reply
    }

    /// Sets the promises as replies come in, until the connection ends. Blocks.
    fn listen(&self, wire: UnixStream) -> Log {
        let mut log = Log { arrived: Vec::new(), unwanted: Vec::new() };
        for line in BufReader::new(wire).lines() {
            // An unreadable reply leaves no way to tell where the next one starts: as good as a disconnect.
            let Some((id, text)) = line.ok().as_deref().and_then(parse) else { break };
            log.arrived.push(id);
            // Set after the lock is released: whoever it wakes may send the next request at once. A promise that was
            // cancelled meanwhile gives the value back.
            let taken = self.take(id).is_some_and(|promise| promise.set_result(text).is_ok());
            if !taken {
                log.unwanted.push(id);
            }
        }
        self.disconnect();
        log
    }

    fn disconnect(&self) {
        let promises = self.pending.lock().expect("no panic under the lock").promises.take();
        for promise in promises.into_iter().flat_map(HashMap::into_values) {
            let _ = promise.set_exception(reset());
        }
    }

    fn register(&self, promise: Promise<String>) -> Option<u64> {
        let mut pending = self.pending.lock().expect("no panic under the lock");
        pending.last_id += 1;
        let id = pending.last_id;
        pending.promises.as_mut()?.insert(id, promise);
        Some(id)
    }

    fn take(&self, id: u64) -> Option<Promise<String>> {
        self.pending.lock().expect("no panic under the lock").promises.as_mut()?.remove(&id)
    }

    fn send(&self, id: u64, text: &str) -> io::Result<()> {
        // One line, far shorter than the socket's buffer, so this does not hold the worker up. One call, so that
        // two requests cannot mix.
        let line = format!("{id} {text}\n");
        self.wire.lock().expect("no panic under the lock").write_all(line.as_bytes())
    }
}

fn parse(line: &str) -> Option<(u64, String)> {
    let (id, text) = line.split_once(' ')?;
    Some((id.parse().ok()?, text.to_owned()))
}

fn reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the server hung up")
}

/// Answers in capitals: three requests last first, two in order, and then two not at all.
fn serve(mut wire: UnixStream) -> io::Result<()> {
    let mut requests = BufReader::new(wire.try_clone()?).lines();
    let mut read = |n| requests.by_ref().take(n).collect::<io::Result<Vec<String>>>();

    for request in read(3)?.iter().rev() {
        writeln!(wire, "{}", request.to_uppercase())?;
    }
    for request in read(2)? {
        writeln!(wire, "{}", request.to_uppercase())?;
    }
    read(2).map(drop)
}
