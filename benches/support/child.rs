//! Runs this program again, as a child process that measures one thing.

use std::convert::Infallible;
use std::env;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Far above the second or less that a measurement takes: only a hang gets here.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Names the program that the client is, to a child that is another build: the client is the same for both.
const CLIENT: &str = "RUNTIME_BENCH_CLIENT";

/// What a child is, other than this program as it is.
#[derive(Clone, Debug)]
pub enum Variant {
    /// Another build of it.
    Build(PathBuf),
    /// This one, with a variable in its environment: the name and the value.
    Variable(String, String),
}

impl FromStr for Variant {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let variable = text.split_once('=').filter(|(name, _)| !name.contains('/'));
        Ok(variable.map_or_else(
            || Variant::Build(text.into()),
            |(name, value)| Variant::Variable(name.to_owned(), value.to_owned()),
        ))
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variant::Build(path) => path.display().fmt(f),
            Variant::Variable(name, value) => write!(f, "{name}={value}"),
        }
    }
}

/// Runs the current program with `args` and returns what it printed.
///
/// # Errors
/// If the child cannot be started, fails, or runs into the time limit, in which case it is killed.
pub fn run(args: &[String], workers: usize) -> Result<String, String> {
    finish(Command::new(own()?), args, workers)
}

/// As [`run`], for the client of a server: the same program whatever build the server is of.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_client(args: &[String]) -> Result<String, String> {
    let client = env::var_os(CLIENT).map_or_else(own, |path| Ok(path.into()))?;
    // The number of threads is for peers, of which the client has none.
    finish(Command::new(client), args, 1)
}

/// As [`run`], for one side of a pair: the given variant of the current program, or the program without it.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_side(
    args: &[String],
    workers: usize,
    variant: &Variant,
    has_it: bool,
) -> Result<String, String> {
    let own = own()?;
    let mut command = match variant {
        Variant::Build(path) if has_it => Command::new(path),
        _ => Command::new(&own),
    };
    if let Variant::Variable(name, value) = variant {
        if has_it {
            command.env(name, value)
        } else {
            command.env_remove(name)
        };
    }
    command.env(CLIENT, own);
    finish(command, args, workers)
}

fn own() -> Result<PathBuf, String> {
    env::current_exe().map_err(|error| format!("cannot find this program: {error}"))
}

fn finish(mut command: Command, args: &[String], workers: usize) -> Result<String, String> {
    let mut child = command
        .args(args)
        .env("SMOL_THREADS", workers.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start a child process: {error}"))?;
    let printed = output_within_limit(&mut child)?;
    let status = child.wait().map_err(|error| format!("cannot wait for the child: {error}"))?;
    check(status)?;
    Ok(printed)
}

/// Reads to the end of the child's output. The end comes when the child exits; a thread does the reading
/// because a pipe cannot be read with a time limit.
fn output_within_limit(child: &mut Child) -> Result<String, String> {
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut printed = String::new();
        let read: io::Result<String> = stdout.read_to_string(&mut printed).map(|_| printed);
        // The receiver is gone if the limit has passed.
        let _ = sender.send(read);
    });
    match receiver.recv_timeout(TIME_LIMIT) {
        Ok(read) => read.map_err(|error| format!("cannot read the child's output: {error}")),
        Err(_) => {
            // A child that has just exited cannot be killed, which is as good.
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("no result within {TIME_LIMIT:?}"))
        }
    }
}

fn check(status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("the child failed: {status}")) }
}
