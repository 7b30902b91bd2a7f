//! A child of an async group may go on while its group's future is forgotten, so it may not borrow.

async fn total(lines: &[String]) -> usize {
    let counted = runtime::task_group(|group| async move {
        let task = group.spawn(async { Ok::<_, std::io::Error>(lines.len()) });
        Ok(task.await.unwrap())
    });
    counted.await.unwrap().flatten().unwrap_or(0)
}

async fn local() {
    let names = vec![String::from("one")];
    let group = runtime::task_group(|group| {
        let names = &names;
        async move {
            group.spawn(async { Ok::<_, std::io::Error>(names.len()) });
            Ok(())
        }
    });
    group.await.unwrap();
}

fn main() {
    runtime::block_on(total(&[]));
    runtime::block_on(local());
}
