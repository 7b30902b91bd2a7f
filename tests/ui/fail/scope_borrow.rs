//! A closure of a scope may borrow what outlives the scope, and not what lives inside it.

fn main() {
    runtime::scope(|s| {
        let inside = String::from("gone before the closure");
        s.spawn(|| inside.len());
    });

    let mut handle = None;
    runtime::scope(|s| handle = Some(s.spawn(|| 1)));
}
