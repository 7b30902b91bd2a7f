//! A room to chat in, for clients as simple as `nc`: a line is a message to everybody else.
//!
//! ```sh
//! cargo run --release --example chat -- 127.0.0.1:7008
//! nc 127.0.0.1 7008
//! ```
//!
//! The first line of a client is its name. A slow reader holds up nobody: each client has a queue of its own, and who
//! lets it overflow is dropped, with a message to those who stay and, if it reads at last, to itself.
//!
//! Port 0 lets the system choose; the first line on stdout names the address. The exit code is 2 for a wrong command
//! line or an address that cannot be listened at.

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use runtime::Promise;
use runtime::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use runtime::time::{sleep, timeout};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

const USAGE: &str = "\
usage: chat [ADDRESS]

  ADDRESS   where to listen, such as localhost:7008 or [::1]:0 (default: 127.0.0.1:7008)
";

/// The lines that may wait for one client, on top of what the system's buffers hold.
const QUEUE: usize = 256;
/// From here on those who speak are slowed down: only a client that then still falls behind is slow, and not one that
/// somebody pasted a book at.
const ALMOST_FULL: usize = QUEUE / 2;
const SLOWED_DOWN: Duration = Duration::from_millis(1);
/// How long a client may leave its lines unread when the system's buffers are full.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest line, in bytes. Bounds the memory that a client can make us use.
const LINE: usize = 1024;

#[runtime::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let address = match args.as_slice() {
        [] => "127.0.0.1:7008",
        [help] if help == "--help" || help == "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [address] if !address.starts_with('-') => address,
        _ => {
            eprint!("chat: one address, or none\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match listen(address).await {
        Ok(listener) => accept_all(listener).await,
        Err(error) => {
            eprintln!("chat: cannot listen on {address}: {error}");
            ExitCode::from(2)
        }
    }
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// Until the process is told to end.
async fn accept_all(listener: TcpListener) -> ! {
    let room = Arc::new(Room::default());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(runtime::spawn(attend(stream, Arc::clone(&room)))),
            // Too many open files, say. Says nothing of the listener, and `accept` itself keeps this loop from spinning.
            Err(error) => eprintln!("chat: cannot accept: {error}"),
        }
    }
}

/// One client, from its name to its leave. A connection that breaks is a leave like others.
async fn attend(stream: TcpStream, room: Arc<Room>) {
    let (reader, writer) = stream.into_split();
    let mut lines = Lines::of(reader);
    let Ok(Some(seat)) = ask_name(&mut lines, &writer, &room).await else { return };
    let id = seat.id;
    // A task of its own, so that a client that does not read is still heard, and heard leaving. It ends with this one.
    let hearing = runtime::spawn(hear(lines, Arc::clone(&room), id)).abort_on_drop();
    if deliver(&writer, seat).await.is_err() {
        room.remove(id, "left", "");
    }
    drop(hearing);
}

/// A seat in the room, or `None` if the client went away before it had one.
async fn ask_name(lines: &mut Lines, writer: &OwnedWriteHalf, room: &Room) -> io::Result<Option<Seat>> {
    send(writer, "* your name?\n").await?;
    while let Some(name) = lines.next().await? {
        match room.join(name.trim()) {
            Ok(seat) => return Ok(Some(seat)),
            Err(reason) => send(writer, &format!("* {reason}; your name?\n")).await?,
        }
    }
    Ok(None)
}

