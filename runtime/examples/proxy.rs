//! Passes TCP connections on to another server, and tells how much went through each.
//!
//! ```sh
//! cargo run --release --example proxy -- 127.0.0.1:8081 example.com:80
//! curl --header 'Host: example.com' http://127.0.0.1:8081/
//! ```
//!
//! The end of one direction passes through alone, so a client may close its half and still read the answer. The first
//! line on stdout names the address, and each connection gives a line when it ends. The exit code is 2 for a wrong
//! command line or an address that cannot be listened at; a target that is not there ends the one connection only.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use runtime::net::{TcpListener, TcpStream};

const USAGE: &str = "\
usage: proxy LISTEN TARGET

  LISTEN   where to listen, such as 127.0.0.1:8081 or [::1]:0
  TARGET   where the connections go, such as example.com:80
";

#[runtime::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (address, target) = match args.as_slice() {
        [address, target] => (address, target),
        [help] if help == "--help" || help == "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("proxy: two addresses are needed\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match listen(address).await {
        Ok(listener) => accept_all(listener, Arc::from(target.as_str())).await,
        Err(error) => {
            eprintln!("proxy: cannot listen on {address}: {error}");
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
async fn accept_all(listener: TcpListener, target: Arc<str>) -> ! {
    loop {
        match listener.accept().await {
            Ok((client, from)) => drop(runtime::spawn(report(client, from, Arc::clone(&target)))),
            // Too many open files, say. Says nothing of the listener, and `accept` itself keeps this loop from spinning.
            Err(error) => eprintln!("proxy: cannot accept: {error}"),
        }
    }
}

async fn report(client: TcpStream, from: SocketAddr, target: Arc<str>) {
    match pass(client, &target).await {
        Ok((there, back)) => {
            // Nobody may be left to read it.
            let _ = writeln!(io::stdout(), "{from}: {there} bytes to {target}, {back} bytes back");
        }
        Err(error) => eprintln!("proxy: {from}: {error}"),
    }
}

/// The bytes that went to the target, and those that came back.
async fn pass(mut client: TcpStream, target: &str) -> io::Result<(u64, u64)> {
    // The name is looked up for each connection, because the address behind it may change.
    let connected = TcpStream::connect(target).await;
    let mut server =
        connected.map_err(|error| io::Error::new(error.kind(), format!("cannot reach {target}: {error}")))?;
    // Whether small pieces should wait for each other is up to the two ends, not to what stands between them.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    runtime::io::copy_bidirectional(&mut client, &mut server).await
}
