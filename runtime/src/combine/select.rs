//! `select!`: several futures in one task, until the first one is ready that somebody wants.
//!
//! A `macro_rules` and no procedural macro, although that would point its own messages at the token in question. In
//! exchange it works without the feature `macros` and through any re-export of the crate, needs no parser, and each
//! piece of the user's stands in the expansion as it was written, so that rustc's messages point at it. Handlers stand
//! in no loop and no closure of ours: `break`, `?` and `.await` mean in them what they mean around the macro.
//!
//! Whether an output fits its pattern has to be known before it is given to the handler, and without moving it. A guard
//! that is always false does that, for any pattern: it runs when the pattern fits, before anything is moved.

/// Waits for several futures in this task, and handles the first output that fits its pattern; the others are dropped.
///
/// ```text
/// select! {
///     biased;                                          // optional: from top to bottom
///     pattern = future => handler,
///     pattern = future, if precondition => handler,
///     else => handler,                                 // optional
/// }
/// ```
///
/// 1. The preconditions are evaluated; a branch whose precondition is false is disabled. Then all the future
///    expressions are, those of disabled branches too, whose futures are never polled.
/// 2. The futures are polled in turn, from a random one on, or from the first one with `biased;`.
/// 3. When one is ready and its output fits the pattern, all futures are dropped and the handler runs. If the output
///    does not fit, it is dropped, the branch is disabled and the others go on.
/// 4. With all branches disabled `else` runs.
///
/// The value is that of the handler that ran. The futures need be neither `Send` nor `'static`: they may borrow, and
/// handlers may use what the futures borrowed. At most 64 branches. A handler that is a block needs no comma after it.
///
/// In a loop, a future that shall go on where it was stands outside, and in the branch by `&mut`, after
/// [`pin!`](crate::pin).
///
/// - **Drop**, **cancel**: the futures are dropped with the macro's. A branch that loses is dropped at its await point:
///   what it had done until then is lost unless the future is cancel-safe.
/// - **Panic** of a future or a handler goes to the caller; the futures are dropped.
/// - **Fairness**: without `biased;` each branch is first equally often. A branch that is ready, whether its output fits
///   or not, takes one unit of the task's [budget](crate::task::coop), and so does `else`, unless it stands alone: a
///   `select!` in a loop gives way to other tasks. A branch that uses the budget up does not keep the others from being seen.
///
/// # Panics
/// If all branches are disabled and there is no `else`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use runtime::time::sleep;
///
/// # runtime::block_on(async {
/// let answer = runtime::spawn(async { 42 });
/// let text = runtime::select! {
///     Ok(number) = answer => format!("the answer is {number}"),
///     _ = sleep(Duration::from_secs(5)) => "too late".to_owned(),
/// };
/// assert_eq!(text, "the answer is 42");
/// # });
/// ```
///
/// In a loop, until both have ended:
/// ```
/// # runtime::block_on(async {
/// let one = async { 1 };
/// let two = async { 2 };
/// runtime::pin!(one, two);
/// let (mut sum, mut first, mut second) = (0, true, true);
/// loop {
///     runtime::select! {
///         n = &mut one, if first => { sum += n; first = false }
///         n = &mut two, if second => { sum += n; second = false }
///         else => break,
///     }
/// }
/// assert_eq!(sum, 3);
/// # });
/// ```
#[macro_export]
macro_rules! select {
    () => {
        ::core::compile_error!("select! needs at least one branch: `pattern = future => handler`")
    };
    (biased;) => {
        ::core::compile_error!("select! needs at least one branch: `pattern = future => handler`")
    };
    (biased; $($branches:tt)+) => {
        $crate::__select!(@from_first $($branches)+)
    };
    ($($branches:tt)+) => {
        $crate::__select!(@from_any $($branches)+)
    };
}

