//! The examples do what their first lines say: output, messages and exit codes of the programs themselves.
//!
//! The known digests are published test vectors of SHA-256, so nothing here computes what it compares with.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

const SHA_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SHA_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// Of "a", a million times: more than one piece, and the last one not full.
const SHA_OF_A_MILLION: &str = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

// --- the programs ---

/// The folder with the built examples: `RUNTIME_EXAMPLES` for a lane that builds for a target or with flags of its own,
/// else wherever cargo puts them, built once for all tests.
fn built_examples() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::var_os("RUNTIME_EXAMPLES").map_or_else(build_examples, PathBuf::from))
}

fn build_examples() -> PathBuf {
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
        .args(["--package=runtime", "--features=macros"])
        .args(["--example=hello", "--example=listener", "--example=digest", "--example=asyncio_side_by_side"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(build.status.success(), "the examples do not build");
    let messages = String::from_utf8(build.stdout).expect("cargo's messages are UTF-8");
    // One message for each program names the file; a JSON parser for this one field would be a dependency more.
    let (_, rest) = messages.rsplit_once("\"executable\":\"").expect("cargo names what it built");
    let (executable, _) = rest.split_once('"').expect("the name ends");
    Path::new(executable).parent().expect("a file is in a folder").to_owned()
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// The rest of the line of the report that starts with `label`.
    fn value(&self, label: &str) -> Option<&str> {
        self.stdout.lines().find_map(|line| line.strip_prefix(label)).map(str::trim)
    }
}

/// The program, ended by force after a minute, so that one that hangs fails its test and does not hold up the rest.
fn program(name: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "60"]).arg(built_examples().join(name));
    command
}

fn run(name: &str, args: &[&str]) -> Ran {
    let output = program(name).args(args).output().expect("the example starts");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("the output is UTF-8"),
        stderr: without_stalls(&String::from_utf8(output.stderr).expect("the messages are UTF-8")),
    }
}

/// What the program says itself: it was built with debug assertions, so that its runtime reports each poll that a busy
/// machine draws out.
fn without_stalls(stderr: &str) -> String {
    stderr.split_inclusive('\n').filter(|line| !line.starts_with("runtime: poll of task ")).collect()
}

fn digest(args: &[&str]) -> Ran {
    run("digest", args)
}

// --- the folders ---

/// A folder of the test's own, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Not cargo's folder for test files: the path of a socket must be shorter than 108 bytes.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("runtime-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }

    /// Three files of known digests, one empty, one of several pieces, one in a folder of a folder.
    fn with_known_files() -> Folder {
        let folder = Folder::new();
        folder.write("empty", "");
        folder.write("inner/most/abc", "abc");
        folder.write("million", &"a".repeat(1_000_000));
        folder
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("the folder")).expect("the folders above the file");
        fs::write(path, content).expect("the file");
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the name is ASCII")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn known_list() -> String {
    format!("{SHA_OF_NOTHING}  empty\n{SHA_OF_ABC}  inner/most/abc\n{SHA_OF_A_MILLION}  million\n")
}

// --- hello, listener ---

#[test]
fn hello_shows_each_kind_once() {
    let expected =
        "coroutine: 9\ntask: 16\npromise: 42 and 42\nsum of 1000 tasks: 333833500\ncancelled: true\n";
    assert_eq!(run("hello", &[]).stdout, expected);
}

#[test]
fn hello_reports_nothing_on_stderr() {
    assert_eq!(run("hello", &[]).stderr, "");
}

#[test]
fn the_listener_gives_every_request_its_own_reply() {
    let replies = "first:   ONE\nsecond:  TWO\nthird:   THREE\n";
    assert!(run("listener", &[]).stdout.starts_with(replies));
}

#[test]
fn the_listener_ignores_the_late_reply_to_a_cancelled_request() {
    let ran = run("listener", &[]);
    assert_eq!(ran.value("fourth:"), Some("cancelled"));
    assert_eq!(ran.value("replies arrived in the order"), Some("[3, 2, 1, 4, 5]; nobody wanted [4]"));
}

#[test]
fn the_listener_fails_what_is_pending_when_the_server_hangs_up() {
    let ran = run("listener", &[]);
    for request in ["sixth:", "seventh:", "eighth:"] {
        assert_eq!(ran.value(request), Some("ConnectionReset: the server hung up"), "{request}");
    }
}

#[test]
fn the_listener_reports_nothing_on_stderr_and_exits_with_0() {
    let ran = run("listener", &[]);
    assert_eq!((ran.stderr.as_str(), ran.code), ("", Some(0)));
}

// --- asyncio_side_by_side ---

#[test]
fn side_by_side_runs_every_program_on_both_sides() {
    let ran = run("asyncio_side_by_side", &[]);
    let count = |line| ran.stdout.lines().filter(|found| *found == line).count();
    assert_eq!((count("  asyncio prints"), count("  ours prints")), (8, 8));
    assert_eq!((ran.stderr.as_str(), ran.code), ("", Some(0)));
}

