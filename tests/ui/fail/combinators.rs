//! Calls of the macros that combine futures which say nothing that could be run.

async fn no_branches() {
    runtime::select! {}
}

async fn nothing_but_biased() {
    runtime::select! { biased; }
}

async fn no_pattern() {
    runtime::select! { first() => {} }
}

async fn no_handler() {
    runtime::select! { n = first() }
}

async fn no_comma_before_the_condition() {
    runtime::select! { n = first() if true => n }
}

async fn else_in_the_middle() {
    runtime::select! {
        else => 1,
        n = first() => n,
    };
}

async fn biased_too_late() {
    runtime::select! {
        n = first() => n,
        biased;
    };
}

async fn nobody_in_the_race() {
    runtime::race!();
}

fn main() {}
