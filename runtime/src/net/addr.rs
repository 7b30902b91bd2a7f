//! What may stand for an address: addresses, and names, which take a thread of the blocking pool to look up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{option, vec};

use crate::cell::AbortOnDrop;
use crate::handle::Handle;

/// Something that stands for one or more socket addresses.
///
/// Implemented for addresses, for pairs of host and port, and for `"host:port"` strings. Strings that are addresses
/// already are parsed on the spot; names are looked up by the system's resolver, in the blocking pool. Nobody else can
/// implement it.
///
/// The types are those of [`std::net::ToSocketAddrs`].
pub trait ToSocketAddrs: sealed::Resolve {}

/// Kept from users, so that the way of looking up can change.
pub(super) mod sealed {
    use super::Resolving;

    pub trait Resolve {
        /// Begins to find the addresses.
        fn resolve(&self) -> Resolving;
    }
}

/// The addresses, once they are known.
#[derive(Debug)]
pub enum Resolving {
    Known(Option<io::Result<Addrs>>),
    /// One that is given up while it waits for a thread asks nobody.
    LookingUp(AbortOnDrop<io::Result<vec::IntoIter<SocketAddr>>>),
}

/// The addresses that were found.
#[derive(Debug)]
pub enum Addrs {
    One(option::IntoIter<SocketAddr>),
    Many(vec::IntoIter<SocketAddr>),
}

impl Iterator for Addrs {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match self {
            Addrs::One(one) => one.next(),
            Addrs::Many(many) => many.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Addrs::One(one) => one.size_hint(),
            Addrs::Many(many) => many.size_hint(),
        }
    }
}

impl Future for Resolving {
    type Output = io::Result<Addrs>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Addrs>> {
        match &mut *self {
            Resolving::Known(addrs) => Poll::Ready(addrs.take().expect("polled after it was ready")),
            Resolving::LookingUp(task) => {
                Pin::new(task).poll(cx).map(|found| Ok(Addrs::Many(found.map_err(io::Error::from)??)))
            }
        }
    }
}

impl Resolving {
    fn one(addr: SocketAddr) -> Self {
        Resolving::Known(Some(Ok(Addrs::One(Some(addr).into_iter()))))
    }

    fn many(addrs: Vec<SocketAddr>) -> Self {
        Resolving::Known(Some(Ok(Addrs::Many(addrs.into_iter()))))
    }

    fn look_up(
        name: impl std::net::ToSocketAddrs<Iter = vec::IntoIter<SocketAddr>> + Send + 'static,
    ) -> Self {
        let task = Handle::current().spawn_blocking(move || name.to_socket_addrs());
        Resolving::LookingUp(task.abort_on_drop())
    }
}

macro_rules! addresses {
    ($($ty:ty: |$this:ident| $resolving:expr;)*) => {$(
        impl ToSocketAddrs for $ty {}

        impl sealed::Resolve for $ty {
            fn resolve(&self) -> Resolving {
                let $this = self;
                $resolving
            }
        }
    )*};
}

addresses! {
    SocketAddr: |addr| Resolving::one(*addr);
    SocketAddrV4: |addr| Resolving::one((*addr).into());
    SocketAddrV6: |addr| Resolving::one((*addr).into());
    (IpAddr, u16): |pair| Resolving::one((*pair).into());
    (Ipv4Addr, u16): |pair| Resolving::one((*pair).into());
    (Ipv6Addr, u16): |pair| Resolving::one((*pair).into());
    [SocketAddr]: |addrs| Resolving::many(addrs.to_vec());
    str: |text| match text.parse() {
        Ok(addr) => Resolving::one(addr),
        Err(_) => Resolving::look_up(text.to_owned()),
    };
    (&str, u16): |pair| match pair.0.parse::<IpAddr>() {
        Ok(ip) => Resolving::one((ip, pair.1).into()),
        Err(_) => Resolving::look_up((pair.0.to_owned(), pair.1)),
    };
    String: |text| text.as_str().resolve();
    (String, u16): |pair| (pair.0.as_str(), pair.1).resolve();
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}

impl<T: ToSocketAddrs + ?Sized> sealed::Resolve for &T {
    fn resolve(&self) -> Resolving {
        T::resolve(self)
    }
}

/// The addresses that `target` stands for.
pub(super) fn resolve(target: &(impl ToSocketAddrs + ?Sized)) -> Resolving {
    target.resolve()
}

/// That there was no address to try.
pub(super) fn none() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")
}
