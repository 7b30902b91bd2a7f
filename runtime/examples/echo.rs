//! Sends back what it receives (RFC 862): the smallest server, a task for each connection.
//!
//! ```sh
//! cargo run --release --example echo -- 127.0.0.1:7007
//! nc 127.0.0.1 7007
//! ```
//!
//! Port 0 lets the system choose; the first line on stdout names the address. The exit code is 2 for a wrong command
//! line or an address that cannot be listened at. Nothing that a client does ends the server.

use std::io;
use std::process::ExitCode;

use runtime::net::{TcpListener, TcpStream};

const USAGE: &str = "\
usage: echo [ADDRESS]

  ADDRESS   where to listen, such as localhost:7007 or [::1]:0 (default: 127.0.0.1:7)
";

#[runtime::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let address = match args.as_slice() {
        [] => "127.0.0.1:7",
        [help] if help == "--help" || help == "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [address] if !address.starts_with('-') => address,
        _ => {
            eprint!("echo: one address, or none\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match listen(address).await {
        Ok(listener) => accept_all(listener).await,
        Err(error) => {
            eprintln!("echo: cannot listen on {address}: {error}");
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
    loop {
        match listener.accept().await {
            // Detached: nobody waits for the end of a connection.
            Ok((stream, _)) => drop(runtime::spawn(echo(stream))),
            // Too many open files, say. Says nothing of the listener, and `accept` itself keeps this loop from spinning.
            Err(error) => eprintln!("echo: cannot accept: {error}"),
        }
    }
}

async fn echo(stream: TcpStream) {
    let peer = stream.peer_addr();
    if let Err(error) = echo_to_the_end(&stream).await {
        match peer {
            Ok(peer) => eprintln!("echo: {peer}: {error}"),
            // Gone before it could be asked.
            Err(_) => eprintln!("echo: {error}"),
        }
    }
}

async fn echo_to_the_end(stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        // What the client does not read back holds it up here, so the buffer is all the memory that it takes.
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
}
