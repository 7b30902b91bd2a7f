//! Numbers for the arguments of a macro, which a `macro_rules` cannot count by itself.

/// Calls the macro `then` with `((index name) (argument))` for each argument; the name is free for a variable.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! __number {
    ($then:ident $mode:ident $($f:expr),+) => {
        $crate::__number!(@next $then $mode [] [
            (0 f0) (1 f1) (2 f2) (3 f3) (4 f4) (5 f5) (6 f6) (7 f7) (8 f8) (9 f9) (10 f10) (11 f11) (12 f12)
            (13 f13) (14 f14) (15 f15) (16 f16) (17 f17) (18 f18) (19 f19) (20 f20) (21 f21) (22 f22) (23 f23)
            (24 f24) (25 f25) (26 f26) (27 f27) (28 f28) (29 f29) (30 f30) (31 f31) (32 f32) (33 f33) (34 f34)
            (35 f35) (36 f36) (37 f37) (38 f38) (39 f39) (40 f40) (41 f41) (42 f42) (43 f43) (44 f44) (45 f45)
            (46 f46) (47 f47) (48 f48) (49 f49) (50 f50) (51 f51) (52 f52) (53 f53) (54 f54) (55 f55) (56 f56)
            (57 f57) (58 f58) (59 f59) (60 f60) (61 f61) (62 f62) (63 f63)
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