#[test]
fn side_by_side_shows_what_a_failure_in_a_gather_does_to_the_others() {
    let sides = "  asyncio prints\n    wait: 1 done, 1 pending\n    gather: out of paper\n    ran: x, a, c\n  \
                 ours prints\n    wait: 1 done, 1 pending\n    gather: task panicked: out of paper\n    ran: x\n";
    let ran = run("asyncio_side_by_side", &["2"]);
    assert!(ran.stdout.contains(sides), "{}", ran.stdout);
}

#[test]
fn side_by_side_shows_that_a_caller_who_gives_up_takes_nothing_from_the_others() {
    let ours = "  ours prints\n    listener: set\n    second caller: ONE\n";
    let ran = run("asyncio_side_by_side", &["4"]);
    assert!(ran.stdout.contains(ours), "{}", ran.stdout);
}

#[test]
fn side_by_side_prints_the_same_each_time() {
    assert_eq!(run("asyncio_side_by_side", &[]).stdout, run("asyncio_side_by_side", &[]).stdout);
}

#[test]
fn side_by_side_names_a_program_that_is_not_there_and_exits_with_2() {
    let ran = run("asyncio_side_by_side", &["9"]);
    let message = "asyncio_side_by_side: there are programs 1 to 8, and no 9\n\nusage: asyncio_side_by_side";
    assert_eq!((ran.stderr.starts_with(message), ran.code), (true, Some(2)), "{}", ran.stderr);
}

// --- digest: what it sums ---

#[test]
fn the_list_has_the_known_digests_in_the_order_of_names() {
    let folder = Folder::with_known_files();
    assert_eq!(digest(&["--list", folder.path()]).stdout, known_list());
}

