//! `race!`: several futures of one type in one task, until the first is ready.

/// Waits for several futures of one output type in this task, and gives the first output; the others are dropped.
///
/// Each poll begins with any of the futures, or, after `biased;`, with the first. They need be neither `Send` nor
/// `'static`. Any number from 1 to 64.
///
/// - **Drop**, **cancel**: all futures are dropped. So are the losers: what they had done is lost unless they are
///   cancel-safe.
/// - **Panic** of a future goes to the caller; the others are dropped.
///
/// An `Err` is an output like any other. For outputs of several types, and for conditions, see
/// [`select!`](crate::select).
///
/// ```
/// use std::time::Duration;
/// use runtime::time::sleep;
///
/// # runtime::block_on(async {
/// let (hare, tortoise) = (Duration::from_secs(60), Duration::from_millis(1));
/// let winner = runtime::race!(
///     async { sleep(hare).await; "hare" },
///     async { sleep(tortoise).await; "tortoise" },
/// );
/// assert_eq!(winner, "tortoise");
/// # });
/// ```
#[macro_export]
macro_rules! race {
    ($(biased;)?) => {
        ::core::compile_error!("race! needs at least one future: none would never be ready")
    };
    (biased; $($future:expr),+ $(,)?) => { $crate::__number!(__race from_first $($future),+) };
    ($($future:expr),+ $(,)?) => { $crate::__number!(__race from_any $($future),+) };
}

#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! __race {
    (@expand $mode:ident $((($i:tt $future:ident) ($f:expr)))+) => {{
        // One variable for each: of a tuple that is taken apart all is kept across the await.
        $(let $future = $f;)+
        let mut futures = ($($crate::__private::std_pin!($crate::__private::into_future($future)),)+);
        let branches = $crate::__private::count(&[$($i),+]);
        let output = $crate::__private::poll_fn(|cx: &mut ::core::task::Context<'_>| {
            if $crate::__private::must_give_way(cx) {
                return ::core::task::Poll::Pending;
            }
            let first = $crate::__private::$mode(0, branches);
            for turn in 0..branches {
                match (first + turn) % branches {
                    $(
                        $i => if let ::core::task::Poll::Ready(output) = $crate::__private::poll_in_turn(
                            ::core::pin::Pin::as_mut(&mut futures.$i),
                            cx,
                        ) {
                            $crate::__private::made_progress();
                            return ::core::task::Poll::Ready(output);
                        },
                    )+
                    _ => {}
                }
            }
            ::core::task::Poll::Pending
        })
        .await;
        output
    }};
}
