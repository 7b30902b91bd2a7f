//! The halves of a stream, as a macro: borrowed ones that cost nothing, and owned ones that share the stream.

/// `ReadHalf`, `WriteHalf`, `OwnedReadHalf`, `OwnedWriteHalf` and `ReuniteError` for `$stream`, whose addresses are
/// `$addr`.
macro_rules! halves {
    ($stream:ident, $addr:ty) => {
        /// The reading half of a borrowed stream; made by `split`.
        #[derive(Debug)]
        pub struct ReadHalf<'a>(&'a $stream);

        /// The writing half of a borrowed stream; made by `split`.
        #[derive(Debug)]
        pub struct WriteHalf<'a>(&'a $stream);

        /// The reading half of a stream; made by `into_split`.
        ///
        /// Dropping it closes nothing: the socket is closed when both halves are gone.
        #[derive(Debug)]
        pub struct OwnedReadHalf(std::sync::Arc<$stream>);

        /// The writing half of a stream; made by `into_split`.
        ///
        /// Dropping it ends the writing, so that the other side reads the end; [`forget`](Self::forget) does not.
        #[derive(Debug)]
        pub struct OwnedWriteHalf {
            /// `None` only after `forget` and `reunite`.
            stream: Option<std::sync::Arc<$stream>>,
            birth: crate::fork::Birth,
        }

        /// The halves are not of the same stream; both come back.
        #[derive(Debug)]
        pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

        impl std::fmt::Display for ReuniteError {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the halves are not of the same stream")
            }
        }

        impl std::error::Error for ReuniteError {}

        impl OwnedReadHalf {
            /// Puts the stream together again.
            ///
            /// # Errors
            /// If the halves are not of the same stream; they are inside the error.
            pub fn reunite(self, other: OwnedWriteHalf) -> Result<$stream, ReuniteError> {
                reunite(self, other)
            }
        }

        impl OwnedWriteHalf {
            /// Puts the stream together again.
            ///
            /// # Errors
            /// If the halves are not of the same stream; they are inside the error.
            pub fn reunite(self, other: OwnedReadHalf) -> Result<$stream, ReuniteError> {
                reunite(other, self)
            }

            /// Drops the half without ending the writing.
            pub fn forget(mut self) {
                drop(self.stream.take());
            }

            fn stream(&self) -> &std::sync::Arc<$stream> {
                self.stream.as_ref().expect("only `forget` and `reunite` take it")
            }
        }

        impl Drop for OwnedWriteHalf {
            fn drop(&mut self) {
                if let Some(stream) = self.stream.take() {
                    if self.birth.is_lost() {
                        // The connection is the parent process's, which goes on writing.
                        return;
                    }
                    // A connection that is gone has nobody to tell.
                    let _ = crate::io::stream::shutdown_write(&*stream);
                }
            }
        }

        pub(super) fn split(stream: &mut $stream) -> (ReadHalf<'_>, WriteHalf<'_>) {
            (ReadHalf(stream), WriteHalf(stream))
        }

        pub(super) fn into_split(stream: $stream) -> (OwnedReadHalf, OwnedWriteHalf) {
            let stream = std::sync::Arc::new(stream);
            (OwnedReadHalf(stream.clone()), OwnedWriteHalf { stream: Some(stream), birth: crate::fork::Birth::now() })
        }

        fn reunite(read: OwnedReadHalf, mut write: OwnedWriteHalf) -> Result<$stream, ReuniteError> {
            if !std::sync::Arc::ptr_eq(&read.0, write.stream()) {
                return Err(ReuniteError(read, write));
            }
            drop(write.stream.take());
            Ok(std::sync::Arc::into_inner(read.0).expect("the halves are the only two owners"))
        }

        crate::net::split::halves!(@half ReadHalf<'_>, $stream, $addr, |half| half.0, read_methods peek_methods);
        crate::net::split::halves!(@half OwnedReadHalf, $stream, $addr, |half| &half.0, read_methods peek_methods);
        crate::net::split::halves!(@half WriteHalf<'_>, $stream, $addr, |half| half.0, write_methods shutdown_methods);
        crate::net::split::halves!(
            @half OwnedWriteHalf, $stream, $addr, |half| half.stream(), write_methods shutdown_methods
        );
    };
    (@half $half:ty, $stream:ident, $addr:ty, |$this:ident| $inner:expr, $($methods:ident)+) => {
        impl $half {
            $(crate::net::methods::$methods!();)+
            crate::net::methods::ready_methods!();

            /// The address of the other side.
            ///
            /// # Errors
            /// If the socket is not connected any more.
            pub fn peer_addr(&self) -> std::io::Result<$addr> {
                let $this = self;
                $inner.peer_addr()
            }

            /// The address of this side.
            ///
            /// # Errors
            /// Those of the system.
            pub fn local_addr(&self) -> std::io::Result<$addr> {
                let $this = self;
                $inner.local_addr()
            }
        }

        impl AsRef<$stream> for $half {
            fn as_ref(&self) -> &$stream {
                let $this = self;
                $inner
            }
        }

        impl crate::io::stream::ByteStream for $half {
            type Io = <$stream as crate::io::stream::ByteStream>::Io;
            type Calls = <$stream as crate::io::stream::ByteStream>::Calls;
            const SHORT_READ_DRAINS: bool =
                <$stream as crate::io::stream::ByteStream>::SHORT_READ_DRAINS;

            fn evented(&self) -> &crate::io::Evented<Self::Io> {
                let $this = self;
                $inner.evented()
            }
        }
    };
}

pub(super) use halves;