/// Takes what the client says until it has said all.
async fn hear(mut lines: Lines, room: Arc<Room>, id: u64) {
    let farewell = loop {
        match lines.next().await {
            Ok(Some(line)) => {
                if room.say(id, &line) >= ALMOST_FULL {
                    sleep(SLOWED_DOWN).await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                break "* that line is too long; goodbye";
            }
            Ok(None) | Err(_) => break "",
        }
    };
    room.remove(id, "left", farewell);
}

/// Gives the client what is said until it is out of the room, and then the reason.
async fn deliver(writer: &OwnedWriteHalf, mut seat: Seat) -> io::Result<()> {
    let mut lines = Vec::new();
    // As many as there are in one piece: a reader keeps up with several that speak.
    while seat.queue.recv_many(&mut lines, QUEUE).await > 0 {
        let piece = lines.join("\n") + "\n";
        lines.clear();
        send(writer, &piece).await?;
    }
    match seat.farewell.await {
        Ok(farewell) if !farewell.is_empty() => send(writer, &format!("{farewell}\n")).await,
        _ => Ok(()),
    }
}

async fn send(writer: &OwnedWriteHalf, text: &str) -> io::Result<()> {
    timeout(PATIENCE, writer.write_all(text.as_bytes())).await?
}

/// Everybody who has a name.
#[derive(Default)]
struct Room(Mutex<Members>);

#[derive(Default)]
struct Members {
    last_id: u64,
    by_id: HashMap<u64, Member>,
}

/// The room's side of a client.
struct Member {
    name: String,
    queue: Sender<Arc<str>>,
    farewell: Promise<&'static str>,
}

/// The client's side of its place in the room.
struct Seat {
    /// Used once: a name may be taken by the next one while its last owner is still on the way out.
    id: u64,
    /// Ends when the client is out of the room.
    queue: Receiver<Arc<str>>,
    /// What to say then. Set before the queue ends.
    farewell: runtime::Future<&'static str>,
}

impl Room {
    fn join(&self, name: &str) -> Result<Seat, &'static str> {
        if !(1..=32).contains(&name.len()) || !name.chars().all(char::is_alphanumeric) {
            return Err("a name is 1 to 32 letters and digits");
        }
        let (sender, queue) = channel(QUEUE);
        let (promise, farewell) = Promise::new();
        let id = {
            let mut members = self.members();
            let mut others: Vec<&str> = members.by_id.values().map(|member| &*member.name).collect();
            if others.contains(&name) {
                return Err("somebody has that name");
            }
            others.sort();
            // Nobody else has the queue yet, so it is not full.
            let _ = sender.try_send(Arc::from(format!("* hello {name}; here are [{}]", others.join(", "))));
            members.last_id += 1;
            let id = members.last_id;
            members.by_id.insert(id, Member { name: name.to_owned(), queue: sender, farewell: promise });
            id
        };
        self.tell_others(id, &format!("* {name} joined"));
        Ok(Seat { id, queue, farewell })
    }

    /// Tells all others, and how many lines now wait for the slowest of them.
    fn say(&self, id: u64, line: &str) -> usize {
        let line = match self.members().by_id.get(&id) {
            Some(member) => format!("{}: {line}", member.name),
            // Out already.
            None => return 0,
        };
        self.tell_others(id, &line)
    }

    /// Does nothing if the client is out already, so that it leaves once, whoever notices first.
    fn remove(&self, id: u64, why: &str, farewell: &'static str) {
        if let Some(name) = self.put_out(id, farewell) {
            self.tell_others(id, &format!("* {name} {why}"));
        }
    }

    /// Takes the client's place; gives the name of one who was not out already.
    fn put_out(&self, id: u64, farewell: &'static str) -> Option<String> {
        let member = self.members().by_id.remove(&id)?;
        // Comes back only if nobody listens any more.
        let _ = member.farewell.set_result(farewell);
        Some(member.name)
    }

    /// Never waits: a queue that is full costs its owner the place, and nobody else anything.
    fn tell_others(&self, id: u64, line: &str) -> usize {
        let (most, mut slow) = self.send(id, line);
        // Those who are put out are told of in one line, however many they are: a line for each would fill other queues.
        while !slow.is_empty() {
            let out = slow.into_iter().filter_map(|id| self.put_out(id, "* you read too slowly; goodbye"));
            let names = out.collect::<Vec<_>>().join(", ");
            (_, slow) = self.send(id, &format!("* {names} read too slowly and was dropped"));
        }
        most
    }

    /// How many lines wait for the slowest of those who got it, and whose queues were full.
    fn send(&self, id: u64, line: &str) -> (usize, Vec<u64>) {
        let line: Arc<str> = Arc::from(line);
        let (mut most, mut slow) = (0, Vec::new());
        // All under the lock, so that everybody reads the lines in the same order.
        for (&other, member) in self.members().by_id.iter().filter(|(other, _)| **other != id) {
            match member.queue.try_send(Arc::clone(&line)) {
                Ok(()) => most = most.max(QUEUE - member.queue.capacity()),
                Err(TrySendError::Full(_)) => slow.push(other),
                // On its way out, and `attend` does the rest.
                Err(TrySendError::Closed(_)) => {}
            }
        }
        (most, slow)
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.lock().expect("no panic under the lock")
    }
}

/// The lines of a client, without what ends them and without control characters, which are no business of the other
/// clients' terminals.
struct Lines {
    reader: OwnedReadHalf,
    /// What came after the last line.
    rest: Vec<u8>,
}

impl Lines {
    fn of(reader: OwnedReadHalf) -> Lines {
        Lines { reader, rest: Vec::new() }
    }

    /// `None` at the end; what stands after the last line's end is no line. `InvalidData` if one is too long.
    async fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            match self.rest.iter().position(|&byte| byte == b'\n') {
                Some(end) if end <= LINE => {
                    let line: Vec<u8> = self.rest.drain(..=end).collect();
                    let line = String::from_utf8_lossy(&line);
                    return Ok(Some(line.chars().filter(|char| !char.is_control()).collect()));
                }
                None if self.rest.len() <= LINE => {}
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
            let mut piece = [0; LINE];
            match self.reader.read(&mut piece).await? {
                0 => return Ok(None),
                len => self.rest.extend_from_slice(&piece[..len]),
            }
        }
    }
}