#[test]
fn sha256sum_accepts_the_list() {
    let folder = Folder::with_known_files();
    folder.write("back\\slash", "abc");
    folder.write("two\nlines", "abc");
    folder.write("a space", "abc");
    let list = Folder::new();
    list.write("list", &digest(&["--list", folder.path()]).stdout);
    let check = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet"])
        .arg(list.join("list"))
        .current_dir(folder.path())
        .output()
        .expect("sha256sum starts");
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn the_digest_of_the_folder_is_that_of_its_list() {
    let folder = Folder::with_known_files();
    let list = Folder::new();
    list.write("list", &digest(&["--list", folder.path()]).stdout);
    let of_list = digest(&["--list", list.path()]).stdout;
    let of_folder = digest(&[folder.path()]);
    assert_eq!(of_folder.value("digest:"), of_list.strip_suffix("  list\n"));
}

#[test]
fn the_number_of_jobs_does_not_change_the_list() {
    let folder = Folder::with_known_files();
    for n in 0..100 {
        folder.write(&format!("many/{n}"), &n.to_string());
    }
    let one = digest(&["--jobs", "1", "--list", folder.path()]).stdout;
    let many = digest(&["--jobs", "64", "--list", folder.path()]).stdout;
    assert_eq!(one, many);
}

#[test]
fn a_link_to_a_file_is_summed_under_its_own_name() {
    let folder = Folder::new();
    folder.write("abc", "abc");
    symlink("abc", folder.join("link")).expect("a link");
    let expected = format!("{SHA_OF_ABC}  abc\n{SHA_OF_ABC}  link\n");
    assert_eq!(digest(&["--list", folder.path()]).stdout, expected);
}

#[test]
fn without_a_folder_it_sums_the_sources_and_not_what_is_built_from_them() {
    let list = digest(&["--list"]).stdout;
    assert!(list.contains("  runtime/examples/digest.rs\n"));
    assert!(!list.contains("  target/"));
    assert!(!list.contains("  .git/"));
}

// --- digest: what it reports ---

#[test]
fn the_report_counts_files_and_bytes() {
    let folder = Folder::with_known_files();
    let ran = digest(&[folder.path()]);
    assert_eq!((ran.value("files:"), ran.value("bytes:")), (Some("3"), Some("1000003")));
}

#[test]
fn the_report_names_the_five_slowest() {
    let folder = Folder::new();
    for n in 0..7 {
        folder.write(&format!("file-{n}"), "abc");
    }
    let ran = digest(&[folder.path()]);
    assert_eq!(ran.stdout.lines().filter(|line| line.contains(" ms  file-")).count(), 5);
}

#[test]
fn with_a_list_the_report_goes_to_stderr() {
    let folder = Folder::with_known_files();
    assert!(digest(&["--list", folder.path()]).stderr.starts_with("files:   3\n"));
}

#[test]
fn a_clean_run_writes_nothing_to_stderr_that_is_no_terminal() {
    let folder = Folder::with_known_files();
    assert_eq!(digest(&[folder.path()]).stderr, "");
}

#[test]
fn an_empty_folder_has_the_digest_of_nothing() {
    let folder = Folder::new();
    let ran = digest(&[folder.path()]);
    assert_eq!((ran.value("files:"), ran.value("digest:")), (Some("0"), Some(SHA_OF_NOTHING)));
}

// --- digest: what it cannot read ---

#[test]
fn a_dangling_link_is_reported_with_path_and_reason() {
    let folder = Folder::with_known_files();
    symlink("nowhere", folder.join("inner/dangling")).expect("a link");
    let expected = format!(
        "digest: cannot read {}/inner/dangling: No such file or directory (os error 2)\n",
        folder.path()
    );
    assert_eq!(digest(&[folder.path()]).stderr, expected);
}

#[test]
fn a_link_to_itself_is_reported_with_path_and_reason() {
    let folder = Folder::with_known_files();
    symlink("circle", folder.join("circle")).expect("a link");
    let ran = digest(&[folder.path()]);
    assert!(ran.stderr.contains("/circle: Too many levels of symbolic links"), "{}", ran.stderr);
}

#[test]
fn the_rest_is_summed_when_a_file_cannot_be_read() {
    let folder = Folder::with_known_files();
    symlink("nowhere", folder.join("dangling")).expect("a link");
    assert_eq!(digest(&["--list", folder.path()]).stdout, known_list());
}

#[test]
fn the_report_counts_what_could_not_be_read() {
    let folder = Folder::with_known_files();
    symlink("nowhere", folder.join("dangling")).expect("a link");
    assert_eq!(digest(&[folder.path()]).value("failed:"), Some("1"));
}

#[test]
fn a_fifo_is_skipped_and_named() {
    let folder = Folder::with_known_files();
    let made = Command::new("mkfifo").arg(folder.join("fifo")).status().expect("mkfifo starts");
    assert!(made.success());
    let expected = format!("digest: skipped {}/fifo: a FIFO\n", folder.path());
    assert_eq!(digest(&[folder.path()]).stderr, expected);
}

#[test]
fn a_socket_is_skipped_and_named() {
    let folder = Folder::with_known_files();
    let _socket = UnixListener::bind(folder.join("socket")).expect("a socket");
    let expected = format!("digest: skipped {}/socket: a socket\n", folder.path());
    assert_eq!(digest(&[folder.path()]).stderr, expected);
}

#[test]
fn a_link_to_a_folder_is_skipped_and_named() {
    let folder = Folder::with_known_files();
    symlink("..", folder.join("inner/up")).expect("a link");
    let expected = format!("digest: skipped {}/inner/up: a link to a folder\n", folder.path());
    assert_eq!(digest(&[folder.path()]).stderr, expected);
}

// --- digest: how it exits ---

#[test]
fn it_exits_with_0_if_every_file_was_read() {
    let folder = Folder::with_known_files();
    assert_eq!(digest(&[folder.path()]).code, Some(0));
}

#[test]
fn it_exits_with_0_if_something_was_skipped() {
    let folder = Folder::with_known_files();
    let _socket = UnixListener::bind(folder.join("socket")).expect("a socket");
    assert_eq!(digest(&[folder.path()]).code, Some(0));
}

#[test]
fn it_exits_with_1_if_a_file_was_not_read() {
    let folder = Folder::with_known_files();
    symlink("nowhere", folder.join("dangling")).expect("a link");
    assert_eq!(digest(&[folder.path()]).code, Some(1));
}

#[test]
fn it_exits_with_1_if_the_result_cannot_be_written() {
    let folder = Folder::with_known_files();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("the full device");
    let ran = program("digest").arg(folder.path()).stdout(full).output().expect("the example starts");
    assert_eq!(ran.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("No space left on device"));
}

#[test]
fn a_missing_folder_is_named_and_exits_with_2() {
    let folder = Folder::new();
    let missing = format!("{}/missing", folder.path());
    let ran = digest(&[&missing]);
    let expected =
        format!("digest: cannot read the folder {missing}: No such file or directory (os error 2)\n");
    assert_eq!((ran.stderr, ran.code), (expected, Some(2)));
}

#[test]
fn a_file_in_place_of_the_folder_is_named_and_exits_with_2() {
    let folder = Folder::with_known_files();
    let file = format!("{}/empty", folder.path());
    let ran = digest(&[&file]);
    let expected = format!("digest: cannot read the folder {file}: Not a directory (os error 20)\n");
    assert_eq!((ran.stderr, ran.code), (expected, Some(2)));
}

#[test]
fn a_bad_command_line_says_what_is_wrong_and_exits_with_2() {
    let cases: [(&[&str], &str); 6] = [
        (&["--what"], "digest: unknown option --what\n"),
        (&["--jobs"], "digest: --jobs takes a number\n"),
        (&["--jobs", "0"], "digest: --jobs takes a number from 1 up, not 0\n"),
        (&["--jobs", "-1"], "digest: --jobs takes a number from 1 up, not -1\n"),
        (&["--jobs", "many"], "digest: --jobs takes a number from 1 up, not many\n"),
        (&["one", "two"], "digest: one folder at a time, and two is the second\n"),
    ];
    for (args, message) in cases {
        let ran = digest(args);
        assert_eq!((ran.stderr.starts_with(message), ran.code), (true, Some(2)), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn help_goes_to_stdout_and_exits_with_0() {
    let ran = digest(&["--help"]);
    assert_eq!((ran.stdout.starts_with("usage: digest"), ran.code), (true, Some(0)));
}
