//! The arrows of `docs/architecture.md`: `sip` and `xmpp` know nothing of each other, `translate` knows both, and none of
//! the three knows a socket, a clock, a file, a thread or chance.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates without IO, and the crates of ours each may know.
const PURE: [(&str, &str, &[&str]); 3] = [
    ("nuncio-sip", "sip", &[]),
    ("nuncio-xmpp", "xmpp", &[]),
    ("nuncio-translate", "translate", &["nuncio-sip", "nuncio-xmpp"]),
];

/// What belongs to the program: runtimes, sockets, TLS, DNS, chance, the disk. A name stands for itself and for
/// whatever begins with it and a hyphen.
const WORLD: [&str; 21] = [
    "tokio",
    "mio",
    "socket2",
    "rustls",
    "ring",
    "aws-lc-rs",
    "aws-lc-sys",
    "openssl",
    "native-tls",
    "webpki",
    "hickory",
    "async-std",
    "smol",
    "futures",
    "hyper",
    "rusqlite",
    "getrandom",
    "rand",
    "dashmap",
    "parking_lot",
    "tracing-subscriber",
];

/// Brought by a library and unused there: rsip's own generators of ids, by way of uuid.
const TOLERATED: [(&str, &str); 1] = [("nuncio-sip", "getrandom")];

/// What no source file of theirs may name. Times and random values come in as arguments.
const FORBIDDEN: [(&str, &str); 18] = [
    ("std::fs", "files"),
    ("File::", "files"),
    ("std::thread", "threads"),
    ("thread::", "threads"),
    ("TcpStream", "sockets"),
    ("TcpListener", "sockets"),
    ("UdpSocket", "sockets"),
    ("UnixStream", "sockets"),
    ("ToSocketAddrs", "name lookups"),
    ("SystemTime::now", "the wall clock"),
    ("Instant::now", "the clock"),
    (".elapsed()", "the clock"),
    ("std::env", "the environment"),
    ("std::process", "processes"),
    ("RandomState", "chance"),
    ("rand::", "chance"),
    ("println!", "standard output"),
    ("unsafe ", "unsafe code"),
];

#[test]
fn pure_crates_depend_on_nothing_of_the_world() {
    for (package, _, known) in PURE {
        let tree = tree(package);
        assert!(tree.contains(package) && tree.len() > 3, "cargo tree says too little: {tree:?}");
        let tolerated = |name: &str| TOLERATED.iter().any(|(who, what)| tree.contains(*who) && *what == name);
        let bad: Vec<_> = tree.iter().filter(|name| is_worldly(name) && !tolerated(name)).collect();
        assert!(bad.is_empty(), "{package} pulls in {bad:?}");
        let ours: Vec<_> =
            tree.iter().filter(|name| name.starts_with("nuncio") && *name != package).collect();
        assert!(ours.iter().all(|name| known.contains(&name.as_str())), "{package} knows {ours:?}");
    }
}

/// The check itself can see: the program does pull in what the others must not.
#[test]
fn the_program_is_where_the_world_is() {
    let tree = tree("nuncio");
    for name in ["tokio", "tokio-rustls", "rustls", "hickory-resolver", "aws-lc-rs", "nuncio-translate"] {
        assert!(tree.contains(name), "{name} is not among the dependencies of the program");
    }
    assert!(["tokio-rustls", "hickory-proto", "mio"].into_iter().all(is_worldly));
    assert!(!is_worldly("miow") && !is_worldly("tokenizer"));
}

#[test]
fn pure_sources_name_nothing_of_the_world() {
    for (package, folder, _) in PURE {
        let files = sources(&root().join(folder).join("src"));
        assert!(files.len() > 5, "{package}: where are the sources?");
        let found: Vec<_> = files.iter().flat_map(|file| offences(file)).collect();
        assert!(found.is_empty(), "{package} reaches for the world:\n{}", found.join("\n"));
    }
}

#[test]
fn offences_are_seen_in_code_and_not_in_words_or_tests() {
    let text = "//! Instant::now\nfn a() { let x = std::time::Instant::now(); } // TcpStream\n\
        #[cfg(test)]\nmod tests { fn b() { Instant::now(); } }\nfn c() { std::fs::read(\"x\"); }\n";
    assert_eq!(seen(text), [(2, "the clock"), (5, "files")]);
    // A module of tests in a file of its own.
    assert_eq!(seen("#[cfg(test)]\nmod tests;\nuse std::thread;\n"), [(3, "threads")]);
}

/// The names of all packages that a normal build of `package` contains.
fn tree(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(["--target", "all", "--package", package])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn is_worldly(name: &str) -> bool {
    WORLD
        .iter()
        .any(|&bad| name.strip_prefix(bad).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The source files below a folder, without those that hold tests only.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing") {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn offences(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    seen(&text).into_iter().map(|(line, what)| format!("{}:{line}: {what}", file.display())).collect()
}

/// Line numbers of forbidden names in code; comments and what is under `#[cfg(test)]` do not count.
fn seen(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            skip_item(&mut lines);
            continue;
        }
        let code = line.split("//").next().unwrap_or_default();
        let bad = FORBIDDEN.iter().filter(|(name, _)| code.contains(name));
        // One line, one offence: `std::thread::` is not two.
        found.extend(bad.map(|&(_, what)| (number + 1, what)).next());
    }
    found
}

/// Skips one item: up to its `;`, or to the brace that closes it.
fn skip_item<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) {
    let mut depth = 0usize;
    for (_, line) in lines {
        depth += line.matches('{').count();
        depth = depth.saturating_sub(line.matches('}').count());
        if depth == 0 && (line.contains('}') || line.trim_end().ends_with(';')) {
            return;
        }
    }
}
