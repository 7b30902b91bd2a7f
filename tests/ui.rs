//! What the attributes and the macros accept and how they refuse the rest, and what the borrow checker refuses: `ui/pass`
//! compiles and runs, `ui/fail` fails with the message in the `.stderr` file beside it.
//!
//! `TRYBUILD=overwrite cargo test -p runtime-tests --test ui` writes the messages anew; read the diff. Only
//! `type_mismatch.stderr`, `group_borrow.stderr` and `scope_borrow.stderr` hold messages of rustc's own, and change with
//! its version.

#[test]
fn attributes_accept_and_refuse_as_documented() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
