//! Configurations that cannot be used, or that are large.

use crate::kit::{PROGRAM, check, is_root, skip};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Time that a file of ten megabytes may take in a build without optimization, on a busy machine.
const LARGE_LIMIT: Duration = Duration::from_secs(90);

/// `check` refuses the content with a message that holds all of `parts`, and so does a start.
fn refused(content: &[u8], parts: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    fs::write(&file, content).unwrap();
    refused_file(&file, parts);
}

fn refused_file(file: &Path, parts: &[&str]) {
    let (output, _) = check(file);
    says(&output.stderr, parts);
    assert_eq!(output.status.code(), Some(1));
    let output = Command::new(PROGRAM).args(["-n", "-c"]).arg(file).output().unwrap();
    says(&output.stderr, parts);
    assert_eq!(output.status.code(), Some(1), "a broker must not run with it");
}

fn says(stderr: &[u8], parts: &[&str]) {
    let stderr = String::from_utf8_lossy(stderr);
    assert!(parts.iter().all(|part| stderr.contains(part)), "{parts:?} not in:\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_file_that_may_not_be_read() {
    let dir = tempfile::tempdir().unwrap();
    // others must be able to come as far as the file
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = dir.path().join("config.yaml");
    fs::write(&file, "connections: {}\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let uid = fs::metadata(&file).map(|m| std::os::unix::fs::MetadataExt::uid(&m)).unwrap();
    let mut command;
    if is_root() {
        // the program may lie where only root may look
        let copy = dir.path().join("serbroker");
        fs::copy(PROGRAM, &copy).unwrap();
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
    } else {
        command = Command::new(PROGRAM);
    }
    let output = match command.arg("check").arg(&file).output() {
        Ok(output) => output,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return skip("setpriv is missing"),
        Err(e) => panic!("{e}"),
    };
    let owner = format!("owner {uid}:");
    let parts = ["config.yaml: permission denied", "mode is 0000", &owner, "we run as user", "groups"];
    says(&output.stderr, &parts);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_no_text() {
    let dir = tempfile::tempdir().unwrap();
    refused_file(dir.path(), &["is a directory"]);
    refused_file(&dir.path().join("missing"), &["missing does not exist"]);
    refused(b"", &["config.yaml is empty"]);
    refused(b" \n\n", &["config.yaml is empty"]);
    refused(&fs::read("/bin/sh").unwrap(), &["config.yaml is not a text file: NUL at byte"]);
    refused(b"connections:\n  a\0b: {}\n", &["NUL at byte 16"]);
    refused(b"connections:\n  \xff\xfe: {}\n", &["config.yaml is not UTF-8 text: byte 15 is 0xff"]);
    refused(&vec![b'#'; 17 << 20], &["larger than"]);
}

#[test]
fn large_files_are_checked_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let padding = "x".repeat(330);
    let (mut yaml, mut legacy) = (String::from("%YAML 1.1\n---\n"), String::new());
    for i in 0..20_000 {
        let port = 1024 + i;
        write!(
            yaml,
            "connection: &port{i:05}\n  accepter: telnet(rfc2217),tcp,127.0.0.1,{port}\n  \
             connector: serialdev,/dev/ttyS{i},115200n81,local\n  options:\n    kickolduser: true\n    \
             max-connections: 3\n    # {padding}\n"
        )
        .unwrap();
        writeln!(
            legacy,
            "{port}:telnet:600:/dev/ttyS{i}:115200 8DATABITS NONE 1STOPBIT remctl kickolduser \
             max-connections=3\n# {padding}{padding}"
        )
        .unwrap();
    }
    for (name, content) in [("large.yaml", yaml), ("large.conf", legacy)] {
        assert!(content.len() > 10_000_000, "{name}");
        let file = dir.path().join(name);
        fs::write(&file, content).unwrap();
        let (output, took) = check(&file);
        println!("{name}: checked in {took:.2?}");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("20000 connection(s), 0 error(s)"));
        assert!(took < LARGE_LIMIT, "{name} took {took:?}");
    }
}

#[test]
fn every_mistake_of_a_large_file_is_told() {
    let content: String = (0..2000).fold("%YAML 1.1\n---\n".to_owned(), |text, i| {
        text + &format!(
            "connection: &a{i}\n  accepter: tcp(nodelai),{}\n  connector: serialdev,/dev/null\n",
            2000 + i
        )
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    fs::write(&file, content).unwrap();
    let (output, took) = check(&file);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.matches(": error: ").count(), 2000);
    assert!(stderr.contains("config.yaml:6001:"), "the place of the last is right");
    assert!(took < LARGE_LIMIT, "took {took:?}");
}

#[test]
fn one_line_of_megabytes_is_not_printed_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.conf");
    let line = format!("2000:raw:0:/dev/ttyS0:9600 nosuchoption {}\n", "remctl ".repeat(700_000));
    fs::write(&file, line).unwrap();
    let (output, took) = check(&file);
    assert_eq!(output.status.code(), Some(1));
    says(&output.stderr, &["config.conf:1:28: error", "nosuchoption"]);
    assert!(output.stderr.len() < 10_000, "{} bytes of messages", output.stderr.len());
    assert!(took < LARGE_LIMIT, "took {took:?}");
}

#[test]
fn nesting_without_end() {
    refused("[".repeat(200_000).as_bytes(), &["config.yaml:1:"]);
    refused(format!("connections: {}", "{a: ".repeat(100_000)).as_bytes(), &["config.yaml:1:"]);
    let deep = (0..2000).fold(String::new(), |text, i| text + &" ".repeat(i) + "a:\n");
    refused(deep.as_bytes(), &["config.yaml:"]);
}

#[test]
fn includes_in_a_circle() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    fs::write(file("self.yaml"), "include: self.yaml\n").unwrap();
    refused_file(&file("self.yaml"), &["self.yaml:1:", "includes itself"]);
    fs::write(file("a.yaml"), "include: b.yaml\n").unwrap();
    fs::write(file("b.yaml"), "include: a.yaml\n").unwrap();
    refused_file(&file("a.yaml"), &["includes itself", "a.yaml -> ", "b.yaml -> "]);
    fs::write(file("all.yaml"), "include: '*.yaml'\n").unwrap();
    refused_file(&file("all.yaml"), &["includes itself"]);
}

