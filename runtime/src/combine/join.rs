//! `join!` and `try_join!`: several futures in one task, until all are ready.

/// Waits for several futures in this task, and gives a tuple of their outputs.
///
/// The futures take turns on one thread at a time; they need be neither `Send` nor `'static`, and may borrow. To run
/// them at the same time on several threads, spawn them: [`gather!`](crate::gather). Any number up to 64; none give `()`.
///
/// Each poll begins with another future than the last one, or, after `biased;`, always with the first.
///
/// - **Drop**, **cancel**: all futures, and the outputs that are there, are dropped.
/// - **Panic** of a future goes to the caller; the others are dropped.
/// - A future is dropped when it is ready, not when the last one is. Each wake-up polls all that are not ready: for
///   many, spawn tasks.
///
/// ```
/// # runtime::block_on(async {
/// let text = String::from("borrowed");
/// let (length, first) = runtime::join!(async { text.len() }, async { text.chars().next() });
/// assert_eq!((length, first), (8, Some('b')));
/// # });
/// ```
#[macro_export]
macro_rules! join {
    ($(biased;)?) => { () };
    (biased; $($future:expr),+ $(,)?) => { $crate::__number!(__join from_first $($future),+) };
    ($($future:expr),+ $(,)?) => { $crate::__number!(__join from_next $($future),+) };
}

/// Waits for several futures in this task, for a tuple of their values or the first error.
///
/// As [`join!`](crate::join) in all else. At the first `Err` the other futures and the values that are there are
/// dropped. All errors have one type.
///
/// ```
/// # runtime::block_on(async {
/// let parse = |text: &'static str| async move { text.parse::<u8>() };
/// assert_eq!(runtime::try_join!(parse("1"), parse("2")), Ok((1, 2)));
/// assert!(runtime::try_join!(parse("1"), parse("two"), std::future::pending::<Result<(), _>>()).is_err());
/// # });
/// ```
#[macro_export]
macro_rules! try_join {
    ($(biased;)?) => { ::core::result::Result::Ok(()) };
    (biased; $($future:expr),+ $(,)?) => { $crate::__number!(__try_join from_first $($future),+) };
    ($($future:expr),+ $(,)?) => { $crate::__number!(__try_join from_next $($future),+) };
}

#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! __join {
    (@expand $mode:ident $((($i:tt $future:ident) ($f:expr)))+) => {{
        // One variable for each: of a tuple that is taken apart all is kept across the await.
        $(let $future = $f;)+
        let mut futures = ($($crate::__private::std_pin!($crate::__private::MaybeDone::new($future)),)+);
        let branches = $crate::__private::count(&[$($i),+]);
        let mut first = 0;
        let outputs = $crate::__private::poll_fn(|cx: &mut ::core::task::Context<'_>| {
            if $crate::__private::must_give_way(cx) {
                return ::core::task::Poll::Pending;
            }
            let mut waiting = false;
            for turn in 0..branches {
                match (first + turn) % branches {
                    $(
                        $i => match $crate::__private::MaybeDone::poll_done(
                            ::core::pin::Pin::as_mut(&mut futures.$i),
                            cx,
                        ) {
                            ::core::task::Poll::Pending => waiting = true,
                            ::core::task::Poll::Ready(()) => {}
                        },
                    )+
                    _ => {}
                }
            }
            if waiting {
                first = $crate::__private::$mode(first, branches);
                return ::core::task::Poll::Pending;
            }
            $crate::__private::made_progress();
            ::core::task::Poll::Ready((
                $($crate::__private::MaybeDone::take(::core::pin::Pin::as_mut(&mut futures.$i)),)+
            ))
        })
        .await;
        outputs
    }};
}

#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! __try_join {
    (@expand $mode:ident $((($i:tt $future:ident) ($f:expr)))+) => {{
        // One variable for each: of a tuple that is taken apart all is kept across the await.
        $(let $future = $f;)+
        let mut futures = ($($crate::__private::std_pin!($crate::__private::MaybeDone::new($future)),)+);
        let branches = $crate::__private::count(&[$($i),+]);
        let mut first = 0;
        let values = $crate::__private::poll_fn(|cx: &mut ::core::task::Context<'_>| {
            if $crate::__private::must_give_way(cx) {
                return ::core::task::Poll::Pending;
            }
            let mut waiting = false;
            for turn in 0..branches {
                match (first + turn) % branches {
                    $(
                        $i => match $crate::__private::MaybeDone::poll_ok(
                            ::core::pin::Pin::as_mut(&mut futures.$i),
                            cx,
                        ) {
                            ::core::task::Poll::Pending => waiting = true,
                            ::core::task::Poll::Ready(::core::result::Result::Ok(())) => {}
                            ::core::task::Poll::Ready(::core::result::Result::Err(error)) => {
                                $crate::__private::made_progress();
                                return ::core::task::Poll::Ready(::core::result::Result::Err(error));
                            }
                        },
                    )+
                    _ => {}
                }
            }
            if waiting {
                first = $crate::__private::$mode(first, branches);
                return ::core::task::Poll::Pending;
            }
            $crate::__private::made_progress();
            ::core::task::Poll::Ready(::core::result::Result::Ok((
                $($crate::__private::MaybeDone::take_ok(::core::pin::Pin::as_mut(&mut futures.$i)),)+
            )))
        })
        .await;
        values
    }};
}
