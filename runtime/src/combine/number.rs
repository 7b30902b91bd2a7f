//! Numbers for the arguments of a macro, which a `macro_rules` cannot count by itself.

/// Calls the macro `then` with `(index (argument))` for each argument.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! __number {
    ($then:ident $mode:ident $($f:expr),+) => {
        $crate::__number!(@next $then $mode [] [
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35
            36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
        ] $(($f))+)
    };
    (@next $then:ident $mode:ident [$($done:tt)+] $free:tt) => {
        $crate::$then!(@expand $mode $($done)+)
    };
    (@next $then:ident $mode:ident [$($done:tt)*] [$i:tt $($free:tt)*] $f:tt $($rest:tt)*) => {
        $crate::__number!(@next $then $mode [$($done)* ($i $f)] [$($free)*] $($rest)*)
    };
    (@next $then:ident $mode:ident $done:tt [] $($rest:tt)+) => {
        ::core::compile_error!("at most 64 futures in one macro; gather_all takes any number of tasks")
    };
}