/// `@munch` takes branch after branch and numbers them; `@expand` is the code.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! __select {
    (@munch $mode:ident $done:tt $free:tt else => $h:expr $(,)?) => {
        $crate::__select!(@expand $mode $done $h)
    };
    (@munch $mode:ident $done:tt $free:tt) => {
        $crate::__select!(@expand $mode $done
            ::core::panic!("all branches of this select! are disabled, and it has no else branch"))
    };
    (@munch $mode:ident $done:tt $free:tt else => $($rest:tt)*) => {
        ::core::compile_error!("select!: `else => handler` is the last branch, and there is one at most")
    };
    (@munch $mode:ident $done:tt [] $($rest:tt)+) => {
        ::core::compile_error!("select! takes at most 64 branches")
    };
    (@munch $mode:ident $done:tt $free:tt biased; $($rest:tt)*) => {
        ::core::compile_error!("select!: `biased;` stands before the first branch")
    };

    (@munch $mode:ident [$($done:tt)*] [$slot:tt $($free:tt)*] $p:pat = $f:expr, if $c:expr => $h:block, $($rest:tt)*) => {
        $crate::__select!(@munch $mode [$($done)* ($slot ($p) ($f) ($c) ($h))] [$($free)*] $($rest)*)
    };
    (@munch $mode:ident [$($done:tt)*] [$slot:tt $($free:tt)*] $p:pat = $f:expr => $h:block, $($rest:tt)*) => {
        $crate::__select!(@munch $mode [$($done)* ($slot ($p) ($f) (true) ($h))] [$($free)*] $($rest)*)
    };
    (@munch $mode:ident [$($done:tt)*] [$slot:tt $($free:tt)*] $p:pat = $f:expr, if $c:expr => $h:block $($rest:tt)*) => {
        $crate::__select!(@munch $mode [$($done)* ($slot ($p) ($f) ($c) ($h))] [$($free)*] $($rest)*)
    };
    (@munch $mode:ident [$($done:tt)*] [$slot:tt $($free:tt)*] $p:pat = $f:expr => $h:block $($rest:tt)*) => {
        $crate::__select!(@munch $mode [$($done)* ($slot ($p) ($f) (true) ($h))] [$($free)*] $($rest)*)
    };
    (@munch $mode:ident [$($done:tt)*] [$slot:tt $($free:tt)*] $p:pat = $f:expr, if $c:expr => $h:expr) => {
        $crate::__select!(@munch $mode [$($done)* ($slot ($p) ($f) ($c) ($h))] [$($free)*])
    };
    (@munch $mode:ident [$($done:tt)*] [$slot:tt $($free:tt)*] $p:pat = $f:expr => $h:expr) => {
        $crate::__select!(@munch $mode [$($done)* ($slot ($p) ($f) (true) ($h))] [$($free)*])
    };
    (@munch $mode:ident [$($done:tt)*] [$slot:tt $($free:tt)*] $p:pat = $f:expr, if $c:expr => $h:expr, $($rest:tt)*) => {
        $crate::__select!(@munch $mode [$($done)* ($slot ($p) ($f) ($c) ($h))] [$($free)*] $($rest)*)
    };
    (@munch $mode:ident [$($done:tt)*] [$slot:tt $($free:tt)*] $p:pat = $f:expr => $h:expr, $($rest:tt)*) => {
        $crate::__select!(@munch $mode [$($done)* ($slot ($p) ($f) (true) ($h))] [$($free)*] $($rest)*)
    };
    (@munch $mode:ident $done:tt $free:tt $($rest:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "select!: expected `pattern = future => handler` or `pattern = future, if condition => handler`, found `",
            ::core::stringify!($($rest)+), "`"
        ))
    };

    // Nothing but `else`.
    (@expand $mode:ident [] $else:expr) => {
        $else
    };
    (@expand $mode:ident [$((($i:tt $v:ident $future:ident $any:tt) ($p:pat) ($f:expr) ($c:expr) ($h:expr)))+] $else:expr) => {{
        let chosen = {
            let mut off = 0_u64;
            $(
                let enabled: $crate::__private::Bool = $c;
                if !enabled {
                    off |= 1 << $i;
                }
            )+
            // One variable for each: of a tuple that is taken apart all is kept across the await.
            $(let $future = $f;)+
            let mut futures = ($($crate::__private::std_pin!($crate::__private::into_future($future)),)+);
            let branches = $crate::__private::count(&[$($i),+]);
            let chosen = $crate::__private::poll_fn(
                |cx: &mut ::core::task::Context<'_>| -> ::core::task::Poll<$crate::__private::Selected<$($any),+>> {
                    if $crate::__private::must_give_way(cx) {
                        return ::core::task::Poll::Pending;
                    }
                    let first = $crate::__private::$mode(0, branches);
                    let mut waiting = false;
                    for turn in 0..branches {
                        match (first + turn) % branches {
                            $(
                                $i if off & (1 << $i) == 0 => {
                                    match $crate::__private::poll_in_turn(
                                        ::core::pin::Pin::as_mut(&mut futures.$i),
                                        cx,
                                    ) {
                                        ::core::task::Poll::Pending => waiting = true,
                                        ::core::task::Poll::Ready(output) => {
                                            off |= 1 << $i;
                                            // Also if it does not fit: a loop may never meet one that does.
                                            $crate::__private::made_progress();
                                            let mut fits = false;
                                            #[allow(unused_variables, unused_mut)]
                                            match output {
                                                $p if { fits = true; false } => ::core::unreachable!(),
                                                _ => {}
                                            }
                                            if fits {
                                                return ::core::task::Poll::Ready(
                                                    $crate::__private::Selected::$v(output),
                                                );
                                            }
                                        }
                                    }
                                }
                            )+
                            _ => {}
                        }
                    }
                    if waiting {
                        ::core::task::Poll::Pending
                    } else {
                        $crate::__private::made_progress();
                        ::core::task::Poll::Ready($crate::__private::Selected::Disabled)
                    }
                },
            )
            .await;
            chosen
        };
        match chosen {
            $($crate::__private::Selected::$v($p) => $h,)+
            $crate::__private::Selected::Disabled => $else,
            #[allow(unreachable_patterns)]
            _ => ::core::unreachable!("an output that did not fit was given to a handler"),
        }
    }};

    (@from_first $($branches:tt)+) => {
        $crate::__select!(@number from_first $($branches)+)
    };
    (@from_any $($branches:tt)+) => {
        $crate::__select!(@number from_any $($branches)+)
    };
    (@number $mode:ident $($branches:tt)+) => {
        $crate::__select!(@munch $mode [] [
            (0 V0 f0 _) (1 V1 f1 _) (2 V2 f2 _) (3 V3 f3 _) (4 V4 f4 _) (5 V5 f5 _) (6 V6 f6 _) (7 V7 f7 _)
            (8 V8 f8 _) (9 V9 f9 _) (10 V10 f10 _) (11 V11 f11 _) (12 V12 f12 _) (13 V13 f13 _) (14 V14 f14 _)
            (15 V15 f15 _) (16 V16 f16 _) (17 V17 f17 _) (18 V18 f18 _) (19 V19 f19 _) (20 V20 f20 _) (21 V21 f21 _)
            (22 V22 f22 _) (23 V23 f23 _) (24 V24 f24 _) (25 V25 f25 _) (26 V26 f26 _) (27 V27 f27 _) (28 V28 f28 _)
            (29 V29 f29 _) (30 V30 f30 _) (31 V31 f31 _) (32 V32 f32 _) (33 V33 f33 _) (34 V34 f34 _) (35 V35 f35 _)
            (36 V36 f36 _) (37 V37 f37 _) (38 V38 f38 _) (39 V39 f39 _) (40 V40 f40 _) (41 V41 f41 _) (42 V42 f42 _)
            (43 V43 f43 _) (44 V44 f44 _) (45 V45 f45 _) (46 V46 f46 _) (47 V47 f47 _) (48 V48 f48 _) (49 V49 f49 _)
            (50 V50 f50 _) (51 V51 f51 _) (52 V52 f52 _) (53 V53 f53 _) (54 V54 f54 _) (55 V55 f55 _) (56 V56 f56 _)
            (57 V57 f57 _) (58 V58 f58 _) (59 V59 f59 _) (60 V60 f60 _) (61 V61 f61 _) (62 V62 f62 _) (63 V63 f63 _)
        ] $($branches)+)
    };
}
