//! Sums every file of a folder with SHA-256: the runtime on real input, from the command line to the exit code.
//!
//! ```sh
//! cargo run --release --example digest                       # the sources of this repository
//! cargo run --release --example digest -- --jobs 8 FOLDER
//! cargo run --release --example digest -- --list FOLDER      # the lines that sha256sum prints
//! ```
//!
//! - Reading a file blocks, so it is a job for the blocking pool (`spawn_blocking`); the workers stay free.
//! - A folder may hold a million files, so only so many are open at a time (`map_concurrent`).
//! - A collector task keeps a promise with the summary; `main` awaits the promise's future, and would hear of a
//!   collector that died instead of waiting for ever.
//!
//! What cannot be read is reported and the rest still summed. The exit code is 0 if every file was read, 1 if one was
//! not, 2 for a wrong command line or a folder that is not there.
//!
//! The last digest is that of the whole list, the same as `--list FOLDER | sha256sum` gives: folders with equal names
//! and contents have equal digests. With `--list` the report goes to stderr, and what is on stdout can be given to
//! `sha256sum --check` inside the folder.

use std::ffi::OsString;
use std::fs::{self, DirEntry, File, FileType};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use runtime::Promise;
use sha2::{Digest, Sha256};

const USAGE: &str = "\
usage: digest [--jobs N] [--list] [FOLDER]

  FOLDER     what to sum; without it, the sources of this repository
  --jobs N   read at most N files at a time (default: four for each processor)
  --list     print the digest of each file, as sha256sum does
";