#[test]
fn an_include_without_a_match_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    fs::write(&file, "include: 'conf.d/*.yaml'\n").unwrap();
    let (output, _) = check(&file);
    says(&output.stderr, &["config.yaml:1:", "warning: no file matches 'conf.d/*.yaml'"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn definitions_that_grow_without_bound() {
    let mut version1 = "%YAML 1.1\n---\ndefine: &a0 lollollollollollol\n".to_owned();
    let mut version2 = "%YAML 1.1\n---\ndefines:\n  a0: lollollollollollol\n".to_owned();
    for i in 1..40 {
        let before = i - 1;
        writeln!(version1, "define: &a{i} \"{}\"", format!("*(a{before})").repeat(10)).unwrap();
        writeln!(version2, "  a{i}: \"{}\"", format!("=(a{before})").repeat(10)).unwrap();
    }
    let connection = "accepter: tcp,2000\n  connector: serialdev,/dev/ttyS0\n  options:\n    banner: ";
    write!(version1, "connection: &c\n  {connection}\"*(a39)\"\n").unwrap();
    write!(version2, "connections:\n  c:\n    {}\"=(a39)\"\n", connection.replace("\n  ", "\n    ")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for text in [version1, version2] {
        let file = dir.path().join("config.yaml");
        fs::write(&file, &text).unwrap();
        let (output, took) = check(&file);
        says(&output.stderr, &["config.yaml:", "error"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(took < Duration::from_secs(20), "took {took:?}");
    }
}
