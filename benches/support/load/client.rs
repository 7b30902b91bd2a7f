//! One thread's connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::Load;
use crate::serve::Service;

/// What the echo services send back.
const MESSAGE: [u8; 64] = [b'x'; 64];

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Opens the connections that are kept, and returns what a round does.
///
/// Each has one exchange before the next is opened: so the server has accepted it, and the queue of those
/// that wait to be accepted cannot overflow.
pub(super) fn connect(load: &Load, connections: usize) -> Box<dyn FnMut()> {
    let address = load.address;
    let open = move || TcpStream::connect(address).expect("the server listens");
    match load.service {
        Service::Short => Box::new(move || short_round(address, connections)),
        Service::Echo => keep(connections, open, &MESSAGE, |stream| {
            stream.write_all(&MESSAGE).expect("the server reads");
            stream.read_exact(&mut [0; MESSAGE.len()]).expect("the server answers");
            MESSAGE.len()
        }),
        Service::Hello | Service::Http => keep(connections, open, REQUEST, |stream| {
            stream.write_all(REQUEST).expect("the server reads");
            read_response(stream)
        }),
    }
}

/// `first` is the first exchange on a connection, and returns the length of the answer.
fn keep(
    connections: usize,
    open: impl Fn() -> TcpStream,
    request: &'static [u8],
    first: impl Fn(&mut TcpStream) -> usize,
) -> Box<dyn FnMut()> {
    let mut answer = Vec::new();
    let opened = (0..connections).map(|_| {
        let mut stream = open();
        answer.resize(first(&mut stream), 0);
        stream
    });
    let mut streams: Vec<TcpStream> = opened.collect();
    Box::new(move || {
        for stream in &mut streams {
            stream.write_all(request).expect("the server reads");
        }
        for stream in &mut streams {
            stream.read_exact(&mut answer).expect("the server answers");
        }
    })
}

/// The server closes first, and the round ends when all have.
fn short_round(address: SocketAddr, connections: usize) {
    let open = |_| {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.write_all(&MESSAGE).expect("the server reads");
        stream
    };
    let streams: Vec<TcpStream> = (0..connections).map(open).collect();
    for mut stream in streams {
        let mut answer = [0; MESSAGE.len() + 1];
        stream.read_exact(&mut answer[..MESSAGE.len()]).expect("the server answers");
        let rest = stream.read(&mut answer).expect("the server closes in peace");
        assert_eq!(rest, 0, "the server says no more than the client");
    }
}

/// The length of a response, head and body. Every response of the server has it, for what changes in them is
/// the date.
fn read_response(stream: &mut TcpStream) -> usize {
    let mut response = Vec::new();
    loop {
        let mut buffer = [0; 1_024];
        let len = stream.read(&mut buffer).expect("the server answers");
        assert!(len > 0, "the server keeps the connection");
        response.extend_from_slice(&buffer[..len]);
        if let Some(expected) = expected_len(&response) {
            if response.len() >= expected {
                return expected;
            }
        }
    }
}

fn expected_len(response: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(response).expect("the response is text");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "the server is content: {text}");
    let (head, _) = text.split_once("\r\n\r\n")?;
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let (_, body) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    let body: usize = body.parse().expect("a length is a number");
    Some(head.len() + "\r\n\r\n".len() + body)
}