#[runtime::main]
async fn main() -> ExitCode {
    match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => digest(Arc::new(options)).await,
        Ok(None) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprint!("digest: {reason}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Walks, sums, reports.
async fn digest(options: Arc<Options>) -> ExitCode {
    let start = Instant::now();
    // Listing folders blocks as reading files does.
    let walk = runtime::spawn_blocking({
        let options = Arc::clone(&options);
        move || Walk::of(&options)
    });
    let walk = match walk.await.unwrap_or_else(|error| Err(error.into())) {
        Ok(walk) => walk,
        Err(error) => {
            eprintln!("digest: cannot read the folder {}: {error}", options.folder.display());
            return ExitCode::from(2);
        }
    };

    let (promise, summary) = Promise::new();
    // Detached: what it has to say comes through the promise.
    runtime::spawn(collect(Arc::clone(&options), walk, promise));
    // By reference, because a summary is large and need not be `Clone`.
    match (&summary).await {
        Ok(summary) => summary.report(&options, start.elapsed()),
        Err(error) => {
            eprintln!("digest: no summary: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sums the files that the walk found and keeps the promise.
async fn collect(options: Arc<Options>, walk: Walk, promise: Promise<Summary>) {
    // Draws on stderr, and only if that is a terminal.
    let bar = ProgressBar::new(walk.files.len() as u64);
    let sums = runtime::map_concurrent(walk.files.clone(), options.jobs, |name| {
        sum_on_the_pool(options.folder.join(name), bar.clone())
    });
    let sums = sums.await;
    bar.finish_and_clear();

    let mut summary = Summary { sums: Vec::new(), failures: walk.failures, skipped: walk.skipped };
    // The results stand in the order of the items.
    for (name, sum) in walk.files.into_iter().zip(sums) {
        match sum.unwrap_or_else(|error| Err(error.into())) {
            Ok(sum) => summary.sums.push((name, sum)),
            Err(error) => summary.failures.push((name, error)),
        }
    }
    summary.failures.sort_by(|(a, _), (b, _)| a.cmp(b));
    // Comes back only if the reader had cancelled, and then nobody wants it.
    let _ = promise.set_result(summary);
}

async fn sum_on_the_pool(path: PathBuf, bar: ProgressBar) -> io::Result<Sum> {
    let sum = runtime::spawn_blocking(move || Sum::of(&path)).await;
    bar.inc(1);
    // Two things can fail: the job (it panicked, the runtime was shut down) and the reading.
    sum?
}

/// The command line.
struct Options {
    folder: PathBuf,
    /// The folder is the repository's own, where builds and history are no sources.
    own_sources: bool,
    jobs: usize,
    list: bool,
}

impl Options {
    /// `None` is a request for help.
    fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
        let (mut folder, mut jobs, mut list) = (None, None, false);
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--list") => list = true,
                Some("--jobs") => jobs = Some(parse_jobs(args.next())?),
                Some(option) if option.starts_with('-') => return Err(format!("unknown option {option}")),
                _ if folder.is_some() => {
                    return Err(format!("one folder at a time, and {} is the second", arg.to_string_lossy()));
                }
                _ => folder = Some(PathBuf::from(arg)),
            }
        }
        Ok(Some(Options {
            own_sources: folder.is_none(),
            folder: folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("..")),
            jobs: jobs.unwrap_or_else(default_jobs),
            list,
        }))
    }
}

fn parse_jobs(arg: Option<OsString>) -> Result<usize, String> {
    let arg = arg.ok_or("--jobs takes a number")?;
    match arg.to_str().map(str::parse) {
        Some(Ok(jobs)) if jobs > 0 => Ok(jobs),
        _ => Err(format!("--jobs takes a number from 1 up, not {}", arg.to_string_lossy())),
    }
}

/// More than one for each processor, because a file that is not cached leaves its processor idle.
fn default_jobs() -> usize {
    4 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a folder holds; all names are relative to it.
#[derive(Default)]
struct Walk {
    /// Sorted, so that the list does not depend on the file system.
    files: Vec<PathBuf>,
    skipped: Vec<(PathBuf, &'static str)>,
    failures: Vec<(PathBuf, io::Error)>,
}

impl Walk {
    /// Fails only if the folder itself cannot be listed; anything below is one failure among others.
    fn of(options: &Options) -> io::Result<Walk> {
        let mut walk = Walk::default();
        let mut folders = Vec::new();
        walk.visit(options, Path::new(""), &mut folders)?;
        while let Some(folder) = folders.pop() {
            if let Err(error) = walk.visit(options, &folder, &mut folders) {
                walk.failures.push((folder, error));
            }
        }
        walk.files.sort_by(|a, b| as_bytes(a).cmp(as_bytes(b)));
        walk.skipped.sort();
        Ok(walk)
    }

    fn visit(&mut self, options: &Options, folder: &Path, folders: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(options.folder.join(folder))? {
            let entry = entry?;
            let name = folder.join(entry.file_name());
            match Kind::of(&entry) {
                Ok(Kind::File) => self.files.push(name),
                Ok(Kind::Folder) if options.own_sources && is_made_by_tools(&name) => {}
                Ok(Kind::Folder) => folders.push(name),
                Ok(Kind::Other(what)) => self.skipped.push((name, what)),
                Err(error) => self.failures.push((name, error)),
            }
        }
        Ok(())
    }
}

/// True for `.git`, and for `target` and its variants such as `target-asan`.
fn is_made_by_tools(name: &Path) -> bool {
    let name = name.to_string_lossy();
    name == ".git" || name == "target" || name.starts_with("target-")
}

enum Kind {
    File,
    Folder,
    Other(&'static str),
}

impl Kind {
    /// Follows a link to a file, as sha256sum does, but not to a folder: that may lead in a circle.
    fn of(entry: &DirEntry) -> io::Result<Kind> {
        let own = entry.file_type()?;
        if !own.is_symlink() {
            return Ok(Kind::of_type(own));
        }
        match Kind::of_type(fs::metadata(entry.path())?.file_type()) {
            Kind::Folder => Ok(Kind::Other("a link to a folder")),
            kind => Ok(kind),
        }
    }

    fn of_type(file_type: FileType) -> Kind {
        if file_type.is_file() {
            Kind::File
        } else if file_type.is_dir() {
            Kind::Folder
        } else {
            // Reading one of these may never end.
            Kind::Other(name_of_special(file_type))
        }
    }
}

#[cfg(unix)]
fn name_of_special(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;

    if file_type.is_fifo() {
        "a FIFO"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn name_of_special(_: FileType) -> &'static str {
    "not a regular file"
}

/// What reading one file gave.
struct Sum {
    /// Lowercase hexadecimal.
    digest: String,
    bytes: u64,
    time: Duration,
}

impl Sum {
    /// Bounds the memory in use to `--jobs` times this, however large the files. Measured with 16 to 512 KiB: less is
    /// slower on large files, more is slower on the many small ones.
    const PIECE: usize = 64 * 1024;

    /// Reads the file to its end. Blocks.
    fn of(path: &Path) -> io::Result<Sum> {
        let start = Instant::now();
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut bytes = 0;
        let mut piece = vec![0; Sum::PIECE];
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&piece[..n]);
                    bytes += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Sum { digest: format!("{:x}", hasher.finalize()), bytes, time: start.elapsed() })
    }
}

/// All there is to tell.
struct Summary {
    /// By name.
    sums: Vec<(PathBuf, Sum)>,
    skipped: Vec<(PathBuf, &'static str)>,
    failures: Vec<(PathBuf, io::Error)>,
}

impl Summary {
    fn report(&self, options: &Options, time: Duration) -> ExitCode {
        for (name, what) in &self.skipped {
            eprintln!("digest: skipped {}: {what}", options.folder.join(name).display());
        }
        for (name, error) in &self.failures {
            eprintln!("digest: cannot read {}: {error}", options.folder.join(name).display());
        }
        let printed = if options.list {
            self.print_list(io::stdout().lock()).and_then(|()| self.print_totals(io::stderr().lock(), time))
        } else {
            self.print_totals(io::stdout().lock(), time)
        };
        if let Err(error) = &printed {
            eprintln!("digest: cannot print the result: {error}");
        }
        if printed.is_ok() && self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn print_list(&self, out: impl Write) -> io::Result<()> {
        let mut out = io::BufWriter::new(out);
        for (name, sum) in &self.sums {
            out.write_all(&list_line(name, sum))?;
        }
        out.flush()
    }

    fn print_totals(&self, mut out: impl Write, time: Duration) -> io::Result<()> {
        let bytes: u64 = self.sums.iter().map(|(_, sum)| sum.bytes).sum();
        let seconds = time.as_secs_f64();
        writeln!(out, "files:   {}", self.sums.len())?;
        if !self.failures.is_empty() {
            writeln!(out, "failed:  {}", self.failures.len())?;
        }
        writeln!(out, "bytes:   {bytes}")?;
        writeln!(out, "time:    {seconds:.3} s")?;
        writeln!(out, "speed:   {:.1} MB/s", bytes as f64 / 1e6 / seconds)?;
        writeln!(out, "digest:  {}", self.digest())?;
        for (place, (name, sum)) in self.slowest().enumerate() {
            if place == 0 {
                writeln!(out, "slowest:")?;
            }
            writeln!(out, "{:>10.3} ms  {}", sum.time.as_secs_f64() * 1e3, name.display())?;
        }
        Ok(())
    }

    /// The digest of the list.
    fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, sum) in &self.sums {
            hasher.update(list_line(name, sum));
        }
        format!("{:x}", hasher.finalize())
    }

    fn slowest(&self) -> impl Iterator<Item = &(PathBuf, Sum)> {
        let mut by_time: Vec<_> = self.sums.iter().collect();
        by_time.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.time));
        by_time.into_iter().take(5)
    }
}

/// A line of sha256sum's: in a name, a backslash or the end of a line is escaped, and a backslash in front of the
/// whole line says so.
fn list_line(name: &Path, sum: &Sum) -> Vec<u8> {
    let mut line = Vec::new();
    let mut escaped = false;
    line.extend_from_slice(sum.digest.as_bytes());
    line.extend_from_slice(b"  ");
    for &byte in as_bytes(name) {
        let escape: Option<&[u8]> = match byte {
            b'\\' => Some(b"\\\\"),
            b'\n' => Some(b"\\n"),
            b'\r' => Some(b"\\r"),
            _ => None,
        };
        escaped |= escape.is_some();
        line.extend_from_slice(escape.unwrap_or(&[byte]));
    }
    line.push(b'\n');
    if escaped {
        line.insert(0, b'\\');
    }
    line
}

/// The name as the system has it, which need not be UTF-8.
fn as_bytes(name: &Path) -> &[u8] {
    name.as_os_str().as_encoded_bytes()
}
